"""Fault kinds: what each takes hold of, and which events tell that it bit and is over."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

import harness.fault
from harness.fault import FAULTS, MODEL, PROCESS, FaultKind, Sign, World, camera
from harness.record import camera_log, kind, trouble
from harness.record.event import Event

# What each takes hold of, and lets go of again.
SITE_CALLS: dict[str, tuple[str, str | None]] = {
    "uplink.loss": ("break_uplink", "restore_uplink"),
    "uplink.blackhole": ("hush_uplink", "restore_uplink"),
    "power.cut": ("cut_power", "restore_power"),
    "app.kill": ("kill_node", None),
    "ntp.down": ("silence_ntp", "answer_ntp"),
}

# The same, with what it is told of besides its target.
TOLD_CALLS: dict[str, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]] = {
    "network.cable": ([("pull_cable", "north", "eth0")], [("plug_cables", "north")]),
    "storage.rot": (
        [("cut_power", "north"), ("rot_part", "north", "root"), ("restore_power", "north")],
        [],
    ),
    "storage.rot-application": ([("rot_application", "north"), ("kill_node", "north")], []),
    "storage.read-only": ([("make_read_only", "north")], [("mend_storage", "north", "read-only")]),
    "storage.full": ([("fill_storage", "north")], [("mend_storage", "north", "full")]),
    "storage.slow": ([("slow_storage", "north", 2.0)], [("mend_storage", "north", "slow")]),
    "clock.step": ([("step_clock", "north", -3600.0)], []),
    "clock.empty": (
        [("cut_power", "north"), ("empty_clock", "north")],
        [("restore_power", "north")],
    ),
}

# What a camera does of its own, and whether its sessions are ended so that it is noticed.
WIRED: dict[str, tuple[type[camera.CameraFault], bool]] = {
    "camera.offline": (camera.Offline, False),
    "camera.refused": (camera.Refused, True),
    "camera.blackhole": (camera.Blackhole, True),
    "camera.half-open": (camera.HalfOpen, False),
    "camera.teardown": (camera.Teardown, False),
    "camera.not-found": (camera.NotFound, True),
    "camera.password": (camera.Password, True),
    "camera.slow-sdp": (camera.SlowDescribe, True),
    "camera.broken-pipe": (camera.BrokenPipe, True),
    "camera.stall": (camera.Stall, False),
    "camera.freeze": (camera.Freeze, False),
    "camera.black": (camera.Black, False),
    "camera.codec": (camera.OtherCodec, True),
    "camera.resolution": (camera.Resolution, False),
    "camera.gop": (camera.Gop, False),
    "camera.loss": (camera.Loss, False),
    "camera.bit-errors": (camera.BitErrors, False),
    "camera.duplicate": (camera.Duplicate, False),
    "camera.reorder": (camera.Reorder, False),
    "camera.jitter": (camera.Jitter, False),
    "camera.burst": (camera.Burst, False),
    "camera.sequence-reset": (camera.SequenceReset, False),
    "camera.ssrc-reset": (camera.SsrcReset, False),
    "camera.timestamp-jump": (camera.TimestampJump, False),
    "camera.drift": (camera.Drift, False),
}

# What the camera node says when the fault bites: a line of its log, or a trouble of the stream.
LINES = {
    "camera.refused": "Connection to server failed: Connection refused (-111)",
    "camera.blackhole": "Connection to server failed: Connection timed out (-115)",
    "camera.half-open": "dqBuffer(131) Failed due to Resource temporarily unavailable after retry",
    "camera.teardown": 'Received RTCP "BYE"',
    "camera.not-found": "404 Not Found; with the result code: 404",
    "camera.password": "401 Unauthorized; with the result code: 401",
    "camera.slow-sdp": "Connection to server failed: Connection timed out (-115)",
    "camera.broken-pipe": "DESCRIBE send() failed: Broken pipe; with the result code: -32",
    "camera.credentials": "Camera credential fetching for port [username] failed",
    "camera.stall": "dqBuffer(131) Failed due to Resource temporarily unavailable after retry",
    "camera.codec": "Camera did not provide an H264 encoded stream",
}
TROUBLES = {
    "camera.freeze": trouble.FROZEN,
    "camera.black": trouble.DARK,
    "camera.resolution": trouble.RESIZED,
    "camera.gop": trouble.KEYS_RARE,
    "camera.loss": trouble.FRAMES_LOST,
    "camera.bit-errors": trouble.FRAMES_DAMAGED,
    "camera.duplicate": trouble.DUPLICATED,
    "camera.reorder": trouble.OUT_OF_ORDER,
    "camera.jitter": trouble.UNEVEN,
    "camera.burst": trouble.UNEVEN,
    "camera.sequence-reset": trouble.RESTARTED,
    "camera.ssrc-reset": trouble.RESTARTED,
    "camera.timestamp-jump": trouble.CLOCK_JUMPED,
    "camera.drift": trouble.CLOCK_DRIFTS,
}


def _about(**values: Any) -> dict[str, Any]:
    return {"camera": "north", "instance": "counter", **values}


BACK = Event(2.0, "app/counter", kind.CAMERA_CONNECTED, _about(transport="tcp"))


def _stored(trouble: str) -> tuple[Event, Event]:
    told = {"partition": "data", "trouble": trouble}
    return (
        Event(1.0, "appliance/north", kind.STORAGE_TROUBLE, told),
        Event(2.0, "appliance/north", kind.STORAGE_CLEAR, {**told, "lasted_s": 1.0}),
    )


# What engines write when the fault strikes `north`, and when it is over.
SIGNS = {
    "uplink.loss": (
        Event(1.0, "appliance/north", kind.LINK_LOST, {"reason": "connection reset"}),
        Event(2.0, "appliance/north", kind.LINK_CONNECTED, {"attempt": 3, "duration_s": 1.0}),
    ),
    "power.cut": (
        Event(1.0, "appliance/north", kind.STOPPED, {"reason": "power-cut"}),
        Event(2.0, "appliance/north", kind.STATE, {"state": "online"}),
    ),
    "app.kill": (
        Event(1.0, "appliance/box", kind.NODE_ENDED, {"instance": "north", "code": -9}),
        Event(2.0, "appliance/box", kind.NODE_STARTED, {"instance": "north", "attempt": 2}),
    ),
    "network.cable": (
        Event(1.0, "appliance/north", kind.PORT, {"port": "eth0", "cable": False}),
        Event(2.0, "appliance/north", kind.PORT, {"port": "eth0", "cable": True}),
    ),
    "ntp.down": (
        Event(1.0, "appliance/north", kind.CLOCK_ALONE, {"reason": "no answer"}),
        Event(2.0, "appliance/north", kind.CLOCK_RIGHT, {"server": "ntp", "set_by_s": 0.0}),
    ),
    "clock.step": (
        Event(1.0, "appliance/north", kind.CLOCK_WRONG, {"clock_s": 0.0, "reason": "set"}),
        Event(2.0, "appliance/north", kind.CLOCK_RIGHT, {"server": "ntp", "set_by_s": 3600.0}),
    ),
    "clock.empty": (
        Event(1.0, "appliance/north", kind.CLOCK_WRONG, {"clock_s": 0.0, "reason": "unset"}),
        Event(2.0, "appliance/north", kind.STATE, {"state": "online"}),
    ),
    "storage.rot": (
        Event(1.0, "appliance/north", kind.BOOT_REFUSED, {"slot": "a", "part": "root"}),
        Event(2.0, "appliance/north", kind.STATE, {"state": "online"}),
    ),
    "storage.rot-application": (
        Event(1.0, "appliance/box", kind.DAMAGED, {"instance": "north", "assets": "0123…"}),
        Event(2.0, "appliance/box", kind.NODE_STARTED, {"instance": "north", "attempt": 1}),
    ),
    **{f"storage.{trouble}": _stored(trouble) for trouble in ("read-only", "full", "slow")},
    "camera.offline": (Event(1.0, "app/counter", kind.CAMERA_LOST, _about(line="lost")), BACK),
    **{
        name: (
            Event(1.0, "app/counter", kind.CAMERA_TROUBLE, _about(trouble=what, count=1)),
            Event(2.0, "app/counter", kind.FRAMES, _about(delivered=15, troubles=["other"])),
        )
        for name, what in TROUBLES.items()
    },
}
SIGNS["uplink.blackhole"] = SIGNS["uplink.loss"]


def _logged(line: str) -> Event:
    """The whole line that ends in, or holds, `line`."""
    lines = [value for name, value in vars(camera_log).items() if name.isupper()]
    lines += [camera_log.refused(404, "Not Found"), camera_log.refused(401, "Unauthorized")]
    (whole,) = {one for one in lines if line in one}
    return Event(1.0, "app/counter", kind.LOG_LINE, _about(stream="north", line=whole))


SIGNS |= {name: (_logged(line), BACK) for name, line in LINES.items()}


class Recording:
    """A world that only writes down what was asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def break_uplink(self, appliance: str) -> None:
        self.calls.append(("break_uplink", appliance))

    def hush_uplink(self, appliance: str) -> None:
        self.calls.append(("hush_uplink", appliance))

    def restore_uplink(self, appliance: str) -> None:
        self.calls.append(("restore_uplink", appliance))

    def inject_camera(self, camera: str, fault: camera.CameraFault) -> None:
        self.calls.append(("inject_camera", camera, fault))

    def heal_camera(self, camera: str, kind: type[camera.CameraFault]) -> None:
        self.calls.append(("heal_camera", camera, kind))

    def withhold_credentials(self, camera: str) -> None:
        self.calls.append(("withhold_credentials", camera))

    def return_credentials(self, camera: str) -> None:
        self.calls.append(("return_credentials", camera))

    def cut_power(self, appliance: str) -> None:
        self.calls.append(("cut_power", appliance))

    def restore_power(self, appliance: str) -> None:
        self.calls.append(("restore_power", appliance))

    def pull_cable(self, appliance: str, port: str) -> None:
        self.calls.append(("pull_cable", appliance, port))

    def plug_cables(self, appliance: str) -> None:
        self.calls.append(("plug_cables", appliance))

    def silence_ntp(self, appliance: str) -> None:
        self.calls.append(("silence_ntp", appliance))

    def answer_ntp(self, appliance: str) -> None:
        self.calls.append(("answer_ntp", appliance))

    def step_clock(self, appliance: str, by_s: float) -> None:
        self.calls.append(("step_clock", appliance, by_s))

    def empty_clock(self, appliance: str) -> None:
        self.calls.append(("empty_clock", appliance))

    def rot_part(self, appliance: str, part: str) -> None:
        self.calls.append(("rot_part", appliance, part))

    def rot_application(self, instance: str) -> None:
        self.calls.append(("rot_application", instance))

    def make_read_only(self, appliance: str) -> None:
        self.calls.append(("make_read_only", appliance))

    def fill_storage(self, appliance: str) -> None:
        self.calls.append(("fill_storage", appliance))

    def slow_storage(self, appliance: str, by_s: float) -> None:
        self.calls.append(("slow_storage", appliance, by_s))

    def mend_storage(self, appliance: str, trouble: str) -> None:
        self.calls.append(("mend_storage", appliance, trouble))

    def kill_node(self, instance: str) -> None:
        self.calls.append(("kill_node", instance))


