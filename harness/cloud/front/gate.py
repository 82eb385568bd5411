"""What every broker asks of the control plane, and how it hands messages on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

Kept: TypeAlias = "Callable[[], Awaitable[None]]"  # until all the plane was told is on disk

MESSAGE_BYTES_MAX = 128 * 1024  # AWS IoT Core's limit of a publish payload


class Gate(Protocol):
    """What a broker needs of the control plane."""

    def refusal(self, client_id: str, certificate_id: str | None) -> str: ...

    def connected(self, client_id: str) -> None: ...

    def disconnected(self, client_id: str) -> None: ...

    def receive(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None: ...

    def garbled(self, client_id: str, topic: str) -> None: ...


def deliver(gate: Gate, client_id: str, topic: str, data: bytes) -> None:
    """Hand a message to the plane. Empty counts as `{}`, as devices may ask without a word."""
    try:
        payload = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        payload = None
    if isinstance(payload, dict):
        gate.receive(client_id, topic, payload)
    else:
        gate.garbled(client_id, topic)


def encoded(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()
