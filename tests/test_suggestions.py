"""The positional source, and suggestions for misspelled words."""

import importlib

import pytest

from fer_live.app.options import parse
from fer_live.kiosk.__main__ import unit
from fer_live.model.device import DeviceError
from fer_live.model.suggest import did_you_mean, nearest
from fer_live.screen.words import read_words
from fer_live.sources.devices import CameraInfo, describe_cameras
from fer_live.sources.open import open_source
from fer_live.types import OutputError, SourceError
from training.record import TrainingError, recipe_named


@pytest.mark.parametrize(("line", "sources"), [
    ("clip.mp4", ("clip.mp4",)), ("0", ("0",)), ("demo --max-seconds 2", ("demo",)), ("--max-seconds 2 demo", ("demo",)),
    ("0 demo", ("0", "demo")), ("0 --mirror demo", ("0", "demo")), ("--source 0 --source demo", ("0", "demo")),
    ("rtsp://user:pw@host/s --serve 8080 --no-window", ("rtsp://user:pw@host/s",)), ("", ()),
])
def test_positional_source_equals_the_option(line, sources):
    assert parse(line.split()).source.names == sources


def test_rejects_positional_source_with_the_option():
    with pytest.raises(OutputError, match="the source is given twice: 0, and --source demo; leave one out"):
        parse(["0", "--source", "demo"])
    with pytest.raises(SystemExit):
        parse([""])


def test_kiosk_install_accepts_a_positional_source():
    assert '"--kiosk" "1" "--language" "de"' in unit(["1", "--language", "de"])
    assert '"--kiosk" "--source" "0" "--language" "de"' in unit(["--language", "de"]), "and camera 0 where there is none"


COMMANDS = [  # module, arguments, what was meant
    ("fer_live", "--sorce clip.mp4", "for --sorce, did you mean --source?"),
    ("fer_live", "clip.mp4 --otput=x.mp4", "for --otput, did you mean --output?"),
    ("fer_live", "--detector harr", "did you mean haar?"), ("fer_live", "--show bar", "bar (did you mean bars?)"),
    ("fer_live", "--mask emojy", "did you mean emoji?"), ("fer_live", "--label-set basci", "did you mean basic?"),
    ("fer_live.report", "a.jsonl --compre b.jsonl", "did you mean --compare?"),
    ("fer_live.doctor", "--verbos-e", "did you mean --verbose?"),
    ("fer_live.kiosk", "instal", "did you mean install?"), ("fer_live.kiosk", "install --dryrun", "did you mean --dry-run?"),
    ("fer_live.bench", "--quik", "did you mean --quick?"), ("fer_live.bench", "--only clasifier", "did you mean classifier?"),
    ("training", "--recpie smoke", "did you mean --recipe?"),
    ("training.evaluate", "--modle x", "for --modle, did you mean --model?"),
]


@pytest.mark.parametrize(("module", "line", "meant"), COMMANDS)
def test_misspelled_options_get_suggestions(module, line, meant, capsys):
    program = importlib.import_module(module if module == "training.evaluate" else f"{module}.__main__")
    with pytest.raises(SystemExit) as ended:
        program.main(line.split())
    assert ended.value.code == 2 and meant in capsys.readouterr().err.splitlines()[-1]


def test_dissimilar_words_get_no_suggestion(capsys):
    for line in ("--zzz", "--detector zzz", "--device gpu"):
        with pytest.raises((SystemExit, DeviceError)) as ended:
            parse(line.split())
        assert "mean" not in capsys.readouterr().err + str(ended.value)


def test_suggestions_contain_no_password(capsys):
    with pytest.raises(SystemExit):
        parse(["--sorce", "--web-hook=http://user:secret@host/"])
    assert "secret" not in capsys.readouterr().err


def test_suggestions_ignore_case_and_known_names():
    assert nearest("Hapy", ["happy", "sad"]) == nearest("hapy", ["Happy", "sad"]).lower() == "happy"
    assert nearest("happy", ["happy"]) == nearest("gpu", ["cpu"]) == did_you_mean("x", []) == ""


def test_misspelled_files_and_sources_get_suggestions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holiday.mp4").write_text("")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "party.mp4").write_text("")
    for name, meant in (("holidy.mp4", "holiday.mp4"), ("films/praty.mp4", "party.mp4"), ("dmeo", "demo"),
                        ("doctor", "python -m fer_live.doctor")):
        with pytest.raises(SourceError) as error:
            open_source(name)
        assert f"no source {name!r} (did you mean {meant}?); give" in str(error.value)
    for name in ("nowhere/holiday.mp4", "nothing"):
        with pytest.raises(SourceError) as error:
            open_source(name)
        assert "mean" not in str(error.value)


def test_misspelled_labels_devices_and_recipes_get_suggestions(tmp_path):
    path = tmp_path / "own.json"
    path.write_text('{"hapy": "joyful"}')
    with pytest.raises(OutputError, match=r"unknown keys hapy \(did you mean happy\?\); known"):
        read_words("en", path)
    with pytest.raises(DeviceError, match=r"'cudaa' \(did you mean cuda\?\); choose from"):
        parse(["--device", "cudaa"])
    with pytest.raises(TrainingError, match=r"did you mean smoke\?"):
        recipe_named("smokr")


@pytest.mark.parametrize(("cameras", "verdict"), [
    ([], "no camera found: plug one in, or give a file, a URL or demo as the source"),
    ([CameraInfo(2, "HD Webcam", "/dev/video2", (), ("MJPG 1280x720 at 30",))],
     "1 camera found; open one by number, name or path: 2, 'HD Webcam' or /dev/video2"),
    ([CameraInfo(0, "A", "/dev/video0", (), ("cannot be queried: Permission denied",)),
      CameraInfo(1, "B", modes=("640x480 at 30",))],
     "2 cameras found, of which 1 cannot be opened; open one by number, name or path: 1, 'B'"),
    ([CameraInfo(0, "A", "/dev/video0", (), ("cannot be queried: Permission denied",))],
     "1 camera found, but none can be opened: run python -m fer_live.doctor to find out why")])
def test_camera_list_starts_with_a_verdict(cameras, verdict, monkeypatch):
    monkeypatch.setattr("fer_live.sources.devices.cameras", lambda: cameras)
    lines = describe_cameras().splitlines()
    assert lines[0] == verdict and len(lines) == 1 + sum(1 + len(camera.modes) for camera in cameras)


def test_unknown_hold_label_gets_a_suggestion():
    from fer_live.app.outgoing_sink import make_receivers
    from fer_live.model.spec import EMOTIONS

    with pytest.raises(OutputError, match=r"unknown label hapy \(did you mean happy\?\); choose from"):
        make_receivers(parse(["--on", "hapy", "true"]), EMOTIONS)


def test_errors_are_one_line(capsys):
    for command, words in ((["--min-face", "x"], "argument --min-face"), (["--detector", "harr"], "did you mean haar?"),
                           (["--nothing"], "--nothing")):
        with pytest.raises(SystemExit) as ended:
            parse(command)
        err = capsys.readouterr().err
        assert ended.value.code == 2 and err.count("\n") == 1 and err.startswith("error: ") and words in err
