"""The UDP side of the light reader (`drain`): hears packets, counts whole frames.

Where the kernel can (`UDP_GRO`, Linux 5.0) what was sent in one piece is received in one piece.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from harness.camera.serve.packed import UDP_LEVEL
from harness.camera.serve.udp import bind_pair
from harness.camera.wire import rtp
from harness.errors import PeerRefused

if TYPE_CHECKING:
    from collections.abc import Callable

RECEIVE_BUFFER_BYTES = 1 << 20
READS_A_TURN = 64
_UDP_GRO = 104  # <linux/udp.h>
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)
_head = struct.Struct(">BBHI").unpack_from  # up to the time stamp
_MARKER = 0x80


class Ear:
    """A pair of ports. `framed` is called with the time stamp of every whole frame."""

    __slots__ = ("_broken", "_expected", "_framed", "_grouped", "control", "media")

    def __init__(self, framed: Callable[[int], None]) -> None:
        self._framed = framed
        self._expected = -1  # sequence number; before the first packet any will do
        self._broken = False
        self.media, self.control = bind_pair("127.0.0.1")
        self.media.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        try:
            self.media.setsockopt(UDP_LEVEL, _UDP_GRO, 1)
            self._grouped = True
        except OSError:
            self._grouped = False

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
                count, size = self._receive(buffer)
            except OSError:
                return
            if self._take(buffer, count, size):
                return

    def report(self) -> rtp.SenderReport | None:
        """The sender report that came."""
        try:
            data = self.control.recv(2048)
        except BlockingIOError:
            return None
        return rtp.SenderReport.from_bytes(data)

    def _receive(self, buffer: bytearray) -> tuple[int, int]:
        """Bytes, and bytes of each packet in them but the last."""
        if not self._grouped:
            count = self.media.recv_into(buffer)
            return count, count
        count, ancillary, _, _ = self.media.recvmsg_into((buffer,), _ANCILLARY_BYTES)
        size = int.from_bytes(ancillary[0][2][:2], "little") if ancillary else count
        return count, size

    def _take(self, buffer: bytearray, count: int, size: int) -> bool:
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
            self._framed(stamp)
        self._broken = False
        return True
