"""Commands that only read and print: plan, validate, schema, runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from harness.cli.running import load_plan, load_scenario
from harness.errors import InputError
from harness.record.rundir import INDEX_NAME, RunIndex
from harness.scenario import (
    FileInvalid,
    appliance_profile,
    camera_profile,
    json_schema,
    profile_schemas,
    quotas_schema,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.record.rundir import RunRow

JSON_SCHEMA = 1
PROFILES = {"appliances": appliance_profile, "cameras": camera_profile}


def plan(file: Path, engine: str | None, seed: int | None) -> int:
    made = load_plan(file, engine=engine, seed=seed)
    value = {**made.to_json(), "digest": made.digest}
    print(json.dumps(value, indent=2))
    return 0


def validate(files: Iterable[Path]) -> int:
    """Check every file, say which are good on stdout, and all problems on stderr."""
    problems = 0
    for path in _expanded(files):
        try:
            _validate(path)
        except FileInvalid as invalid:
            problems += len(invalid.problems)
            print(invalid, file=sys.stderr)
        else:
            print(f"ok {path.as_posix()}")
    if problems:
        print(f"hint: {problems} to mend; `harness schema` prints what is allowed", file=sys.stderr)
    return InputError.exit_code if problems else 0


def _expanded(files: Iterable[Path]) -> list[Path]:
    found = [
        path
        for file in files
        for path in (sorted(file.rglob("*.yaml")) if file.is_dir() else [file])
    ]
    if not found:
        raise InputError("no YAML file there", hint="give scenario files or a folder of them")
    return found


def _validate(path: Path) -> None:
    read = PROFILES.get(path.parent.name)
    if read is not None:
        read(path)
    else:
        load_scenario(path)


def schema(what: str) -> int:
    schemas = {"scenario": json_schema, "quotas": quotas_schema}
    value = schemas[what]() if what in schemas else profile_schemas()[what]
    print(json.dumps(value, indent=2))
    return 0


def runs(reports: Path, scenario: str | None, limit: int, *, as_json: bool) -> int:
    rows = RunIndex(reports / INDEX_NAME).runs(scenario, limit)
    if as_json:
        print(json.dumps({"schema": JSON_SCHEMA, "runs": [_row(row) for row in rows]}, indent=2))
        return 0
    for row in rows:
        started = f"{row.started:%Y-%m-%d %H:%M:%S}"
        where = (reports / row.path).as_posix()
        length = f"{row.duration_s:.1f} s"
        print(f"{row.verdict:8}{row.grade:3}{row.engine:9}{started}  {length:>10}  {where}")
    return 0


def _row(row: RunRow) -> dict[str, object]:
    return {
        "scenario": row.scenario,
        "seed": row.seed,
        "engine": row.engine,
        "grade": row.grade,
        "verdict": row.verdict,
        "path": row.path,
        "started": row.started.isoformat(),
        "duration_s": row.duration_s,
        "measurements": dict(row.measurements),
    }