def defaults(fault: FaultKind) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in fault.parameters.items()}


def _moved(event: Event) -> Event:
    """The same event about another target."""
    values = {key: "south" if value == "north" else value for key, value in event.values.items()}
    return Event(event.t_s, event.source.replace("north", "south"), event.kind, values)


def test_every_fault_is_covered_here() -> None:
    assert FAULTS.keys() == {*SITE_CALLS, *TOLD_CALLS, *WIRED, "camera.credentials"} == SIGNS.keys()
    assert {wire for wire, _ in WIRED.values()} == set(camera.FAULTS.values())


@pytest.mark.parametrize("name", SITE_CALLS)
def test_a_fault_strikes_and_heals_its_target_and_nothing_else(name: str) -> None:
    inject, heal = SITE_CALLS[name]
    world = Recording()
    FAULTS[name].inject(world, "north", {})
    assert world.calls == [(inject, "north")]
    FAULTS[name].heal(world, "north")
    assert world.calls[1:] == ([(heal, "north")] if heal else [])


@pytest.mark.parametrize("name", TOLD_CALLS)
def test_a_fault_with_parameters_strikes_as_it_is_told(name: str) -> None:
    injects, heals = TOLD_CALLS[name]
    world = Recording()
    FAULTS[name].inject(world, "north", defaults(FAULTS[name]))
    assert world.calls == injects
    FAULTS[name].heal(world, "north")
    assert world.calls[len(injects) :] == heals


