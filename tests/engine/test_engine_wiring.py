"""Which way leads where from the ports of an appliance, and when its clock is set."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.appliance.effect import ClockJumped, TimeAnswered, TimeUnanswered
from harness.engine.timekeeping import ANSWER_S, POLL_S, Timekeeper
from harness.engine.wiring import DUAL, PORTS, SINGLE, Wiring
from harness.errors import LinkDown

TRUE_S = 1_767_225_600.0
RIGHT = {
    SINGLE: ("192.168.1.20", "255.255.255.0", "192.168.1.1", "192.168.1.1"),
    DUAL: ("192.168.20.20", "255.255.255.0", "192.168.20.1", "192.168.20.1"),
}


def static(address: str, mask: str, gateway: str, dns: str) -> dict[str, Any]:
    info = {"IpAddress": address, "Mask": mask, "DefaultGateway": gateway, "Dns": [dns]}
    return {"ConnectionType": "STATIC_IP", "StaticIpConnectionInfo": info}


def ways(wiring: Wiring) -> tuple[str, str]:
    return wiring.cloud, wiring.cameras


# --- ways ----------------------------------------------------------------------------------------


def test_one_network_has_a_spare_port() -> None:
    wiring = Wiring(SINGLE, "1")
    assert ways(wiring) == ("eth0", "eth0")
    wiring.cable("eth0", connected=False)
    assert ways(wiring) == ("eth1", "eth1")
    wiring.cable("eth1", connected=False)
    assert ways(wiring) == ("", "")
    assert wiring.no_cloud == wiring.no_cameras == "eth0: no cable"
    wiring.cable("eth0", connected=True)
    assert ways(wiring) == ("eth0", "eth0")


def test_two_networks_fail_apart() -> None:
    wiring = Wiring(DUAL, "1")
    assert ways(wiring) == ("eth1", "eth0")
    wiring.cable("eth0", connected=False)
    assert ways(wiring) == ("eth1", "")
    wiring.cable("eth0", connected=True)
    wiring.cable("eth1", connected=False)
    assert ways(wiring) == ("", "eth0")
    assert wiring.no_cloud == "eth1: no cable"


@pytest.mark.parametrize("layout", [SINGLE, DUAL])
def test_right_static_settings_work_as_dhcp_does(layout: str) -> None:
    wiring = Wiring(layout, "1")
    before = ways(wiring)
    port = {"eth0": "Ethernet0", "eth1": "Ethernet1"}[wiring.cloud]
    wiring.configure({port: static(*RIGHT[layout])})
    assert ways(wiring) == before
    assert RIGHT[layout][0] in [state.address for state in wiring.ports]


@pytest.mark.parametrize(
    ("part", "value", "says", "cameras"),
    [
        (0, "10.0.0.5", "gateway 192.168.1.1 is not in 10.0.0.0/24", False),
        (0, "300.1.1.1", "300.1.1.1", False),
        (1, "255.0.255.0", "255.0.255.0", False),
        (1, "255.255.255.240", "gateway 192.168.1.1 is not in 192.168.1.16/28", True),
        (2, "10.0.0.1", "gateway 10.0.0.1 is not in 192.168.1.0/24", True),
        (2, "192.168.1.9", "gateway 192.168.1.9 does not answer", True),
        (2, "", "gateway none does not answer", True),
        (3, "9.9.9.9", "name server 9.9.9.9 does not answer", True),
    ],
)
def test_a_wrong_setting_keeps_away_what_it_would_keep_away(
    part: int, value: str, says: str, *, cameras: bool
) -> None:
    setting = list(RIGHT[SINGLE])
    setting[part] = value
    wiring = Wiring(SINGLE, "1")
    wiring.cable("eth1", connected=False)
    wiring.configure({"Ethernet0": static(*setting)})
    assert wiring.cloud == ""
    assert says in wiring.no_cloud
    assert bool(wiring.cameras) == cameras


def test_every_port_has_an_address_of_its_own_and_none_without_a_cable() -> None:
    wirings = [Wiring(SINGLE, serial) for serial in ("1", "2")]
    hardware = [state.hardware for wiring in wirings for state in wiring.ports]
    assert len(set(hardware)) == 4
    assert all(address.startswith("02:") for address in hardware)
    wirings[0].cable("eth1", connected=False)
    assert [bool(state.address) for state in wirings[0].ports] == [True, False]


@given(st.lists(st.tuples(st.sampled_from(PORTS), st.booleans())), st.sampled_from([SINGLE, DUAL]))
def test_there_is_a_way_or_a_reason(changes: list[tuple[str, bool]], layout: str) -> None:
    wiring = Wiring(layout, "1")
    for port, connected in changes:
        wiring.cable(port, connected=connected)
        for way, reason in (
            (wiring.cloud, wiring.no_cloud),
            (wiring.cameras, wiring.no_cameras),
        ):
            assert bool(way) != bool(reason)
            assert not way or wiring.cables[way]


# --- time ----------------------------------------------------------------------------------------


class Bench:
    """A timekeeper, the time that passes, and what it tells."""

    def __init__(self) -> None:
        self.now_s = TRUE_S
        self.told: list[object] = []
        self.way = ""
        self._calls: list[tuple[float, Any]] = []
        self.time = Timekeeper(
            lambda: self.now_s,
            lambda delay_s, act: self._calls.append((self.now_s + delay_s, act)),
            lambda _mailbox, message: self.told.append(message),
            lambda: self.way,
        )

    def pass_s(self, duration_s: float) -> None:
        end_s = self.now_s + duration_s
        while due := sorted((c for c in self._calls if c[0] <= end_s), key=lambda c: c[0]):
            self._calls.remove(due[0])
            self.now_s = due[0][0]
            due[0][1]()
        self.now_s = end_s


def test_the_time_is_asked_for_at_once_and_told_once() -> None:
    bench = Bench()
    bench.time.keep(("a", "b"), "network")
    bench.pass_s(ANSWER_S)
    bench.time.look()
    bench.pass_s(10 * POLL_S)
    assert bench.told == [TimeAnswered("a", 0.0)]


def test_a_lost_server_is_noticed_at_a_poll_and_its_return_too() -> None:
    bench = Bench()
    bench.time.keep(("a",), "network")
    bench.pass_s(1.0)
    bench.time.answers = False
    bench.time.look()
    bench.pass_s(POLL_S - 1.0)
    assert len(bench.told) == 1
    bench.pass_s(1.0)
    assert bench.told[1:] == [TimeUnanswered("a does not answer")]
    bench.time.answers = True
    bench.time.look()
    bench.pass_s(POLL_S)
    assert bench.told[2:] == [TimeAnswered("a", 0.0)]


def test_a_lapse_between_two_polls_is_not_noticed() -> None:
    bench = Bench()
    bench.time.keep(("a",), "network")
    bench.pass_s(1.0)
    bench.way = "no cable"
    bench.time.look()
    bench.pass_s(1.0)
    bench.way = ""
    bench.time.look()
    bench.pass_s(10 * POLL_S)
    assert bench.told == [TimeAnswered("a", 0.0)]


def test_no_server_is_said_so() -> None:
    bench = Bench()
    bench.time.keep((), "network")
    bench.pass_s(POLL_S)
    assert bench.told == [TimeUnanswered("no NTP server is configured")]


def test_a_step_is_taken_back_at_the_next_poll() -> None:
    bench = Bench()
    bench.time.keep(("a",), "network")
    bench.pass_s(1.0)
    bench.time.step(-3600.0)
    assert bench.time.offset_s == -3600.0
    bench.pass_s(POLL_S)
    assert bench.told[1:] == [ClockJumped(-3600.0), TimeAnswered("a", 3600.0)]
    assert bench.time.offset_s == 0.0


def test_an_empty_clock_begins_in_1970_and_trusts_no_certificate() -> None:
    bench = Bench()
    bench.time.refuse_invalid("cloud")
    bench.time.rtc_empty = True
    bench.time.power_up()
    with pytest.raises(LinkDown, match=r"certificate not valid yet, the clock says 1970-01-01"):
        bench.time.refuse_invalid("cloud")
    bench.time.keep(("a",), "network")
    bench.pass_s(1.0)
    assert bench.told == [TimeAnswered("a", TRUE_S)]
    bench.time.refuse_invalid("cloud")
    bench.time.step(40 * 365.25 * 86400.0)
    with pytest.raises(LinkDown, match="certificate expired"):
        bench.time.refuse_invalid("cloud")


def test_nothing_is_told_when_nobody_keeps_the_time() -> None:
    bench = Bench()
    bench.time.keep(("a",), "network")
    bench.time.stop()
    bench.time.step(5.0)
    bench.time.look()
    bench.pass_s(10 * POLL_S)
    assert bench.told == []
    assert bench.time.offset_s == 5.0
