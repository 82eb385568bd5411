"""WS-Discovery (April 2005): who looks for cameras by multicast is told where they are.

The group is joined on the loopback interface alone, unless the cameras are elsewhere because
somebody said so.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import uuid
from typing import TYPE_CHECKING, Self
from xml.sax.saxutils import escape

from harness.camera.fleet.onvif import soap
from harness.camera.fleet.onvif.service import DEVICE_PATH, Device
from harness.camera.fleet.onvif.soap import SoapFault, SoapRequest, tag
from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GROUP = "239.255.255.250"
PORT = 3702
TYPES = ("NetworkVideoTransmitter", "Device")
_ANYBODY = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
_MATCHES = "http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches"


def matches(request: SoapRequest, device: Device) -> bool:
    """Whether a Probe asks for such a device: all types and scopes that it names (5.1)."""
    types = [name.rpartition(":")[2] for name in request.text("Types").split()]
    scopes = request.text("Scopes").split()
    return all(name in TYPES for name in types) and all(
        any(own == wanted or own.startswith(f"{wanted.rstrip('/')}/") for own in device.scopes)
        for wanted in scopes
    )


def probe_match(request: SoapRequest, device: Device, address: str) -> bytes:
    """The answer for one device; one a message, as devices of their own would send it."""
    header = (
        tag("wsa:MessageID", f"urn:uuid:{uuid.uuid4()}")
        + tag("wsa:RelatesTo", escape(request.message_id))
        + tag("wsa:To", _ANYBODY)
        + tag("wsa:Action", _MATCHES)
    )
    match = (
        tag("wsa:EndpointReference", tag("wsa:Address", f"urn:uuid:{device.id}"))
        + tag("wsd:Types", "dn:NetworkVideoTransmitter tds:Device")
        + tag("wsd:Scopes", escape(" ".join(device.scopes)))
        + tag("wsd:XAddrs", escape(address))
        + tag("wsd:MetadataVersion", "1")
    )
    return soap.envelope(tag("wsd:ProbeMatches", tag("wsd:ProbeMatch", match)), header)


class Discovery(asyncio.DatagramProtocol):
    """Answers probes for what `devices` gives then; an asynchronous context manager.

    `interfaces` are the addresses of those on which the group is joined. `devices` gives pairs
    of device and `host:port`; host 0.0.0.0 stands for the address that the prober can reach.
    """

    def __init__(
        self,
        devices: Callable[[], Iterable[tuple[Device, str, int]]],
        interfaces: Iterable[str],
        port: int = PORT,
    ) -> None:
        self._devices = devices
        self._interfaces = tuple(interfaces)
        self._port = port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        listening = self._listen()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=listening)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()
        await asyncio.sleep(0)  # the loop closes the socket in its next turn

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setblocking(False)
            listening.bind((GROUP, self._port))
            for interface in self._interfaces:
                membership = socket.inet_aton(GROUP) + socket.inet_aton(interface)
                listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError as error:
            listening.close()
            raise EngineError(
                f"cannot listen for discovery on {GROUP}:{self._port}: {error.strerror}",
                hint="another program holds the port for itself; serve without --onvif",
            ) from error
        return listening

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            request = soap.parse(data)
        except SoapFault:
            return  # discovery answers nothing to what it does not understand
        if (request.namespace, request.operation) != (soap.DISCOVERY, "Probe"):
            return
        for device, host, port in self._devices():
            if matches(request, device):
                url = f"http://{_reachable(host, address)}:{port}{DEVICE_PATH}"
                self._transport.sendto(probe_match(request, device, url), address)


def _reachable(host: str, peer: tuple[str, int]) -> str:
    """`host`, or what stands for it towards `peer` where it is every address."""
    if not ipaddress.ip_address(host).is_unspecified:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(peer)  # sends nothing
        return str(probe.getsockname()[0])
