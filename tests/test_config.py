"""The command line is converted to a Config once, and only app/ sees argparse."""

import ast
from pathlib import Path

import numpy as np
import pytest

from fer_live.app.config import (
    AnalysisConfig,
    Config,
    KioskConfig,
    OutgoingConfig,
    OutputConfig,
    ScreenConfig,
    SourceConfig,
    WebConfig,
)
from fer_live.app.options import parse
from fer_live.app.output_checks import check_outputs
from fer_live.model.device import DeviceError
from fer_live.types import OutputError
from tests.conftest import ROOT

COMMANDS = {"app/options.py", "app/kiosk_options.py", "app/outgoing_options.py", "bench/__main__.py", "doctor/__main__.py",
            "kiosk/__main__.py", "report/__main__.py", "model/paths.py"}
# modules that define options, and model/paths.py, whose path type raises argparse's error

EVERYTHING = (
    "--on enter true --webhook http://h/ --osc h:1 --mqtt b --mqtt-user u --mqtt-tls --mqtt-name n --lsl L "
    "--virtual-camera "
    "--source 0 --source demo --max-seconds 5 --wait-for-camera --silent-seconds 6 --frozen-seconds 0 --on-camera-lost l "
    "--on-camera-found f --output o.mp4 --log l.csv --audio mic --segment-minutes 2 --keep-gb 3 --keep-days 4 --model m.pt "
    "--head ferplus --device cpu --runtime onnx --detector both --calibrate 7 --min-face 0.2 --target-fps 20 --label-set "
    "basic --mask emoji --mirror --language de,en --labels w.json --serve box:80 --token secret --kiosk "
    "--exit-chord abc --idle-seconds 9 --no-notice --operator Museum --policy-url https://e.org --record-on-consent "
    "--consent-seconds 11")


def test_defaults_apply_without_options():
    assert parse([]) == Config()


def test_every_option_sets_its_config_field():
    given = parse(EVERYTHING.split())
    assert given == Config(
        SourceConfig(("0", "demo"), 5.0, True, 6.0, 0.0, "l", "f"),
        OutputConfig(Path("o.mp4"), False, Path("l.csv"), "mic", 2.0, 3.0, 4.0, True),
        AnalysisConfig(Path("m.pt"), "ferplus", "cpu", "onnx", "both", 7.0, 0.2, 20.0, "basic", "emoji"),
        ScreenConfig(True, True, frozenset(), ("de", "en"), Path("w.json")),
        OutgoingConfig((("enter", "true"),), "http://h/", ("h", 1), ("b", None), "u", "", "n", "L", True),
        WebConfig("box", 80, "secret"),
        KioskConfig("abc", 9.0, False, "Museum", "https://e.org", True, 11.0))
    assert parse(["--show", "bars,help"]).screen.show == {"bars", "help"}
    assert parse(["--output", "folder/"]).output == OutputConfig(Path("folder"), is_folder=True)
    assert parse(["--no-store", "--no-window", "--blur-faces"]) == Config(
        output=OutputConfig(can_write=False), analysis=AnalysisConfig(mask="blur"), screen=ScreenConfig(has_window=False))
    assert parse(["--kiosk", "--record-on-consent"]).records_on_consent and not parse(["--kiosk"]).records_on_consent


def test_rejects_contradictory_options():
    for arguments, words in ((["--token", "x" * 12], "--serve"), (["--no-store", "--log", "x.csv"], "cannot be combined"),
                             (["--kiosk", "--show", "bars"], "a screen of its own"),
                             (["--operator", "M"], "--kiosk"), (["--no-window", "--audio"], "--audio")):
        with pytest.raises(OutputError, match=words):
            parse(arguments)
    with pytest.raises(DeviceError, match="auto, cpu"):
        parse(["--device", "gpu"])


def test_config_is_frozen():
    with pytest.raises(AttributeError):
        parse([]).kiosk = KioskConfig()


def test_only_options_use_argparse():
    found = set()
    for path in (ROOT / "fer_live").rglob("*.py"):
        names = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
        if any("argparse" in [alias.name for alias in node.names] or getattr(node, "module", "") == "argparse" for node in names):
            found.add(path.relative_to(ROOT / "fer_live").as_posix())
    assert found == COMMANDS


def test_label_set_analyzer_has_own_classes_and_per_stream_steps(portrait, untrained):
    """Frames, images and files pass the same stages, and streams share no faces."""
    from fer_live.analysis.analyzer import Analyzer
    from fer_live.privacy.masks import Mask
    from fer_live.types import Frame

    analyzer = Analyzer.from_checkpoint(untrained, "cpu", label_set="basic")
    analyzer.steps.append(Mask("blur", min_face=0.2))
    assert analyzer.labels == ("positive", "neutral", "negative", "surprised")
    video = [Frame(portrait, i, i / 30) for i in range(4)]
    stream = analyzer.new_stream()
    for analyses in ([analyzer(frame) for frame in video], list(stream.analyze_all(video)), [analyzer(portrait)]):
        face = analyses[-1].faces[0]
        assert face.probs.shape == (4,) and face.label in (*analyzer.labels, "unsure")
        assert not np.array_equal(analyses[-1].frame.image[70:167, 176:273], portrait[70:167, 176:273]), "it is covered"
    assert stream.labels == analyzer.labels and stream.steps[0].min_face == 0.2 and stream.steps[0] is not analyzer.steps[0]
    stream.forget()
    assert analyzer.steps[0].lost and not stream.steps[0].lost
    for label_set, kind in (("other", ValueError), (None, TypeError)):
        with pytest.raises(kind, match="full, basic"):
            Analyzer.from_checkpoint(untrained, "cpu", label_set=label_set)


@pytest.mark.parametrize(("options", "message"), [
    ("--exit-chord abc", "--exit-chord is for a kiosk"), ("--idle-seconds 5", "--idle-seconds is for a kiosk"),
    ("--notice", "--notice is for a kiosk"), ("--no-notice", "--no-notice is for a kiosk"),
    ("--consent-seconds 5", "--consent-seconds is for a kiosk"),
    ("--kiosk --consent-seconds 5", "--consent-seconds is for --record-on-consent"),
    ("--language en,de", "several languages are for a kiosk"),
])
def test_options_without_effect_are_errors(options, message):
    with pytest.raises(OutputError, match=message):
        parse(options.split())


@pytest.mark.parametrize(("options", "message"), [
    ("--target-fps 20", "--target-fps is for live sources"), ("--serve 8080", "--serve is for live sources"),
    ("--show fps", "--show fps is for live sources"), ("--segment-minutes 5", "--segment-minutes is for cameras"),
])
def test_options_for_live_sources_are_errors_for_files(options, message):
    for kind in ("video", "images"):
        with pytest.raises(OutputError, match=message):
            check_outputs(parse(options.split()), kind, [])
    check_outputs(parse(options.split()), "live", [])


@pytest.mark.parametrize("extra", [["clip.mp4"], ["--source", "1"], ["--mirror"], ["--serve", "8080"], ["--kiosk"]])
def test_list_cameras_rejects_other_options(extra):
    with pytest.raises(OutputError, match="--list-cameras lists the cameras and exits, so"):
        parse(["--list-cameras", *extra])
    assert parse(["--list-cameras", "--verbose"]).list_cameras
