"""Reading the program's own logs again, whole, torn, foreign and damaged."""

import json
import random

import numpy as np
import pytest

from fer_live.log import Log
from fer_live.logread import LONGEST_LINE, read_log
from fer_live.types import Analysis, Face, Frame, SourceError
from models.checkpoint import EMOTIONS

PROBS = np.array([0.1, 0.05, 0, 0.6, 0.15, 0.1, 0], np.float32)


def face(track_id):
    return Face((10 * track_id, 12, 40 + 10 * track_id, 42), track_id, PROBS, "happy", 0.6)


@pytest.fixture
def logs(tmp_path):
    """The same seven frames in both formats, two faces in every third frame, none in every fifth; and an event."""
    paths = tmp_path / "o.jsonl", tmp_path / "o.csv"
    for path in paths:
        with Log(path, EMOTIONS, live=True) as log:
            for i in range(7):
                faces = () if i % 5 == 4 else tuple(face(k) for k in range(1, 3 if i % 3 == 0 else 2))
                log.write(None, Analysis(Frame(np.zeros((2, 2, 3), np.uint8), 2 * i, 100 + i / 30), faces))
                if i == 3:
                    log.event("recording stopped", "no space left", 100.11)
    return paths


def test_both_formats_give_the_same_objects(logs):
    from_jsonl, from_csv = (list(read_log(path)) for path in logs)
    lines = [json.loads(line) for line in logs[0].read_text().splitlines()]
    assert from_jsonl == [line for line in lines if "event" not in line] and len(from_jsonl) == 7
    assert from_csv == [entry for entry in from_jsonl if entry["faces"]] and len(from_csv) == 6
    assert [len(entry["faces"]) for entry in from_csv] == [2, 1, 1, 2, 1, 2]


def test_events_are_yielded_in_their_place_when_asked_for(logs):
    entries = list(read_log(logs[0], events=True))
    assert entries[4] == {"event": "recording stopped", "time_s": 0.11, "text": "no space left"}
    assert len(entries) == 8 and list(read_log(logs[1], events=True)) == list(read_log(logs[1]))


@pytest.mark.parametrize("kind", [0, 1], ids=["jsonl", "csv"])
def test_a_log_cut_at_any_byte_is_read_up_to_the_cut(logs, tmp_path, kind):
    whole, entries = logs[kind].read_bytes(), list(read_log(logs[kind]))
    cut = tmp_path / f"cut{logs[kind].suffix}"
    counts = []
    for length in range(0, len(whole), 3):
        cut.write_bytes(whole[:length] + bytes(length % 2))  # some file systems leave zeros
        got = list(read_log(cut))
        complete = got if not got or got[-1] == entries[len(got) - 1] else got[:-1]
        assert complete == entries[: len(complete)]  # never a number that was cut short
        assert kind == 1 or len(complete) == len(got)
        counts.append(len(got))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] >= len(entries) - 1


FOREIGN = {
    "text.jsonl": b"hello world\n", "one-word.jsonl": b"hello", "list.jsonl": b"[1, 2]\n", "other.jsonl": b'{"a": 1}\n',
    "picture.jsonl": b"\xff\xd8\xff\xe0" * 100, "deep.jsonl": b"[" * 100_000,
    "deep-inside.jsonl": b'{"frame":' + b"[" * 99_999 + b"\n",
    "endless.jsonl": b'{"frame":' + b" " * LONGEST_LINE, "half.jsonl": b'{"frame": 1, "time_s": 0.1}\n',
    "nan.jsonl": b'{"frame": 1, "time_s": NaN, "faces": []}\n', "bool.jsonl": b'{"frame": true, "time_s": 1, "faces": []}\n',
    "box.jsonl": b'{"frame": 1, "time_s": 1, "faces": [{"track_id": 1, "box": [], "label": "", "confidence": 1, "probs": {}}]}\n',
    "huge.jsonl": b'{"frame": ' + b"9" * 4000 + b', "time_s": 1, "faces": []}\n',
    "other.csv": b"a,b,c\n1,2,3\n", "no-classes.csv": b"frame,time_s,track_id,x1,y1,x2,y2,label,confidence\n",
    "one-word.csv": b"hello", "picture.csv": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_one_clear_error(tmp_path, name):
    (tmp_path / name).write_bytes(FOREIGN[name])
    with pytest.raises(SourceError, match="not a log of this program") as caught:
        list(read_log(tmp_path / name))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_what_cannot_be_read_at_all_is_one_clear_error(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    for path, words in [(tmp_path / "none.jsonl", "cannot read"), (tmp_path / "folder.jsonl", "cannot read"),
                        (tmp_path / "clip.mp4", "logs are")]:
        with pytest.raises(SourceError, match=words):
            list(read_log(path))


def test_an_empty_log_has_no_entries(tmp_path):
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / name).write_bytes(b"")
        assert list(read_log(tmp_path / name)) == []


@pytest.mark.parametrize("kind", [0, 1], ids=["jsonl", "csv"])
def test_damage_within_names_its_line_and_keeps_what_stands_before(logs, kind):
    lines = logs[kind].read_bytes().splitlines(keepends=True)
    lines[4] = lines[4][:15] + b"\n"
    logs[kind].write_bytes(b"".join(lines))
    entries = read_log(logs[kind])
    assert next(entries)["frame"] == 0
    with pytest.raises(SourceError, match="damaged in line 5"):
        list(entries)


@pytest.mark.parametrize("kind", [0, 1], ids=["jsonl", "csv"])
def test_mutated_logs_end_in_entries_or_in_the_one_error(logs, tmp_path, kind):
    """300 mutations a format: bytes changed, cut out, doubled."""
    whole, chance = logs[kind].read_bytes(), random.Random(kind)
    path = tmp_path / f"m{logs[kind].suffix}"
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(content))
            action = chance.randrange(3)
            if action == 0:
                content[at] = chance.randrange(256)
            elif action == 1:
                del content[at : at + chance.randint(1, 40)]
            else:
                content[at:at] = content[at : at + chance.randint(1, 40)]
        path.write_bytes(content)
        try:
            for entry in read_log(path):
                assert isinstance(entry["frame"], int) and all(len(f["box"]) == 4 for f in entry["faces"])
        except SourceError as error:
            assert "\n" not in str(error)
