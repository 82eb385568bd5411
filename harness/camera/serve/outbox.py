"""The way out of one connection: frames and messages, in order, never blocking, bounded."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from harness.camera.wire.tls import TlsSocket

KERNEL_BUFFER_BYTES = 256 << 10  # about a second of a usual stream: then frames are dropped here
BACKLOG_BYTES_MAX = 512 << 10
MESSAGE_BYTES_MAX = 64 << 10  # of answers to a peer that asks and never reads


@dataclass(frozen=True, slots=True)
class Reception:
    """What a reader last reported by RTCP of how the video arrives (RFC 3550, 6.4.1).

    `fraction_lost` is the share of packets since its report before, `lost` the number in all;
    `round_trip_s` None until it has had a sender report; `heard_s` is `time.monotonic()`.
    """

    fraction_lost: float
    lost: int
    jitter_ms: float
    round_trip_s: float | None
    heard_s: float
    reports: int


@dataclass(slots=True)
class SessionAccount:
    """What one reader of a camera was sent. Times are `time.monotonic()`, `ended_s` None: live.

    `frames_sent` counts frames wholly handed to the kernel, and the one that was under way when
    the connection broke. `first_index` and `last_index` are camera frame numbers (loops count
    on). Dropped are frames that the reader did not fetch in time, or that this machine was too
    slow to send. `frames_lost` counts, by the verb of the fault, those that a fault of the camera
    took. From its first key frame on every frame that was captured for the reader is in exactly
    one of the three, or still under way. `frames_damaged` are some of the others: a fault took a
    packet of theirs, or changed bits.
    """

    peer: tuple[str, int]
    started_s: float
    ended_s: float | None = None
    frames_sent: int = 0
    frames_dropped_at_sender: int = 0
    first_index: int | None = None
    last_index: int | None = None
    transport: str = "tcp"
    datagrams_refused: int = 0  # over UDP: by a closed port of the reader, or by the network
    reception: Reception | None = None  # None until the reader reports
    reports_bad: int = 0  # RTCP of the reader that makes no sense
    frames_lost: dict[str, int] = field(default_factory=dict)
    frames_damaged: int = 0

    def count(self, frame: int) -> None:
        self.frames_sent += 1
        self.last_index = frame
        if self.first_index is None:
            self.first_index = frame

    def lose(self, verb: str, frames: int = 1) -> None:
        """The fault `verb` took `frames` frames."""
        if frames:
            self.frames_lost[verb] = self.frames_lost.get(verb, 0) + frames


@dataclass(slots=True)
class _Chunk:
    """What the kernel did not take at once; `account` only where it is (the rest of) a frame."""

    data: bytes
    account: SessionAccount | None
    frame: int
    begun: bool

    def settle(self) -> None:
        """The connection is lost with this chunk unsent."""
        if self.account is None:
            return
        if self.begun:
            self.account.count(self.frame)
        else:
            self.account.frames_dropped_at_sender += 1


class Outbox:
    """Writes to a non-blocking socket; waits for it through the event loop's selector.

    `lost` is called, once, when the connection turns out to be broken or the peer does not
    fetch its answers.
    """

    __slots__ = ("_chunks", "_loop", "_lost", "_socket", "backlog_bytes", "closed")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket | TlsSocket,
        lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._lost = lost
        self._chunks: deque[_Chunk] = deque()
        self.backlog_bytes = 0
        self.closed = False

    def send(self, data: bytes) -> None:
        """A message; it waits behind what is under way."""
        if self.closed:
            return
        if self.backlog_bytes + len(data) > BACKLOG_BYTES_MAX + MESSAGE_BYTES_MAX:
            self._lost()
            return
        done = 0 if self._chunks else self._write(data)
        if 0 <= done < len(data):
            self._keep(_Chunk(data[done:], None, -1, done > 0))

    def send_frame(self, blob: bytearray, account: SessionAccount, frame: int) -> bool:
        """A frame; False where the backlog has no room for it. `blob` is not kept."""
        if self._chunks:
            if self.closed or self.backlog_bytes + len(blob) > BACKLOG_BYTES_MAX:
                return False
            done = 0
        else:
            done = self._write(blob)
            if done == len(blob):
                account.count(frame)
                return True
            if done < 0:
                return False
        self._keep(_Chunk(bytes(memoryview(blob)[done:]), account, frame, done > 0))
        return True

    def hush(self) -> None:
        """Send nothing more of what waits; whoever calls this sends nothing new either."""
        if self._chunks and not self.closed:
            self._loop.remove_writer(self._socket)

    def close(self) -> None:
        """Settle the accounts of what was not sent."""
        if self.closed:
            return
        self.closed = True
        if self._chunks:
            self._loop.remove_writer(self._socket)
        for chunk in self._chunks:
            chunk.settle()
        self._chunks.clear()
        self.backlog_bytes = 0

    def _write(self, data: bytes | bytearray) -> int:
        """Bytes the kernel took; -1 when the connection is lost."""
        if self.closed:
            return -1
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._lost()
            return -1

    def _keep(self, chunk: _Chunk) -> None:
        if not self._chunks:
            self._loop.add_writer(self._socket, self._flush)
        self._chunks.append(chunk)
        self.backlog_bytes += len(chunk.data)

    def _flush(self) -> None:
        while self._chunks:
            chunk = self._chunks[0]
            done = self._write(chunk.data)
            if done < 0:
                return
            self.backlog_bytes -= done
            if done < len(chunk.data):
                chunk.data = chunk.data[done:]
                chunk.begun = chunk.begun or done > 0
                return
            self._chunks.popleft()
            if chunk.account is not None:
                chunk.account.count(chunk.frame)
        self._loop.remove_writer(self._socket)
