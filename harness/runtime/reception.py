"""What a reader knows of how a stream reaches it, and tells the camera by RTCP (RFC 3550, 6.4).

Counts by extended sequence numbers (A.1, A.3), jitter as in A.8; a report goes out as a compound
packet with the reader's name, and at the end with BYE.
"""

from __future__ import annotations

import secrets
import struct
from typing import TYPE_CHECKING

from harness.runtime.rtp import CLOCK_HZ, SEQUENCES, TICKS, steps_between, ticks_between

if TYPE_CHECKING:
    from harness.runtime.rtp import Packet

SENDER_REPORT, RECEIVER_REPORT, DESCRIPTION, GOODBYE = 200, 201, 202, 203
RTCP_BYTES_MAX = 4096
_HEAD = struct.Struct(">BBH")
_BLOCK = struct.Struct(">IIIIII")
_VERSION = 2 << 6
_CNAME = 1
_LOST_MAX = (1 << 23) - 1  # of 24 bits with a sign
_JITTER_GAIN = 16


class Reception:
    """Of one stream; begins anew when its source changes. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._own = secrets.randbits(32)
        self._name = secrets.token_hex(8)  # RFC 7022: random, and says nothing of the machine
        self._source: int | None = None
        self._first = self._highest = 0  # extended sequence numbers
        self._received = 0
        self._told = (0, 0)  # expected and received, as of the report before
        self._transit: float | None = None
        self._jitter = 0.0
        self._last_report = 0
        self._last_report_s = 0.0

    @property
    def expected(self) -> int:
        """Packets sent up to the newest one that came."""
        return self._highest - self._first + 1 if self._received else 0

    @property
    def lost(self) -> int:
        """Packets that never came; negative where some came twice."""
        return self.expected - self._received

    def take(self, packet: Packet, now_s: float) -> None:
        """Count a packet as it came."""
        step = steps_between(self._highest % SEQUENCES, packet.sequence)
        if packet.ssrc != self._source or abs(step) >= SEQUENCES >> 2:
            self._source, self._received, self._told = packet.ssrc, 0, (0, 0)
            self._first = self._highest = packet.sequence
            self._transit, self._jitter = None, 0.0
        elif step > 0:
            self._highest += step
        self._received += 1
        self._spread(packet, now_s)

    def hear(self, data: bytes, now_s: float) -> bool:
        """A compound packet of the camera; whether it says goodbye."""
        goodbye, position = False, 0
        while position + _HEAD.size <= min(len(data), RTCP_BYTES_MAX):
            first, kind, words = _HEAD.unpack_from(data, position)
            end = position + 4 * (words + 1)
            if first >> 6 != 2 or end > len(data):
                return goodbye
            source = int.from_bytes(data[position + 4 : position + 8], "big")
            if kind == SENDER_REPORT and end - position >= 28:
                self._last_report = int.from_bytes(data[position + 10 : position + 14], "big")
                self._last_report_s = now_s
            elif kind == GOODBYE and first & 0x1F and self._source in (None, source):
                goodbye = True
            position = end
        return goodbye

    def report(self, now_s: float, *, goodbye: bool = False) -> bytes:
        """The compound packet to send: without a block while nothing has come."""
        blocks = b"" if self._source is None or not self._received else self._block(now_s)
        count = len(blocks) // _BLOCK.size
        head = _HEAD.pack(_VERSION | count, RECEIVER_REPORT, 1 + len(blocks) // 4)
        packet = head + self._own.to_bytes(4, "big") + blocks + self._description()
        if goodbye:
            packet += _HEAD.pack(_VERSION | 1, GOODBYE, 1) + self._own.to_bytes(4, "big")
        return packet

    def _spread(self, packet: Packet, now_s: float) -> None:
        transit = now_s * CLOCK_HZ - packet.timestamp
        if self._transit is not None:
            step = abs(ticks_between(round(self._transit) % TICKS, round(transit) % TICKS))
            if step < CLOCK_HZ:  # more is a clock that was set
                self._jitter += (step - self._jitter) / _JITTER_GAIN
        self._transit = transit

    def _block(self, now_s: float) -> bytes:
        before, self._told = self._told, (self.expected, self._received)
        expected, received = self.expected - before[0], self._received - before[1]
        fraction = 0
        if expected > received:
            fraction = min(255, ((expected - received) << 8) // expected)
        lost = max(-_LOST_MAX - 1, min(_LOST_MAX, self.lost)) & 0xFFFFFF
        delay = 0
        if self._last_report:
            delay = min(TICKS - 1, round((now_s - self._last_report_s) * 65536))
        assert self._source is not None
        return _BLOCK.pack(
            self._source,
            fraction << 24 | lost,
            self._highest % TICKS,
            min(TICKS - 1, round(self._jitter)),
            self._last_report,
            delay,
        )

    def _description(self) -> bytes:
        name = self._name.encode()
        chunk = self._own.to_bytes(4, "big") + bytes((_CNAME, len(name))) + name + b"\0"
        chunk += b"\0" * (-len(chunk) % 4)
        return _HEAD.pack(_VERSION | 1, DESCRIPTION, len(chunk) // 4) + chunk
