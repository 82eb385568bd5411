"""`harness sweep`: cut power at every moment of a road, or follow one cut again."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.engine.sweep.campaign import Order, sweep
from harness.engine.sweep.road import Load
from harness.engine.sweep.sweep import parse_path, path_text, replay

if TYPE_CHECKING:
    from harness.engine.sweep.campaign import Outcome
    from harness.engine.sweep.sweep import Failure

JSON_SCHEMA = 1
PASSED, FAILED, INCONCLUSIVE = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Options:
    road: str
    image_bytes: int
    defects: tuple[str, ...]
    depth: int
    workers: int
    states_max: int
    as_json: bool

    @property
    def load(self) -> Load:
        return Load(self.image_bytes, self.defects)

    def shown_by(self, failure: Failure) -> str:
        """The command that shows a failure alone."""
        words = ["harness", "sweep", self.road, "--image-mib", str(self.image_bytes >> 20)]
        for defect in self.defects:
            words += ["--defect", defect]
        if failure.path:
            words += ["--replay", path_text(failure.path)]
        return shlex.join(words)


def run(options: Options) -> int:
    order = Order(options.road, options.load, options.depth, options.states_max)
    outcome = sweep(order, options.workers)
    if options.as_json:
        print(json.dumps(_as_json(options, outcome), indent=2))
    else:
        _print(options, outcome)
    if outcome.findings.failures:
        return FAILED
    return PASSED if outcome.findings.complete else INCONCLUSIVE


def follow(options: Options, path: str) -> int:
    """The story of one cut: what survived, what the appliance then told, what is broken."""
    found = replay(options.road, options.load, parse_path(path))
    if options.as_json:
        value = {"schema": JSON_SCHEMA, "path": path, "cuts": found.cuts, "notes": found.notes}
        print(json.dumps({**value, "broken": found.broken}, indent=2))
    else:
        for line in (*found.cuts, *(f"  {note}" for note in found.notes)):
            print(line)
        for line in found.broken or ("everything holds that must",):
            print(line)
    return FAILED if found.broken else PASSED


def _as_json(options: Options, outcome: Outcome) -> dict[str, object]:
    findings = outcome.findings
    return {
        "schema": JSON_SCHEMA,
        "road": options.road,
        "depth": options.depth,
        "workers": outcome.workers,
        "moments": findings.moments,
        "cuts": findings.cuts,
        "states": len(findings.states),
        "complete": findings.complete,
        "wall_s": round(outcome.wall_s, 3),
        "states_per_s": round(outcome.states_per_s),
        "outcomes": findings.outcomes,
        "failures": [
            {"path": path_text(f.path), "broken": f.broken, "replay": options.shown_by(f)}
            for f in findings.failures
        ],
    }  # fmt: skip


def _print(options: Options, outcome: Outcome) -> None:
    findings = outcome.findings
    print(
        f"{options.road}: {findings.moments} moments, {findings.cuts} cuts, depth {options.depth}, "
        f"{len(findings.states)} different states, {outcome.wall_s:.1f} s, "
        f"{outcome.states_per_s:.0f} states/s in {outcome.workers} process(es)"
    )
    for ended, times in sorted(findings.outcomes.items(), key=lambda item: -item[1]):
        print(f"  {times:8} ended as: {ended}")
    for failure in findings.failures:
        when = f"after {path_text(failure.path)}" if failure.path else "without a cut"
        print(f"BROKEN {when}: {'; '.join(failure.broken)}")
        print(f"  {options.shown_by(failure)}")
    if not findings.complete:
        print("not every state was looked at", file=sys.stderr)
