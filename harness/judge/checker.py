"""What a checker is: a pure function from a history to PASS, FAIL or UNKNOWN with proof.

UNKNOWN is a verdict of its own: a checker that crashed, or found nothing to look at, has
not shown that anything works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.record.history import History

EVIDENCE_MAX = 24
PROBLEMS_SHOWN_MAX = 5


class Verdict(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one checker says. `evidence` holds numbers of events, `demand` what was asked for."""

    checker: str
    verdict: Verdict
    message: str
    evidence: tuple[int, ...] = ()
    demand: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "checker": self.checker,
            "verdict": self.verdict.value,
            "message": self.message,
            "evidence": list(self.evidence),
            "demand": self.demand,
        }


CheckFunction: TypeAlias = Callable[["History", Mapping[str, Any]], Finding]


@dataclass(frozen=True, slots=True)
class Checker:
    """A checker under its name in scenario files; `parameters` are all that it understands."""

    name: str
    demand: str
    function: CheckFunction
    parameters: frozenset[str] = frozenset()

    def run(self, history: History, parameters: Mapping[str, Any]) -> Finding:
        """Never raises: what goes wrong inside a checker is UNKNOWN, with the reason."""
        unknown = sorted(set(parameters) - self.parameters)
        if unknown:
            known = ", ".join(sorted(self.parameters)) or "none"
            reason = f"unknown parameters {', '.join(unknown)}; it has {known}"
            return Finding(self.name, Verdict.UNKNOWN, reason, demand=self.demand)
        try:
            found = self.function(history, parameters)
        except Exception as error:
            reason = f"the checker crashed: {type(error).__name__}: {error}"
            return Finding(self.name, Verdict.UNKNOWN, reason, demand=self.demand)
        return Finding(self.name, found.verdict, found.message, found.evidence, self.demand)


@dataclass(slots=True)
class Case:
    """Collects what a checker sees and turns it into one finding; FAIL outweighs UNKNOWN."""

    failures: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    proof: list[int] = field(default_factory=list)
    counterproof: list[int] = field(default_factory=list)
    looked_at: int = 0

    def seen(self, *evidence: int) -> None:
        """One more thing was looked at and is as it should be."""
        self.looked_at += 1
        self.proof.extend(evidence)

    def fail(self, message: str, *evidence: int) -> None:
        self.looked_at += 1
        self.failures.append(message)
        self.counterproof.extend(evidence)

    def doubt(self, message: str, *evidence: int) -> None:
        self.doubts.append(message)
        self.counterproof.extend(evidence)

    def finding(self, passed: str, *, empty: str) -> Finding:
        """PASS says `passed`; a case in which nothing was looked at is UNKNOWN and says `empty`."""
        if self.failures:
            return self._finding(Verdict.FAIL, _summary(self.failures), self.counterproof)
        if self.doubts:
            return self._finding(Verdict.UNKNOWN, _summary(self.doubts), self.counterproof)
        if not self.looked_at:
            return self._finding(Verdict.UNKNOWN, empty, ())
        return self._finding(Verdict.PASS, passed, self.proof)

    @staticmethod
    def _finding(verdict: Verdict, message: str, evidence: Iterable[int]) -> Finding:
        numbers = tuple(sorted(set(evidence))[:EVIDENCE_MAX])
        return Finding("", verdict, message, numbers)


def _summary(problems: list[str]) -> str:
    shown = "; ".join(problems[:PROBLEMS_SHOWN_MAX])
    more = len(problems) - PROBLEMS_SHOWN_MAX
    return f"{shown}; and {more} more" if more > 0 else shown


def overall(findings: Iterable[Finding]) -> Verdict:
    """Any FAIL fails, else any UNKNOWN is unknown, else pass; nothing found is unknown."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    if Verdict.UNKNOWN in verdicts or not verdicts:
        return Verdict.UNKNOWN
    return Verdict.PASS
