"""Every fault of a camera on every rung that knows it: it bites, is healed and recovered from.

One run a rung: several cameras have their faults side by side, each camera one after the other.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine import ENGINES
from harness.errors import InputError
from harness.fault import FAULTS
from harness.record import camera_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.scenario.plan import Plan

ROOT = Path(__file__).parents[2]
SOURCE = "packages/123456789012-people_counter_code-1.0/src/application.py"
ROW = [name for name in FAULTS if name.startswith("camera.")]

# A program that only takes frames: what it would do with them is tested elsewhere.
PROGRAM = """
import panoramasdk

node = panoramasdk.node()
while True:
    node.outputs.video_out.put(node.inputs.camera_in.get())
"""

TINY: dict[str, Any] = {"profile": "guarded-216p15"}
CAMERAS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("door", "gate", "side", "dock", "roof"), TINY),
    **{key: {**TINY, "transport": "udp"} for key in ("yard", "shed")},
    "hall": {**TINY, "coding": {"sei": True}},
}
LANES: dict[str, list[tuple[str, str] | tuple[str, str, dict[str, Any]]]] = {
    "door": [
        ("camera.refused", "1s"),
        ("camera.offline", "1s"),
        ("camera.blackhole", "4s"),
    ],
    "gate": [
        ("camera.password", "1s"),
        ("camera.credentials", "1s"),
        ("camera.slow-sdp", "4s"),
    ],
    "side": [
        ("camera.not-found", "1s"),
        ("camera.broken-pipe", "1s"),
        ("camera.codec", "1s"),
        ("camera.gop", "6s", {"frames": 45}),
    ],
    "yard": [
        ("camera.loss", "3s"),
        ("camera.reorder", "2s"),
        ("camera.half-open", "4s"),
    ],
    "shed": [
        ("camera.duplicate", "2s", {"rate": 0.2}),
        ("camera.sequence-reset", "0s"),
        ("camera.stall", "4s"),
    ],
    "hall": [
        ("camera.freeze", "2s"),
        ("camera.black", "2s"),
        ("camera.resolution", "2s"),
    ],
    "dock": [
        ("camera.bit-errors", "3s", {"rate": 1e-4}),
        ("camera.jitter", "3s"),
        ("camera.burst", "4s"),
    ],
    "roof": [
        ("camera.drift", "6s"),
        ("camera.ssrc-reset", "0s"),
        ("camera.timestamp-jump", "0s"),
        ("camera.teardown", "0s"),
    ],
}

PROFILE = """\
schema: 1
name: guarded-216p15
description: a tiny stream for those who know the password
width_px: {value: 384, source: "a choice: decoded in no time"}
height_px: {value: 216, source: "a choice: decoded in no time"}
rate_fps: {value: 15, source: "a choice: as the small generic one"}
gop_frames: {value: 15, source: "a choice: one key frame a second"}
bitrate_kbps: {value: 300, source: "a choice: some packets a frame"}
clip: {value: 4s, source: "a choice: longer than any latency"}
path: /live
username: viewer
"""


def _lane(engine: str, camera: str) -> list[dict[str, Any]]:
    return [
        {"fault": {"kind": name, "target": camera, "for": _held(engine, name, held), **more}}
        for name, held, *values in LANES[camera]
        if engine in FAULTS[name].engines
        for more in ({"parameters": values[0]} if values else {},)
    ]


def _held(engine: str, name: str, held: str) -> str:
    """Camera nodes try again more slowly in virtual time, where that costs nothing."""
    return "6s" if engine == "model" and FAULTS[name].lasting else held


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the application and a camera profile of its own."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "fixtures/apps/people-counter", folder / "app")
    (folder / "app" / SOURCE).write_text(PROGRAM, encoding="utf-8")
    profiles = folder / "device_profiles/cameras"
    profiles.mkdir(parents=True)
    (profiles / "guarded-216p15.yaml").write_text(PROFILE, encoding="utf-8")
    return folder


def _plan(make_plan: Callable[..., Plan], project: Path, engine: str, **more: Any) -> Plan:
    deploy = {
        "application": "people-counter",
        "as": "counter",
        "on": "north",
        "inputs": {"camera_in": list(CAMERAS)},
    }
    return make_plan(
        engine,
        folder=project,
        site={
            "appliances": {"north": {"profile": "panorama-appliance", "firmware": "6.2.1"}},
            "cameras": CAMERAS,
        },
        applications={"people-counter": "app"},
        bring_up=[{"provision": "north"}, {"deploy": deploy}],
        **more,
    )


@pytest.fixture(scope="module")
def ran(
    runs: Any, make_plan: Callable[..., Plan], project: Path, once: Any, brief_settling: None
) -> Any:
    def run(engine: str) -> Any:
        lanes = [lane for camera in LANES if (lane := _lane(engine, camera))]
        return runs(_plan(make_plan, project, engine, workload=[{"parallel": lanes}]))

    return once(run)


def test_every_fault_of_cameras_is_here_once() -> None:
    assert sorted(fault[0] for lane in LANES.values() for fault in lane) == sorted(ROW)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_run_completes_leaves_nothing_and_its_sums_agree(ran: Any, engine: str) -> None:
    done = ran[engine]
    assert [error for ok, error in done.steps().values() if not ok] == []
    assert done.outcome == ("completed", "")
    assert done.left == []
    for event in done.of("frames.account"):
        counts = {k: v for k, v in event.values.items() if k not in ("camera", "instance")}
        assert min(counts.values()) >= 0, event.values
        assert counts.pop("sent") == sum(counts.values()), event.values


@pytest.mark.parametrize(
    ("engine", "name"),
    [(engine, name) for engine in ENGINES for name in ROW if engine in FAULTS[name].engines],
)
def test_a_fault_bites_is_healed_and_recovered_from(ran: Any, engine: str, name: str) -> None:
    done, fault = ran[engine], FAULTS[name]
    (injected,) = [e for e in done.of("fault.injected") if e.values["fault_kind"] == name]
    mine = injected.values["fault"]
    told = {
        event.kind: event
        for event in done.of("fault.observed", "fault.healed", "fault.recovered")
        if event.values["fault"] == mine
    }
    assert told.keys() == {"fault.observed", "fault.healed", "fault.recovered"}
    assert told["fault.observed"].values["by"] == fault.shows.kind
    assert told["fault.recovered"].values["by"] == fault.recovers.kind
    assert injected.t_s <= told["fault.observed"].t_s <= told["fault.recovered"].t_s


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("camera.blackhole", camera_log.TIMED_OUT),
        ("camera.not-found", camera_log.refused(404, "Not Found")),
        ("camera.broken-pipe", camera_log.BROKEN_PIPE),
        ("camera.credentials", camera_log.CREDENTIALS),
        ("camera.password", camera_log.refused(401, "Unauthorized")),
        ("camera.stall", camera_log.STALLED),
    ],
)
def test_the_appliance_logs_what_is_documented(ran: Any, engine: str, name: str, line: str) -> None:
    """Of the camera that is struck, between the fault and its recovery, in the right log."""
    events = list(ran[engine].history.events)
    begins = [
        number
        for number, event in enumerate(events)
        if event.kind == "fault.injected" and event.values["fault_kind"] == name
    ]
    injected = events[begins[0]].values
    ends = next(
        number
        for number, event in enumerate(events)
        if event.kind == "fault.recovered" and event.values["fault"] == injected["fault"]
    )
    lines = [
        event
        for event in events[begins[0] : ends]
        if event.kind == "log.line" and event.values.get("camera") == injected["target"]
    ]
    assert line in [event.values["line"] for event in lines]
    for event in lines:
        documented = event.values["line"] == camera_log.CREDENTIALS
        assert event.values["stream"] == ("occ_log" if documented else injected["target"])
        assert event.source == ("appliance/north" if documented else "app/counter")


def test_lost_packets_are_lost_frames_of_that_camera_alone(ran: Any) -> None:
    """A window tells what the reader misses, the account what the network has lost of it."""
    for engine in ENGINES:
        accounts = [event.values for event in ran[engine].of("frames.account")]
        lost = {account["camera"]: account["lost_network"] for account in accounts}
        assert lost["yard"] > 0
        assert lost["hall"] == 0
        windows = [event.values for event in ran[engine].of("frames.window")]
        assert sum(w["lost"] for w in windows if w["camera"] == "yard") > 0


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ROW if "model" not in FAULTS[name].engines])
def test_what_virtual_time_does_not_know_is_refused(
    make_plan: Callable[..., Plan], project: Path, name: str
) -> None:
    workload = [{"fault": {"kind": name, "target": "door", "for": "1s"}}]
    with pytest.raises(InputError, match="the model rung knows nothing like it") as caught:
        _plan(make_plan, project, "model", workload=workload)
    assert "process" in caught.value.hint
