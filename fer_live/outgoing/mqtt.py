"""--mqtt HOST[:PORT]: publishes values and events to a broker, with Home Assistant discovery.

    fer_live/NAME/availability           online, offline (also the last will)      retained
    fer_live/NAME/SOURCE/availability    online, offline while its camera is lost   retained
    fer_live/NAME/SOURCE/state           JSON: label, confidence, faces, track_id, probs   retained, at most once a second
    fer_live/NAME/event                  JSON, one message per event
    homeassistant/sensor/fer_live_NAME_SOURCE_expression/config, ..._faces/config          retained
"""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_live.outgoing.events import FACES, RUN, Event, Values
from fer_live.outgoing.packages import optional
from fer_live.outgoing.worker import Lost
from fer_live.redact import redact_address
from fer_live.types import UNSURE, Box, Face, OutputError

PASSWORD_VARIABLE = "FER_LIVE_MQTT_PASSWORD"  # an environment variable, since other users can see command lines
PORT, TLS_PORT = 1883, 8883
KEEPALIVE_S = 15  # seconds; the broker publishes the last will after 1.5 times this
ANSWER_S = 5.0  # seconds; timeout for broker acknowledgments
EVERY_S = 1.0  # seconds; minimum between two state messages of a source
NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Broker:
    """Broker address and credentials. tls: None for plain TCP, "" for the system's CA certificates, or a CA file."""

    host: str
    port: int | None = None
    user: str | None = None
    tls: str | None = None


def slug(text: str) -> str:
    """Convert `text` to a topic segment of letters, digits and _, without passwords."""
    return re.sub(r"[^A-Za-z0-9]+", "_", redact_address(text)).strip("_").lower()[:40] or "source"


