"""Where all probes write: names for ids, faults observed and recovered, and the end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine.recorder import Recorder
from harness.errors import EngineError
from harness.record.head import Head
from harness.record.history import History, HistoryWriter
from harness.scenario.plan import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.record.event import Event

KILL = FaultPlan("f1", "app.kill", "counter", 0.0)
LOSS = FaultPlan("f2", "uplink.loss", "north", 3.0, parameters={"how": "reset"})


class Desk:
    """A recorder with its clock in the test's hands."""

    def __init__(self, history: HistoryWriter) -> None:
        self.now_s = 1.0
        self.history = history
        self.recorder = Recorder(history, lambda: self.now_s)

    def note(self, kind: str, source: str = "appliance/north", **values: Any) -> None:
        self.recorder.note(source, kind, values)

    def written(self) -> list[Event]:
        return list(History.load(self.history.path).events)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.written()]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    head = Head("small", 1, "model", "V", "0" * 64, datetime(2026, 1, 1, tzinfo=UTC), {})
    with HistoryWriter(tmp_path / "history.jsonl", head) as history:
        yield Desk(history)


def test_events_carry_the_engines_time(desk: Desk) -> None:
    desk.note("appliance.powered")
    desk.now_s = 2.5
    desk.note("appliance.state", state="booting")
    assert [(e.t_s, e.source, e.kind) for e in desk.written()] == [
        (1.0, "appliance/north", "appliance.powered"),
        (2.5, "appliance/north", "appliance.state"),
    ]


def test_instances_are_known_by_the_name_the_scenario_gave(desk: Desk) -> None:
    desk.note("app.installed", instance="instance-1")
    desk.note("cloud.instance", "cloud", instance="instance-1", name="counter", status="X")
    desk.note("app.installed", instance="instance-1")
    desk.note("app.installed", instance="instance-2")
    assert [event.values["instance"] for event in desk.written()] == [
        "instance-1",  # nobody has said yet whose it is
        "counter",
        "counter",
        "instance-2",
    ]
    assert desk.recorder.name("instance-1") == "counter"
    assert desk.recorder.instance("counter") == "instance-1"
    assert desk.recorder.instance("unknown") == "unknown"


def test_a_fault_is_observed_healed_and_recovered_from(desk: Desk) -> None:
    desk.recorder.injected(LOSS)
    desk.now_s = 1.5
    desk.note("link.lost", reason="reset")
    desk.note("link.lost", reason="again")
    desk.note("link.connected")  # not healed yet: no recovery
    desk.now_s = 4.0
    desk.recorder.healed(LOSS)
    desk.now_s = 4.25
    desk.note("link.connected")
    desk.note("link.connected")
    events = desk.written()
    assert [e.kind for e in events] == [
        "fault.injected",
        "link.lost",
        "fault.observed",
        "link.lost",
        "link.connected",
        "fault.healed",
        "link.connected",
        "fault.recovered",
        "link.connected",
    ]
    assert events[0].values == {
        "fault": "f2",
        "fault_kind": "uplink.loss",
        "target": "north",
        "label": "no uplink",
        "parameters": {"how": "reset"},
    }
    assert events[2].values == {"fault": "f2", "by": "link.lost", "after_s": 0.5}
    assert events[7].values == {"fault": "f2", "by": "link.connected", "after_s": 0.25}
    assert {e.source for e in events if e.kind.startswith("fault.")} == {"nemesis"}


def test_signs_of_other_targets_do_not_count(desk: Desk) -> None:
    desk.recorder.injected(LOSS)
    desk.note("link.lost", "appliance/south")
    assert "fault.observed" not in desk.kinds()


def test_faults_of_one_time_are_told_apart(desk: Desk) -> None:
    desk.note("cloud.instance", "cloud", instance="instance-1", name="counter", status="X")
    desk.recorder.injected(LOSS)
    desk.recorder.injected(KILL)
    desk.recorder.healed(KILL)
    desk.note("node.ended", instance="instance-1", code=-9, reason="")
    desk.note("node.started", instance="instance-1", attempt=2)
    told = [(e.kind, e.values["fault"]) for e in desk.written() if e.kind.startswith("fault.")]
    assert told == [
        ("fault.injected", "f2"),
        ("fault.injected", "f1"),
        ("fault.healed", "f1"),
        ("fault.observed", "f1"),
        ("fault.recovered", "f1"),
    ]


def test_the_situation_is_what_the_history_says(desk: Desk) -> None:
    desk.note("appliance.booted", version="6.2.1")
    desk.note("appliance.state", state="online")
    desk.note("cloud.device", "cloud", device="north", status="ONLINE")
    desk.note("ota.ended", job="j1", outcome="refused", reason="hash")
    desk.now_s = 9.0
    desk.note("phase.started", "scenario", phase="workload")
    desk.note("frames.window", "app/counter", instance="counter", camera="door", delivered=0)
    now = desk.recorder.situation
    assert now.versions == {"north": "6.2.1"}
    assert now.states == {"north": "online"}
    assert now.clouds == {"north": "ONLINE"}
    assert now.outcomes == {"j1": ("refused", "hash")}
    assert now.phase_s == 9.0
    assert now.flowing == {}
    desk.note("frames.window", "app/counter", instance="counter", camera="door", delivered=3)
    assert now.flowing == {("counter", "door"): 9.0}
    desk.note("appliance.stopped", reason="reboot")
    assert now.states == {"north": "off"}


def test_nothing_is_written_after_the_end(desk: Desk) -> None:
    desk.note("run.ended", "scenario", outcome="completed", error="")
    desk.note("cloud.device", "cloud", device="north", status="OFFLINE")
    desk.note("run.ended", "scenario", outcome="failed", error="while closing")
    (ended,) = desk.written()
    assert ended.values["outcome"] == "completed"


def test_what_keeps_it_from_writing_is_kept(desk: Desk) -> None:
    problem = EngineError("no space left")

    def full(_event: Event) -> None:
        raise problem

    desk.history.listen(full)
    with pytest.raises(EngineError, match="no space left"):
        desk.note("appliance.powered")
    assert desk.recorder.problem is problem
