"""Splits for training, selection and measurement; skipped files are logged; votes of other rows are rejected."""

import csv
import shutil

import cv2
import numpy as np
import pytest

from fer_live.model.spec import EMOTIONS
from tests.test_training import OFFICIAL, write_csv, write_votes
from training.audit import audit
from training.data import DataError, data_sha256, load_dataset, without_leaks


@pytest.fixture
def own(tmp_path, face_folders):
    """own(train="train", validation="valid") copies the cartoon faces into folders of these names."""

    def make(**names):
        for source, name in names.items():
            shutil.copytree(face_folders / source, tmp_path / "own" / name)
        return tmp_path / "own"

    return make


def sizes(data):
    return {name: len(ids) for name, ids in data.splits.items()}


@pytest.mark.parametrize("name", ["valid", "val", "Validation"])
def test_validation_folder_selects_and_test_is_separate(own, face_folders, name):
    path = own(train="train", validation=name)
    shutil.copytree(face_folders / "validation", path / "test")
    data = load_dataset(path)
    assert sizes(data) == {"train": 56, "validation": 21, "test": 21}
    assert not set(data.split("validation")) & set(data.split("test"))
    assert audit(data)["across"] == {"test in validation": 21, "test in train": 0, "validation in train": 0}


def test_two_validation_folders_are_an_error(own, face_folders):
    path = own(train="train", validation="valid")
    shutil.copytree(face_folders / "validation", path / "val")
    with pytest.raises(DataError, match="val/ and valid/, and both mean the validation split"):
        load_dataset(path)


def test_missing_validation_folder_uses_a_tenth_of_train(own, caplog):
    data = load_dataset(own(train="train", validation="test"))
    assert sizes(data)["test"] == 21 and sizes(data)["train"] + sizes(data)["validation"] == 56
    assert sizes(data)["validation"] > 0 and len(np.unique(np.concatenate(list(data.splits.values())))) == 77
    assert len(caplog.messages) == 1
    assert f"has no validation/: {sizes(data)['validation']} of the 56 images in train/" in caplog.messages[0]


def test_clean_excludes_copies_of_test_images(own):
    path = own(train="train", validation="test")
    shutil.copy(next((path / "test" / "happy").iterdir()), path / "train" / "happy" / "1000.png")
    data = load_dataset(path)
    assert audit(data)["across"]["test in train"] + audit(data)["across"]["test in validation"] == 1
    assert audit(without_leaks(data))["across"]["test in train"] == 0


def test_skipped_files_are_logged_with_counts(own, face_folders, caplog):
    path = own(train="train", validation="valid")
    load_dataset(path)
    assert not caplog.messages, "nothing is skipped here"
    shutil.copytree(face_folders / "train" / "sad", path / "train" / "contempt")
    shutil.copytree(face_folders / "train" / "sad", path / "extra" / "sad")
    shutil.copytree(face_folders / "train" / "sad", path / "train" / "sad" / "more")
    (path / "train" / "fear" / "a.svg").write_bytes(b"x")
    (path / "train" / "fear" / "b.SVG").write_bytes(b"x")
    (path / "train" / "note.txt").write_text("x")
    (path / "train" / "fear" / "dead.png").symlink_to("nothing")
    (path / "train" / ".DS_Store").write_text("x")
    assert sizes(load_dataset(path)) == {"train": 56, "validation": 21}
    output = caplog.messages
    assert [line.split(",")[0] for line in output[:-1]] == [
        f"skipped: {path / 'extra'} (8 images)", f"skipped: {path / 'train' / 'contempt'} (8 images)",
        f"skipped: {path / 'train' / 'sad' / 'more'} (8 images)"]
    assert "4 files (2 .svg, 1 .txt, 1 not a regular file)" in output[-1] and ".jpg" in output[-1]


