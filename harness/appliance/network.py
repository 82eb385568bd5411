"""The appliance on its networks: two ports, addresses, time by NTP, and the network LED.

Network LED (vendor's guide): red steady without a cable, green steady with one, green blinking
while it communicates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance import topic, transfer
from harness.appliance.effect import (
    Clock,
    ClockJumped,
    KeepTime,
    Note,
    Panel,
    PortsChanged,
    PortState,
    Program,
    Receive,
    SetNetwork,
    TimeAnswered,
    TimeUnanswered,
)
from harness.appliance.image import version_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.firmware import Firmware

MAILBOX = "network"
NTP_USUAL = ("time.aws.com",)  # Amazon's public servers, where none are configured
NTP_SINCE = "4.3.23"  # the release that began to heed NTP settings
NTP_MAX = 5  # vendor's guide
UNSET_S = 1_634_688_000.0  # 2021-10-20, the first release: no clock that was set is before it
_STATUS = {"eth0": "Ethernet0Status", "eth1": "Ethernet1Status"}


def bring_up(firmware: Firmware, configuration: Mapping[str, Any]) -> Program[None]:
    """Configure the ports and begin to keep the time. `configuration`: a NetworkPayload."""
    firmware.ports = yield SetNetwork(configuration, MAILBOX)
    for port in firmware.ports:
        yield Note("network.port", _told(port))
    yield light(firmware)
    yield KeepTime(_servers(firmware, configuration), MAILBOX)


def _servers(firmware: Firmware, configuration: Mapping[str, Any]) -> tuple[str, ...]:
    ntp = configuration.get("Ntp")
    if ntp is None or version_key(firmware.manifest.version) < version_key(NTP_SINCE):
        return NTP_USUAL
    return tuple(map(str, ntp.get("NtpServers") or ()))[:NTP_MAX]


def light(firmware: Firmware) -> Panel:
    """What the network LED shows now."""
    if not any(port.cable for port in firmware.ports):
        return Panel("network", "red", "steady")
    return Panel("network", "green", "fast" if firmware.online else "steady")


def watch(firmware: Firmware) -> Program[None]:
    """Follow cables and clock for ever."""
    now_s = yield Clock()
    if now_s < UNSET_S:
        yield Note("clock.wrong", {"clock_s": round(now_s, 3), "reason": "it was never set"})
    while True:
        message = yield Receive()
        if isinstance(message, PortsChanged):
            yield from _rewired(firmware, message.ports)
        elif isinstance(message, TimeAnswered):
            firmware.ntp = message.server
            values = {"server": message.server, "set_by_s": round(message.set_by_s, 3)}
            yield Note("clock.synchronised", values)
        elif isinstance(message, TimeUnanswered):
            firmware.ntp = ""
            yield Note("clock.unsynchronised", {"reason": message.reason})
        elif isinstance(message, ClockJumped):
            now_s = yield Clock()
            values = {"clock_s": round(now_s, 3), "reason": f"it was set by {message.by_s:g} s"}
            yield Note("clock.wrong", values)
        yield from report(firmware)


def _rewired(firmware: Firmware, ports: tuple[PortState, ...]) -> Program[None]:
    before = {port.name: port for port in firmware.ports}
    firmware.ports = ports
    for port in ports:
        if port != before.get(port.name):
            yield Note("network.port", _told(port))
    yield light(firmware)


def _told(port: PortState) -> dict[str, Any]:
    return {"port": port.name, "cable": port.cable, "address": port.address}


def report(firmware: Firmware) -> Program[None]:
    """To the control plane, if it is not what was told already and there is a way.

    The agent tells it at every connection; what changed in between is told here.
    """
    if firmware.online and firmware.told != (firmware.ports, firmware.ntp):
        report = {"state": {"reported": {"network": (yield from status(firmware))}}}
        yield from transfer.publish(topic.shadow_update(firmware.thing, "device"), report)


def status(firmware: Firmware) -> Program[dict[str, Any]]:
    """A NetworkStatus, as DescribeDevice gives it."""
    firmware.told = (firmware.ports, firmware.ntp)
    told: dict[str, Any] = {_STATUS[port.name]: _connection(port) for port in firmware.ports}
    state = "CONNECTED" if firmware.ntp else "NOT_CONNECTED"
    told["NtpStatus"] = {"ConnectionStatus": state}
    if firmware.ntp:
        told["NtpStatus"]["NtpServerName"] = firmware.ntp
    told["LastUpdatedTime"] = yield Clock()
    return told


def _connection(port: PortState) -> dict[str, str]:
    state = "NOT_CONNECTED"
    if port.cable:
        state = "CONNECTED" if port.address else "CONNECTING"
    told = {"ConnectionStatus": state, "HwAddress": port.hardware}
    return {**told, "IpAddress": port.address} if port.address else told
