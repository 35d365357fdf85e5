"""--lsl NAME: Lab Streaming Layer, for EEG and experiment software.

Stream NAME, type Expression: float32, irregular rate, a sample for each face of each frame, stamped with the capture time of
the frame. Channels: the probabilities in the order of the classes, then track_id; NaN and 0 for a frame without faces.
Stream NAME-markers, type Markers: "recording started", "recording stopped", "camera lost", "camera found".
"""

from __future__ import annotations

import socket
import time
from typing import Any

from fer_live.outgoing.events import RUN, Event, Values
from fer_live.outgoing.packages import optional
from fer_live.outgoing.worker import Lost

DEPTH = 256  # frames that may wait: every one of them is a sample


class Lsl:
    """name: of the stream. labels: class names in the order of the probabilities. Raises OutputError."""

    kinds, depth, takes_pictures, settle_s = RUN, DEPTH, False, 0.0

    def __init__(self, name: str, labels: tuple[str, ...]):
        self.pylsl = optional("--lsl")
        self.option, self.name, self.labels = f"--lsl {name}", name, labels
        self.values: Any = None
        self.markers: Any = None
        self.offset_s = 0.0  # LSL's clock minus time.monotonic()

    def connect(self) -> None:
        """Announce both streams on the network. Receivers that come back find them again by their source_id. Raises Lost."""
        source_id = f"fer_live-{socket.gethostname()}-{self.name}"
        info = self.pylsl.StreamInfo(self.name, "Expression", len(self.labels) + 1, self.pylsl.IRREGULAR_RATE,
                                     self.pylsl.cf_float32, source_id)
        description = info.desc()
        description.append_child_value("manufacturer", "fer_live")
        channels = description.append_child("channels")
        for label, unit, kind in [*((name, "probability", "Expression") for name in self.labels), ("track_id", "id", "Misc")]:
            channel = channels.append_child("channel")
            for key, value in (("label", label), ("unit", unit), ("type", kind)):
                channel.append_child_value(key, value)
        markers = self.pylsl.StreamInfo(f"{self.name}-markers", "Markers", 1, self.pylsl.IRREGULAR_RATE,
                                        self.pylsl.cf_string, f"{source_id}-markers")
        markers.desc().append_child_value("manufacturer", "fer_live")
        self.offset_s = self._offset()
        try:
            self.values, self.markers = self.pylsl.StreamOutlet(info), self.pylsl.StreamOutlet(markers)
        except RuntimeError as error:
            raise Lost(str(error)) from None

    def send_values(self, values: Values) -> None:
        """A sample for each face, or one that says that there is none."""
        nobody = [float("nan")] * len(self.labels) + [0.0]
        samples = [[*map(float, face.probs), float(face.track_id)] for face in values.faces] or [nobody]
        for sample in samples:
            self.values.push_sample(sample, values.time_s + self.offset_s)

    def send_event(self, event: Event) -> None:
        """A marker."""
        self.markers.push_sample([event.kind], event.time_s + self.offset_s)

    def check(self) -> None:
        """Streams are announced; there is no other side that could be lost."""

    def close(self) -> None:
        """Take the streams from the network."""
        self.values = self.markers = None

    def _offset(self) -> float:
        """The least disturbed of some comparisons of the two clocks; on Linux they are the same one."""
        best = (float("inf"), 0.0)
        for _ in range(20):
            before_s, theirs_s, after_s = time.monotonic(), self.pylsl.local_clock(), time.monotonic()
            best = min(best, (after_s - before_s, theirs_s - (before_s + after_s) / 2))
        return best[1]