def test_folders_accept_every_supported_image_format(own, face_folders):
    path = own(train="train")
    rows = len(load_dataset(path).labels)
    image = next((path / "train" / "sad").iterdir())
    cv2.imwrite(str(image.with_name("one more.tif")), cv2.imread(str(image)))
    assert len(load_dataset(path).labels) == rows + 1


def test_folders_that_differ_in_case_are_one_class(own, face_folders, caplog):
    path = own(train="train", validation="valid")
    shutil.copytree(face_folders / "validation" / "happy", path / "train" / "Happy")
    data = load_dataset(path)
    assert (data.labels[data.split("train")] == EMOTIONS.index("happy")).sum() == 11
    assert "Happy (3 images) and " in caplog.text


def test_class_of_only_damaged_images_is_an_error(own):
    path = own(train="train", validation="valid")
    for file in (path / "valid" / "fear").iterdir():
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"no image in the class folder .*fear can be read \(of 3\)"):
        load_dataset(path)


def test_unknown_usage_is_an_error(tmp_path):
    path = write_csv(tmp_path / "fer2013.csv", OFFICIAL)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3].replace("Training", "training"), *lines[4:]]))
    with pytest.raises(DataError, match="line 4: Usage is 'training'"):
        load_dataset(path)
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    assert set(load_dataset(path).splits) == {"train", "validation"}, "without the column the split is by content"
    votes = write_votes(tmp_path / "votes.csv", ["Training", "Extra"])
    path.write_text("\n".join([lines[0], *lines[1:15]]))
    with pytest.raises(DataError, match="line 9: Usage is 'Extra'"):
        load_dataset(path, votes)


def test_rejects_votes_of_other_rows(tmp_path, face_folders):
    table = write_csv(tmp_path / "fer2013.csv", OFFICIAL)
    assert load_dataset(table, write_votes(tmp_path / "votes.csv", OFFICIAL)).votes.shape == (28, 10)
    for usages, words in ((["Training", *OFFICIAL], "35 rows, the images' table 28"), (OFFICIAL[:-1], "21 rows"),
                          (OFFICIAL[::-1], "differ in the Usage of row 1: PrivateTest and Training")):
        with pytest.raises(DataError, match=words):
            load_dataset(table, write_votes(tmp_path / "votes.csv", usages))
    twice = tmp_path / "twice"
    for name in EMOTIONS:
        for part in ("train", "validation"):
            (twice / part / name).mkdir(parents=True)
            for i, file in enumerate(sorted((face_folders / part / name).iterdir())):
                shutil.copy(file, twice / part / name / f"{i}.png")
    load_dataset(twice)
    with pytest.raises(DataError, match="8 file names are in several folders, such as 0"):
        load_dataset(twice, write_votes(tmp_path / "votes.csv", OFFICIAL))


def test_rejects_votes_that_disagree_with_the_labels(tmp_path):
    table = write_csv(tmp_path / "fer2013.csv", OFFICIAL[:1], rows_per_usage=700)
    votes = write_votes(tmp_path / "votes.csv", OFFICIAL[:1], rows_per_usage=700)
    assert sizes(load_dataset(table, votes)) == {"Training": 700}
    lines = list(csv.reader(votes.open()))
    with votes.open("w", newline="") as handle:
        csv.writer(handle).writerows([lines[0], *lines[2:], lines[1]])
    with pytest.raises(DataError, match="agree with the labels on only 0%"):
        load_dataset(table, votes)


def test_data_hash_covers_images_labels_votes_and_splits(own, tmp_path):
    path = own(train="train", validation="valid")
    before = data_sha256(load_dataset(path))
    assert before == data_sha256(load_dataset(path))
    happy = next((path / "train" / "happy").iterdir())
    moved = happy.rename(path / "train" / "sad" / happy.name)
    assert data_sha256(load_dataset(path)) != before
    moved.rename(happy)
    assert data_sha256(load_dataset(path)) == before
    votes = write_votes(tmp_path / "votes.csv", ["Training"] * 8 + ["PublicTest"] * 3)
    assert data_sha256(load_dataset(path, votes)) != before
