"""Runs the user's commands when the camera is lost and found."""

from __future__ import annotations

import logging
import subprocess

from fer_live.redact import command_environment, redact

logger = logging.getLogger("fer_live")


class Hooks:
    """commands: event ("lost", "found") -> a command line for the shell. camera: its name, for the command.

    A command runs beside the program, which never waits for it; one that still runs is not started a second time. It finds
    FER_LIVE_EVENT, FER_LIVE_CAMERA and FER_LIVE_REASON in its environment, without passwords; what it prints goes to stderr.
    """

    def __init__(self, commands: dict[str, str | None], camera: str):
        self.commands, self.camera = commands, camera
        self.running: dict[str, subprocess.Popen] = {}

    def __call__(self, event: str, reason: str) -> None:
        """Start the event's command, if there is one. What goes wrong with it is said and changes nothing else."""
        self._reap()
        command = self.commands.get(event)
        if not command:
            return
        if event in self.running:
            logger.warning(f"--on-camera-{event}: the command still runs from the last time and was not started again")
            return
        names = {"FER_LIVE_EVENT": event, "FER_LIVE_CAMERA": redact(self.camera), "FER_LIVE_REASON": redact(reason)}
        try:
            self.running[event] = subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=2,
                                                   env=command_environment(names))
        except (OSError, ValueError) as error:
            logger.warning(f"--on-camera-{event}: cannot start the command ({redact(str(error))})")

    def _reap(self) -> None:
        """Take leave of what has ended, and say what failed."""
        for event, process in list(self.running.items()):
            status = process.poll()
            if status is not None:
                del self.running[event]
                if status:
                    logger.warning(f"--on-camera-{event}: the command failed with status {status}")
