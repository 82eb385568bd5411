"""Fault kinds: what each takes hold of, and which events tell that it bit and is over."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import harness.fault
from harness.fault import FAULTS, FaultKind, Sign, World
from harness.record import kind
from harness.record.event import Event

CALLS = {
    "uplink.loss": ("break_uplink", "restore_uplink"),
    "uplink.blackhole": ("hush_uplink", "restore_uplink"),
    "camera.offline": ("camera_offline", "camera_online"),
    "camera.stall": ("camera_stall", "camera_resume"),
    "power.cut": ("cut_power", "restore_power"),
    "app.kill": ("kill_node", None),
}

# What engines write when the fault strikes `north`, and when it is over.
SIGNS = {
    "uplink.loss": (
        Event(1.0, "appliance/north", kind.LINK_LOST, {"reason": "connection reset"}),
        Event(2.0, "appliance/north", kind.LINK_CONNECTED, {"attempt": 3, "duration_s": 1.0}),
    ),
    "camera.offline": (
        Event(1.0, "app/counter", kind.CAMERA_LOST, {"camera": "north", "instance": "counter"}),
        Event(
            2.0, "app/counter", kind.CAMERA_CONNECTED, {"camera": "north", "instance": "counter"}
        ),
    ),
    "power.cut": (
        Event(1.0, "appliance/north", kind.STOPPED, {"reason": "power-cut"}),
        Event(2.0, "appliance/north", kind.STATE, {"state": "online"}),
    ),
    "app.kill": (
        Event(1.0, "appliance/box", kind.NODE_ENDED, {"instance": "north", "code": -9}),
        Event(2.0, "appliance/box", kind.NODE_STARTED, {"instance": "north", "attempt": 2}),
    ),
}
SIGNS["uplink.blackhole"] = SIGNS["uplink.loss"]
SIGNS["camera.stall"] = SIGNS["camera.offline"]


class Recording:
    """A world that only writes down what was asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def break_uplink(self, appliance: str) -> None:
        self.calls.append(("break_uplink", appliance))

    def hush_uplink(self, appliance: str) -> None:
        self.calls.append(("hush_uplink", appliance))

    def restore_uplink(self, appliance: str) -> None:
        self.calls.append(("restore_uplink", appliance))

    def camera_offline(self, camera: str) -> None:
        self.calls.append(("camera_offline", camera))

    def camera_online(self, camera: str) -> None:
        self.calls.append(("camera_online", camera))

    def camera_stall(self, camera: str) -> None:
        self.calls.append(("camera_stall", camera))

    def camera_resume(self, camera: str) -> None:
        self.calls.append(("camera_resume", camera))

    def cut_power(self, appliance: str) -> None:
        self.calls.append(("cut_power", appliance))

    def restore_power(self, appliance: str) -> None:
        self.calls.append(("restore_power", appliance))

    def kill_node(self, instance: str) -> None:
        self.calls.append(("kill_node", instance))


def _moved(event: Event) -> Event:
    """The same event about another target."""
    values = {key: "south" if value == "north" else value for key, value in event.values.items()}
    return Event(event.t_s, event.source.replace("north", "south"), event.kind, values)


def test_every_fault_is_covered_here() -> None:
    assert FAULTS.keys() == CALLS.keys() == SIGNS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_strikes_and_heals_its_target_and_nothing_else(name: str) -> None:
    inject, heal = CALLS[name]
    world = Recording()
    FAULTS[name].inject(world, "north")
    assert world.calls == [(inject, "north")]
    FAULTS[name].heal(world, "north")
    assert world.calls[1:] == ([(heal, "north")] if heal else [])


def test_every_handle_of_the_world_is_used_by_a_fault() -> None:
    handles = {name for name, _ in inspect.getmembers(World, inspect.isfunction) if name[0] != "_"}
    assert handles == {call for pair in CALLS.values() for call in pair if call}


@pytest.mark.parametrize("name", FAULTS)
def test_signs_are_told_from_each_other_and_from_other_targets(name: str) -> None:
    fault, (shown, recovered) = FAULTS[name], SIGNS[name]
    assert fault.shows.matches(shown, "north")
    assert fault.recovers.matches(recovered, "north")
    assert not fault.shows.matches(recovered, "north")
    assert not fault.recovers.matches(shown, "north")
    for event in (shown, recovered):
        assert not fault.shows.matches(_moved(event), "north")
        assert not fault.recovers.matches(_moved(event), "north")


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_itself_is_no_sign_of_its_effect(name: str) -> None:
    fault = FAULTS[name]
    for own in (kind.FAULT_INJECTED, kind.FAULT_HEALED):
        event = Event(1.0, "nemesis", own, {"fault": "f1", "target": "north"})
        assert not fault.shows.matches(event, "north")
        assert not fault.recovers.matches(event, "north")


@pytest.mark.parametrize("reason", ["reboot", "update", "shutdown", "no-bootable-slot"])
def test_an_orderly_stop_is_no_sign_of_a_power_cut(reason: str) -> None:
    event = Event(1.0, "appliance/north", kind.STOPPED, {"reason": reason})
    assert not FAULTS["power.cut"].shows.matches(event, "north")


@pytest.mark.parametrize("state", ["booting", "connecting", "offline", "failed"])
def test_only_being_online_is_recovery_from_a_power_cut(state: str) -> None:
    event = Event(1.0, "appliance/north", kind.STATE, {"state": state})
    assert not FAULTS["power.cut"].recovers.matches(event, "north")


def test_a_name_that_begins_like_the_target_is_another_target() -> None:
    event = Event(1.0, "appliance/north-2", kind.LINK_LOST, {})
    assert not FAULTS["uplink.loss"].shows.matches(event, "north")


def test_a_sign_without_conditions_matches_by_kind_alone() -> None:
    sign = Sign(kind.BOOTED)
    assert sign.matches(Event(0.0, "anyone", kind.BOOTED, {}), "north")
    assert not sign.matches(Event(0.0, "anyone", kind.POWERED, {}), "north")


def test_every_condition_of_a_sign_counts() -> None:
    sign = Sign(kind.NODE_ENDED, "appliance", "instance", {"code": 1})
    values = {"instance": "north", "code": 1}
    assert sign.matches(Event(0.0, "appliance/north", kind.NODE_ENDED, values), "north")
    for changed in ({"instance": "south"}, {"code": 2}, {"code": None}):
        event = Event(0.0, "appliance/north", kind.NODE_ENDED, {**values, **changed})
        assert not sign.matches(event, "north")


@pytest.mark.parametrize("part", ["label", "summary"])
def test_reports_can_tell_faults_apart(part: str) -> None:
    texts = [getattr(fault, part) for fault in FAULTS.values()]
    assert all(texts)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_filed_under_its_name_and_speaks_the_vocabulary(fault: FaultKind) -> None:
    assert FAULTS[fault.name] is fault
    assert fault.target in ("appliance", "camera", "instance")
    vocabulary = {value for name, value in vars(kind).items() if name.isupper()}
    assert {fault.shows.kind, fault.recovers.kind} <= vocabulary
    for sign in (fault.shows, fault.recovers):
        assert sign.source or sign.value, "a sign has to tell its target"


def test_faults_know_no_engine() -> None:
    imported = set()
    for module in Path(harness.fault.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name.startswith("harness")}
    assert ours <= {
        "harness.errors",
        "harness.fault.kinds",
        "harness.record",
        "harness.record.event",
    }
    assert not imported & {"asyncio", "random", "socket", "time"}
