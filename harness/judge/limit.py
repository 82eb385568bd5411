"""Limits: what a scenario demands of measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.judge.checker import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.judge.measure import Measurement
    from harness.scenario.plan import LimitPlan

STATISTICS = ("p50", "p90", "p99", "max", "mean", "min", "value")
_HOLDS = {"<=": lambda value, bound: value <= bound, ">=": lambda value, bound: value >= bound}


def apply(limits: Iterable[LimitPlan], measurements: Sequence[Measurement]) -> list[Finding]:
    """One finding a limit. It holds for every series of that name, or it does not hold."""
    return [_apply(limit, measurements) for limit in limits]


def _apply(limit: LimitPlan, measurements: Sequence[Measurement]) -> Finding:
    name = f"limit:{limit.measurement}"
    demand = f"{limit.measurement} {limit.statistic} {limit.comparison} {limit.bound:g}"
    series = [one for one in measurements if one.name == limit.measurement]
    if limit.statistic not in STATISTICS or limit.comparison not in _HOLDS:
        return Finding(name, Verdict.UNKNOWN, f"not a limit: {demand}", demand=demand)
    if not series:
        message = f"the history has no data for {limit.measurement}"
        return Finding(name, Verdict.UNKNOWN, message, demand=demand)
    values = [(float(getattr(one, limit.statistic)), one) for one in series]
    pick = max if limit.comparison == "<=" else min
    worst, where = pick(values, key=lambda pair: pair[0])
    holds = _HOLDS[limit.comparison](worst, limit.bound)
    values_said = "1 value" if where.count == 1 else f"{where.count} values"
    message = f"{limit.statistic} is {worst:.4g} {where.unit}, {values_said}"
    if where.labels:
        worst_of = f"worst of {len(series)}: " if len(series) > 1 else ""
        said = ", ".join(f"{key} {value}" for key, value in where.labels.items())
        message += f" ({worst_of}{said})"
    return Finding(name, Verdict.PASS if holds else Verdict.FAIL, message, demand=demand)
