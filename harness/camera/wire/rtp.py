"""RTP (RFC 3550) with the H.264 payload (RFC 6184), and RTCP sender reports. No I/O, no clock."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CLOCK_HZ = 90_000
PAYLOAD_TYPE = 96
HEADER_BYTES = 12
PAYLOAD_BYTES_MAX = 1400  # fits an Ethernet frame with IP, UDP and RTP headers
ACCESS_UNIT_BYTES_MAX = 8 << 20  # what a reader is willing to put together

STAP_A = 24
FU_A = 28
_FU_START = 0x80
_FU_END = 0x40
_MARKER = 0x80
_HEADER = struct.Struct(">BBHII")
_VERSION = 2 << 6

RTCP_SENDER_REPORT = 200
RTCP_RECEIVER_REPORT = 201
RTCP_DESCRIPTION = 202
_CNAME = 1
_UNIX_EPOCH_IN_NTP_S = 2_208_988_800
_SENDER_REPORT = struct.Struct(">BBHIIIIII")


class BadRtp(Corrupt):
    """A packet that is no RTP packet, or no H.264 payload."""


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet without padding, extension and contributing sources."""

    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    payload_type: int = PAYLOAD_TYPE

    def to_bytes(self) -> bytes:
        kind = self.payload_type | (_MARKER if self.marker else 0)
        header = _HEADER.pack(_VERSION, kind, self.sequence, self.timestamp, self.ssrc)
        return header + self.payload

    @classmethod
    def from_bytes(cls, data: bytes) -> Packet:
        """Parse; padding, extension and contributing sources are skipped. Raises `BadRtp`."""
        if len(data) < HEADER_BYTES or data[0] >> 6 != 2:
            raise BadRtp(f"{len(data)} bytes that are no RTP 2 packet", hint="RFC 3550, 5.1")
        first, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        begin = HEADER_BYTES + 4 * (first & 0x0F)
        if first & 0x10:
            if len(data) < begin + 4:
                raise BadRtp("RTP header extension is cut off", hint="RFC 3550, 5.3.1")
            begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
        end = len(data) - (data[-1] if first & 0x20 else 0)
        if begin > end:
            raise BadRtp("RTP header is longer than the packet", hint="RFC 3550, 5.1")
        return cls(sequence, timestamp, ssrc, data[begin:end], bool(kind & _MARKER), kind & 0x7F)


def payloads(nals: Sequence[bytes], limit: int = PAYLOAD_BYTES_MAX) -> list[bytes]:
    """RTP payloads of at most `limit` bytes for one access unit (packetization-mode 1).

    Neighbouring NAL units that fit one packet together share it (STAP-A, RFC 6184 5.7.1), one
    that fits alone goes alone (5.6), a larger one is cut up (FU-A, 5.8).
    """
    result: list[bytes] = []
    group: list[bytes] = []
    size = 1
    for nal in nals:
        if group and size + 2 + len(nal) > limit:
            result.append(_aggregate(group))
            group, size = [], 1
        if len(nal) > limit:
            result.extend(_fragments(nal, limit))
        else:
            group.append(nal)
            size += 2 + len(nal)
    if group:
        result.append(_aggregate(group))
    return result


def _aggregate(nals: list[bytes]) -> bytes:
    if len(nals) == 1:
        return nals[0]
    forbidden = max(nal[0] & 0x80 for nal in nals)
    importance = max(nal[0] & 0x60 for nal in nals)
    parts = [bytes((forbidden | importance | STAP_A,))]
    for nal in nals:
        parts += (len(nal).to_bytes(2, "big"), nal)
    return b"".join(parts)


def _fragments(nal: bytes, limit: int) -> list[bytes]:
    indicator, kind = nal[0] & 0xE0 | FU_A, nal[0] & 0x1F
    step = limit - 2
    result = []
    for begin in range(1, len(nal), step):
        flags = (_FU_START if begin == 1 else 0) | (_FU_END if begin + step >= len(nal) else 0)
        result.append(bytes((indicator, flags | kind)) + nal[begin : begin + step])
    return result


@dataclass(frozen=True, slots=True)
class ReceivedUnit:
    """An access unit put together again; `lost` packets were missing before or inside it."""

    timestamp: int
    nals: tuple[bytes, ...]
    lost: int


