"""RTP and RTCP over UDP, to one reader (RFC 2326, 10.4; RFC 3550, 11).

Every session has its own pair of sockets, an even port and the next one, both connected to the
reader: the kernel then throws away what others send, says when the reader's port is closed, and
looks no route up for every datagram. Nothing blocks and nothing is queued: what the kernel does
not take is dropped.
"""

from __future__ import annotations

import errno
import socket
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from harness.camera.serve.packed import UDP_LEVEL, UDP_SEGMENT
from harness.camera.wire import rtcp

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from harness.camera.serve.outbox import SessionAccount
    from harness.camera.serve.packed import Burst, PackedUnit
    from harness.camera.wire.transport import ClientPorts

SEND_BUFFER_BYTES = 256 << 10
PAIR_ATTEMPTS = 64  # to find an even free port with a free one above it
REPORTS_A_TURN = 8
_NO_OFFLOAD = (errno.EMSGSIZE, errno.EINVAL, errno.EIO, errno.EOPNOTSUPP)


@lru_cache(maxsize=1)
def segmentation_offload() -> bool:
    """Whether this kernel cuts one send into many datagrams (`UDP_SEGMENT`, Linux 4.18)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(UDP_LEVEL, UDP_SEGMENT, 1200)
        except OSError:
            return False
    return True


def bind_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """Two non-blocking sockets on an even port of `host` and the one above it (RFC 3550, 11).

    Raises `OSError` where the machine has no such pair left.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(PAIR_ATTEMPTS):
        one = _bound(family, host, 0)
        port = one.getsockname()[1]
        try:
            other = _bound(family, host, port ^ 1)
        except OSError as error:
            one.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EINVAL):
                raise
            continue
        return (one, other) if port % 2 == 0 else (other, one)
    raise OSError(errno.EADDRINUSE, "no pair of free UDP ports")


def _bound(family: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


class UdpCarrier:
    """The way of one track to its reader. `heard` is called with what the reader reports."""

    reliable: ClassVar[bool] = False  # a reader that is gone is not noticed by sending
    backlog_bytes: ClassVar[int] = 0  # nothing is kept
    name: ClassVar[str] = "udp"

    __slots__ = ("_control", "_loop", "_media", "_segment", "closed", "ports", "refused")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        here: str,
        there: str,
        ports: ClientPorts,
        heard: Callable[[bytes], None],
        *,
        segment: bool,
    ) -> None:
        self._loop = loop
        self._segment = segment
        self._media, self._control = bind_pair(here)
        try:
            self._media.connect((there, ports.rtp))
            self._control.connect((there, ports.rtcp))
            self._media.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            self._media.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # nothing is read
        except BaseException:
            self._media.close()
            self._control.close()
            raise
        port = self._media.getsockname()[1]
        self.ports = (port, port + 1)
        self.refused = 0  # datagrams that the reader's port, or the network, refused
        self.closed = False
        loop.add_reader(self._control, self._readable, heard)

    def send_unit(self, unit: PackedUnit, account: SessionAccount, frame: int) -> bool:
        """A frame, all of its packets at once; False where the kernel did not take it whole."""
        if self.closed:
            return False
        done = 0
        try:
            if self._segment:
                send_message = self._media.sendmsg
                for views, ancillary in unit.bursts():
                    send_message(views, ancillary)
                    done += 1
            else:
                send = self._media.send
                for datagram in unit.datagrams():
                    send(datagram)
                    done += 1
        except OSError as error:
            before = self.refused
            whole = self._struggle(unit, done, error)
            account.datagrams_refused += self.refused - before
            if not whole:
                return False
        account.count(frame)
        return True

    def send_packet(self, packet: bytes) -> bool:
        return self._send_one(self._media, packet)

    def send_control(self, data: bytes) -> None:
        self._send_one(self._control, data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._control)
            self._media.close()
            self._control.close()

    def _struggle(self, unit: PackedUnit, done: int, error: OSError) -> bool:
        """The rest of `unit` after an error at its send number `done`; whether all of it went.

        A datagram that the reader's closed port refused is as good as lost on the network: the
        rest goes on. Where offload fails on the way to this reader, it is not tried again.
        """
        bursts: Sequence[Burst]
        if self._segment and error.errno in _NO_OFFLOAD:
            sent = sum(len(views) for views, _ in unit.bursts()[:done])
            bursts = [((view,), ()) for view in unit.datagrams()[sent:]]
            self._segment = False
        else:
            if isinstance(error, BlockingIOError):
                return False
            bursts = unit.bursts() if self._segment else [((v,), ()) for v in unit.datagrams()]
            self.refused += len(bursts[done][0])
            bursts = bursts[done + 1 :]
        for views, ancillary in bursts:
            try:
                self._media.sendmsg(views, ancillary)
            except BlockingIOError:
                return False
            except OSError:
                self.refused += len(views)
        return True

    def _send_one(self, sock: socket.socket, data: bytes) -> bool:
        if self.closed:
            return False
        try:
            sock.send(data)
        except BlockingIOError:
            return False
        except OSError:
            self.refused += 1
        return True

    def _readable(self, heard: Callable[[bytes], None]) -> None:
        for _ in range(REPORTS_A_TURN):
            if self.closed:
                return
            try:
                data = self._control.recv(rtcp.BYTES_MAX + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # the reader's port is closed; reading takes the error away
                self.refused += 1
                continue
            heard(data)
