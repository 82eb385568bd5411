"""The life of an appliance on every rung: its networks fail apart, its clock is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.engine import conduct
from harness.engine.site import Call, Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.engine.site import SiteProgram

pytestmark = pytest.mark.usefixtures("brief_settling")

NETWORK: dict[str, Any] = {
    "layout": "dual",
    "eth1": {
        "address": "192.168.20.20",
        "mask": "255.255.255.0",
        "gateway": "192.168.20.1",
        "dns": ["192.168.20.1"],
    },
    "ntp": ["ntp.example.com"],
}
SITE: dict[str, Any] = {
    "appliances": {
        "north": {"profile": "panorama-appliance", "firmware": "6.2.1", "network": NETWORK}
    },
    "cameras": {"door": {"profile": "generic-360p15"}},
}


def fault(kind: str, for_s: str = "0s", **parameters: Any) -> dict[str, Any]:
    held = {"kind": kind, "target": "north", "for": for_s, "parameters": parameters}
    return {"fault": held}


def workload(engine: str) -> list[Any]:
    """Polls of NTP are of device time, time-outs of cameras are not."""
    poll = {"model": "130s", "process": "3s"}[engine]
    return [
        fault("network.cable", {"model": "12s", "process": "6s"}[engine], port="eth0"),
        fault("network.cable", "3s", port="eth1"),
        {"observe": "2s"},  # NTP was not reached meanwhile: it is again
        fault("ntp.down", poll),
        fault("clock.step", by_s=-7200),
        fault("clock.empty", "1s"),
    ]


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """What DescribeDevice says of the appliance in the end, by rung."""
    return {}


@pytest.fixture(scope="module")
def ran(
    engine: str, runs: Any, make_plan: Callable[..., Any], described: dict[str, Any]
) -> Iterator[Any]:
    finish = conduct.Conductor.finish

    def describing(conductor: conduct.Conductor) -> SiteProgram[None]:
        yield Pause({"model": 120.0, "process": 3.0}[engine])  # until NTP has answered again
        query = {"DeviceId": conductor.devices["north"]}
        described[engine] = yield Call("DescribeDevice", query)
        yield from finish(conductor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conduct.Conductor, "finish", describing)
        yield _run(engine, runs, make_plan)


def _run(engine: str, runs: Any, make_plan: Callable[..., Any]) -> Any:
    checks = ["steps", "faults-bite", "recovers", "converges", "frames-account"]
    return runs(
        make_plan(
            engine,
            deploy="counter",
            workload=workload(engine),
            site=SITE,
            checks=checks,
            converge_within="5m",
        )
    )


def during(ran: Any, kind: str, which: int = 0) -> list[Any]:
    """The events while the fault of that kind, the `which`-th of them, was held."""
    events = list(ran.history.events)
    begun = [
        (n, e.values["fault"])
        for n, e in enumerate(events)
        if e.kind == "fault.injected" and e.values["fault_kind"] == kind
    ][which]
    ended = next(
        n
        for n, e in enumerate(events)
        if e.kind == "fault.healed" and e.values["fault"] == begun[1]
    )
    return events[begun[0] : ended]


def test_every_fault_is_noticed_and_recovered_from(ran: Any) -> None:
    assert ran.error is None
    assert [error for ok, error in ran.steps().values() if not ok] == []
    assert ran.outcome == ("completed", "")
    injected = [e.values["fault"] for e in ran.of("fault.injected")]
    for sign in ("fault.observed", "fault.healed", "fault.recovered"):
        assert sorted(e.values["fault"] for e in ran.of(sign)) == injected, sign
    assert ran.left == []


def test_without_the_cameras_cable_frames_stop_and_the_link_stays(ran: Any) -> None:
    events = during(ran, "network.cable")
    kinds = [event.kind for event in events]
    assert "camera.lost" in kinds
    assert "link.lost" not in kinds
    lines = [e.values["line"] for e in events if e.kind == "log.line" and "camera" in e.values]
    assert any("dqBuffer(131)" in line for line in lines), lines


def test_without_the_uplinks_cable_the_link_is_lost_and_frames_go_on(ran: Any) -> None:
    kinds = [event.kind for event in during(ran, "network.cable", 1)]
    assert "link.lost" in kinds
    assert "camera.lost" not in kinds


def test_the_network_led_tells_of_the_link_and_the_ports_are_told(ran: Any) -> None:
    told = [(e.values["port"], e.values["cable"]) for e in ran.of("network.port")]
    for port in ("eth0", "eth1"):
        changes = [cable for name, cable in told if name == port]
        assert False in changes
        assert changes[-1]
    lights = [e.values["colour"] for e in ran.of("panel.led") if e.values["led"] == "network"]
    assert set(lights) == {"green"}, "one cable was in at any time"


def test_the_configured_server_sets_the_clock(ran: Any) -> None:
    assert {e.values["server"] for e in ran.of("clock.synchronised")} <= {
        "ntp.example.com",
        "time.aws.com",
    }
    (step,) = [e for e in during_and_after(ran, "clock.step") if e.kind == "clock.synchronised"][:1]
    assert step.values == {"server": "ntp.example.com", "set_by_s": 7200.0}


def during_and_after(ran: Any, kind: str) -> list[Any]:
    events = list(ran.history.events)
    start = next(
        n
        for n, e in enumerate(events)
        if e.kind == "fault.injected" and e.values["fault_kind"] == kind
    )
    return events[start:]


def test_an_empty_clock_is_noticed_before_it_is_online(ran: Any) -> None:
    events = during_and_after(ran, "clock.empty")
    ran.find(
        events,
        ("appliance.stopped", {"reason": "power-cut"}),
        ("appliance.powered", {}),
        ("clock.wrong", {"reason": "it was never set"}),
        ("clock.synchronised", {}),
        ("link.connected", {}),
    )


def test_the_service_knows_who_it_is_and_how_it_is_connected(
    ran: Any, engine: str, described: dict[str, Any]
) -> None:
    assert ran.error is None
    device = described[engine]
    assert device["SerialNumber"].isdigit()
    assert (device["Brand"], device["Type"]) == ("AWS_PANORAMA", "PANORAMA_APPLIANCE")
    asked = device["NetworkingConfiguration"]["Ethernet1"]["StaticIpConnectionInfo"]
    assert asked["IpAddress"] == "192.168.20.20"
    told = device["CurrentNetworkingStatus"]
    assert told["Ethernet0Status"]["IpAddress"] == "192.168.10.100"
    assert told["Ethernet1Status"]["IpAddress"] == "192.168.20.20"
    assert told["NtpStatus"] == {
        "ConnectionStatus": "CONNECTED",
        "NtpServerName": "ntp.example.com",
    }
    assert device["LeaseExpirationTime"]


def test_a_wrong_gateway_leaves_it_unregistered_and_says_why(
    engine: str, runs: Any, make_plan: Callable[..., Any]
) -> None:
    port = {**NETWORK["eth1"], "gateway": "192.168.20.9"}
    north = {**SITE["appliances"]["north"], "network": {**NETWORK, "eth1": port}}
    plan = make_plan(
        engine,
        site={"appliances": {"north": north}, "cameras": {}},
        bring_up=[{"provision": "north", "timeout": {"model": "5m", "process": "4s"}[engine]}],
        converge_within="1s",
    )
    ran = runs(plan)
    assert ran.steps() == {
        "provision north": (False, f"north is not online after {plan.bring_up[0].timeout_s:g} s")
    }
    lines = {event.values["line"] for event in ran.of("log.line")}
    assert any("eth1: gateway 192.168.20.9 does not answer" in line for line in lines), lines
    assert ran.of("provision.ended") == []
    status = [e.values for e in ran.of("panel.led") if e.values["led"] == "status"]
    assert (status[-1]["colour"], status[-1]["pattern"]) in (("red", "fast"), ("blue", "slow"))
