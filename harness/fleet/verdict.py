"""What a load run has shown. Nothing expected that did not happen is ever a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.fleet.order import Outcome
    from harness.fleet.profile import LoadProfile

PASS, FAIL, UNKNOWN = "PASS", "FAIL", "UNKNOWN"


@dataclass(frozen=True, slots=True)
class LoadVerdict:
    """`why` holds every reason against a pass."""

    verdict: str
    why: tuple[str, ...]


def judge(profile: LoadProfile, outcome: Outcome, p99_ms_max: float | None = None) -> LoadVerdict:
    """`p99_ms_max` bounds every kind of request but waves and jobs, which last as long as work."""
    unseen = [name for name in profile.expected if not _count(outcome, name)]
    failures, requests = outcome.failures, outcome.requests
    why = []
    if requests and failures / requests > profile.failures_max:
        share = f"{failures / requests:.2%}, at most {profile.failures_max:.2%}"
        why.append(f"{failures} of {requests} requests failed ({share})")
    if p99_ms_max is not None:
        why += [
            f"{row.name}: p99 is {row.p99_ms:g} ms, at most {p99_ms_max:g}"
            for row in outcome.rows
            if row.p99_ms > p99_ms_max and row.method != "WAVE" and row.name != "job"
        ]
    if why:
        return LoadVerdict(FAIL, tuple(why))
    if unseen:
        return LoadVerdict(UNKNOWN, tuple(f"no {name} was seen" for name in unseen))
    return LoadVerdict(PASS, ())


def _count(outcome: Outcome, name: str) -> int:
    row = outcome.row(name)
    return 0 if row is None else row.requests - row.failures
