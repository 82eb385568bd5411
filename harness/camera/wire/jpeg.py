"""The RTP payload of motion JPEG (RFC 2435): baseline pictures, 4:2:0 or 4:2:2, usual Huffman.

What a decoder can make up itself (Huffman tables, most of the headers) is not sent; the tables of
quantisation go in the first packet of every picture (Q 255, section 3.1.8).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.camera.wire.rtp import PAYLOAD_BYTES_MAX
from harness.errors import Corrupt

_QUANTISATION, _FRAME, _SCAN, _RESTART, _END = 0xDB, 0xC0, 0xDA, 0xDD, b"\xff\xd9"
_SAMPLINGS = {0x21: 0, 0x22: 1}  # of luma: the types of section 3.1.3
_TABLE_BYTES = 64
_Q_TABLES_FOLLOW = 255


@dataclass(frozen=True, slots=True)
class _Picture:
    kind: int
    width_px: int
    height_px: int
    tables: bytes  # of luma and chroma
    scan: bytes


def payloads(jpeg: bytes, limit: int = PAYLOAD_BYTES_MAX) -> list[bytes]:
    """RTP payloads of at most `limit` bytes for one picture. Raises `Corrupt`."""
    picture = _parse(jpeg)
    shape = bytes((picture.kind, _Q_TABLES_FOLLOW, picture.width_px // 8, picture.height_px // 8))
    tables = b"\0\0" + len(picture.tables).to_bytes(2, "big") + picture.tables
    result, offset = [], 0
    while offset < len(picture.scan):
        head = b"\0" + offset.to_bytes(3, "big") + shape + (b"" if offset else tables)
        part = picture.scan[offset : offset + limit - len(head)]
        result.append(head + part)
        offset += len(part)
    return result


def _parse(jpeg: bytes) -> _Picture:
    tables: dict[int, bytes] = {}
    frame = b""
    position = 2
    while position + 4 <= len(jpeg) and jpeg[position] == 0xFF:
        marker, size = jpeg[position + 1], int.from_bytes(jpeg[position + 2 : position + 4], "big")
        body = jpeg[position + 4 : position + 2 + size]
        position += 2 + size
        if marker == _QUANTISATION:
            tables |= _tables(body)
        elif marker == _FRAME:
            frame = body
        elif marker == _SCAN:
            end = len(jpeg) - 2 if jpeg.endswith(_END) else len(jpeg)
            return _picture(frame, tables, jpeg[position:end])
        elif marker == _RESTART and any(body):
            break
    raise Corrupt("a JPEG picture that RFC 2435 cannot carry", hint="baseline, without restarts")


def _tables(body: bytes) -> dict[int, bytes]:
    step = 1 + _TABLE_BYTES  # of 8 bits each: all that baseline knows
    cuts = range(0, len(body) - _TABLE_BYTES, step)
    return {body[cut] & 0x0F: body[cut + 1 : cut + step] for cut in cuts}


def _picture(frame: bytes, tables: dict[int, bytes], scan: bytes) -> _Picture:
    if len(frame) < 15 or frame[7] not in _SAMPLINGS or frame[8] not in tables:
        raise Corrupt("a JPEG picture that RFC 2435 cannot carry", hint="YUV 4:2:0 or 4:2:2")
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    luma = tables[frame[8]]
    return _Picture(_SAMPLINGS[frame[7]], width, height, luma + tables.get(frame[11], luma), scan)
