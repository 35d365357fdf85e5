"""--on WHAT CMD: runs a command when a face enters, leaves, or keeps a label."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fer_live.outgoing.events import ENTER, HOLD, LEAVE, Event, Values
from fer_live.redact import command_environment

logger = logging.getLogger("fer_live")

MAX_RUNNING = 8  # commands at a time; further events wait
DEFAULT_HOLD_S = 1.0
TRIGGER = re.compile(r"([^\s:]+)(?::([0-9]+(?:\.[0-9]+)?))?")


@dataclass(frozen=True, slots=True)
class Rule:
    """One --on option. kind: ENTER, LEAVE or HOLD; HOLD also needs a label and seconds."""

    text: str  # the option's text: "happy:3"
    kind: str
    label: str
    seconds: float
    command: str

    @staticmethod
    def of(text: str, command: str) -> Rule:
        """Parse `text`: enter, leave, LABEL or LABEL:SECONDS. Raises ValueError with a one-line message."""
        found = TRIGGER.fullmatch(text)
        if not found or (found[1] in (ENTER, LEAVE) and found[2]):
            raise ValueError(f"{text!r} is not enter, leave, LABEL or LABEL:SECONDS")
        if not command.strip() or "\0" in command:
            raise ValueError(f"the command for {text!r} is empty or contains a null character")
        if found[1] in (ENTER, LEAVE):
            return Rule(text, found[1], "", 0.0, command)
        return Rule(text, HOLD, found[1], float(found[2] or DEFAULT_HOLD_S), command)

    def matches(self, event: Event) -> bool:
        """Whether `event` triggers this rule."""
        return event.kind == self.kind and (self.kind != HOLD or (event.label, event.seconds) == (self.label, self.seconds))


@dataclass(slots=True)
class _Running:
    rule: Rule
    process: subprocess.Popen
    snapshot: Path | None


class Commands:
    """Runs the shell command of each rule that an event triggers, in the background, and reports commands that fail.

    Event data reaches a command only through environment variables, never through its command line: FER_LIVE_EVENT (enter,
    leave or hold), FER_LIVE_LABEL, FER_LIVE_TRACK, FER_LIVE_CONFIDENCE, FER_LIVE_SECONDS, FER_LIVE_TIME and
    FER_LIVE_SNAPSHOT. The snapshot is a JPEG of the annotated image and is deleted when the command ends. With
    `is_storing=False` no snapshot is written and the variable is empty.
    """

    option, depth, takes_images, settle_s = "--on", 0, False, 0.0

    def __init__(self, rules: list[Rule], is_storing: bool = True):
        self.rules, self.is_storing = rules, is_storing
        self.kinds = frozenset(rule.kind for rule in rules)
        self.running: list[_Running] = []
        self.failing: set[Rule | None] = set()  # rules whose last command failed; None stands for the snapshots
        self.folder: Path | None = None

    @property
    def holds(self) -> frozenset[tuple[str, float]]:
        """The (label, seconds) pairs that the event detector must look for."""
        return frozenset((rule.label, rule.seconds) for rule in self.rules if rule.kind == HOLD)

    def connect(self) -> None:
        """Do nothing: there is no connection."""

    def send_values(self, values: Values) -> None:
        """Do nothing: commands are triggered by events only."""

    def send_event(self, event: Event) -> None:
        """Start the commands that `event` triggers. Blocks while MAX_RUNNING commands are running."""
        for rule in self.rules:
            if rule.matches(event):
                while len(self.running) >= MAX_RUNNING:
                    time.sleep(0.02)
                    self.check()
                self._start(rule, event)
        self.check()

    def check(self) -> None:
        """Reap finished commands and report failures."""
        for one in list(self.running):
            status = one.process.poll()
            if status is None:
                continue
            self.running.remove(one)
            if one.snapshot:
                one.snapshot.unlink(missing_ok=True)
            self._note(one.rule, f"the command failed with status {status}" if status else "")

    def close(self) -> None:
        """Wait up to one second for running commands. They are not killed, but their snapshots are deleted."""
        end_s = time.monotonic() + 1.0
        while self.running and time.monotonic() < end_s:
            time.sleep(0.02)
            self.check()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def _start(self, rule: Rule, event: Event) -> None:
        snapshot = self._save(event)
        found = {"EVENT": event.kind, "LABEL": event.label, "TRACK": str(event.track_id),
                 "CONFIDENCE": f"{event.confidence:.4f}", "SECONDS": f"{event.seconds:.3f}",
                 "TIME": datetime.fromtimestamp(event.unix_s, UTC).isoformat(timespec="milliseconds"),
                 "SNAPSHOT": str(snapshot or "")}
        environment = command_environment({f"FER_LIVE_{name}": value for name, value in found.items()})
        try:
            process = subprocess.Popen(rule.command, shell=True, stdin=subprocess.DEVNULL, stdout=2, env=environment)
        except OSError as error:
            self._note(rule, f"cannot start the command ({error.strerror})")
            return
        self.running.append(_Running(rule, process, snapshot))

    def _save(self, event: Event) -> Path | None:
        if not (self.is_storing and event.jpeg):
            return None
        try:
            if self.folder is None:
                self.folder = Path(tempfile.mkdtemp(prefix="fer_live-"))  # readable by its owner only
            handle, name = tempfile.mkstemp(".jpg", dir=self.folder)
            with open(handle, "wb") as file:
                file.write(event.jpeg)
        except OSError as error:  # the command starts anyway
            self._note(None, f"cannot write a snapshot ({error.strerror})")
            return None
        self.failing.discard(None)
        return Path(name)

    def _note(self, rule: Rule | None, fault: str) -> None:
        """Log a rule's failure, or that of the snapshots, once until the next success."""
        if fault and rule not in self.failing:
            logger.warning(f"--on{' ' + rule.text if rule else ''}: {fault}")
        (self.failing.add if fault else self.failing.discard)(rule)
