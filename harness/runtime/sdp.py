"""What a reader takes from a session description (RFC 4566): the video and where to ask for it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import urljoin


class NotH264(Exception):
    """The camera offers no H.264 video."""


@dataclass(frozen=True, slots=True)
class Track:
    """The video of an SDP: where to SETUP it, and its parameter sets (SPS, PPS)."""

    control: str
    parameter_sets: tuple[bytes, ...]


def find_video(sdp: str, base: str) -> Track:
    """The first video of `sdp`. Raises `NotH264`."""
    _, found, video = sdp.partition("m=video")
    section = re.split(r"^m=", video, flags=re.MULTILINE)[0]
    if not found or not re.search(r"a=rtpmap:\d+\s+H264/", section, re.IGNORECASE):
        raise NotH264("no H.264 video in the SDP")
    control = re.search(r"^a=control:\s*(\S+)", section, re.MULTILINE)
    sets = re.search(r"sprop-parameter-sets=([^;\s]+)", section)
    url = base
    if control and control[1] != "*":
        url = urljoin(base if base.endswith("/") else base + "/", control[1])
    try:
        parameter_sets = [base64.b64decode(s) for s in sets[1].split(",")] if sets else []
    except binascii.Error:
        parameter_sets = []  # they come in band as well, or the decoder waits for them
    return Track(url, tuple(parameter_sets))
