"""The head of a history: what ran, from which seed, and what its claims are worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Head:
    """Line 0 of a history.

    `engine` is the rung (model, process, container, real), `grade` the worth of what it claims
    (V, L, P, D), `plan` the digest of the plan, `started` the moment of `t = 0` (UTC; a fixed
    epoch on the model rung), `versions` what took part (harness, Python, libraries).
    """

    scenario: str
    seed: int
    engine: str
    grade: str
    plan: str
    started: datetime
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "scenario": self.scenario,
            "seed": self.seed,
            "engine": self.engine,
            "grade": self.grade,
            "plan": self.plan,
            "started": wall_text(self.started),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Head:
        """Raises KeyError, TypeError or ValueError when a field is missing or malformed."""
        if value["schema"] != SCHEMA:
            raise ValueError(f"schema {value['schema']!r}, this harness reads {SCHEMA}")
        return cls(
            scenario=str(value["scenario"]),
            seed=int(value["seed"]),
            engine=str(value["engine"]),
            grade=str(value["grade"]),
            plan=str(value["plan"]),
            started=datetime.fromisoformat(value["started"]),
            versions=dict(value["versions"]),
        )


def wall_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and a trailing `Z`; refuses a naive moment."""
    if moment.tzinfo is None:
        raise EngineError(
            f"a naive date {moment.isoformat()} in a history", hint="pass datetimes with UTC"
        )
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
