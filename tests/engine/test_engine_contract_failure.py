"""Runs that do not go as planned, on every rung: what failed is said, the rest is in good order."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.front.mosquitto_files import program
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from harness.record.event import Event

PEOPLE_COUNTER = Path(__file__).parents[2] / "fixtures/apps/people-counter"
IMAGES = {"7.0.99": {"size": "2MiB", "defects": ["health-check-fails"]}}
UPDATE = {"appliance": "north", "image": "7.0.99", "expect": "committed", "allow_major": True}

pytestmark = pytest.mark.usefixtures("brief_settling")


@pytest.fixture(scope="module")
def failed(engine: str, runs: Any, make_plan: Any) -> Any:
    """A step fails while a timed fault is still to last for an hour, and another to come."""
    hour = {"kind": "uplink.loss", "target": "north", "at": "30m", "for": "10m"}
    now = {"kind": "camera.offline", "target": "door", "at": "0s", "for": "1h"}
    workload = [{"update": UPDATE}, {"reboot": "north"}]
    return runs(
        make_plan(
            engine,
            deploy="counter",
            workload=workload,
            images=IMAGES,
            nemesis=[now, hour],
            stop_after="3h",
            converge_within="5m",
        )
    )


def test_a_failed_step_fails_the_run_and_ends_the_work(failed: Any) -> None:
    ok, error = failed.steps()["update north to 7.0.99, to be committed"]
    assert not ok
    assert "rolled-back, expected committed: health check: self-test failed" in error
    assert "reboot north" not in failed.steps()
    outcome, reason = failed.outcome
    assert outcome == "failed"
    assert reason.startswith("StepFailed: update north to 7.0.99, to be committed: ")
    assert failed.error is None
    assert failed.left == []


def test_faults_are_healed_when_a_step_fails(failed: Any) -> None:
    injected = failed.of("fault.injected")
    assert [event.values["fault_kind"] for event in injected] == ["camera.offline"]
    failed.find(
        failed.history.events,
        ("fault.injected", {"fault_kind": "camera.offline"}),
        ("step.ended", {"ok": False}),
        ("fault.healed", {"fault": injected[0].values["fault"]}),
        ("phase.started", {"phase": "convergence"}),
        ("fault.recovered", {"fault": injected[0].values["fault"]}),
        ("frames.account", {"instance": "counter"}),
        ("run.ended", {"outcome": "failed"}),
    )


@pytest.fixture(scope="module")
def interrupted(engine: str, runs: Any, make_plan: Any) -> Any:
    """Told to stop in the middle of a fault that would last an hour, as convergence would."""
    stop = threading.Event()
    workload = [{"fault": {"kind": "uplink.loss", "target": "north", "for": "1h"}}]
    plan = make_plan(
        engine, deploy="counter", workload=workload, converge_within="2h", stop_after="3h"
    )

    def listen(event: Event) -> None:
        if event.kind == "fault.observed":
            stop.set()

    return runs(plan, stop=stop, listen=listen)


def test_an_interrupted_run_is_healed_and_accounted_for(interrupted: Any) -> None:
    interrupted.find(
        interrupted.history.events,
        ("fault.observed", {}),
        ("fault.healed", {}),
        ("phase.started", {"phase": "convergence"}),
        ("frames.account", {"instance": "counter"}),
        ("run.ended", {"outcome": "interrupted", "error": "interrupted"}),
    )
    assert interrupted.history.events[-1].kind == "run.ended"
    assert interrupted.outcome[0] == "interrupted"
    assert interrupted.left == []
    # Neither the fault nor convergence was waited for.
    assert interrupted.history.duration_s < 3600.0


def test_a_run_told_to_stop_before_it_starts_says_so(
    engine: str, runs: Any, make_plan: Any
) -> None:
    stop = threading.Event()
    stop.set()
    ran = runs(make_plan(engine), stop=stop)
    assert ran.history.events[0].kind == "run.started"
    assert ran.outcome == ("interrupted", "interrupted")
    assert ran.left == []


@pytest.fixture(scope="module")
def late(engine: str, runs: Any, make_plan: Any) -> Any:
    """Out of time during the first boot (a minute at its own pace), with a fault to come."""
    return runs(
        make_plan(
            engine,
            time_scale=1,
            stop_after="1s",
            converge_within="2s",
            nemesis=[{"kind": "uplink.loss", "target": "north", "at": "0s", "for": "1s"}],
        )
    )


def test_a_run_out_of_time_says_so_and_is_accounted_for(late: Any) -> None:
    assert late.outcome == ("failed", "not done after 1 s")
    assert [p.values["phase"] for p in late.of("phase.started")] == ["bring-up", "convergence"]
    assert late.history.events[-1].kind == "run.ended"
    assert late.error is None
    assert late.left == []


def test_nothing_of_the_plan_goes_on_after_it_ran_out_of_time(runs: Any, make_plan: Any) -> None:
    """What the course still waited for must not strike while the site settles.

    On the model rung only, where the moment just before it can be told exactly.
    """
    loss = {"kind": "uplink.loss", "target": "north", "for": "1s"}
    workload = [{"observe": "2s"}, {"fault": loss}]
    plan = make_plan("model", workload=workload)
    limit_s = runs(plan).of("fault.injected")[0].t_s - 0.25
    ran = runs(dataclasses.replace(plan, stop_after_s=limit_s))
    assert ran.outcome == ("failed", f"not done after {limit_s:g} s")
    assert ran.history.duration_s > limit_s + 0.25
    assert ran.of("fault.injected") == []


@pytest.fixture(scope="module")
def unmet(engine: str, runs: Any, make_plan: Any) -> Any:
    """An application with a compiled model, deployed to a firmware that runs none any more."""
    return runs(make_plan(engine, deploy="counter", firmware="8.0.29"))


def test_a_demand_that_the_firmware_does_not_meet_fails_the_deployment(unmet: Any) -> None:
    reason = "node 'detector': no compiled model runs from firmware 8.0.29 on; this is 8.0.29"
    ok, error = unmet.steps()["deploy counter (people-counter) on north"]
    assert not ok
    assert error == f"DEPLOYMENT_ERROR: {reason}"
    unmet.find(
        unmet.history.events,
        ("app.install-failed", {"reason": reason}),
        ("cloud.instance", {"status": "DEPLOYMENT_ERROR", "description": reason}),
    )
    assert unmet.of("node.started") == []
    assert unmet.left == []


@pytest.fixture(scope="module")
def rationed(engine: str, runs: Any, make_plan: Any) -> Any:
    return runs(make_plan(engine, deploy="counter", cloud={"quotas": "documented"}))


def test_a_run_under_the_documented_rates_waits_and_ends_as_any_other(rationed: Any) -> None:
    """Seven changes take six seconds at the least: by real time, or by all there is of it."""
    assert rationed.outcome == ("completed", "")
    assert rationed.left == []
    deployed = rationed.during("deploy counter (people-counter) on north")
    since_s = rationed.of("step.started")[0].t_s
    created = next(e for e in deployed if e.kind == "cloud.instance")
    assert created.t_s - since_s >= 5.0


@pytest.fixture
def twice_the_code(tmp_path: Path) -> Path:
    """The sample application with a second code node that reads the same cameras."""
    application = tmp_path / "twice"
    shutil.copytree(PEOPLE_COUNTER, application)
    (path,) = application.glob("graphs/*/graph.json")
    document = json.loads(path.read_text())
    graph = document["nodeGraph"]
    graph["nodes"].append({**graph["nodes"][0], "name": "code_two"})
    graph["edges"].append({"producer": "camera_node.video_out", "consumer": "code_two.camera_in"})
    path.write_text(json.dumps(document))
    return application


def test_two_code_nodes_run_before_5_0_7_and_are_refused_from_then_on(
    runs: Any, make_plan: Any, twice_the_code: Path
) -> None:
    site = {"deploy": "counter", "application": twice_the_code}
    old = runs(make_plan("process", **site, firmware="4.3.93"))
    assert old.outcome == ("completed", "")
    accounts = [event.values for event in old.of("frames.account")]
    assert [account["camera"] for account in accounts] == ["door", "door"]
    assert all(account["delivered"] > 0 for account in accounts)
    assert old.left == []
    new = runs(make_plan("process", **site, firmware="5.0.7"))
    reason = "nodes 'code_node', 'code_two': one code node an application from firmware 5.0.7 on"
    _, error = new.steps()["deploy counter (people-counter) on north"]
    assert error == f"DEPLOYMENT_ERROR: {reason}; this is 5.0.7"


def test_a_run_over_mosquitto_is_as_any_other(runs: Any, make_plan: Any) -> None:
    """A device deployed to, updated, and back after its link was broken; nothing is left."""
    try:
        program()
    except CapabilityMissing as missing:
        pytest.skip(str(missing))
    workload = [
        {"update": {**UPDATE, "expect": "rolled-back"}},
        {"fault": {"kind": "uplink.loss", "target": "north", "for": "2s"}},
        {"reboot": "north"},
    ]
    cloud = {"broker": "mosquitto"}
    made = make_plan("process", deploy="counter", workload=workload, images=IMAGES, cloud=cloud)
    ran = runs(made)
    assert ran.outcome == ("completed", "")
    assert {ok for ok, _ in ran.steps().values()} == {True}
    assert ran.left == []
