"""The lightest HTTP client there can be: bytes made before, answers counted, nothing parsed twice.

It reads status and `Content-Length` of every answer and no more, so that a server's core is what is
measured. One request is under way on each connection.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.errors import Corrupt, PeerRefused, PeerTimeout
from harness.record.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GRACE_S = 30.0
_LENGTH = b"content-length:"
_CLOSE = b"connection: close"


@dataclass(slots=True)
class Load:
    """What was answered. `refused` are answers that are not 200; times run from send to end."""

    connections: int
    wall_s: float = 0.0
    answers: int = 0
    refused: int = 0
    answer_bytes: int = 0
    latency_ms: Histogram = field(default_factory=Histogram)
    first_refusal: bytes = b""


class _Connection(asyncio.Protocol):
    """Sends what `more` gives, one after the other, until it gives nothing."""

    def __init__(
        self, load: Load, more: Callable[[], bytes | None], address: tuple[str, int]
    ) -> None:
        self.load = load
        self.more = more
        self._address = address
        self._again: asyncio.Task[None] | None = None  # a server that closes is connected to anew
        self.ended = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self) -> None:
        assert self._transport is not None
        request = self.more()
        if request is None:
            self._transport.close()
            return
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().find(_LENGTH)
        if at < 0:
            self._fail(Corrupt("an answer without Content-Length"))
            return
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        load = self.load
        load.latency_ms.record((time.perf_counter() - self._sent_s) * 1000.0)
        load.answers += 1
        load.answer_bytes = length
        if head[9:12] != b"200":
            load.refused += 1
            load.first_refusal = load.first_refusal or self._data[:400]
        self._data = b""
        if _CLOSE in head.lower():
            assert self._transport is not None
            self._again = asyncio.get_running_loop().create_task(self._anew(self._transport))
        else:
            self.send()

    async def _anew(self, old: asyncio.Transport) -> None:
        old.abort()
        await asyncio.get_running_loop().create_connection(lambda: self, *self._address)
        self._again = None
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._again is None and not self.ended.done():
            self.ended.set_result(None)

    def _fail(self, error: Exception) -> None:
        assert self._transport is not None
        self.ended.set_exception(error)
        self._transport.abort()


def repeat(address: tuple[str, int], request: bytes, connections: int, span_s: float) -> Load:
    """The same request over and over on so many connections for `span_s`."""
    until_s: list[float] = []

    def more() -> bytes | None:
        if not until_s:
            until_s.append(time.perf_counter() + span_s)
        return request if time.perf_counter() < until_s[0] else None

    return asyncio.run(_drive(address, more, connections, span_s))


def each(address: tuple[str, int], requests: Sequence[bytes], connections: int) -> Load:
    """Every request once, spread over the connections as they are free."""
    waiting = deque(requests)

    def more() -> bytes | None:
        return waiting.popleft() if waiting else None

    return asyncio.run(_drive(address, more, connections, 60.0))


async def _drive(
    address: tuple[str, int], more: Callable[[], bytes | None], connections: int, span_s: float
) -> Load:
    load = Load(connections)
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(connections):  # one after the other: it is not connecting that is measured
        _, protocol = await loop.create_connection(
            lambda: _Connection(load, more, address), *address
        )
        made.append(protocol)
    began_s = time.perf_counter()
    for protocol in made:
        protocol.send()
    try:
        async with asyncio.timeout(span_s + GRACE_S):
            await asyncio.gather(*(protocol.ended for protocol in made))
    except TimeoutError:
        raise PeerTimeout(f"{address[1]}: not every connection ended") from None
    load.wall_s = time.perf_counter() - began_s
    if not load.answers:
        raise PeerRefused(f"{address[1]}: no answer at all")
    return load
