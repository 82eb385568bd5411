"""From level to level, until one is missed or reached; what of it stands in the result."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Measure: TypeAlias = Callable[[int], dict[str, Any]]

STEP = 1.25  # to the next level
LEVELS_MAX = 3  # of a search
ATTEMPTS = 2
SATURATED_SHARE = 0.95  # of its core: then the server is the limit


def sessions_of(level: Mapping[str, Any]) -> int:
    return int(level["sessions"])


def attempt(measure: Measure, count: int) -> list[dict[str, Any]]:
    """The level, measured again where something else than the server was the limit."""
    levels = [measure(count)]
    while (
        not levels[-1]["reached"]
        and (levels[-1]["cpu_share"] < SATURATED_SHARE or levels[-1]["disturbed"])
        and len(levels) < ATTEMPTS
    ):
        levels.append(measure(count))
    return levels


def search(
    measure: Measure, expected: int, limit: int, until_s: float = math.inf
) -> list[dict[str, Any]]:
    """Begin at `expected`: upward until a level is missed, or downward until one is reached.

    No level is begun after `until_s` (`time.monotonic()`).
    """
    count = min(expected, limit)
    levels = attempt(measure, count)
    upward = levels[-1]["reached"]
    for _ in range(LEVELS_MAX - 1):
        count = round(count * STEP if upward else count / STEP)
        if not 1 <= count <= limit or time.monotonic() >= until_s:
            break
        levels += attempt(measure, count)
        if levels[-1]["reached"] is not upward:
            break
    return levels


def summary(levels: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The highest level reached, what it cost, and whether the limit above it was found."""
    reached = max((one for one in levels if one["reached"]), key=sessions_of, default=None)
    most = 0 if reached is None else sessions_of(reached)
    missed = [one for one in levels if not one["reached"] and sessions_of(one) > most]
    return {
        "sessions": most,
        "limit_found": bool(missed),
        "limit_disturbed": bool(missed) and all(one["disturbed"] for one in missed),
        "cpu_us_per_frame": None if reached is None else reached["cpu_us_per_frame"],
        "levels": list(levels),
    }


def ratios(ours: int, peers: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """How many sessions we carry for each one of every peer; None where one carried none."""
    return {
        name: round(ours / result["sessions"], 2) if ours and result.get("sessions") else None
        for name, result in peers.items()
    }
