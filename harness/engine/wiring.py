"""The two Ethernet ports of an appliance and the networks of its site behind them.

Vendor's guide, "Network setup": either one network for everything, the second port a spare for
the first, or two: `eth0` to the cameras, `eth1` to the internet. What the appliance configures
is held against what is really there, and a wrong address, mask, gateway or name server keeps from
it what it would keep from a real one. Pure: engines ask, and act on the answers.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.appliance.effect import PortState

if TYPE_CHECKING:
    from collections.abc import Mapping

PORTS = ("eth0", "eth1")
CABLE = "cable"  # who breaks a link for want of a way
SINGLE, DUAL = "single", "dual"
_KEYS = {"eth0": "Ethernet0", "eth1": "Ethernet1"}
_LEASE_HOST = 100  # DHCP gives out .100 on eth0 and .101 on eth1


@dataclass(frozen=True, slots=True)
class SiteNetwork:
    """`router` is gateway and name server; without one it leads nowhere but to its own hosts."""

    subnet: ipaddress.IPv4Network
    router: str
    cameras: bool


NETWORKS = {
    SINGLE: dict.fromkeys(
        PORTS, SiteNetwork(ipaddress.IPv4Network("192.168.1.0/24"), "192.168.1.1", cameras=True)
    ),
    DUAL: {
        "eth0": SiteNetwork(ipaddress.IPv4Network("192.168.10.0/24"), "", cameras=True),
        "eth1": SiteNetwork(
            ipaddress.IPv4Network("192.168.20.0/24"), "192.168.20.1", cameras=False
        ),
    },
}


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a port is configured to, and why nobody beyond it or on it would answer."""

    address: str = ""
    nearby: str = ""
    beyond: str = ""


class Wiring:
    """`cloud` and `cameras` are the ports that lead there, or empty; `no_*` say why none does.

    `own_name_servers`: some were configured, beside those of DHCP.
    """

    def __init__(self, layout: str, serial: str) -> None:
        self.layout = layout
        self.cables = dict.fromkeys(PORTS, True)
        self._hardware = {port: _hardware(serial, n) for n, port in enumerate(PORTS)}
        self.configure({})

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """`configuration` is a NetworkPayload of the service; a port it does not name has DHCP."""
        networks = NETWORKS[self.layout]
        given = {port: configuration.get(_KEYS[port]) or {} for port in PORTS}
        static = (one.get("StaticIpConnectionInfo") or {} for one in given.values())
        self.own_name_servers = any(info.get("Dns") for info in static)
        self._settings = {port: _setting(port, networks[port], given[port]) for port in PORTS}
        self._find()

    def cable(self, port: str, *, connected: bool) -> None:
        self.cables[port] = connected
        self._find()

    def _find(self) -> None:
        networks = NETWORKS[self.layout]
        self.cloud, self.no_cloud = self._way([p for p in PORTS if networks[p].router], "beyond")
        self.cameras, self.no_cameras = self._way(
            [p for p in PORTS if networks[p].cameras], "nearby"
        )
        self.ports = tuple(self._state(port) for port in PORTS)

    def _way(self, ports: list[str], far: str) -> tuple[str, str]:
        """The first port that leads there, or why the first does not."""
        reasons = [
            getattr(self._settings[port], far) if self.cables[port] else f"{port}: no cable"
            for port in ports
        ]
        for port, reason in zip(ports, reasons, strict=True):
            if not reason:
                return port, ""
        return "", reasons[0]

    def _state(self, port: str) -> PortState:
        cable, setting = self.cables[port], self._settings[port]
        address = setting.address if cable else ""
        return PortState(port, cable, address, self._hardware[port])


def _setting(port: str, network: SiteNetwork, payload: Mapping[str, Any]) -> _Setting:
    if payload.get("ConnectionType") != "STATIC_IP":
        return _leased(port, network)
    info = payload.get("StaticIpConnectionInfo") or {}
    address, mask = str(info.get("IpAddress", "")), str(info.get("Mask", ""))
    gateway, servers = str(info.get("DefaultGateway", "")), info.get("Dns") or []
    try:
        own = ipaddress.IPv4Interface(f"{address}/{mask}")
        way = ipaddress.IPv4Address(gateway) if gateway else None
    except ValueError as error:
        return _Setting("", f"{port}: {error}", f"{port}: {error}")
    nearby = "" if own.ip in network.subnet else f"{port}: nobody answers {own}"
    if way is not None and way not in own.network:
        beyond = f"{port}: gateway {gateway} is not in {own.network}"
    elif nearby or gateway != network.router:
        beyond = f"{port}: gateway {gateway or 'none'} does not answer"
    elif network.router not in servers:
        beyond = f"{port}: name server {', '.join(map(str, servers)) or 'none'} does not answer"
    else:
        beyond = ""
    return _Setting(address, nearby, beyond)


@lru_cache(maxsize=16)
def _leased(port: str, network: SiteNetwork) -> _Setting:
    """What DHCP gives: always right, since who runs it knows the network."""
    host = _LEASE_HOST + PORTS.index(port)
    return _Setting(str(network.subnet[host]), beyond="" if network.router else "no gateway")


def _hardware(serial: str, number: int) -> str:
    """A locally administered address (IEEE 802) that follows from the serial number."""
    value = (int.from_bytes(serial.encode(), "big") * 2 + number) % (1 << 40)
    octets = (0x02, *value.to_bytes(5, "big"))
    return ":".join(f"{octet:02x}" for octet in octets)
