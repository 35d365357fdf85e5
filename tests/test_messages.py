"""Messages: one logger, plain lines on stderr for commands, and no output when used as a library."""

import ast
import logging
import subprocess
import sys

import cv2
import pytest

from fer_live.__main__ import main
from fer_live.app.messages import shown
from tests.conftest import ROOT

LIBRARY = """
import logging, numpy as np, cv2
import fer_live, fer_live.__main__, fer_live.app.live, fer_live.web
from fer_live.app.outputs import Outputs
from fer_live.types import View
logger = logging.getLogger("fer_live")
assert not logger.handlers and logger.level == logging.NOTSET and not logging.getLogger().handlers
for wanted in (False, True):
    if wanted:
        logging.basicConfig(level=logging.INFO, format="mine: %(name)s %(levelname)s %(message)s")
    fer_live.Analyzer.from_checkpoint(MODEL, device="cpu")
    logger.info("quiet unless asked for")
    Outputs(View()).tell("log stopped", "no room")
"""


def test_importing_program_controls_logging(untrained):
    out = subprocess.run([sys.executable, "-c", LIBRARY.replace("MODEL", repr(str(untrained)))], cwd=ROOT, capture_output=True,
                         text=True, check=True)
    assert out.stdout == "" and out.stderr.splitlines() == [
        "log stopped: no room", "mine: fer_live INFO quiet unless asked for", "mine: fer_live WARNING log stopped: no room"]


@pytest.mark.parametrize(("option", "says", "is_silent"), [
    ([], {"efficientnet_lite0 on", "wrote "}, {"loaded in"}), (["--quiet"], set(), {"efficientnet_lite0", "wrote", "frames"}),
    (["--verbose"], {"efficientnet_lite0 on", "wrote ", "loaded in", "OpenCV"}, set())])
def test_quiet_and_verbose_set_the_level(tmp_path, portrait, untrained, option, says, is_silent):
    """In a separate process, messages are plain lines without level names."""
    cv2.imwrite(str(tmp_path / "a.png"), portrait)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    command = [sys.executable, "-m", "fer_live", "--source", str(tmp_path), "--no-window", "--log", str(tmp_path / "o.jsonl"),
               "--model", str(untrained), "--device", "cpu", *option]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert out.returncode == 0 and out.stdout == ""
    assert "skipped an image (" in out.stderr, "a warning is always shown"
    assert all(words in out.stderr for words in says) and not any(words in out.stderr for words in is_silent), out.stderr
    assert not any(name in out.stderr for name in ("INFO", "WARNING", "DEBUG", "Traceback"))
    out = subprocess.run([*command[:4], "--source", str(tmp_path / "none.png"), "--no-window", *option], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    assert out.returncode == 2 and "error: " in out.stderr.splitlines()[-1]


def test_quiet_applies_to_live_runs(untrained, capsys):
    live = ["--source", "demo", "--no-window", "--max-seconds", "1.5", "--model", str(untrained), "--device", "cpu"]
    assert main([*live, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main([*live, "--verbose"]) == 0
    out = capsys.readouterr()
    assert " fps " in out.out and "frames shown" in out.err and "demo: " in out.err


def test_quiet_and_verbose_cannot_be_combined(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--quiet", "--verbose"])
    assert end.value.code == 2 and "not allowed with" in capsys.readouterr().err


def test_shown_messages_go_to_stderr_and_restore_the_logger(capsys):
    logger = logging.getLogger("fer_live")
    kept, logger.handlers, logger.propagate, before = logger.handlers, [], True, logger.level  # those of the tests
    try:
        with shown():
            logger.info("100% %s plain")
            with shown(logging.WARNING):
                logger.info("not this")
                logger.warning("once")
            logger.debug("nor this")
        assert not logger.handlers and logger.propagate and logger.level == before
    finally:
        logger.handlers, logger.propagate = kept, False
    assert capsys.readouterr().err == "100% %s plain\nonce\n"


def test_no_print_to_stderr_bypasses_the_logger():
    """Allowed: the doctor's progress and its report to the parent process, and a generated token, which logs must not have."""
    printing = []
    for path in (ROOT / "fer_live").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_print = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
            if is_print and any(keyword.arg == "file" for keyword in node.keywords):
                printing.append(path.relative_to(ROOT / "fer_live").as_posix())
    assert sorted(set(printing)) == ["doctor/__main__.py", "doctor/machine.py", "web/__init__.py"]
