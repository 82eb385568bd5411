"""Steps that care for an appliance, on every rung: cameras paused, logs collected, deregistered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.scenario.problem import FileInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("brief_settling")

SIGNAL = {"instance": "counter", "cameras": "door"}
WORKLOAD: list[Any] = [
    {"pause_cameras": SIGNAL},
    {"observe": "3s"},
    {"resume_cameras": SIGNAL},
    {"collect_logs": "north"},
    {"deregister": "north"},
    {"restore": {"appliance": "north", "to": "factory"}},
    {"provision": "north"},
]


@pytest.fixture(scope="module")
def ran(engine: str, runs: Any, make_plan: Callable[..., Any]) -> Any:
    return runs(make_plan(engine, deploy="counter", workload=WORKLOAD, converge_within="2m"))


def test_every_step_does_what_it_says(ran: Any) -> None:
    assert ran.error is None
    assert [error for ok, error in ran.steps().values() if not ok] == []
    assert ran.outcome == ("completed", "")
    assert ran.left == []


def test_a_camera_is_paused_until_it_is_resumed(ran: Any) -> None:
    signalled = [event.values["paused"] for event in ran.of("node.signalled")]
    assert signalled == [["door"], []]
    events = ran.during("resume door of counter")
    ran.find(events, ("node.signalled", {"paused": []}), ("frames.window", {"camera": "door"}))


def test_a_log_image_is_written_while_the_light_is_blue(ran: Any) -> None:
    events = ran.during("collect logs of north")
    found = ran.find(
        events,
        ("appliance.stopped", {"reason": "power-button"}),
        ("panel.led", {"led": "status", "colour": "blue", "pattern": "fast"}),
        ("egress.ended", {"ok": True}),
        ("panel.led", {"led": "status", "colour": "green", "pattern": "steady"}),
    )
    assert found[2].values["bytes"] > 200


def test_a_deregistered_appliance_is_refused_and_starts_anew_after_a_reset(ran: Any) -> None:
    events = ran.during("deregister north")
    ran.find(events, ("link.lost", {}), ("appliance.state", {"state": "offline"}))
    devices = [event.values["device"] for event in ran.of("provision.ended")]
    assert len(devices) == len(set(devices)) == 2


@pytest.mark.parametrize(
    ("workload", "says"),
    [
        ([{"deregister": "north"}], "`north` is not provisioned in the end"),
        ([{"deregister": "north"}, {"provision": "north"}], "registers again only after a reset"),
        ([{"deregister": "north"}, {"reboot": "north"}], "`north` is not provisioned yet"),
        ([{"collect_logs": "noth"}], "unknown appliance `noth`"),
        ([{"pause_cameras": {**SIGNAL, "instance": "other"}}], "`other` does not run"),
        ([{"pause_cameras": {**SIGNAL, "cameras": ["yard"]}}], "`counter` does not read `yard`"),
        ([{"resume_cameras": {**SIGNAL, "cameras": ["dor"]}}], "unknown camera `dor`"),
    ],
)
def test_steps_that_cannot_work_are_refused_before_a_run(
    workload: list[Any], says: str, make_plan: Callable[..., Any]
) -> None:
    cameras = {name: {"profile": "generic-360p15"} for name in ("door", "yard")}
    appliances = {"north": {"profile": "panorama-appliance", "firmware": "6.2.1"}}
    site = {"appliances": appliances, "cameras": cameras}
    with pytest.raises(FileInvalid) as caught:
        make_plan("model", deploy="counter", workload=workload, site=site)
    assert says in str(caught.value)


def test_heat_that_takes_clocks_away_is_a_fast_red_light(
    runs: Any, make_plan: Callable[..., Any]
) -> None:
    """In virtual time, where there is heat."""
    site = {
        "appliances": {
            "north": {"profile": "panorama-appliance", "firmware": "6.2.1", "ambient_c": 72}
        },
        "cameras": {"door": {"profile": "generic-720p30"}},
    }
    deploy = {
        "application": "people-counter",
        "as": "counter",
        "on": "north",
        "inputs": {"camera_in": "door"},
        "work": {"host": "5ms", "inference": "30ms"},
    }
    ran = runs(
        make_plan(
            "model",
            deploy="counter",
            site=site,
            bring_up=[{"provision": "north"}, {"deploy": deploy}],
            workload=[{"observe": "1h"}, {"remove": "counter"}, {"observe": "1h"}],
            stop_after="4h",
        )
    )
    ran.find(
        ran.history.events,
        ("board.throttled", {}),
        ("panel.led", {"led": "status", "colour": "red", "pattern": "fast"}),
        ("board.unthrottled", {}),
        ("panel.led", {"led": "status", "colour": "green", "pattern": "steady"}),
    )
