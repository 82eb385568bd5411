"""What the camera must know of H.264: NAL units in Annex B, their types, the parameter sets."""

from __future__ import annotations

import itertools
import re

NAL_SLICE = 1
NAL_IDR = 5
NAL_SEI = 6
NAL_SPS = 7
NAL_PPS = 8
NAL_AUD = 9

_START_CODE = re.compile(rb"\x00\x00\x01")


def nal_type(nal: bytes) -> int:
    """`nal_unit_type` (ITU-T H.264, 7.3.1)."""
    return nal[0] & 0x1F


def split_annex_b(stream: bytes) -> list[bytes]:
    """NAL units of a byte stream (ITU-T H.264, Annex B), without start codes.

    Zero bytes that end a unit belong to the next start code or are padding: a NAL unit itself
    never ends in a zero byte. Bytes before the first start code are ignored.
    """
    starts = [match.end() for match in _START_CODE.finditer(stream)]
    bounds = itertools.pairwise([*starts, len(stream) + 3])
    nals = (stream[start : following - 3].rstrip(b"\0") for start, following in bounds)
    return [nal for nal in nals if nal]


def profile_level_id(sps: bytes) -> str:
    """`profile-level-id` of RFC 6184, 8.1: the three bytes after the SPS's header, in hex."""
    return sps[1:4].hex().upper()
