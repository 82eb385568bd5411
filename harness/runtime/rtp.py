"""RTP packets as a reader takes them apart (RFC 3550, 5.1). No I/O.

Written apart from the camera's sender on purpose: two ends that shared their code would agree on
their mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass

CLOCK_HZ = 90_000  # of the time stamps of H.264 (RFC 6184, 8.1)
HEADER_BYTES = 12
SEQUENCES = 1 << 16
TICKS = 1 << 32


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet without header extension, contributing sources and padding."""

    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    payload: bytes


def read_packet(data: bytes) -> Packet | None:
    """None for what is no RTP packet, or carries nothing."""
    if len(data) < HEADER_BYTES or data[0] >> 6 != 2:
        return None
    start, end = HEADER_BYTES + 4 * (data[0] & 0x0F), len(data)
    if data[0] & 0x10 and start + 4 <= end:
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if data[0] & 0x20:
        end -= data[-1]
    if start >= end:
        return None
    return Packet(
        sequence=int.from_bytes(data[2:4], "big"),
        timestamp=int.from_bytes(data[4:8], "big"),
        ssrc=int.from_bytes(data[8:12], "big"),
        marker=bool(data[1] & 0x80),
        payload=data[start:end],
    )


def ticks_between(earlier: int, later: int) -> int:
    """From one time stamp to another, negative where it went back; time stamps wrap."""
    step = (later - earlier) % TICKS
    return step if step < TICKS >> 1 else step - TICKS


def steps_between(earlier: int, later: int) -> int:
    """From one sequence number to another, likewise."""
    step = (later - earlier) % SEQUENCES
    return step if step < SEQUENCES >> 1 else step - SEQUENCES
