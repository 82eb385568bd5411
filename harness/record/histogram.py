"""A log-linear histogram: any number of values in little space, quantiles within 0.4 %.

Every power of two is cut into `STEPS` equal steps, so a bucket is at most 1/128 of its value wide
and its middle at most 1/256 (0.39 %) away from anything in it. Counts add up, and the
sum is kept as an integer of `RESOLUTION`, so merging gives the same result in every order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.errors import Corrupt, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STEPS = 128
RELATIVE_ERROR_MAX = 1 / (2 * STEPS)
RESOLUTION = 1e-9  # smaller values count as zero
VALUE_MAX = 2.0**63
_BUCKET_MIN = (math.frexp(RESOLUTION)[1] - 1) * STEPS
_BUCKET_MAX = 65 * STEPS


class Histogram:
    """Counts values from 0 to `VALUE_MAX` of whatever unit the name of the series says."""

    __slots__ = ("_buckets", "_sum", "_zeros", "count", "max", "min")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.count = 0
        self.min = math.inf
        self.max = 0.0
        self._zeros = 0
        self._sum = 0
        self._buckets: dict[int, int] = {}
        for value in values:
            self.record(value)

    def record(self, value: float, count: int = 1) -> None:
        """Count `value` `count` times. Raises EngineError when it is negative or not finite."""
        if not 0 <= value <= VALUE_MAX or count < 1:
            raise EngineError(
                f"a histogram cannot count {value!r} {count} times",
                hint=f"values lie between 0 and {VALUE_MAX:.3g}, counts are at least 1",
            )
        if value < RESOLUTION:
            self._zeros += count
        else:
            bucket = _bucket(value)
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
            self._sum += round(value / RESOLUTION) * count
        self.count += count
        self.min = min(self.min, value)
        self.max = max(self.max, value)

    def merge(self, other: Histogram) -> None:
        """Add all of `other` to this histogram."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self._zeros += other._zeros
        self._sum += other._sum
        self.count += other.count
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)

    @property
    def mean(self) -> float:
        """The mean, exact to `RESOLUTION`. Raises EngineError when nothing was counted."""
        self._require_values()
        return self._sum * RESOLUTION / self.count

    def quantile(self, q: float) -> float:
        """The nearest-rank quantile: the smallest value that `q` of all values do not exceed.

        Off by at most `RELATIVE_ERROR_MAX` of the true value; q=0 and q=1 are exact.
        """
        self._require_values()
        if not 0 <= q <= 1:
            raise EngineError(f"quantile {q!r}", hint="a quantile lies between 0 and 1")
        rank = max(1, math.ceil(q * self.count))
        if rank >= self.count:
            return self.max
        seen = self._zeros
        if rank == 1 or rank <= seen:
            return self.min if rank == 1 else 0.0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(max(_middle(bucket), self.min), self.max)
        raise AssertionError("the counts of a histogram do not add up")

    def to_json(self) -> dict[str, Any]:
        """Sparse and canonical: equal histograms give equal JSON."""
        return {
            "count": self.count,
            "sum_e9": self._sum,
            "min": self.min if self.count else None,
            "max": self.max if self.count else None,
            "zeros": self._zeros,
            "buckets": [[bucket, self._buckets[bucket]] for bucket in sorted(self._buckets)],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Histogram:
        """Raises Corrupt when `value` is not what `to_json` writes."""
        histogram = cls()
        try:
            histogram._buckets = {int(bucket): int(count) for bucket, count in value["buckets"]}
            histogram._zeros = int(value["zeros"])
            histogram._sum = int(value["sum_e9"])
            histogram.count = int(value["count"])
            if histogram.count:
                histogram.min, histogram.max = float(value["min"]), float(value["max"])
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"not a histogram: {error!r}", hint="see Histogram.to_json") from error
        histogram._verify()
        return histogram

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, min={self.min}, max={self.max})"

    def _verify(self) -> None:
        counts = [self._zeros, *self._buckets.values()]
        inside = all(_BUCKET_MIN <= bucket <= _BUCKET_MAX for bucket in self._buckets)
        if sum(counts) != self.count or any(count < 0 for count in counts) or not inside:
            raise Corrupt(
                f"a histogram of {self.count} values whose buckets hold {sum(counts)}",
                hint="bucket counts are positive, in range and add up to `count`",
            )

    def _require_values(self) -> None:
        if not self.count:
            raise EngineError(
                "an empty histogram has no mean and no quantiles", hint="ask for `count` first"
            )


def _bucket(value: float) -> int:
    mantissa, exponent = math.frexp(value)  # mantissa in [0.5, 1)
    return exponent * STEPS + int((mantissa - 0.5) * 2 * STEPS)


def _middle(bucket: int) -> float:
    exponent, step = divmod(bucket, STEPS)
    return math.ldexp(0.5 + (step + 0.5) / (2 * STEPS), exponent)
