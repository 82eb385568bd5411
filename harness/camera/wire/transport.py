"""The `Transport` header of SETUP (RFC 2326, 12.39): what a reader offers, what it gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Container

TCP = "tcp"
UDP = "udp"
TRANSPORTS = (TCP, UDP)
CHANNEL_MAX = 254  # RTCP takes the one above
PORT_MAX = 65534  # likewise
OFFERS_MAX = 16  # of one header that are looked at
_PAIR = r"\s*=\s*([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?"
_INTERLEAVED = re.compile("interleaved" + _PAIR, re.IGNORECASE)
_CLIENT_PORT = re.compile("client_port" + _PAIR, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interleave:
    """RTP on `channel` of the RTSP connection and RTCP on `control`; None: the server chooses."""

    channel: int | None
    control: int | None


@dataclass(frozen=True, slots=True)
class ClientPorts:
    """RTP to UDP port `rtp` of the reader's address, RTCP to `rtcp`."""

    rtp: int
    rtcp: int


Offer: TypeAlias = Interleave | ClientPorts


def choose(header: str, allowed: Container[str] = TRANSPORTS) -> Offer | None:
    """The first offer that can be met; None where there is none.

    An address that a reader names (`destination`) is not looked at: media goes to nobody but
    who asks. Multicast and recording are not offered.
    """
    for text in header.split(",")[:OFFERS_MAX]:
        protocol, _, rest = text.strip().partition(";")
        protocol = protocol.strip().upper()
        parameters = rest.lower().replace(" ", "")
        if "multicast" in parameters.split(";") or "mode=record" in parameters:
            continue
        offer: Offer | None = None
        if protocol == "RTP/AVP/TCP" and TCP in allowed:
            offer = _interleave(rest)
        elif protocol in ("RTP/AVP", "RTP/AVP/UDP") and UDP in allowed:
            offer = _client_ports(rest)
        if offer is not None:
            return offer
    return None


def _interleave(parameters: str) -> Interleave | None:
    match = _INTERLEAVED.search(parameters)
    if match is None:
        return Interleave(None, None)
    channel = int(match[1])
    control = int(match[2]) if match[2] else channel + 1
    if channel > CHANNEL_MAX or control > CHANNEL_MAX + 1 or channel == control:
        return None
    return Interleave(channel, control)


def _client_ports(parameters: str) -> ClientPorts | None:
    match = _CLIENT_PORT.search(parameters)
    if match is None:
        return None
    rtp = int(match[1])
    rtcp = int(match[2]) if match[2] else rtp + 1
    if not 0 < rtp <= PORT_MAX or not 0 < rtcp <= PORT_MAX + 1 or rtp == rtcp:
        return None
    return ClientPorts(rtp, rtcp)