class Depacketiser:
    """Packets in, access units out: the reader's side.

    An access unit ends with the marker bit, or where the time stamp changes. NAL units with a
    missing part are left out.
    """

    def __init__(self) -> None:
        self._nals: list[bytes] = []
        self._bytes = 0
        self._fragment: bytearray | None = None
        self._timestamp: int | None = None
        self._expected: int | None = None
        self._lost = 0

    def feed(self, packet: Packet) -> list[ReceivedUnit]:
        """The access units that `packet` completes. Raises `BadRtp`."""
        done = []
        if self._expected is not None and packet.sequence != self._expected:
            self._lost += packet.sequence - self._expected & 0xFFFF
            self._fragment = None
        self._expected = packet.sequence + 1 & 0xFFFF
        if self._timestamp not in (None, packet.timestamp):
            done += self._finish()
        self._timestamp = packet.timestamp
        self._take(packet.payload)
        if packet.marker:
            done += self._finish()
        return done

    def _finish(self) -> list[ReceivedUnit]:
        unit = ReceivedUnit(self._timestamp or 0, tuple(self._nals), self._lost)
        self._nals, self._fragment, self._timestamp = [], None, None
        self._bytes = self._lost = 0
        return [unit] if unit.nals or unit.lost else []

    def _take(self, payload: bytes) -> None:
        self._bytes += len(payload)
        if self._bytes > ACCESS_UNIT_BYTES_MAX:
            raise BadRtp(
                f"an access unit of more than {ACCESS_UNIT_BYTES_MAX} bytes",
                hint="the sender sets neither marker bits nor new time stamps",
            )
        kind = payload[0] & 0x1F if payload else 0
        if 1 <= kind < STAP_A:
            self._nals.append(payload)
        elif kind == STAP_A:
            self._nals.extend(_split_aggregate(payload))
        elif kind == FU_A and len(payload) > 2:
            self._take_fragment(payload)
        else:
            raise BadRtp(
                f"H.264 payload of type {kind}, {len(payload)} bytes",
                hint="packetization-mode 1 knows types 1-23, 24 (STAP-A) and 28 (FU-A)",
            )

    def _take_fragment(self, payload: bytes) -> None:
        flags = payload[1]
        if flags & _FU_START:
            self._fragment = bytearray((payload[0] & 0xE0 | flags & 0x1F,))
        if self._fragment is None:
            return  # its beginning was lost
        self._fragment += payload[2:]
        if flags & _FU_END:
            self._nals.append(bytes(self._fragment))
            self._fragment = None


def _split_aggregate(payload: bytes) -> Iterable[bytes]:
    position = 1
    while position < len(payload):
        size = int.from_bytes(payload[position : position + 2], "big")
        nal = payload[position + 2 : position + 2 + size]
        if size == 0 or len(nal) != size:
            raise BadRtp("STAP-A with a NAL unit that is empty or cut off", hint="RFC 6184, 5.7.1")
        yield nal
        position += 2 + size


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a sender says of its clocks: at `wall_s` (Unix time) the RTP clock read `timestamp`."""

    ssrc: int
    wall_s: float
    timestamp: int
    packets: int
    octets: int

    @property
    def middle(self) -> int:
        """The middle of its NTP time, by which receiver reports name it (RFC 3550, 6.4.1)."""
        return round((self.wall_s + _UNIX_EPOCH_IN_NTP_S) * 65536) & 0xFFFFFFFF

    def to_bytes(self, cname: str) -> bytes:
        """A compound packet: the report and the source's canonical name (RFC 3550, 6.1)."""
        seconds, fraction = divmod(round((self.wall_s + _UNIX_EPOCH_IN_NTP_S) * (1 << 32)), 1 << 32)
        report = _SENDER_REPORT.pack(
            _VERSION,
            RTCP_SENDER_REPORT,
            _SENDER_REPORT.size // 4 - 1,
            self.ssrc,
            seconds & 0xFFFFFFFF,
            fraction,
            self.timestamp,
            self.packets & 0xFFFFFFFF,
            self.octets & 0xFFFFFFFF,
        )
        name = cname.encode()
        chunk = struct.pack(">IBB", self.ssrc, _CNAME, len(name)) + name + b"\0"
        chunk += b"\0" * (-len(chunk) % 4)
        head = struct.pack(">BBH", _VERSION | 1, RTCP_DESCRIPTION, len(chunk) // 4)
        return report + head + chunk

    @classmethod
    def from_bytes(cls, data: bytes) -> SenderReport:
        """The report at the head of a compound packet. Raises `BadRtp`."""
        if len(data) < _SENDER_REPORT.size or data[0] >> 6 != 2 or data[1] != RTCP_SENDER_REPORT:
            raise BadRtp("no RTCP sender report", hint="RFC 3550, 6.4.1")
        _, _, _, ssrc, seconds, fraction, stamp, packets, octets = _SENDER_REPORT.unpack_from(data)
        wall_s = seconds - _UNIX_EPOCH_IN_NTP_S + fraction / (1 << 32)
        return cls(ssrc, wall_s, stamp, packets, octets)
