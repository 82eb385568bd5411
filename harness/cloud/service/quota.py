"""Rates: how many requests a second an account may make, each refused one told when to try again.

Two token buckets, as the vendor's guide (2024) gives two rates: one for all requests, one for those
that create or change something; a change takes a token of both. A bucket holds what a second
brings, so five requests at once are fine after a quiet second. A refused request costs nothing.
The clock is real time even where the plane's runs faster: scripts are no faster for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cloud.api.error import throttled

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cloud.api.model import Operation
    from harness.scenario.quota import Quotas

DAY_S = 86400.0  # of the deployments quota: the last 24 hours of the plane's clock


class Bucket:
    """`rate_per_s` tokens a second, at most those of one second (but one) kept."""

    def __init__(self, rate_per_s: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._most = max(1.0, rate_per_s)
        self._level = self._most
        self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """How long until there is a token; 0 when there is one."""
        self._level = min(self._most, self._level + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        return max(0.0, (1.0 - self._level) / self._rate_per_s)

    def take(self) -> None:
        self._level -= 1.0


class Rates:
    """The rates of one account in one region. `wall` gives seconds, monotonic and of real time."""

    def __init__(self, quotas: Quotas, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._rates = (quotas.requests_per_s, quotas.changes_per_s)
        now_s = wall()
        self._buckets = [Bucket(rate, now_s) if rate else None for rate in self._rates]

    def admit(self, operation: Operation) -> None:
        """Count one request, or raise a ThrottlingException that says when to come back."""
        changes = operation.method != "GET"
        asked = [bucket for bucket in self._buckets[: 1 + changes] if bucket is not None]
        now_s = self._wall()
        waits = [bucket.wait_s(now_s) for bucket in asked]
        wait_s = max(waits, default=0.0)
        if wait_s > 0.0:
            rate, what = self._rates[0], "all requests together"
            if changes and self._buckets[1] is not None and waits[-1] == wait_s:
                rate, what = self._rates[1], "requests that create or change resources"
            raise throttled(f"Rate exceeded: {rate:g} a second for {what}.", wait_s)
        for bucket in asked:
            bucket.take()


def full(count: int, limit: int | None) -> bool:
    """Whether a quota leaves no room for one more."""
    return limit is not None and count >= limit