@pytest.mark.parametrize("name", WIRED)
def test_a_fault_of_a_camera_is_injected_with_its_values_and_healed(name: str) -> None:
    (wire, anew), fault, world = WIRED[name], FAULTS[name], Recording()
    values = defaults(fault)
    fault.inject(world, "north", values)
    ends = [("inject_camera", "north", camera.Teardown())] if anew else []
    assert world.calls == [("inject_camera", "north", wire(**values)), *ends]
    world.calls.clear()
    fault.heal(world, "north")
    assert world.calls == ([] if wire.momentary else [("heal_camera", "north", wire)])
    assert fault.lasting == (not wire.momentary)
    assert fault.wire is not None
    assert fault.wire(values) == wire(**values)


def test_credentials_are_withheld_and_given_back() -> None:
    world = Recording()
    FAULTS["camera.credentials"].inject(world, "north", {})
    ended = ("inject_camera", "north", camera.Teardown())
    assert world.calls == [("withhold_credentials", "north"), ended]
    FAULTS["camera.credentials"].heal(world, "north")
    assert world.calls[2:] == [("return_credentials", "north")]


def test_a_password_can_be_in_no_plan() -> None:
    assert FAULTS["camera.password"].parameters == {}


@pytest.mark.parametrize("name", WIRED)
def test_defaults_are_within_their_bounds(name: str) -> None:
    for parameter in FAULTS[name].parameters.values():
        assert parameter.read(parameter.default) == parameter.default


