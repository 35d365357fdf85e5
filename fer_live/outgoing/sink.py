"""The sink that feeds all receivers of a live run, and what /metrics says of them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from fer_live.outgoing.events import EventDetector, Values
from fer_live.outgoing.worker import Receiver, Worker
from fer_live.types import Analysis

METRICS = (  # name, kind, what it is, attribute of Counts
    ("fer_live_output_values_total", "counter", "Frames of which an output sent the values.", "values"),
    ("fer_live_output_values_skipped_total", "counter", "Frames left out for a newer one.", "values_skipped"),
    ("fer_live_output_events_total", "counter", "Events that an output delivered.", "events"),
    ("fer_live_output_events_lost_total", "counter", "Events that an output gave up.", "events_lost"),
    ("fer_live_output_losses_total", "counter", "Times that the other side was lost.", "losses"),
)


class Outgoing:
    """A sink: hands each frame's values and events to a worker for each receiver. Never waits for any of them.

    wants_pictures: kinds of events that carry the shown picture as JPEG.
    """

    def __init__(self, receivers: list[Receiver], detector: EventDetector, wants_pictures: frozenset[str] = frozenset()):
        self.detector, self.wants_pictures = detector, wants_pictures
        self.workers = [Worker(receiver) for receiver in receivers]

    @property
    def needs_picture(self) -> bool:
        """Whether a receiver takes the picture of each frame, or an event that may come needs it."""
        return bool(self.wants_pictures) or any(worker.receiver.takes_pictures for worker in self.workers)

    def __enter__(self) -> Outgoing:
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *exception) -> None:
        """Everybody leaves; then all workers send what waits, at the same time."""
        last = self.detector.end()
        for worker in self.workers:
            worker.put_events(last)
            worker.ask_to_end()
        for worker in self.workers:
            worker.join()

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Hand over (H, W, 3) uint8 BGR, which must not be drawn on afterwards, and what it shows."""
        events = self.detector(analysis)
        if any(event.kind in self.wants_pictures for event in events):
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            events = [replace(event, jpeg=jpeg) if event.kind in self.wants_pictures else event for event in events]
        values = Values.of(image, analysis)
        for worker in self.workers:
            worker.put(values, events)

    def metrics_text(self) -> str:
        """Prometheus' text format, version 0.0.4: a line for each output."""
        lines = []
        names = {worker: worker.receiver.option.split()[0].lstrip("-") for worker in self.workers}
        for name, kind, text, key in METRICS:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f'{name}{{output="{names[worker]}"}} {getattr(worker.counts, key)}' for worker in self.workers]
        for name, text, read in (("fer_live_output_up", "1 while the other side is there.", lambda w: int(w.is_up)),
                                 ("fer_live_output_events_waiting", "Events that wait to be sent.", lambda w: w.waiting)):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f'{name}{{output="{names[worker]}"}} {read(worker)}' for worker in self.workers]
        return "\n".join(lines) + "\n"
