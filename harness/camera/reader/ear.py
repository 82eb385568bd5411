"""The UDP side of the light reader (`drain`): hears packets, counts whole frames.

Where the kernel can (`UDP_GRO`, Linux 5.0) what was sent in one piece is received in one piece.
The kernel also says when a packet came (`SO_TIMESTAMPNS`), however late it is read.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING

from harness.camera.serve.packed import UDP_LEVEL
from harness.camera.serve.udp import bind_pair
from harness.camera.wire import rtcp, rtp
from harness.errors import PeerRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RECEIVE_BUFFER_BYTES = 1 << 20
READS_A_TURN = 64
READER_SSRC = 1
_UDP_GRO = 104  # <linux/udp.h>
_TIMESTAMPS = 35  # SO_TIMESTAMPNS and the message it brings, <asm-generic/socket.h>
_timespec = struct.Struct("qq").unpack
ANCILLARY_BYTES = socket.CMSG_SPACE(16) + socket.CMSG_SPACE(4)
_head = struct.Struct(">BBHI").unpack_from  # up to the time stamp
_MARKER = 0x80


def stamp_arrivals(sock: socket.socket) -> None:
    """Have the kernel say with `recvmsg` when what is read had come."""
    sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)


def arrival_s(ancillary: Iterable[tuple[int, int, bytes]]) -> float:
    """Unix time at which what was read had come; now, where the kernel does not say."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _TIMESTAMPS:
            seconds, nanoseconds = _timespec(data)
            return float(seconds + nanoseconds * 1e-9)
    return time.time()


def reply(report: rtp.SenderReport, sequence: int) -> bytes:
    """The receiver report of a reader that lacks nothing and answers at once."""
    block = rtcp.ReportBlock(report.ssrc, 0.0, 0, sequence, 0, report.middle, 0)
    return rtcp.receiver_report(READER_SSRC, block)


class Ear:
    """A pair of ports. `framed` hears the time stamp of every whole frame, and when it came."""

    __slots__ = ("_broken", "_expected", "_framed", "control", "media")

    def __init__(self, framed: Callable[[int, float], None]) -> None:
        self._framed = framed
        self._expected = -1  # sequence number; before the first packet any will do
        self._broken = False
        self.media, self.control = bind_pair("127.0.0.1")
        self.media.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        stamp_arrivals(self.media)
        with contextlib.suppress(OSError):  # older kernels bring every packet alone
            self.media.setsockopt(UDP_LEVEL, _UDP_GRO, 1)

    @property
    def transport(self) -> str:
        port = self.media.getsockname()[1]
        return f"RTP/AVP;unicast;client_port={port}-{port + 1}"

    def close(self) -> None:
        self.media.close()
        self.control.close()

    def hear(self, buffer: bytearray) -> None:
        """Read until a frame ends, or nothing is left."""
        for _ in range(READS_A_TURN):
            try:
                count, ancillary, _, _ = self.media.recvmsg_into((buffer,), ANCILLARY_BYTES)
            except OSError:
                return
            if self._take(buffer, count, _size(ancillary) or count, ancillary):
                return

    def report(self) -> rtp.SenderReport | None:
        """The sender report that came; it is answered."""
        try:
            data, sender = self.control.recvfrom(2048)
            report = rtp.SenderReport.from_bytes(data)
            self.control.sendto(reply(report, max(0, self._expected - 1)), sender)
        except OSError:
            return None
        return report

    def _take(
        self,
        buffer: bytearray,
        count: int,
        size: int,
        ancillary: Iterable[tuple[int, int, bytes]] = (),
    ) -> bool:
        """Packets that came together: nothing is missing between them. Whether a frame ends."""
        if count < rtp.HEADER_BYTES:
            raise PeerRefused(f"a datagram of {count} bytes", hint="RTP has 12 at least")
        _, _, sequence, _ = _head(buffer, 0)
        if sequence != self._expected and self._expected >= 0:
            self._broken = True
        last = (count - 1) // size
        self._expected = sequence + last + 1 & 0xFFFF
        _, kind, _, stamp = _head(buffer, last * size)
        if not kind & _MARKER:
            return False
        if not self._broken:
            self._framed(stamp, arrival_s(ancillary))
        self._broken = False
        return True


def _size(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    """Bytes of each packet but the last in what came in one piece; 0 for a packet alone."""
    for level, _, data in ancillary:
        if level == UDP_LEVEL:
            return int.from_bytes(data[:2], "little")
    return 0
