"""--lsl NAME: Lab Streaming Layer, for EEG and experiment software.

Stream NAME, type Expression: float32, irregular rate, one sample per face and frame, timestamped with the frame's capture
time. Channels: the class probabilities, then track_id. A frame without faces is one sample of NaN and track_id 0.
Stream NAME-markers, type Markers: "recording started", "recording stopped", "camera lost", "camera found".
"""

from __future__ import annotations

import socket
import time
from typing import Any

from fer_live.outgoing.events import RUN, Event, Values
from fer_live.outgoing.packages import optional
from fer_live.outgoing.worker import Lost

DEPTH = 256  # frames that can be queued; none is skipped, since each is a sample


class Lsl:
    """Sends to Lab Streaming Layer.

    name: stream name. labels: class names in the order of the probabilities. Raises OutputError if pylsl is missing.
    """

    kinds, depth, takes_images, settle_s = RUN, DEPTH, False, 0.0

    def __init__(self, name: str, labels: tuple[str, ...]):
        self.pylsl = optional("--lsl")
        self.option, self.name, self.labels = f"--lsl {name}", name, labels
        self.values: Any = None
        self.markers: Any = None
        self.offset_s = 0.0  # LSL's clock minus time.monotonic()

    def connect(self) -> None:
        """Announce both streams on the network. Receivers reconnect to them by source_id. Raises Lost."""
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
        """Push one sample per face, or one empty sample for a frame without faces."""
        empty = [float("nan")] * len(self.labels) + [0.0]
        samples = [[*map(float, face.probs), float(face.track_id)] for face in values.faces] or [empty]
        for sample in samples:
            self.values.push_sample(sample, values.time_s + self.offset_s)

    def send_event(self, event: Event) -> None:
        """Push the event as a marker."""
        self.markers.push_sample([event.kind], event.time_s + self.offset_s)

    def check(self) -> None:
        """Do nothing: LSL outlets have no connection that can be lost."""

    def close(self) -> None:
        """Remove both streams from the network."""
        self.values = self.markers = None

    def _offset(self) -> float:
        """Estimate the clock offset from the fastest of 20 readings; on Linux both clocks are the same."""
        best = (float("inf"), 0.0)
        for _ in range(20):
            before_s, theirs_s, after_s = time.monotonic(), self.pylsl.local_clock(), time.monotonic()
            best = min(best, (after_s - before_s, theirs_s - (before_s + after_s) / 2))
        return best[1]