def test_every_handle_of_the_world_is_used_by_a_fault() -> None:
    world = Recording()
    for fault in FAULTS.values():
        fault.inject(world, "north", defaults(fault))
        fault.heal(world, "north")
    handles = {name for name, _ in inspect.getmembers(World, inspect.isfunction) if name[0] != "_"}
    assert handles == {call[0] for call in world.calls}


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


@pytest.mark.parametrize(
    ("values", "matches"),
    [
        ({"delivered": 3, "troubles": []}, True),
        ({"delivered": 3, "troubles": ["frozen"]}, True),
        ({"delivered": 3, "troubles": ["frozen", trouble.FRAMES_LOST]}, False),
        ({"delivered": 0, "troubles": []}, False),
        ({"troubles": []}, False),
        ({"delivered": 3}, False),
    ],
)
def test_a_camera_is_well_when_frames_come_without_its_trouble(
    values: dict[str, Any], matches: bool
) -> None:
    event = Event(1.0, "app/counter", kind.FRAMES, _about(**values))
    assert FAULTS["camera.loss"].recovers.matches(event, "north") == matches


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
    assert fault.engines in ((MODEL, PROCESS), (PROCESS,))
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
    ours = {name for name in ours if not name.startswith("harness.fault")}
    assert ours == {"harness.errors", "harness.record", "harness.record.event"}
    assert not imported & {"asyncio", "random", "socket", "time"}
