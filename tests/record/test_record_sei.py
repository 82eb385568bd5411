from __future__ import annotations

from fractions import Fraction

import av
from hypothesis import given
from hypothesis import strategies as st

from harness.record import sei
from harness.record.framecode import CLIP_MAX, INDEX_MAX, TIME_US_MAX, FrameCode

codes = st.builds(
    FrameCode, st.integers(0, CLIP_MAX), st.integers(0, INDEX_MAX), st.integers(0, TIME_US_MAX)
)


@given(codes, st.booleans())
def test_round_trip(code: FrameCode, h265: bool) -> None:
    unit = sei.nal(code, h265=h265)
    other = b"\x65\x88" if not h265 else b"\x26\x01\x88"
    assert b"\0\0\0" not in unit
    assert b"\0\0\1" not in unit
    assert sei.find([other, unit], h265=h265) == code
    stream = b"\0\0\0\1" + unit + b"\0\0\1" + other
    assert sei.find_annex_b(stream, h265=h265) == code
    assert sei.find([unit], h265=not h265) is None


def test_ours_is_found_behind_other_messages() -> None:
    code = FrameCode(1, 2, 3)
    own = sei.nal(code)
    long = b"\x05\xff\x2d" + b"x" * 300  # user data of somebody else, 255 + 45 bytes
    assert sei.find([b"\x06\x01\x01\x80" + long + own[1:]]) == code
    assert sei.find([b"\x06" + long + b"\x80"]) is None


def test_damage_is_noticed() -> None:
    unit = bytearray(sei.nal(FrameCode(1, 2, 3)))
    unit[-4] ^= 4
    assert sei.find([bytes(unit)]) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_not(data: bytes) -> None:
    assert sei.find([b"\x06" + data, data]) is None
    assert sei.find_annex_b(data) is None
    assert sei.find_annex_b(b"\0\0\1\x06" + data) is None


def test_a_decoder_hands_the_message_on() -> None:
    """FFmpeg, an independent reader, finds user data with our identifier in it."""
    code = FrameCode(40_000, 0, 0)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 64, "yuv420p"
    encoder.time_base = encoder.framerate = Fraction(1)
    encoder.options = {"tune": "zerolatency"}
    picture = av.VideoFrame(64, 64, "yuv420p")
    picture.pts = 0
    data = b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
    packet = av.Packet(b"\0\0\0\1" + sei.nal(code) + data)
    decoder = av.CodecContext.create("h264", "r")
    (frame,) = [*decoder.decode(packet), *decoder.decode(None)]
    said = [bytes(frame.side_data[number]) for number in range(len(frame.side_data))]  # type: ignore[literal-required]
    assert any(sei.IDENTIFIER.bytes + code.to_bytes() == one for one in said)
