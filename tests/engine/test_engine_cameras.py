"""Cameras of a site on every rung: how they look and encode, and what of that can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.record import camera_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.scenario.plan import Plan

pytestmark = pytest.mark.usefixtures("brief_settling")

CAMERAS = {
    "door": {
        "profile": "generic-360p15",
        "look": {"light": "night", "weather": "rain"},
        "coding": {"sei": True},
        "transport": "udp",
    },
    "yard": {"profile": "generic-360p15", "coding": {"codec": "h265"}},
}


@pytest.fixture
def two_cameras(make_plan: Callable[..., Plan]) -> Callable[..., Plan]:
    """A plan whose application reads `door`, at night over UDP, and `yard`, which is H.265."""

    def plan(engine: str, **more: Any) -> Plan:
        made = make_plan(engine, deploy="counter")
        deploy = {
            "application": "people-counter",
            "as": "counter",
            "on": "north",
            "inputs": {"camera_in": ["door", "yard"]},
        }
        site = {
            "appliances": {"north": {"profile": "panorama-appliance", "firmware": "6.2.1"}},
            "cameras": CAMERAS,
        }
        return make_plan(
            engine,
            site=site,
            applications={"people-counter": made.applications[0].path},
            bring_up=[{"provision": "north"}, {"deploy": deploy}],
            **more,
        )

    return plan


def test_a_camera_of_another_codec_is_said_and_holds_nothing_up(
    engine: str, runs: Any, two_cameras: Callable[..., Plan]
) -> None:
    ran = runs(two_cameras(engine, workload=[{"observe": "2s"}]))
    assert ran.outcome == ("completed", "")
    assert [error for ok, error in ran.steps().values() if not ok] == []
    assert ran.left == []
    (connected,) = ran.of("camera.connected")
    assert connected.values == {"camera": "door", "instance": "counter", "transport": "udp"}
    assert ran.of("camera.trouble") == []
    lost = [e.values for e in ran.of("camera.lost")]
    assert lost == [{"camera": "yard", "instance": "counter", "line": camera_log.NOT_H264}]
    delivered = {"door": 0, "yard": 0}
    for event in ran.of("frames.account"):
        delivered[event.values["camera"]] += event.values["delivered"]
        assert event.values["lost_network"] == 0
    assert delivered["door"] > 0
    assert delivered["yard"] == 0


def test_the_process_rung_films_what_the_plan_says(two_cameras: Callable[..., Plan]) -> None:
    from harness.engine.process.engine import film

    door, yard = two_cameras("process").cameras
    spec = film(door)
    assert (spec.look.light, spec.look.weather, spec.coding.sei) == ("night", "rain", True)
    assert (spec.width_px, spec.height_px, spec.objects) == (640, 360, 3)
    assert film(yard).coding.codec == "h265"
