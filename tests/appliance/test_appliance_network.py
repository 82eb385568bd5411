"""Cables, addresses and time, as the appliance's programs take them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine.sweep.cloud import ARCHIVE, packed
from harness.engine.sweep.stand import factory_box, online_box, provisioned_box

if TYPE_CHECKING:
    from harness.engine.sweep.box import Box

LOG = "panorama/occ.log"


def lights(box: Box) -> list[tuple[str, str]]:
    return [(colour, pattern) for led, colour, pattern in box.leds if led == "network"]


def network(box: Box) -> dict[str, Any]:
    told: dict[str, Any] = box.cloud.device["network"]
    return told


def provisioned_with(version: str = "6.0.8", **configuration: Any) -> Box:
    """A box whose stick brought this configuration; it has had time to connect."""
    config = json.loads(ARCHIVE["config.json"])
    text = json.dumps({**config, "NetworkingConfiguration": configuration}).encode()
    box = factory_box(version)
    box.stick = packed({**ARCHIVE, "config.json": text})
    box.power_up()
    box.run(for_s=300.0)
    return box


def test_the_network_led_follows_cables_and_connection() -> None:
    box = online_box()
    box.set_cable("eth0", connected=False)
    box.run(for_s=300.0)
    assert lights(box)[-1] == ("green", "fast"), "the spare port took over"
    box.set_cable("eth1", connected=False)
    box.run(for_s=30.0)
    assert not box.connected
    assert lights(box)[-1] == ("red", "steady")
    box.set_cable("eth1", connected=True)
    box.run(for_s=300.0)
    assert box.online
    assert lights(box)[-2:] == [("green", "steady"), ("green", "fast")]
    told = [(v["port"], v["cable"]) for v in box.noted("network.port")]
    assert told == [("eth0", False), ("eth1", False), ("eth1", True)]


def test_the_spare_takes_over_by_a_new_connection() -> None:
    box = online_box()
    box.set_cable("eth0", connected=False)
    assert box.run(lambda: box.online and bool(box.noted("link.connected")))
    assert [v["reason"] for v in box.noted("link.lost")] == ["eth0: no cable"]


def test_a_box_without_any_cable_says_so_from_the_start() -> None:
    box = provisioned_box()
    for port in ("eth0", "eth1"):
        box.set_cable(port, connected=False)
    box.power_up()
    box.run(for_s=120.0)
    assert lights(box) == [("red", "steady")]
    assert {v["reason"] for v in box.noted("link.refused")} == {"eth0: no cable"}


def test_what_the_ports_are_is_told_when_there_is_a_way() -> None:
    box = online_box()
    assert network(box)["Ethernet0Status"]["ConnectionStatus"] == "CONNECTED"
    box.set_cable("eth1", connected=False)
    box.run(for_s=5.0)
    told = network(box)
    assert told["Ethernet1Status"]["ConnectionStatus"] == "NOT_CONNECTED"
    assert "IpAddress" not in told["Ethernet1Status"]
    assert told["Ethernet0Status"]["IpAddress"] == "192.168.1.100"


def test_a_static_address_comes_from_the_archive_and_stays() -> None:
    info = {"IpAddress": "192.168.1.7", "Mask": "255.255.255.0", "DefaultGateway": "192.168.1.1"}
    port = {
        "ConnectionType": "STATIC_IP",
        "StaticIpConnectionInfo": {**info, "Dns": ["192.168.1.1"]},
    }
    box = provisioned_with(Ethernet0=port, Ntp={"NtpServers": ["ntp.example.com"]})
    assert box.online
    assert network(box)["Ethernet0Status"]["IpAddress"] == "192.168.1.7"
    assert network(box)["NtpStatus"]["NtpServerName"] == "ntp.example.com"


def test_a_wrong_gateway_is_named_in_the_log_on_the_stick() -> None:
    info = {"IpAddress": "192.168.1.7", "Mask": "255.255.255.0", "DefaultGateway": "192.168.1.9"}
    wrong = {
        "ConnectionType": "STATIC_IP",
        "StaticIpConnectionInfo": {**info, "Dns": ["192.168.1.1"]},
    }
    box = provisioned_with(Ethernet0=wrong, Ethernet1=wrong)
    assert not box.online
    assert box.stick is not None
    assert b"eth0: gateway 192.168.1.9 does not answer" in box.stick.files[LOG]
    assert [led for led in box.leds if led[0] == "status"][-1] == ("status", "red", "fast")


@pytest.mark.parametrize(("version", "server"), [("4.3.4", "time.aws.com"), ("4.3.23", "ntp.test")])
def test_ntp_settings_are_heeded_since_4_3_23(version: str, server: str) -> None:
    box = provisioned_with(version, Ntp={"NtpServers": ["ntp.test"]})
    assert network(box)["NtpStatus"]["NtpServerName"] == server


def test_a_box_of_1970_connects_once_ntp_has_answered() -> None:
    box = provisioned_box()
    box.time.rtc_empty = True
    box.time.answers = False
    box.power_up()
    box.run(for_s=300.0)
    assert not box.online
    (wrong,) = box.noted("clock.wrong")
    assert 0.0 <= wrong["clock_s"] < 300.0
    reasons = {v["reason"] for v in box.noted("link.refused")}
    assert reasons == {"control plane: certificate not valid yet, the clock says 1970-01-01"}
    box.time.answers = True
    box.time.look()
    assert box.run(lambda: box.online, for_s=300.0)
    assert box.noted("clock.synchronised")[-1]["set_by_s"] > 1e9


def test_a_box_of_1970_keeps_the_archive_it_could_not_use_yet() -> None:
    box = factory_box()
    box.time.rtc_empty = True
    box.time.answers = False
    box.stick = packed(ARCHIVE)
    box.power_up()
    box.run(for_s=300.0)
    assert b"certificate not valid yet" in box.stick.files[LOG]
    box.time.answers = True
    box.time.look()
    assert box.run(lambda: box.online, for_s=300.0)


def test_setting_the_clock_breaks_no_update_on_trial() -> None:
    """Durations are of another clock: a trial of 180 s is not over when the date jumps a year."""
    box = online_box("door")
    job = box.cloud.order(box.cloud.offer("6.2.1", fuse_level=1))
    assert box.run(lambda: bool(box.noted("appliance.booted")))
    box.time.step(365 * 86400.0)
    assert box.run(lambda: box.cloud.jobs[job]["status"] == "SUCCEEDED", for_s=600.0)


def test_lost_time_is_told_and_found_again() -> None:
    box = online_box()
    box.run(for_s=5.0)
    box.time.answers = False
    box.time.look()
    box.run(for_s=100.0)
    assert box.noted("clock.unsynchronised")[-1]["reason"] == "time.aws.com does not answer"
    assert network(box)["NtpStatus"] == {"ConnectionStatus": "NOT_CONNECTED"}
    box.time.answers = True
    box.time.look()
    box.run(for_s=100.0)
    assert network(box)["NtpStatus"]["ConnectionStatus"] == "CONNECTED"
