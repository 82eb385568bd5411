"""The control plane as appliances in virtual time reach it: the same core, called directly."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.cloud.service.authority import SymbolicAuthority
from harness.cloud.service.content import BytesContent, MemoryObjects
from harness.cloud.service.core import Endpoints, Settings
from harness.cloud.service.plane import ControlPlane
from harness.engine.factory import Payload
from harness.engine.model.machine import EPOCH_S
from harness.errors import Corrupt, NotFound, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import simpy

    from harness.cloud.service.content import Content
    from harness.engine.model.machine import Machine

_HTTPS = "https://cloud.invalid"


class Cloud:
    """One control plane and the virtual links to it."""

    def __init__(
        self,
        env: simpy.Environment,
        note: Callable[[str, str, Mapping[str, Any]], None],
        seed: int,
        settings: Settings,
    ) -> None:
        self.env = env
        self.objects = MemoryObjects()
        self.authority = SymbolicAuthority()
        self._machines: dict[str, Machine] = {}
        self._digests: dict[int, tuple[Content, str]] = {}
        self._alarm_s: float | None = None
        self.plane = ControlPlane(
            clock=lambda: EPOCH_S + env.now,
            draw=random.Random(seed),
            authority=self.authority,
            objects=self.objects,
            publish=self._publish,
            record=lambda kind, values: note("cloud", kind, values),
            endpoints=Endpoints(
                api_url=_HTTPS, mqtt_host="mqtt.invalid", mqtt_port=8883, https_url=_HTTPS
            ),
            disconnect=self._disconnect,
            settings=settings,
        )

    # --- from appliances -----------------------------------------------------------------------

    def refusal(self, client_id: str, certificate_pem: str) -> str:
        return self.plane.refusal(client_id, self.authority.certificate_id(certificate_pem))

    def connected(self, client_id: str, machine: Machine) -> None:
        self._machines[client_id] = machine
        self.plane.connected(client_id)

    def disconnected(self, client_id: str, machine: Machine) -> None:
        if self._machines.get(client_id) is machine:
            del self._machines[client_id]
            self.plane.disconnected(client_id)
            self.watch_clock()

    def receive(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        self.plane.receive(client_id, topic, payload)
        self.watch_clock()

    def heartbeat(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        self.plane.heartbeat(client_id, topic, payload)

    def told(self, thing: str, document: Mapping[str, Any], certificate_pem: str) -> None:
        """Logs and metrics of a device. Raises `PeerRefused`."""
        refused = self.refusal(thing, certificate_pem)
        if refused:
            raise PeerRefused(f"telemetry: 403 {refused}")
        try:
            self.plane.told(thing, document)
        except Corrupt as error:
            raise PeerRefused(f"telemetry: 400 {error}") from None

    def content(self, url: str, thing: str, certificate_pem: str) -> Content:
        """The object behind a URL. Raises `PeerRefused` when there is none for this device."""
        bucket, _, key = urlsplit(url).path.removeprefix("/").partition("/")
        if self.refusal(thing, certificate_pem) or not self.plane.may_read(thing, bucket, key):
            raise PeerRefused(f"{url}: 403 Forbidden")
        content = self.objects.get(bucket, key)
        if content is None:
            raise NotFound(f"{url}: 404 Not Found")
        return content

    def digest(self, content: Content) -> str:
        """SHA-256 of a content; computed once for every content."""
        if isinstance(content, Payload):
            return content.digest
        known = self._digests.get(id(content))
        if known is None:
            text = content.read(0, content.size_bytes)
            known = self._digests[id(content)] = (content, hashlib.sha256(text).hexdigest())
        return known[1]

    # --- to appliances, and the plane's own clock ------------------------------------------------

    def _publish(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        machine = self._machines.get(client_id)
        if machine is not None:
            machine.arrive(topic, payload)

    def _disconnect(self, client_id: str) -> None:
        machine = self._machines.get(client_id)
        if machine is not None:
            self.env.timeout(0).callbacks.append(
                lambda _event: machine.disconnected_by_peer("closed by the control plane")
            )

    def watch_clock(self) -> None:
        """Have the plane called again when its next deadline comes."""
        next_s = self.plane.expire()
        if next_s is None:
            return
        when_s = max(0.0, next_s - EPOCH_S)
        if self._alarm_s is not None and self.env.now <= self._alarm_s <= when_s:
            return
        self._alarm_s = when_s
        delay_s = max(0.0, when_s - self.env.now)
        self.env.timeout(delay_s).callbacks.append(lambda _event: self._alarm(when_s))

    def _alarm(self, when_s: float) -> None:
        if self._alarm_s == when_s:
            self._alarm_s = None
            self.watch_clock()

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.objects.put(bucket, key, BytesContent(data))
