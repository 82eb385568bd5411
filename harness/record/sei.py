"""The identity of a frame beside its picture: an SEI message in the access unit.

User data unregistered (payload type 5; ITU-T H.264, D.1.7 and H.265, D.2.7) with an identifier of
our own, followed by the 11 bytes of the frame code. Decoders ignore it; it is there exactly as
long as the access unit is, costs no decoding to read, and goes away where video is re-encoded,
which the code in the picture survives.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from harness.record.framecode import CODE_BYTES, FrameCode

if TYPE_CHECKING:
    from collections.abc import Iterable

IDENTIFIER = uuid.UUID("01051b35-d84a-4e83-b15d-08be9dfc5503")  # drawn once, ours alone
USER_DATA_UNREGISTERED = 5
MESSAGES_MAX = 64  # of one SEI unit: what is beyond is not looked at
_H264_SEI = 6
_H265_PREFIX_SEI = 39
_H265_HEADER = bytes((_H265_PREFIX_SEI << 1, 1))
_TRAILING_BITS = b"\x80"
_EMULATED = re.compile(rb"\x00\x00(?=[\x00-\x03])")
_START_CODE = re.compile(rb"\x00\x00\x01")


def nal(code: FrameCode, *, h265: bool = False) -> bytes:
    """An SEI NAL unit with `code`, without start code. It goes before the slices of its frame."""
    payload = IDENTIFIER.bytes + code.to_bytes()
    message = bytes((USER_DATA_UNREGISTERED, len(payload))) + payload + _TRAILING_BITS
    head = _H265_HEADER if h265 else bytes((_H264_SEI,))
    return head + _EMULATED.sub(b"\x00\x00\x03", message)


def find(nals: Iterable[bytes], *, h265: bool = False) -> FrameCode | None:
    """The code in the SEI of an access unit's NAL units; None where there is none of ours."""
    for unit in nals:
        if h265:
            body = unit[2:] if unit and unit[0] >> 1 & 0x3F == _H265_PREFIX_SEI else b""
        else:
            body = unit[1:] if unit and unit[0] & 0x1F == _H264_SEI else b""
        if body and (code := _in_messages(body.replace(b"\x00\x00\x03", b"\x00\x00"))) is not None:
            return code
    return None


def find_annex_b(stream: bytes, *, h265: bool = False) -> FrameCode | None:
    """The same for an access unit as a byte stream with start codes (Annex B)."""
    starts = [match.end() for match in _START_CODE.finditer(stream)]
    ends = [start - 3 for start in starts[1:]] + [len(stream)] * bool(starts)
    units = (stream[start:end] for start, end in zip(starts, ends, strict=True))
    return find(units, h265=h265)


def _in_messages(body: bytes) -> FrameCode | None:
    """Walk the messages of one SEI unit (7.3.2.3.1): type and size, each in bytes of 255."""
    position = 0
    for _ in range(MESSAGES_MAX):
        kind, position = _number(body, position)
        size, position = _number(body, position)
        payload = body[position : position + size]
        if position >= len(body):
            return None
        if kind == USER_DATA_UNREGISTERED and payload.startswith(IDENTIFIER.bytes):
            return FrameCode.from_bytes(payload[16 : 16 + CODE_BYTES])
        position += size
    return None


def _number(body: bytes, position: int) -> tuple[int, int]:
    value = 0
    while position < len(body) and body[position] == 0xFF:
        value, position = value + 255, position + 1
    return value + (body[position] if position < len(body) else 0), position + 1
