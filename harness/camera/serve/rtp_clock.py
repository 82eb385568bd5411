"""The RTP clock of a live camera: true, or as a bad habit or a fault has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.camera.wire.rtp import CLOCK_HZ

if TYPE_CHECKING:
    from fractions import Fraction


class RtpClock:
    """Says `base` when the camera starts. Of `rewind_ticks`, if any, it begins anew so often."""

    def __init__(self, rate: Fraction, base: int, rewind_ticks: int) -> None:
        self._numerator = CLOCK_HZ * rate.denominator
        self._denominator = rate.numerator
        self._base = base
        self._rewind_ticks = rewind_ticks
        self._ppm = 0.0
        self._since = 0  # ticks at which it began to drift
        self._bent = rewind_ticks > 0

    def stamp(self, frame: int) -> int:
        """RTP time stamp of `frame`, exact for rates such as 30000/1001."""
        ticks = frame * self._numerator // self._denominator
        if self._bent:
            ticks = self._bend(ticks)
        return self._base + ticks & 0xFFFFFFFF

    def stamp_after(self, seconds: float) -> int:
        """What it says so long after the camera's start."""
        ticks = round(seconds * CLOCK_HZ)
        if self._bent:
            ticks = self._bend(ticks)
        return self._base + ticks & 0xFFFFFFFF

    def jump(self, by_s: float) -> None:
        self._base += round(by_s * CLOCK_HZ)

    def drift(self, ppm: float, frame: int) -> None:
        """Run fast by `ppm` from `frame` on, or slow; what it is off by then stays."""
        ticks = frame * self._numerator // self._denominator
        self._base += self._drifted(ticks)
        self._ppm, self._since = ppm, ticks
        self._bent = ppm != 0.0 or self._rewind_ticks > 0

    def _bend(self, ticks: int) -> int:
        ticks += self._drifted(ticks)
        return ticks % self._rewind_ticks if self._rewind_ticks else ticks

    def _drifted(self, ticks: int) -> int:
        return round((ticks - self._since) * self._ppm / 1e6)
