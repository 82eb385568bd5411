"""What every rung promises about a run: one suite, run on the model and on the process rung.

Two long runs per rung serve most assertions: the *journey* (deploy, updates, reboot, removal)
and the *storm* (every kind of fault).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine import ENGINES
from harness.fault import FAULTS

if TYPE_CHECKING:
    from harness.record.event import Event

IMAGES = {
    "7.0.13": {"size": "1MiB"},
    "7.0.99": {"size": "2MiB", "defects": ["health-check-fails"]},
}

# How long a fault is held. Silence has to outlast the time-outs of who waits, and those are
# of the rung: the model's black hole ends a keep-alive of 45 s, the process rung's one of 2 s.
HELD = {
    "app.kill": {"model": "0s", "process": "0s"},
    "camera.offline": {"model": "1s", "process": "1s"},
    "camera.stall": {"model": "6s", "process": "4s"},
    "uplink.loss": {"model": "1s", "process": "1s"},
    "uplink.blackhole": {"model": "50s", "process": "6s"},
    "power.cut": {"model": "1s", "process": "1s"},
}
# The others have runs of their own: test_engine_camera_faults.py, test_engine_life.py.
APART = ("camera.", "clock.", "network.", "ntp.", "storage.")
KINDS = [name for name in FAULTS if not name.startswith(APART) or name in HELD]
TARGETS = {"appliance": "north", "camera": "door", "instance": "counter"}


def update(image: str, expect: str) -> dict[str, Any]:
    return {"update": {"appliance": "north", "image": image, "expect": expect, "allow_major": True}}


def fault(kind: str, engine: str) -> dict[str, Any]:
    target = TARGETS[FAULTS[kind].target]
    return {"fault": {"kind": kind, "target": target, "for": HELD[kind][engine]}}


pytestmark = pytest.mark.usefixtures("brief_settling")

JOURNEY = [
    update("7.0.13", "committed"),
    update("7.0.99", "rolled-back"),
    {"reboot": "north"},
    {"remove": "counter"},
]


@pytest.fixture(scope="module")
def long_runs(runs: Any, make_plan: Any, once: Any) -> dict[str, Any]:
    def journey(engine: str) -> Any:
        return runs(make_plan(engine, deploy="counter", workload=JOURNEY, images=IMAGES))

    def storm(engine: str) -> Any:
        workload = [
            fault("app.kill", engine),
            {"observe": "2s"},  # it has its camera again before that is struck
            fault("camera.offline", engine),
            # Both wait for time-outs, and of different things.
            {"parallel": [[fault("camera.stall", engine)], [fault("uplink.blackhole", engine)]]},
            fault("uplink.loss", engine),
            fault("power.cut", engine),
        ]
        return runs(make_plan(engine, deploy="counter", workload=workload, converge_within="5m"))

    return {"journey": once(journey), "storm": once(storm)}


@pytest.fixture
def journey(engine: str, long_runs: dict[str, Any]) -> Any:
    return long_runs["journey"][engine]


@pytest.fixture
def storm(engine: str, long_runs: dict[str, Any]) -> Any:
    return long_runs["storm"][engine]


@pytest.fixture(params=["journey", "storm"])
def ran(request: pytest.FixtureRequest, engine: str, long_runs: dict[str, Any]) -> Any:
    """Either of the long runs."""
    return long_runs[request.param][engine]


# --- any run --------------------------------------------------------------------------------------


def test_a_run_completes_and_leaves_nothing_behind(ran: Any) -> None:
    assert ran.error is None
    assert ran.outcome == ("completed", "")
    assert [error for ok, error in ran.steps().values() if not ok] == []
    assert ran.left == []


def test_history_is_framed_by_the_run(ran: Any) -> None:
    events = ran.history.events
    assert events[0].kind == "run.started"
    assert events[0].values == {"plan": ran.plan.digest, "time_scale": ran.plan.time_scale}
    assert events[-1].kind == "run.ended"
    assert len(ran.of("run.started", "run.ended")) == 2
    assert ran.history.complete


def test_phases_come_in_order(ran: Any) -> None:
    phases = ran.of("phase.started")
    assert [p.values["phase"] for p in phases] == ["bring-up", "workload", "convergence"]


def test_times_never_decrease(ran: Any) -> None:
    times = [event.t_s for event in ran.history.events]
    assert times[0] >= 0.0
    assert times == sorted(times)


def test_every_step_ends_as_it_started(ran: Any) -> None:
    started = [(e.values["index"], e.values["step"]) for e in ran.of("step.started")]
    ended = [(e.values["index"], e.values["step"]) for e in ran.of("step.ended")]
    assert sorted(started) == sorted(ended)
    assert len({index for index, _ in started}) == len(started) >= 6


def test_every_frame_is_accounted_for(ran: Any) -> None:
    accounts = [event.values for event in ran.of("frames.account")]
    windows = ran.of("frames.window")
    assert sum(account["delivered"] for account in accounts) > 0
    assert sum(account["delivered"] for account in accounts) >= sum(
        event.values["delivered"] for event in windows
    )
    for account in accounts:
        counts = {k: v for k, v in account.items() if k not in ("camera", "instance")}
        assert min(counts.values()) >= 0, account
        assert counts.pop("sent") == sum(counts.values()), account


# --- provisioning, updates, reboots ---------------------------------------------------------------


def test_provisioning_leads_to_online(journey: Any) -> None:
    events = journey.during("provision north")
    journey.find(
        journey.history.events,
        ("appliance.powered", {}),
        ("appliance.state", {"state": "booting"}),
        ("appliance.booted", {"slot": "a", "version": "6.2.1", "committed": True}),
        ("appliance.state", {"state": "provisioning"}),
        ("provision.ended", {}),
        ("link.connected", {"attempt": 1}),
        ("appliance.state", {"state": "online"}),
    )
    journey.find(
        events,
        ("cloud.device", {"status": "AWAITING_PROVISIONING"}),
        ("cloud.device", {"status": "PENDING"}),
        ("cloud.device", {"status": "ONLINE"}),
    )


def test_a_committed_update(journey: Any) -> None:
    events = journey.during("update north to 7.0.13, to be committed")
    (job,) = {event.values["job"] for event in events if event.kind == "cloud.job"}
    found = journey.find(
        events,
        ("ota.phase", {"job": job, "phase": "downloading"}),
        ("ota.phase", {"job": job, "phase": "verifying"}),
        ("ota.phase", {"job": job, "phase": "writing"}),
        ("boot.control", {"active": "b"}),
        ("ota.phase", {"job": job, "phase": "rebooting"}),
        ("appliance.stopped", {"reason": "update"}),
        ("appliance.booted", {"version": "7.0.13", "slot": "b", "committed": False}),
        ("boot.control", {"active": "b"}),
        ("ota.ended", {"job": job, "outcome": "committed", "version_to": "7.0.13"}),
        ("cloud.job", {"job": job, "status": "COMPLETED"}),
    )
    armed, committed = found[3].values["slots"]["b"], found[7].values["slots"]["b"]
    assert armed["bootable"]
    assert not armed["successful"]
    assert committed["successful"]
    assert found[8].values["duration_s"] > 0.0


def test_a_rolled_back_update(journey: Any) -> None:
    events = journey.during("update north to 7.0.99, to be rolled-back")
    (job,) = {event.values["job"] for event in events if event.kind == "cloud.job"}
    found = journey.find(
        events,
        ("ota.phase", {"job": job, "phase": "downloading"}),
        ("ota.phase", {"job": job, "phase": "writing"}),
        ("appliance.stopped", {"reason": "update"}),
        ("appliance.booted", {"version": "7.0.99", "slot": "a", "committed": False}),
        ("ota.phase", {"job": job, "phase": "health-check"}),
        ("boot.control", {"active": "b"}),
        ("appliance.stopped", {"reason": "rollback"}),
        ("appliance.booted", {"version": "7.0.13", "slot": "b", "committed": True}),
        ("ota.ended", {"job": job, "outcome": "rolled-back", "version_to": "7.0.99"}),
        ("cloud.job", {"job": job, "status": "FAILED"}),
    )
    assert not found[5].values["slots"]["a"]["bootable"]
    assert found[8].values["reason"] == "health check: self-test failed"


def test_cloud_sees_each_stage_of_a_job_once(journey: Any) -> None:
    stages: dict[str, list[str]] = {}
    for event in journey.of("cloud.job"):
        stages.setdefault(event.values["job"], []).append(event.values["status"])
    ota = ["PENDING", "DOWNLOADING", "VERIFYING", "IN_PROGRESS", "REBOOTING"]
    assert list(stages.values()) == [
        [*ota, "COMPLETED"],
        [*ota, "FAILED"],
        ["PENDING", "REBOOTING", "COMPLETED"],
    ]


def test_a_reboot_brings_everything_back(journey: Any) -> None:
    events = journey.during("reboot north")
    journey.find(
        events,
        ("cloud.job", {"status": "REBOOTING"}),
        ("appliance.stopped", {"reason": "reboot"}),
        ("appliance.booted", {"version": "7.0.13", "committed": True}),
        ("appliance.state", {"state": "online"}),
        ("cloud.job", {"status": "COMPLETED"}),
    )
    journey.find(
        events,
        ("appliance.booted", {}),
        ("app.first-frame", {"camera": "door"}),
        ("frames.window", {"instance": "counter"}),
    )


# --- applications ---------------------------------------------------------------------------------


def test_a_deployment_delivers_frames(journey: Any) -> None:
    events = journey.during("deploy counter (people-counter) on north")
    journey.find(
        events,
        ("cloud.instance", {"name": "counter", "status": "DEPLOYMENT_PENDING"}),
        ("app.installed", {"instance": "counter"}),
        ("node.started", {"instance": "counter", "attempt": 1}),
        ("cloud.instance", {"name": "counter", "status": "DEPLOYMENT_SUCCEEDED"}),
    )
    (connected,) = [event for event in events if event.kind == "camera.connected"]
    assert connected.values == {"camera": "door", "instance": "counter", "transport": "tcp"}
    assert any(event.values["delivered"] for event in events if event.kind == "frames.window")


def test_windows_follow_one_another(journey: Any) -> None:
    by_life: list[list[Event]] = [[]]
    for event in journey.of("frames.window", "frames.account"):
        if event.kind == "frames.account":
            by_life.append([])
        else:
            by_life[-1].append(event)
    assert len(by_life) > 3  # an account at the end of every life
    for windows in by_life:
        for before, after in itertools.pairwise(windows):
            assert before.values["to_s"] == after.values["from_s"]


def test_removal_leaves_nothing(journey: Any) -> None:
    events = journey.during("remove counter")
    journey.find(
        events,
        ("cloud.instance", {"status": "REMOVAL_PENDING"}),
        ("frames.account", {"instance": "counter"}),
        ("app.removed", {"instance": "counter"}),
        ("cloud.instance", {"name": "counter", "status": "REMOVAL_SUCCEEDED"}),
    )
    removed = journey.history.events.index(journey.of("app.removed")[0])
    after = journey.history.events[removed + 1 :]
    assert [e.kind for e in after if e.source == "app/counter"] == []
    assert [e.kind for e in after if e.kind.startswith(("app.", "node."))] == []


def test_a_crashed_application_comes_back(storm: Any) -> None:
    events = storm.during("app.kill on counter for 0 s")
    found = storm.find(
        events,
        ("fault.injected", {"fault_kind": "app.kill", "target": "counter"}),
        ("frames.account", {"instance": "counter"}),
        ("node.ended", {"instance": "counter", "code": -9}),
        ("node.started", {"instance": "counter", "attempt": 2}),
    )
    assert found[2].values["reason"] == "killed by SIGKILL"


# --- faults ---------------------------------------------------------------------------------------


def test_the_storm_holds_every_kind_of_fault() -> None:
    assert set(HELD) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_bites_is_healed_and_recovered_from(kind: str, storm: Any) -> None:
    (injected,) = [e for e in storm.of("fault.injected") if e.values["fault_kind"] == kind]
    assert injected.source == "nemesis"
    assert injected.values["label"] == FAULTS[kind].label
    told = [
        event
        for event in storm.of("fault.observed", "fault.healed", "fault.recovered")
        if event.values["fault"] == injected.values["fault"]
    ]
    by_kind = {event.kind: event for event in told}
    assert len(told) == len(by_kind) == 3, told
    observed, recovered = by_kind["fault.observed"], by_kind["fault.recovered"]
    healed = by_kind["fault.healed"]
    assert observed.values["by"] == FAULTS[kind].shows.kind
    assert recovered.values["by"] == FAULTS[kind].recovers.kind
    assert injected.t_s <= observed.t_s
    since = healed if FAULTS[kind].lasting else injected
    assert injected.t_s <= since.t_s <= recovered.t_s
    assert recovered.values["after_s"] == pytest.approx(recovered.t_s - since.t_s, abs=0.25)


@pytest.mark.parametrize("kind", ["uplink.loss", "uplink.blackhole"])
def test_an_uplink_fault_keeps_the_application_running(kind: str, engine: str, storm: Any) -> None:
    held = HELD[kind][engine][:-1]
    events = storm.during(f"{kind} on north for {held} s")
    assert [e.kind for e in events if e.kind in ("node.ended", "app.error")] == []
    storm.find(
        events,
        ("link.lost", {}),
        ("appliance.state", {"state": "offline"}),
        ("link.connected", {}),
        ("appliance.state", {"state": "online"}),
    )


def test_a_power_cut_stops_everything_at_once(storm: Any) -> None:
    events = storm.during("power.cut on north for 1 s")
    storm.find(
        events,
        ("appliance.stopped", {"reason": "power-cut"}),
        ("fault.healed", {}),
        ("appliance.powered", {}),
        ("appliance.booted", {"version": "6.2.1"}),
        ("appliance.state", {"state": "online"}),
    )
    storm.find(events, ("frames.account", {"instance": "counter"}), ("appliance.powered", {}))


# --- both rungs tell the same story ---------------------------------------------------------------

# Programs of one appliance run side by side, so only the order within a program is promised.
# Left out: `link.refused` (its number depends on time and chance), LEDs and windows (they follow
# from the rest, or are periodic), the device's status in the cloud (OFFLINE comes by time-out,
# which a short absence does not reach on every rung), and the link while a release is on trial
# (its self-test, a second of the device's time, races with its connection, which is real), and
# the heal of a fault of a moment, which comes before or after its effect.
STRANDS = {
    "boot": ("appliance.", "provision."),
    "link": ("link.lost", "link.connected"),
    "update": ("ota.", "boot.", "job."),
    "applications": ("app.installed", "app.removed", "node."),
    "video": ("camera.", "app.first-frame", "frames.account"),
    "nemesis": ("fault.",),
    "jobs": ("cloud.job",),
    "instances": ("cloud.instance",),
    "course": ("phase.", "step.", "run."),
}
TOLD = ("state", "phase", "status", "outcome", "action", "ok", "fault", "version", "slot", "code")


def story(ran: Any, strand: str) -> list[tuple[str, ...]]:
    """Kinds in order, with the values that do not depend on time."""
    told = []
    on_trial = momentary = False
    for event in ran.history.events:
        if event.kind == "appliance.booted":
            on_trial = not event.values["committed"]
        if event.kind in ("appliance.stopped", "ota.ended"):
            on_trial = False
        if event.kind == "fault.injected":
            momentary = event.values["fault_kind"] == "app.kill"
        linked = event.kind == "link.connected" or event.values.get("state") == "online"
        unordered = (on_trial and linked) or (event.kind == "fault.healed" and momentary)
        if event.kind.startswith(STRANDS[strand]) and not unordered:
            values = [f"{key}={event.values[key]}" for key in TOLD if key in event.values]
            told.append((event.kind, *values))
    if strand == "nemesis":  # faults of one time are told one by one
        told.sort(key=lambda entry: entry[1])
    return told


@pytest.mark.parametrize("name", ["journey", "storm"])
@pytest.mark.parametrize("strand", STRANDS)
def test_both_rungs_tell_the_same_story(strand: str, name: str, long_runs: dict[str, Any]) -> None:
    model, process = (story(long_runs[name][engine], strand) for engine in ENGINES)
    assert model == process
    assert model or name == "journey" or strand in ("update", "jobs")
