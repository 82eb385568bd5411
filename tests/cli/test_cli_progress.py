from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from harness.cli.live import LINE_EVERY_S, Lines, watching
from harness.cli.progress import Progress
from harness.cli.running import load_plan
from harness.record import kind
from harness.record.event import Event

if TYPE_CHECKING:
    from pathlib import Path

    from harness.scenario.plan import Plan


def event(t_s: float, source: str, what: str, **values: object) -> Event:
    return Event(t_s, source, what, values)


WINDOW = {"camera": "door", "instance": "one", "from_s": 1.0, "to_s": 2.0, "delivered": 15}
FAULT = {"fault": "f1", "fault_kind": "x", "target": "door", "label": "off"}
EVENTS = (
    event(0.0, "scenario", kind.PHASE_STARTED, phase="workload"),
    event(0.5, "appliance/north", kind.BOOTED, slot="a", version="7.0.13"),
    event(0.6, "appliance/north", kind.STATE, state="online"),
    event(0.6, "appliance/north", kind.LED, led="status", colour="green", pattern="steady"),
    event(0.6, "appliance/north", kind.LED, led="network", colour="red", pattern="steady"),
    event(1.0, "appliance/north", kind.NODE_STARTED, instance="one", attempt=1),
    event(1.0, "scenario", kind.STEP_STARTED, step="both", index="2"),
    event(1.0, "scenario", kind.STEP_STARTED, step="update south", index="2.1"),
    event(1.1, "appliance/south", kind.OTA_PHASE, job="j", phase="writing"),
    event(2.0, "app/one", kind.FRAMES, **WINDOW),
    event(2.0, "nemesis", kind.FAULT_INJECTED, **FAULT),
)


@pytest.fixture
def plan(tmp_path: Path, site_text: str) -> Plan:
    path = tmp_path / "site.yaml"
    path.write_text(site_text, encoding="utf-8")
    return load_plan(path)


@pytest.fixture
def progress(plan: Plan) -> Progress:
    made = Progress.of(plan)
    for one in EVENTS:
        made.see(one)
    return made


def test_progress_holds_what_is_true_now(progress: Progress) -> None:
    now = progress
    north = now.appliances["north"]
    assert (north.state, north.firmware, north.led) == ("online", "7.0.13", "green steady")
    assert north.rate_fps == {("one", "door"): 15.0}
    assert now.cameras["door"] == 15
    assert now.appliances["south"].note == "update: writing"
    assert now.step_text() == "update south"
    assert now.faults == {"f1": "off (door)"}


def test_what_ended_is_gone(progress: Progress) -> None:
    now = progress
    now.see(event(3.0, "nemesis", kind.FAULT_HEALED, fault="f1"))
    now.see(event(3.0, "scenario", kind.STEP_ENDED, step="s", index="2.1", ok=True))
    now.see(event(3.0, "appliance/north", kind.NODE_ENDED, instance="one", code=0, reason=""))
    assert now.faults == {}
    assert now.step_text() == "both"
    assert now.appliances["north"].rate_fps == {}
    now.see(event(4.0, "appliance/north", kind.STOPPED, reason="power-cut"))
    assert now.appliances["north"].state == "off"


def test_the_line_says_it_all(progress: Progress) -> None:
    line = progress.line()
    for part in ("2.0 s", "workload", "update south", "north online, 7.0.13, 15 FPS", "off (door)"):
        assert part in line


def test_lines_come_once_a_second_and_only_on_change(progress: Progress) -> None:
    time_s = [100.0]
    shown: list[str] = []
    lines = Lines(progress, shown.append, lambda: time_s[0])
    lines(event(3.0, "appliance/north", kind.STATE, state="offline"))
    lines(event(3.1, "appliance/north", kind.STATE, state="online"))
    assert len(shown) == 1
    time_s[0] += LINE_EVERY_S
    lines(event(3.2, "appliance/north", kind.LOG_LINE, stream="s", line="l"))
    assert "north online" in shown[1]
    time_s[0] += LINE_EVERY_S
    lines(event(3.3, "appliance/north", kind.LOG_LINE, stream="s", line="l"))
    assert len(shown) == 2


def test_a_terminal_gets_a_table(plan: Plan) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, no_color=True)
    with watching(plan, console, quiet=False) as listener:
        assert listener is not None
        for one in EVENTS:
            listener(one)
    text = out.getvalue()
    for part in ("appliance", "green steady", "update: writing", "15.0", "faults: off (door)"):
        assert part in text


def test_quiet_shows_nothing(plan: Plan) -> None:
    with watching(plan, Console(file=io.StringIO()), quiet=True) as listener:
        assert listener is None


def test_lines_are_printed_whole_and_as_they_are(plan: Plan) -> None:
    out = io.StringIO()
    step = "provision [north], " + "x" * 200
    with watching(plan, Console(file=out, width=80), quiet=False) as listener:
        assert listener is not None
        listener(event(0.0, "scenario", kind.STEP_STARTED, step=step, index="1"))
    (line,) = out.getvalue().splitlines()
    assert step in line
