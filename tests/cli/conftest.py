"""A project with one scenario, and an engine that writes a given history instead of running."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.cli import running
from harness.record import kind
from harness.record.event import Event

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from harness.errors import HarnessError
    from harness.record.history import HistoryWriter
    from harness.scenario.plan import Plan


ROOT = Path(__file__).parents[2]
SCENARIO = """\
schema: 1
name: small
seed: 3
engine: process
site:
  appliances:
    north: {profile: panorama-appliance, firmware: 6.2.1}
bring_up:
  - provision: north
checks: [steps]
stop_after: 1m
converge_within: 20s
"""

SITE = """\
schema: 1
name: site
site:
  appliances:
    north: {profile: panorama-appliance, firmware: 6.2.1}
    south: {profile: lenovo-se70, firmware: 6.2.1}
  cameras:
    door: {profile: generic-360p15}
bring_up:
  - provision: [north, south]
checks: [steps]
stop_after: 1m
converge_within: 20s
"""


@dataclass
class Script:
    """What the stand-in engine does; tests change it before a run."""

    ok: bool = True
    silent: bool = False
    error: HarnessError | None = None
    on_run: Callable[[], object] = lambda: None
    jitter: list[float] = field(default_factory=lambda: [0.0])
    seen: list[Plan] = field(default_factory=list)


@dataclass
class ScriptedEngine:
    name: str
    script: Script

    @property
    def grade(self) -> str:
        return "V" if self.name == "model" else "L"

    @property
    def epoch_s(self) -> float | None:
        return 1e9 if self.name == "model" else None

    def run(self, plan: Plan, history: HistoryWriter, *, stop: threading.Event) -> None:
        script = self.script
        script.seen.append(plan)

        def tell(t_s: float, source: str, what: str, **values: object) -> None:
            history.append(Event(t_s, source, what, values))

        tell(0.0, "scenario", kind.RUN_STARTED, plan=plan.digest, time_scale=plan.time_scale)
        tell(0.0, "scenario", kind.PHASE_STARTED, phase="bring-up")
        script.on_run()
        if script.error is not None:
            raise script.error
        jitter = script.jitter.pop(0) if len(script.jitter) > 1 else script.jitter[0]
        if not script.silent:
            tell(0.0, "scenario", kind.STEP_STARTED, step="provision north", index="1")
            tell(1.0, "appliance/north", kind.STATE, state="online")
            ended = {
                "ok": script.ok,
                "duration_s": 1.0 + jitter,
                "error": "" if script.ok else "no",
            }
            tell(
                1.0 + jitter,
                "scenario",
                kind.STEP_ENDED,
                step="provision north",
                index="1",
                **ended,
            )
        outcome = "interrupted" if stop.is_set() else "completed"
        tell(2.0, "scenario", kind.RUN_ENDED, outcome=outcome, error="")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Runs use the scripted engine in this test."""
    script = Script()
    monkeypatch.setattr(running, "create", lambda name: ScriptedEngine(name, script))
    return script


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder that the command line is called in."""
    folder = tmp_path / "project"
    (folder / "scenarios").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    (folder / "scenarios/small.yaml").write_text(SCENARIO, encoding="utf-8")
    shutil.copytree(ROOT / "device_profiles", folder / "device_profiles")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def site_text() -> str:
    """A scenario with two appliances and a camera."""
    return SITE
