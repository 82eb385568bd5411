"""The run directory `reports/<scenario>/<utc>-<seed>/` and the index of all runs.

A run directory holds everything a verdict is derived from; the index is a convenience that can
be thrown away.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.record.head import wall_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INDEX_NAME = "index.sqlite"
SAME_SECOND_MAX = 1000
ROWS_MAX = 10_000
_BUSY_TIMEOUT_S = 10.0
_SCENARIO_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class RunDir:
    """The files of one run, by name."""

    path: Path

    @classmethod
    def create(cls, root: Path, scenario: str, seed: int, now: datetime) -> RunDir:
        """Make a new directory under `root`; runs that start in the same second get `-2`, ...

        Raises InputError when the scenario's name cannot be a directory.
        """
        if not _SCENARIO_NAME.fullmatch(scenario):
            raise InputError(
                f"scenario name {scenario!r}",
                hint="use letters, digits, dots, dashes and underscores, at most 100",
            )
        name = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{seed}"
        for attempt in range(1, SAME_SECOND_MAX + 1):
            path = root / scenario / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            return cls(path)
        raise InputError(
            f"{root / scenario / name} and {SAME_SECOND_MAX - 1} more exist already",
            hint="remove old runs or choose another reports directory",
        )

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """An existing run directory. Raises InputError when it holds no run."""
        run = cls(path)
        for file in (run.plan, run.history):
            if not file.is_file():
                raise InputError(
                    f"{path} is not a run directory: {file.name} is missing",
                    hint="give reports/<scenario>/<utc>-<seed>",
                )
        return run

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Keep the compiled plan beside the history that names its digest."""
        self.plan.write_text(json.dumps(plan, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def read_plan(self) -> dict[str, Any]:
        """Raises InputError, naming file and line, when it is not a JSON object."""
        try:
            value = json.loads(self.plan.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{self.plan}: {error}", hint="the run writes it; run again"
            ) from error
        if not isinstance(value, dict):
            raise InputError(
                f"{self.plan}: a {type(value).__name__}", hint="a plan is a JSON object"
            )
        return value

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def verdict(self) -> Path:
        return self.path / "verdict.json"

    @property
    def html(self) -> Path:
        return self.path / "report.html"

    @property
    def markdown(self) -> Path:
        return self.path / "report.md"

    @property
    def display(self) -> Path:
        """Snapshots of the appliances' HDMI output; only there when there are some."""
        return self.path / "display"

    @property
    def junit(self) -> Path:
        return self.path / "junit.xml"


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in the index. `path` is relative to the reports directory."""

    scenario: str
    seed: int
    engine: str
    grade: str
    verdict: str
    path: str
    started: datetime
    duration_s: float
    measurements: Mapping[str, Any] = field(default_factory=dict)


_CREATE = """CREATE TABLE IF NOT EXISTS run (
  path TEXT PRIMARY KEY, scenario TEXT NOT NULL, seed TEXT NOT NULL, engine TEXT NOT NULL,
  grade TEXT NOT NULL, verdict TEXT NOT NULL, started TEXT NOT NULL, duration_s REAL NOT NULL,
  measurements TEXT NOT NULL)"""
_PUT = (
    "INSERT OR REPLACE INTO run (path, scenario, seed, engine, grade, verdict, started,"
    " duration_s, measurements) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT = (
    "SELECT path, scenario, seed, engine, grade, verdict, started, duration_s, measurements"
    " FROM run WHERE (?1 IS NULL OR scenario = ?1) ORDER BY started DESC, path DESC LIMIT ?2"
)


class RunIndex:
    """`reports/index.sqlite`: one row a run. Several processes may write to it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, row: RunRow) -> None:
        """Add `row`, or replace the row of the same run (judged again)."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # seeds are text: a seed may be wider than the 63 bits of an SQLite integer
        values = (
            row.path,
            row.scenario,
            str(row.seed),
            row.engine,
            row.grade,
            row.verdict,
            wall_text(row.started),
            row.duration_s,
            json.dumps(dict(row.measurements), sort_keys=True),
        )
        with closing(self._connect()) as connection, connection:
            connection.execute(_CREATE)
            connection.execute(_PUT, values)

    def runs(self, scenario: str | None = None, limit: int = 100) -> list[RunRow]:
        """The newest runs first, of one scenario or of all. Empty when nothing ran yet."""
        if not self.path.exists():
            return []
        with closing(self._connect()) as connection:
            connection.execute(_CREATE)
            rows = connection.execute(_SELECT, (scenario, min(limit, ROWS_MAX))).fetchall()
        return [_row(columns) for columns in rows]

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)


def _row(columns: tuple[Any, ...]) -> RunRow:
    path, scenario, seed, engine, grade, verdict, started, duration_s, measurements = columns
    return RunRow(
        scenario=scenario,
        seed=int(seed),
        engine=engine,
        grade=grade,
        verdict=verdict,
        path=path,
        started=datetime.fromisoformat(started),
        duration_s=duration_s,
        measurements=json.loads(measurements),
    )
