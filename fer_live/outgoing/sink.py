"""The sink that feeds all receivers of a live run, and their metrics."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from fer_live.outgoing.events import EventDetector, Values
from fer_live.outgoing.worker import Receiver, Worker
from fer_live.types import Analysis

METRICS = (  # name, type, help text, attribute of Counts
    ("fer_live_output_values_total", "counter", "Frames sent by an output.", "values"),
    ("fer_live_output_values_skipped_total", "counter", "Frames skipped in favor of a newer one.", "values_skipped"),
    ("fer_live_output_events_total", "counter", "Events delivered by an output.", "events"),
    ("fer_live_output_events_lost_total", "counter", "Events dropped by an output.", "events_lost"),
    ("fer_live_output_losses_total", "counter", "Times an output lost its connection.", "losses"),
)


class Outgoing:
    """A sink that passes each frame's values and events to one worker per receiver, without blocking.

    wants_images: kinds of events that carry the annotated image as JPEG.
    """

    def __init__(self, receivers: list[Receiver], detector: EventDetector, wants_images: frozenset[str] = frozenset()):
        self.detector, self.wants_images = detector, wants_images
        self.workers = [Worker(receiver) for receiver in receivers]

    @property
    def needs_image(self) -> bool:
        """Whether a receiver needs the image of each frame, or a possible event needs it."""
        return bool(self.wants_images) or any(worker.receiver.takes_images for worker in self.workers)

    def __enter__(self) -> Outgoing:
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *exception) -> None:
        """Send the final events and flush all workers in parallel."""
        last = self.detector.end()
        for worker in self.workers:
            worker.put_events(last)
            worker.ask_to_end()
        for worker in self.workers:
            worker.join()

    def write(self, image: np.ndarray, analysis: Analysis) -> None:
        """Queue an annotated image (H, W, 3) uint8 BGR, which must not be modified afterwards, and its analysis."""
        events = self.detector(analysis)
        if any(event.kind in self.wants_images for event in events):
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            events = [replace(event, jpeg=jpeg) if event.kind in self.wants_images else event for event in events]
        values = Values.of(image, analysis)
        for worker in self.workers:
            worker.put(values, events)

    def metrics_text(self) -> str:
        """Return the metrics in Prometheus text format 0.0.4, one line per output."""
        lines = []
        names = {worker: worker.receiver.option.split()[0].lstrip("-") for worker in self.workers}
        for name, kind, text, key in METRICS:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f'{name}{{output="{names[worker]}"}} {getattr(worker.counts, key)}' for worker in self.workers]
        for name, text, read in (("fer_live_output_up", "1 while an output is connected.", lambda w: int(w.is_up)),
                                 ("fer_live_output_events_waiting", "Events queued for sending.", lambda w: w.waiting)):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f'{name}{{output="{names[worker]}"}} {read(worker)}' for worker in self.workers]
        return "\n".join(lines) + "\n"
