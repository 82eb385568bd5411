"""What the camera must know of H.265: NAL unit types, and the RTP payload (RFC 7798)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.camera.wire.rtp import PAYLOAD_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

NAL_VPS = 32
NAL_SPS = 33
NAL_PPS = 34
NAL_AUD = 35
NAL_PREFIX_SEI = 39
NAL_SUFFIX_SEI = 40
FIRST_SLICE_ABOVE = 31  # types 0 to 31 are slices
_IRAP = range(16, 24)  # slices that a decoder may begin with
_AGGREGATION = 48
_FRAGMENTATION = 49
_HEADER_BYTES = 2
_FU_START = 0x80
_FU_END = 0x40


def nal_type(nal: bytes) -> int:
    """`nal_unit_type` (ITU-T H.265, 7.3.1.2)."""
    return nal[0] >> 1 & 0x3F


def is_key(nal: bytes) -> bool:
    return nal_type(nal) in _IRAP


def payloads(nals: Sequence[bytes], limit: int = PAYLOAD_BYTES_MAX) -> list[bytes]:
    """RTP payloads of at most `limit` bytes for one access unit.

    Neighbouring NAL units that fit one packet share it (RFC 7798, 4.4.2), one that fits alone
    goes alone (4.4.1), a larger one is cut up (4.4.3).
    """
    result: list[bytes] = []
    group: list[bytes] = []
    size = _HEADER_BYTES
    for nal in nals:
        if group and size + 2 + len(nal) > limit:
            result.append(_aggregate(group))
            group, size = [], _HEADER_BYTES
        if len(nal) > limit:
            result.extend(_fragments(nal, limit))
        else:
            group.append(nal)
            size += 2 + len(nal)
    if group:
        result.append(_aggregate(group))
    return result


def _header(nal: bytes, kind: int) -> bytes:
    """`nal`'s header (layer and temporal identity) with another type."""
    return bytes((nal[0] & 0x81 | kind << 1, nal[1]))


def _aggregate(nals: list[bytes]) -> bytes:
    if len(nals) == 1:
        return nals[0]
    parts = [_header(nals[0], _AGGREGATION)]
    for nal in nals:
        parts += (len(nal).to_bytes(2, "big"), nal)
    return b"".join(parts)


def _fragments(nal: bytes, limit: int) -> list[bytes]:
    header, kind = _header(nal, _FRAGMENTATION), nal_type(nal)
    step = limit - _HEADER_BYTES - 1
    result = []
    for begin in range(_HEADER_BYTES, len(nal), step):
        first, last = begin == _HEADER_BYTES, begin + step >= len(nal)
        flags = (_FU_START if first else 0) | (_FU_END if last else 0)
        result.append(header + bytes((flags | kind,)) + nal[begin : begin + step])
    return result
