"""What follows from frames, their arrivals, time stamps and numbers. Pure functions, no I/O."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.record import framecode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from harness.record.framecode import FrameCode

BURST_S_MAX = 1.0
JUMP_S = 1.0  # of the time stamps, where no frame number tells how far they should go


@dataclass(frozen=True, slots=True)
class Latency:
    """From capture to the arrival of the last packet. `source` tells by which clock.

    "embedded": by the time in the frame and the epoch that was given; "rtcp": by the camera's
    sender reports (RFC 3550, 6.4.1), so right as far as its clock and this one agree.
    """

    source: str
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Frame:
    """One access unit: `wall_s` is its capture by the camera's sender reports (Unix time)."""

    pts: int | None
    arrived_s: float  # monotonic
    octets: int = 0
    wall_s: float | None = None
    code: FrameCode | None = None


def burst(frames: Sequence[Frame], time_base: Fraction, usual_s: float) -> int:
    """How many frames at the start came late because they had waited for a reader.

    A camera that begins with its last key frame sends what it has since then at once. `usual_s`
    is the time from frame to frame; the first frame that is within half of it of the timeliest
    one is on time.
    """
    first = frames[0]
    early = [frame for frame in frames if frame.arrived_s - first.arrived_s <= BURST_S_MAX]
    late_s = [frame.arrived_s - float(_ticks(first, frame) * time_base) for frame in early]
    return next(n for n, late in enumerate(late_s) if late <= min(late_s) + usual_s / 2)


def _ticks(before: Frame, after: Frame) -> int:
    return after.pts - before.pts if after.pts is not None and before.pts is not None else 0


def frame_s(frames: Sequence[Frame], time_base: Fraction) -> float:
    """The usual time from frame to frame, by the time stamps; 0 where they do not tell."""
    stamps = sorted(frame.pts for frame in frames if frame.pts is not None)
    steps = [after - before for before, after in pairwise(stamps) if after > before]
    return float(statistics.median_low(steps) * time_base) if steps else 0.0


def continuity(
    frames: Sequence[Frame], time_base: Fraction, frame_s: float
) -> tuple[int, int, int]:
    """Frames lost and duplicated, by their numbers, and jumps of the time stamps."""
    lost = duplicated = jumps = 0
    for before, after in pairwise(frames):
        passed_s = float(_ticks(before, after) * time_base)
        one, two = before.code, after.code
        steps = None
        if one is not None and two is not None and one.clip_id == two.clip_id:
            steps = two.index - one.index
            duplicated += steps == 0
            if steps < 0:  # the clip began anew: only the time stamps tell how far it went
                steps = None
                lost += max(0, round(passed_s / frame_s) - 1) if frame_s else 0
            elif steps > 0:
                lost += steps - 1
        if steps is None:
            jumps += passed_s < 0 or passed_s > JUMP_S
        else:
            jumps += abs(passed_s - steps * frame_s) > frame_s / 2 and steps > 0
    return lost, duplicated, jumps


def latency(
    frames: Sequence[Frame], wall_s: float, epoch: tuple[float, float] | None
) -> Latency | None:
    """Arrivals plus `wall_s` are Unix time; `epoch` is that of the clip, and its length."""
    found: list[float] = []
    if epoch is not None:
        for frame in frames:
            if frame.code is not None:
                now_s = frame.arrived_s + wall_s
                found.append(now_s - framecode.resolve(frame.code, *epoch, now_s)[1])
    source = "embedded" if found else "rtcp"
    if not found:
        found = [f.arrived_s + wall_s - f.wall_s for f in frames if f.wall_s is not None]
    if len(found) < 2:
        return None
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return Latency(source, round(cuts[49] * 1000, 2), round(cuts[98] * 1000, 2))
