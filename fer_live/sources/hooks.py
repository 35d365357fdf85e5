"""Runs user commands when a camera is lost or found."""

from __future__ import annotations

import logging
import subprocess

from fer_live.redact import command_environment, redact

logger = logging.getLogger("fer_live")


class Hooks:
    """Runs a shell command per event. commands: event ("lost" or "found") -> command line. camera: its name.

    Commands run in the background; one that is still running is not started again. Their environment has FER_LIVE_EVENT,
    FER_LIVE_CAMERA and FER_LIVE_REASON, without passwords; their output goes to stderr.
    """

    def __init__(self, commands: dict[str, str | None], camera: str):
        self.commands, self.camera = commands, camera
        self.running: dict[str, subprocess.Popen] = {}

    def __call__(self, event: str, reason: str) -> None:
        """Start the event's command, if there is one. Failures are logged."""
        self._reap()
        command = self.commands.get(event)
        if not command:
            return
        if event in self.running:
            logger.warning(f"--on-camera-{event}: the previous command is still running, so it was not started again")
            return
        names = {"FER_LIVE_EVENT": event, "FER_LIVE_CAMERA": redact(self.camera), "FER_LIVE_REASON": redact(reason)}
        try:
            self.running[event] = subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=2,
                                                   env=command_environment(names))
        except (OSError, ValueError) as error:
            logger.warning(f"--on-camera-{event}: cannot start the command ({redact(str(error))})")

    def _reap(self) -> None:
        """Reap finished commands and report failures."""
        for event, process in list(self.running.items()):
            status = process.poll()
            if status is not None:
                del self.running[event]
                if status:
                    logger.warning(f"--on-camera-{event}: the command failed with status {status}")
