"""--osc HOST:PORT: Open Sound Control over UDP, for TouchDesigner, Max, Resolume and similar programs.

    /fer_live/faces              i      number of faces, every frame
    /fer_live/face/N/present     i      1 while slot N is occupied, 0 once when the face leaves
    /fer_live/face/N/track       i      track id, unique within a run
    /fer_live/face/N/label       s
    /fer_live/face/N/confidence  f      0..1
    /fer_live/face/N/box         f f f f  x, y, width, height; 0..1 of the image
    /fer_live/face/N/CLASS       f      0..1 for each class: angry, disgust, fear, happy, neutral, sad, surprise
    /fer_live/enter              i i    track, slot
    /fer_live/leave              i i f  track, slot, seconds in view
    /fer_live/label              i i s s  track, slot, label, previous label
    /fer_live/hold               i i s f  track, slot, label, seconds; for each --on LABEL:SECONDS
    /fer_live/camera             s      lost, found
    /fer_live/recording          i      1, 0

Slots N count from 1. A face keeps its slot until it leaves; a new face gets the lowest free slot.
"""

from __future__ import annotations

import socket
import time
from itertools import count

from fer_live.outgoing.events import (
    CAMERA_FOUND,
    CAMERA_LOST,
    ENTER,
    FACES,
    HOLD,
    LABEL,
    LEAVE,
    RECORDING_STARTED,
    RECORDING_STOPPED,
    RUN,
    Event,
    Values,
)
from fer_live.outgoing.packages import optional
from fer_live.types import Face

ROOT = "/fer_live"
ANSWER_S = 0.05  # seconds to wait for "port unreachable"
Message = tuple[str, tuple]


class Osc:
    """Sends to an OSC receiver. labels: class names in the order of the probabilities.

    Each frame is one bundle for the face count and one per face. UDP is connectionless: a missing receiver is noticed only
    if its machine answers "port unreachable", as the local one does.
    """

    kinds, depth, takes_images, settle_s = FACES | RUN, 1, False, 4.0

    def __init__(self, host: str, port: int, labels: tuple[str, ...]):
        self.option, self.labels = f"--osc {host}:{port}", labels
        self.bundles = optional("--osc", "osc_bundle_builder")
        self.messages = optional("--osc", "osc_message_builder")
        self.host, self.port = host, port
        self.socket: socket.socket | None = None
        self.slots: dict[int, int] = {}  # track id -> slot N

    def connect(self) -> None:
        """Open the socket and check whether a first datagram is rejected. Raises OSError."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # most receivers are IPv4 only
        self.socket = socket.socket(family, kind, protocol)
        self.socket.connect(address)  # so that ICMP errors reach this socket
        self._send([("/fer_live/faces", (0,))])
        time.sleep(ANSWER_S)
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "no program is listening on that port")

    def send_values(self, values: Values) -> None:
        """Send one bundle for the face count and one per face. Raises OSError."""
        self._send([(f"{ROOT}/faces", (len(values.faces),))])
        for face in values.faces:
            self._send(self._of_face(face, self._slot(face.track_id), values.size_wh))

    def send_event(self, event: Event) -> None:
        """Send the event's message. Raises OSError."""
        slot = self._slot(event.track_id) if event.kind in FACES else 0
        who = (event.track_id, slot)
        message: dict[str, Message] = {
            ENTER: (f"{ROOT}/enter", who),
            LEAVE: (f"{ROOT}/leave", (*who, float(event.seconds))),
            LABEL: (f"{ROOT}/label", (*who, event.label, event.previous)),
            HOLD: (f"{ROOT}/hold", (*who, event.label, float(event.seconds))),
            CAMERA_LOST: (f"{ROOT}/camera", ("lost",)), CAMERA_FOUND: (f"{ROOT}/camera", ("found",)),
            RECORDING_STARTED: (f"{ROOT}/recording", (1,)), RECORDING_STOPPED: (f"{ROOT}/recording", (0,)),
        }
        gone = [(f"{ROOT}/face/{slot}/present", (0,))] if event.kind == LEAVE else []
        self._send([message[event.kind], *gone])
        if event.kind == LEAVE:
            self.slots.pop(event.track_id, None)

    def check(self) -> None:
        """Do nothing: UDP errors show up only when something is sent."""

    def close(self) -> None:
        """Close the socket."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _of_face(self, face: Face, slot: int, size_wh: tuple[int, int]) -> list[Message]:
        (x1, y1, x2, y2), (w, h), at = face.box, size_wh, f"{ROOT}/face/{slot}"
        return [(f"{at}/present", (1,)), (f"{at}/track", (face.track_id,)), (f"{at}/label", (face.label,)),
                (f"{at}/confidence", (float(face.confidence),)),
                (f"{at}/box", (x1 / w, y1 / h, (x2 - x1) / w, (y2 - y1) / h)),
                *((f"{at}/{name}", (float(p),)) for name, p in zip(self.labels, face.probs, strict=True))]

    def _slot(self, track_id: int) -> int:
        if track_id not in self.slots:
            taken = set(self.slots.values())
            self.slots[track_id] = next(n for n in count(1) if n not in taken)
        return self.slots[track_id]

    def _send(self, messages: list[Message]) -> None:
        bundle = self.bundles.OscBundleBuilder(self.bundles.IMMEDIATELY)
        for address, values in messages:
            builder = self.messages.OscMessageBuilder(address)
            for value in values:
                builder.add_arg(value)  # int -> i, float -> f, str -> s
            bundle.add_content(builder.build())
        assert self.socket is not None
        self.socket.send(bundle.build().dgram)
