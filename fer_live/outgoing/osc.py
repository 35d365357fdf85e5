"""--osc HOST:PORT: Open Sound Control over UDP, for TouchDesigner, Max, Resolume and the like.

    /fer_live/faces              i      number of faces, each frame
    /fer_live/face/N/present     i      1 while somebody has place N, 0 once when they leave
    /fer_live/face/N/track       i      the face's number, which is never given out twice in a run
    /fer_live/face/N/label       s
    /fer_live/face/N/confidence  f      0..1
    /fer_live/face/N/box         f f f f  x, y, width, height; 0..1 of the picture
    /fer_live/face/N/CLASS       f      0..1 for each class: angry, disgust, fear, happy, neutral, sad, surprise
    /fer_live/enter              i i    track, place
    /fer_live/leave              i i f  track, place, seconds it was there
    /fer_live/label              i i s s  track, place, label, previous label
    /fer_live/hold               i i s f  track, place, label, seconds; for each --on LABEL:SECONDS
    /fer_live/camera             s      lost, found
    /fer_live/recording          i      1, 0

N counts from 1: a face keeps its place while it is there; the next one gets the lowest that is free.
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
ANSWER_S = 0.05  # in which a machine that is there says that nobody listens on a port
Message = tuple[str, tuple]


class Osc:
    """labels: class names in the order of the probabilities. Each frame is a bundle for the count and one for each face.

    UDP has no answers: that nobody listens is known only from machines that say so, as this one does.
    """

    kinds, depth, takes_pictures, settle_s = FACES | RUN, 1, False, 4.0

    def __init__(self, host: str, port: int, labels: tuple[str, ...]):
        self.option, self.labels = f"--osc {host}:{port}", labels
        self.bundles = optional("--osc", "osc_bundle_builder")
        self.messages = optional("--osc", "osc_message_builder")
        self.host, self.port = host, port
        self.socket: socket.socket | None = None
        self.places: dict[int, int] = {}  # track id -> N

    def connect(self) -> None:
        """Open the socket and see whether the first datagram is turned away. Raises OSError."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # most receivers know IPv4 only
        self.socket = socket.socket(family, kind, protocol)
        self.socket.connect(address)  # so that errors come back to this socket
        self._send([("/fer_live/faces", (0,))])
        time.sleep(ANSWER_S)
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "nobody listens there")

    def send_values(self, values: Values) -> None:
        """A bundle for the count and one for each face. Raises OSError."""
        self._send([(f"{ROOT}/faces", (len(values.faces),))])
        for face in values.faces:
            self._send(self._of_face(face, self._place(face.track_id), values.size_wh))

    def send_event(self, event: Event) -> None:
        """The event's message. Raises OSError."""
        place = self._place(event.track_id) if event.kind in FACES else 0
        who = (event.track_id, place)
        message: dict[str, Message] = {
            ENTER: (f"{ROOT}/enter", who),
            LEAVE: (f"{ROOT}/leave", (*who, float(event.seconds))),
            LABEL: (f"{ROOT}/label", (*who, event.label, event.previous)),
            HOLD: (f"{ROOT}/hold", (*who, event.label, float(event.seconds))),
            CAMERA_LOST: (f"{ROOT}/camera", ("lost",)), CAMERA_FOUND: (f"{ROOT}/camera", ("found",)),
            RECORDING_STARTED: (f"{ROOT}/recording", (1,)), RECORDING_STOPPED: (f"{ROOT}/recording", (0,)),
        }
        gone = [(f"{ROOT}/face/{place}/present", (0,))] if event.kind == LEAVE else []
        self._send([message[event.kind], *gone])
        if event.kind == LEAVE:
            self.places.pop(event.track_id, None)

    def check(self) -> None:
        """Nothing is known until something is sent."""

    def close(self) -> None:
        """Close the socket."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _of_face(self, face: Face, place: int, size_wh: tuple[int, int]) -> list[Message]:
        (x1, y1, x2, y2), (w, h), at = face.box, size_wh, f"{ROOT}/face/{place}"
        return [(f"{at}/present", (1,)), (f"{at}/track", (face.track_id,)), (f"{at}/label", (face.label,)),
                (f"{at}/confidence", (float(face.confidence),)),
                (f"{at}/box", (x1 / w, y1 / h, (x2 - x1) / w, (y2 - y1) / h)),
                *((f"{at}/{name}", (float(p),)) for name, p in zip(self.labels, face.probs, strict=True))]

    def _place(self, track_id: int) -> int:
        if track_id not in self.places:
            taken = set(self.places.values())
            self.places[track_id] = next(n for n in count(1) if n not in taken)
        return self.places[track_id]

    def _send(self, messages: list[Message]) -> None:
        bundle = self.bundles.OscBundleBuilder(self.bundles.IMMEDIATELY)
        for address, values in messages:
            builder = self.messages.OscMessageBuilder(address)
            for value in values:
                builder.add_arg(value)  # int -> i, float -> f, str -> s
            bundle.add_content(builder.build())
        assert self.socket is not None
        self.socket.send(bundle.build().dgram)
