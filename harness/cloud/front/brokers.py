"""Which broker serves devices: the embedded one, or Mosquitto with the embedded one for claims.

All claims get their answers on the same topics, and a claim may see only its own. AWS IoT Core
keeps them apart by client; an ordinary broker knows topics alone. So claims are always served by
the embedded broker, and a device is told at its registration where it connects from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, get_args

from harness.cloud.service.devices import CLAIM_PREFIX
from harness.scenario.plan import BrokerKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.front.broker import EmbeddedBroker
    from harness.cloud.front.gate import Gate
    from harness.cloud.front.mosquitto import MosquittoBroker
    from harness.errors import HarnessError

KINDS: tuple[str, ...] = get_args(BrokerKind)


class Broker(Protocol):
    """What the control plane needs of a broker."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def failed(self) -> HarnessError: ...

    def publish(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None: ...

    def disconnect(self, client_id: str) -> None: ...

    @property
    def clients(self) -> tuple[str, ...]: ...


class ClaimsOnly:
    """The plane as the broker for claims sees it: nobody else is let in."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def refusal(self, client_id: str, certificate_id: str | None) -> str:
        if not client_id.startswith(CLAIM_PREFIX):
            return "only claims connect here; a device connects where its registration said"
        return self._gate.refusal(client_id, certificate_id)

    def connected(self, client_id: str) -> None:
        self._gate.connected(client_id)

    def disconnected(self, client_id: str) -> None:
        self._gate.disconnected(client_id)

    def receive(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        self._gate.receive(client_id, topic, payload)

    def garbled(self, client_id: str, topic: str) -> None:
        self._gate.garbled(client_id, topic)


class SplitBroker:
    """Claims here, devices there."""

    def __init__(self, claims: EmbeddedBroker, devices: MosquittoBroker) -> None:
        self._claims = claims
        self._devices = devices

    async def start(self) -> None:
        await self._claims.start()
        await self._devices.start()

    async def stop(self) -> None:
        try:
            await self._devices.stop()
        finally:
            await self._claims.stop()

    async def failed(self) -> HarnessError:
        return await self._devices.failed()

    def publish(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        self._of(client_id).publish(client_id, topic, payload)

    def disconnect(self, client_id: str) -> None:
        self._of(client_id).disconnect(client_id)

    def _of(self, client_id: str) -> Broker:
        return self._claims if client_id.startswith(CLAIM_PREFIX) else self._devices

    @property
    def clients(self) -> tuple[str, ...]:
        return (*self._claims.clients, *self._devices.clients)
