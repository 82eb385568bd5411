"""CloudWatch's metric alarms, evaluated: periods in, a state and its reason out.

Source: Amazon CloudWatch User Guide, "Using Amazon CloudWatch alarms", sections "Evaluating an
alarm" and "Configuring how CloudWatch alarms treat missing data", with its two tables.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"
RANGE_EXTRA = 2  # periods looked back beyond those evaluated, to find data that is not missing
MINUTE_S = 60.0
HIGH_RESOLUTION_S = 10.0

COMPARISONS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "GreaterThanOrEqualToThreshold": ("greater than or equal to", operator.ge),
    "GreaterThanThreshold": ("greater than", operator.gt),
    "LessThanThreshold": ("less than", operator.lt),
    "LessThanOrEqualToThreshold": ("less than or equal to", operator.le),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What an alarm watches for: `needed` of `periods` data points that breach the threshold.

    `missing` says how to treat periods without data: missing, ignore, breaching, notBreaching.
    """

    period_s: float
    periods: int
    needed: int
    threshold: float
    comparison: str
    missing: str = "missing"

    @property
    def every_s(self) -> float:
        """How often it is evaluated: every minute, or every ten seconds for short periods."""
        return HIGH_RESOLUTION_S if self.period_s < MINUTE_S else MINUTE_S

    @property
    def looked_at(self) -> int:
        """How many periods are looked at, the newest last."""
        return self.periods + RANGE_EXTRA

    def breaches(self, value: float) -> bool:
        return COMPARISONS[self.comparison][1](value, self.threshold)


@dataclass(frozen=True, slots=True)
class Finding:
    state: str
    reason: str
    values: tuple[float, ...]  # that were evaluated, the newest first


def evaluate(rule: Rule, values: Sequence[float | None], state: str) -> Finding:
    """The state after `values`, one a period, oldest first, None where there was no data.

    `state` is what it was before.
    """
    actual = [value for value in values[-rule.looked_at :] if value is not None]
    missing = max(0, rule.periods - len(actual))
    actual = actual[-rule.periods :]
    breaching = sum(map(rule.breaches, actual))
    found = _state(rule, len(actual), breaching, missing, state)
    return Finding(found, _reason(rule, actual, missing, found), tuple(reversed(actual)))


def _state(rule: Rule, actual: int, breaching: int, missing: int, state: str) -> str:
    if missing and rule.missing == "breaching":
        breaching += missing
    elif missing and rule.missing != "notBreaching":
        if not actual:
            return INSUFFICIENT if rule.missing == "missing" else state
        if breaching == actual and breaching < rule.needed:  # nothing speaks against an alarm
            return ALARM if rule.missing == "missing" else state
    return ALARM if breaching >= rule.needed else OK


def _reason(rule: Rule, actual: Sequence[float], missing: int, state: str) -> str:
    if not actual:
        start = f"no datapoints were received for {missing} period{'s'[: missing > 1]} and "
        if state == INSUFFICIENT:
            return (
                f"Insufficient Data: {missing} datapoint{'s were' if missing > 1 else ' was'} "
                "unknown."
            )
        treated = {"breaching": "Breaching", "notBreaching": "NonBreaching"}.get(rule.missing, "")
        what = f"{missing} missing datapoint{'s were' if missing > 1 else ' was'} treated as"
        return f"Threshold Crossed: {start}{what} [{treated}]."
    words, compare = COMPARISONS[rule.comparison]
    hit = state == ALARM
    shown = [value for value in reversed(actual) if compare(value, rule.threshold) is hit]
    listed = ", ".join(f"{value}" for value in shown)
    were = "were" if hit else "were not"
    return (
        f"Threshold Crossed: {len(shown)} out of the last {rule.periods} datapoints [{listed}] "
        f"{were} {words} the threshold ({rule.threshold})."
    )