class Mqtt:
    """Publishes to an MQTT broker.

    name: device name for topics. sources: display names of the sources, in the order of `Values.tiles`. labels: class names
    in the order of the probabilities. is_lost: whether the camera of source number N is lost. Raises OutputError.

    The state of a source describes its largest face, or "nobody".
    """

    kinds, depth, takes_images, settle_s = FACES | RUN, 1, False, 0.0

    def __init__(self, broker: Broker, name: str, sources: list[str], labels: tuple[str, ...],
                 is_lost: Callable[[int], bool] = lambda number: False):
        self.paho = optional("--mqtt", "client")
        self.broker, self.name, self.labels, self.is_lost = broker, slug(name), labels, is_lost
        self.port = broker.port or (PORT if broker.tls is None else TLS_PORT)
        self.option = f"--mqtt {broker.host}:{self.port}"
        self.sources = [redact_address(source) for source in sources]
        self.base = f"fer_live/{self.name}"
        self.places = [f"{self.base}/{place}" for place in _distinct([slug(source) for source in sources])]
        self.context = _tls(broker.tls) if broker.tls is not None else None
        self.client: Any = None
        self.answered = threading.Event()
        self.refusal = ""
        self.sent: dict[str, tuple[str, float]] = {}  # topic -> payload and time sent

    def connect(self) -> None:
        """Connect, publish the discovery configuration, and report online. Raises Lost or OSError."""
        client = self.client = self.paho.Client(self.paho.CallbackAPIVersion.VERSION2, f"fer_live_{self.name}",
                                                reconnect_on_failure=False)
        if self.broker.user is not None:
            client.username_pw_set(self.broker.user, os.environ.get(PASSWORD_VARIABLE))
        if self.context is not None:
            client.tls_set_context(self.context)
        client.will_set(f"{self.base}/availability", "offline", qos=1, retain=True)
        self.answered.clear()
        self.refusal = ""
        client.on_connect = self._on_connect
        client.connect(self.broker.host, self.port, KEEPALIVE_S)
        client.loop_start()
        if not self.answered.wait(ANSWER_S):
            raise Lost(f"no answer within {ANSWER_S:g} s")
        if self.refusal:
            raise Lost(f"the broker refused the connection: {self.refusal}")
        self.sent.clear()
        for topic, config in self.discovery():
            self._publish(topic, json.dumps(config), retain=True)
        self._publish(f"{self.base}/availability", "online", retain=True)

    def send_values(self, values: Values) -> None:
        """Publish changed availability, and changed states at most once per EVERY_S. Raises Lost."""
        self.check()
        by_source = self._by_source(values) or []  # one entry per place, or none at all
        for number, (place, faces) in enumerate(zip(self.places, by_source, strict=False)):
            is_offline = values.is_slate or self.is_lost(number)
            self._publish_changed(f"{place}/availability", "offline" if is_offline else "online")
            if not is_offline and time.monotonic() - self.sent.get(f"{place}/state", ("", float("-inf")))[1] >= EVERY_S:
                self._publish_changed(f"{place}/state", json.dumps(self._state(faces)))

    def send_event(self, event: Event) -> None:
        """Publish the event and wait for the broker's acknowledgment. Raises Lost."""
        self._publish(f"{self.base}/event", json.dumps(event.to_dict()))

    def check(self) -> None:
        """Raise Lost if the connection is closed."""
        if self.client is None or not self.client.is_connected():
            raise Lost("the connection was closed")

    def close(self) -> None:
        """Report offline if still connected, then disconnect."""
        client, self.client = self.client, None
        if client is None:
            return
        if client.is_connected():
            client.publish(f"{self.base}/availability", "offline", qos=1, retain=True).wait_for_publish(1.0)
        client.disconnect()
        client.loop_stop()

    def discovery(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (topic, configuration) pairs for Home Assistant MQTT discovery."""
        device = {"identifiers": [f"fer_live_{self.name}"], "name": f"fer_live {self.name}", "manufacturer": "fer_live"}
        found: list[tuple[str, dict[str, Any]]] = []
        for place, source in zip(self.places, self.sources, strict=True):
            node = f"fer_live_{self.name}_{place.rpartition('/')[2]}"
            shared = {"state_topic": f"{place}/state", "availability_mode": "all", "device": device, "availability": [
                {"topic": f"{self.base}/availability"}, {"topic": f"{place}/availability"}]}
            found.append((f"homeassistant/sensor/{node}_expression/config", {
                **shared, "name": f"{source} expression", "unique_id": f"{node}_expression", "icon": "mdi:emoticon-outline",
                "value_template": "{{ value_json.label }}", "json_attributes_topic": f"{place}/state",
                "device_class": "enum", "options": [*self.labels, UNSURE, NOBODY]}))
            found.append((f"homeassistant/sensor/{node}_faces/config", {
                **shared, "name": f"{source} faces", "unique_id": f"{node}_faces", "icon": "mdi:account-multiple",
                "value_template": "{{ value_json.faces }}", "state_class": "measurement"}))
        return found

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.refusal = str(reason) if reason.is_failure else ""
        self.answered.set()

    def _state(self, faces: list[Face]) -> dict[str, Any]:
        if not faces:
            return {"label": NOBODY, "confidence": 0.0, "faces": 0}
        face = max(faces, key=lambda one: (one.box[2] - one.box[0]) * (one.box[3] - one.box[1]))
        return {"label": face.label, "confidence": round(float(face.confidence), 2), "faces": len(faces),
                "track_id": face.track_id,
                "probs": {name: round(float(p), 2) for name, p in zip(self.labels, face.probs, strict=True)}}

    def _by_source(self, values: Values) -> list[list[Face]] | None:
        """Group the faces by source. None while some of several sources are missing from the frame."""
        if len(self.places) == 1:
            return [list(values.faces)]
        if len(values.tiles) != len(self.places):
            return None
        return [[face for face in values.faces if _is_in(face, tile)] for tile in values.tiles]

    def _publish_changed(self, topic: str, payload: str) -> None:
        if topic not in self.sent or payload != self.sent[topic][0]:
            self._publish(topic, payload, retain=True)
            self.sent[topic] = payload, time.monotonic()

    def _publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self.check()
        try:
            info = self.client.publish(topic, payload, qos=1, retain=retain)
            end_s = time.monotonic() + ANSWER_S
            while not info.is_published():
                info.wait_for_publish(0.2)
                self.check()
                if time.monotonic() > end_s:
                    raise Lost(f"the broker sent no acknowledgment for {ANSWER_S:g} s")
        except (RuntimeError, ValueError) as error:  # paho raises these for a closed connection and for a full queue
            raise Lost(str(error)) from None


def _is_in(face: Face, tile: Box) -> bool:
    x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    return tile[0] <= x < tile[2] and tile[1] <= y < tile[3]


def _distinct(names: list[str]) -> list[str]:
    """Append a numeric suffix to repeated names."""
    made: list[str] = []
    for name in names:
        number, free = 2, name
        while free in made:
            number, free = number + 1, f"{name}_{number}"
        made.append(free)
    return made


def _tls(authorities: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities or None)
    except OSError as error:  # includes ssl.SSLError
        is_file = Path(authorities).is_file()
        why = "not a PEM file with certificates" if is_file else error.strerror or "cannot be read"
        raise OutputError(f"--mqtt-tls {authorities}: {why}") from None
