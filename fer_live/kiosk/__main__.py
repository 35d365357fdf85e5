"""python -m fer_live.kiosk install | uninstall: a systemd user unit that keeps the kiosk running from login on."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from fer_live.app.messages import shown
from fer_live.app.options import parse
from fer_live.app.outgoing_options import check_outgoing
from fer_live.model.device import DeviceError
from fer_live.model.paths import exists, one_line
from fer_live.model.suggest import suggest_names
from fer_live.redact import HIDDEN, redact, redact_errors
from fer_live.types import OutputError

logger = logging.getLogger("fer_live")

NAME = "fer_live-kiosk.service"
ROOT = Path(__file__).resolve().parents[2]
# Status 0 means that the program was closed at the screen or reached --max-seconds; after any other status, such as for a lost
# camera, systemd restarts it. SIGTERM ends the program with 143, which only `systemctl stop` treats as success.
UNIT = """[Unit]
Description=fer_live kiosk
After=graphical-session.target
PartOf=graphical-session.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
WorkingDirectory={root}
ExecStart={command}
Restart=always
RestartSec=5
RestartPreventExitStatus=0
SuccessExitStatus=143
WatchdogSec={watchdog_s:.0f}
TimeoutStartSec={start_s:.0f}
TimeoutStopSec=15

[Install]
WantedBy=graphical-session.target
"""


@shown()
def main(arguments: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    own, passed = arguments[:cut], arguments[cut + 1 :]
    parser = redact_errors(suggest_names(argparse.ArgumentParser(
        prog="python -m fer_live.kiosk", description="Installs a systemd user unit that starts the kiosk after login.",
        epilog="example: python -m fer_live.kiosk install -- --source 0 --language de,en --operator 'City Museum'",
        usage="%(prog)s install|uninstall [--dry-run] [-- options of python -m fer_live]",
    )))
    parser.add_argument("action", choices=("install", "uninstall"))
    parser.add_argument("--dry-run", action="store_true", help="print what would be done without changing anything")
    args = parser.parse_args(own)
    try:
        return install(passed, args.dry_run) if args.action == "install" else uninstall(args.dry_run)
    except (OutputError, DeviceError, OSError) as error:
        logger.error(f"error: {one_line(error)}")
        return 2


def unit_path() -> Path:
    """Return the path of the unit file."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user" / NAME


def unit(options: list[str], hide: bool = False) -> str:
    """Validate these options of `python -m fer_live` and return the unit's text. hide: redact passwords and the token."""
    options = ["--kiosk", *(option for option in options if option != "--kiosk")]
    config = parse(options)
    if not config.source.names:  # an explicit camera is awaited; by default, a missing camera would show the demo
        options[1:1] = ["--source", "0"]
        config = parse(options)
    check_outgoing(config.outgoing, "live")  # fail now rather than at each start
    silent_s = config.source.silent_s or 0.0  # a slow camera must not trigger the watchdog
    if hide:
        token = config.web.token if config.web else None
        options = [redact(option.replace(token, HIDDEN) if token else option) for option in options]
    command = [sys.executable, "-m", "fer_live", *options]
    return UNIT.format(root=_escaped(str(ROOT)), command=" ".join(_quoted(word) for word in command),
                       watchdog_s=max(30.0, 2 * silent_s + 15.0), start_s=180.0 + 4 * silent_s)


def _escaped(text: str) -> str:
    if any(ord(c) < 32 for c in text):
        raise OutputError("a unit cannot contain line breaks; remove them from the options")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise OutputError("a unit cannot contain a name that is not UTF-8; rename the file")
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Quote one word of ExecStart (systemd.service(5), "Command lines")."""
    word = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{word}"'


def install(options: list[str], dry_run: bool) -> int:
    """Write the unit and enable it from the next login on. Returns the exit status."""
    text, path = unit(options, hide=dry_run), unit_path()
    if dry_run:
        print(f"# {path}, without passwords and token\n{text}", end="")
        return 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)  # also for an existing file, since options can contain a camera's password
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror})") from None
    print(f"wrote {path}")
    if _systemctl(["daemon-reload"], ["enable", NAME]):
        print(f"it starts after the next login, or now with: systemctl --user start {NAME}")
    return 0


def uninstall(dry_run: bool) -> int:
    """Stop and remove the unit. Returns the exit status."""
    path = unit_path()
    if dry_run:
        print(f"would stop and disable {NAME} and remove {path}" if exists(path) else f"nothing to remove: no {path}")
        return 0
    if not exists(path):
        print(f"nothing to remove: no {path}")
        return 0
    _systemctl(["disable", "--now", NAME])
    try:
        path.unlink()
    except OSError as error:
        raise OutputError(f"cannot remove {path} ({error.strerror})") from None
    _systemctl(["daemon-reload"])
    print(f"removed {path}")
    return 0


def _systemctl(*commands: list[str]) -> bool:
    """Run systemctl --user; if it fails, log the commands to run manually."""
    for i, command in enumerate(commands):
        whole = ["systemctl", "--user", *command]
        if not shutil.which("systemctl") or subprocess.run(whole, capture_output=True, check=False).returncode:
            rest = " && ".join("systemctl --user " + " ".join(left) for left in commands[i:])
            logger.warning(f"systemd's user manager did not respond; run in the desktop session: {rest}")
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
