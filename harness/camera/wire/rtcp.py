"""What readers report over RTCP, and how a sender says goodbye (RFC 3550, 6.4 and 6.6). No I/O.

A reader's packets are a stranger's bytes: `parse` looks at no more than `BYTES_MAX` of them and
raises `BadRtp` for whatever does not add up.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.camera.wire.rtp import (
    RTCP_RECEIVER_REPORT,
    RTCP_SENDER_REPORT,
    BadRtp,
)

BYTES_MAX = 4096  # the largest compound packet that is read
RTCP_BYE = 203
_FIRST_KIND, _LAST_KIND = 192, 223  # RFC 5761, 4: what a packet type of RTCP may be
_HEAD = struct.Struct(">BBH")
_BLOCK = struct.Struct(">IIIIII")
_SENDER_INFO_BYTES = 20
_UNIX_EPOCH_IN_NTP_S = 2_208_988_800
_RTT_MAX_S = 60.0  # more is a reader's mistake, not a distance


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """One reader's view of one source (RFC 3550, 6.4.1). `jitter` counts ticks of the RTP clock.

    `fraction_lost` is the share since the report before, `lost` the number since the beginning
    (negative where packets came twice). `last_report` and `delay` are 32 bits, 1/65536 s.
    """

    ssrc: int
    fraction_lost: float
    lost: int
    highest_sequence: int
    jitter: int
    last_report: int
    delay: int

    def round_trip_s(self, wall_s: float) -> float | None:
        """Time to the reader and back, where it has had a sender report; `wall_s` is now."""
        if self.last_report == 0:
            return None
        now = round((wall_s + _UNIX_EPOCH_IN_NTP_S) * 65536)
        value = (now - self.last_report - self.delay & 0xFFFFFFFF) / 65536
        return value if value <= _RTT_MAX_S else None


@dataclass(frozen=True, slots=True)
class Feedback:
    """A compound packet of a reader: its report blocks, and the sources that say goodbye."""

    blocks: tuple[ReportBlock, ...]
    goodbye: bool


def parse(data: bytes) -> Feedback:
    """Read a compound packet. Raises `BadRtp`."""
    if len(data) > BYTES_MAX:
        raise BadRtp(f"{len(data)} bytes of RTCP", hint=f"at most {BYTES_MAX} bytes")
    blocks: list[ReportBlock] = []
    goodbye = False
    position = 0
    while position < len(data):
        kind, count, end = _packet(data, position)
        if kind in (RTCP_RECEIVER_REPORT, RTCP_SENDER_REPORT):
            begin = position + 8 + (_SENDER_INFO_BYTES if kind == RTCP_SENDER_REPORT else 0)
            if begin + count * _BLOCK.size > end:
                raise BadRtp(f"{count} report blocks do not fit", hint="RFC 3550, 6.4")
            blocks += (_block(data, begin + n * _BLOCK.size) for n in range(count))
        goodbye |= kind == RTCP_BYE
        position = end
    if position == 0:
        raise BadRtp("an empty RTCP packet", hint="RFC 3550, 6.1")
    return Feedback(tuple(blocks), goodbye)


def _packet(data: bytes, position: int) -> tuple[int, int, int]:
    """Type, count and end of the packet at `position`."""
    if position + _HEAD.size > len(data):
        raise BadRtp("RTCP header is cut off", hint="RFC 3550, 6.4")
    first, kind, words = _HEAD.unpack_from(data, position)
    end = position + 4 * (words + 1)
    if first >> 6 != 2 or not _FIRST_KIND <= kind <= _LAST_KIND or end > len(data):
        raise BadRtp("bytes that are no RTCP packet", hint="RFC 3550, 6.4")
    return kind, first & 0x1F, end


def _block(data: bytes, position: int) -> ReportBlock:
    ssrc, loss, highest, jitter, last, delay = _BLOCK.unpack_from(data, position)
    lost = loss & 0xFFFFFF
    if lost & 0x800000:
        lost -= 1 << 24
    return ReportBlock(ssrc, (loss >> 24) / 256, lost, highest, jitter, last, delay)


def receiver_report(ssrc: int, block: ReportBlock) -> bytes:
    """A receiver report of the reader `ssrc` with one block: the reader's side."""
    loss = min(255, round(block.fraction_lost * 256)) << 24 | block.lost & 0xFFFFFF
    body = _BLOCK.pack(
        block.ssrc, loss, block.highest_sequence, block.jitter, block.last_report, block.delay
    )
    head = _HEAD.pack(2 << 6 | 1, RTCP_RECEIVER_REPORT, 1 + len(body) // 4)
    return head + struct.pack(">I", ssrc) + body


def goodbye(ssrc: int) -> bytes:
    """BYE of one source; it goes behind a report in the same compound packet."""
    return _HEAD.pack(2 << 6 | 1, RTCP_BYE, 1) + struct.pack(">I", ssrc)
