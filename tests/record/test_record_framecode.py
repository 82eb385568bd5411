from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.record.framecode import (
    CLIP_MAX,
    INDEX_MAX,
    TIME_US_MAX,
    FrameCode,
    draw,
    read,
    resolve,
    strip_height_px,
)

codes = st.builds(
    FrameCode, st.integers(0, CLIP_MAX), st.integers(0, INDEX_MAX), st.integers(0, TIME_US_MAX)
)
CODE = FrameCode(48_879, 1_234_567, 3_987_654_321)


def picture(width: int = 640, height: int = 360, seed: int = 5) -> np.ndarray:
    grain = np.random.default_rng(seed).integers(60, 170, (height, width, 3), np.uint8)
    draw(grain, CODE)
    return grain


def scaled(image: np.ndarray, width: int, height: int) -> np.ndarray:
    frame = av.VideoFrame.from_ndarray(image, format="bgr24")
    return frame.reformat(width=width, height=height).to_ndarray(format="bgr24")


@given(codes)
def test_bytes_round_trip(code: FrameCode) -> None:
    assert FrameCode.from_bytes(code.to_bytes()) == code


@given(codes, st.integers(0, 87))
def test_any_flipped_bit_is_noticed(code: FrameCode, bit: int) -> None:
    data = bytearray(code.to_bytes())
    data[bit // 8] ^= 1 << bit % 8
    assert FrameCode.from_bytes(bytes(data)) is None


@settings(max_examples=60, deadline=None)
@given(codes, st.integers(192, 1000), st.booleans())
def test_drawn_is_read_at_any_width(code: FrameCode, width: int, luma: bool) -> None:
    shape = (strip_height_px(width) + 40, width)
    image = np.full(shape if luma else (*shape, 3), 128, np.uint8)
    draw(image, code)
    assert read(image) == code


def test_picture_below_the_strip_is_left_alone() -> None:
    image = np.full((360, 640, 3), 77, np.uint8)
    draw(image, CODE)
    assert (image[strip_height_px(640) :] == 77).all()
    assert not (image[: strip_height_px(640)] == 77).any()


@pytest.mark.parametrize(
    ("width", "height"), [(320, 180), (213, 120), (427, 240), (1920, 1080), (1000, 563)]
)
def test_read_after_scaling(width: int, height: int) -> None:
    assert read(scaled(picture(), width, height)) == CODE


@pytest.mark.parametrize(("top", "left"), [(60, 0), (0, 80), (37, 53)])
def test_read_from_a_letterboxed_picture(top: int, left: int) -> None:
    canvas = np.zeros((360 + 2 * top, 640 + 2 * left, 3), np.uint8)
    canvas[top : top + 360, left : left + 640] = picture()
    assert read(canvas) == CODE
    height, width = canvas.shape[:2]
    assert read(scaled(canvas, width // 2, height // 2)) == CODE


def test_read_from_a_squeezed_picture() -> None:
    assert read(scaled(picture(), 640, 240)) == CODE
    assert read(scaled(picture(), 480, 480)) == CODE


def test_read_with_noise() -> None:
    image = picture().astype(np.int16)
    image += np.random.default_rng(3).normal(0, 25, image.shape).astype(np.int16)
    assert read(np.clip(image, 0, 255).astype(np.uint8)) == CODE


def test_nothing_is_read_where_nothing_is() -> None:
    rng = np.random.default_rng(4)
    for image in (
        np.zeros((360, 640, 3), np.uint8),
        np.full((360, 640, 3), 255, np.uint8),
        rng.integers(0, 256, (360, 640, 3), np.uint8),
        rng.integers(0, 256, (360, 640), np.uint8),
        np.full((4, 640), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
    ):
        assert read(image) is None


@pytest.mark.parametrize("begin", [0, 100, 333, 520])
def test_a_damaged_part_of_the_strip_is_made_up_for(begin: int) -> None:
    for value in (0, 90, 255):
        image = picture()
        image[:, begin : begin + 110] = value
        image[:5] = image[38:40] = 255  # the bars
        assert read(image) in (CODE, None) if begin in (0, 520) else read(image) == CODE


def test_half_of_another_frames_strip_is_never_a_code_of_its_own() -> None:
    """As decoders conceal losses: with what was there before."""
    other = FrameCode(48_879, 1_234_568, 3_987_721_000)
    for share in range(0, 640, 16):
        image, old = picture(), picture()
        draw(old, other)
        image[:, share:] = old[:, share:]
        assert read(image) in (CODE, other, None)


def test_too_much_damage_gives_no_code() -> None:
    image = picture()
    image[:38, 40:600] = np.random.default_rng(2).integers(0, 256, (38, 560, 3), np.uint8)
    assert read(image) is None
    assert read(picture()[:, 400:]) is None


@pytest.mark.parametrize(("left", "right"), [(80, 80), (0, 200), (213, 0), (37, 111), (1, 3)])
@pytest.mark.parametrize("width", [640, 1280])
def test_read_from_a_cropped_picture(left: int, right: int, width: int) -> None:
    scale = width // 640
    image = picture(width, 360 * scale)[:, left * scale : width - right * scale]
    image = np.ascontiguousarray(image)
    assert read(image) == CODE
    assert read(scaled(image, image.shape[1] * 3 // 4, image.shape[0] * 3 // 4)) == CODE


@pytest.mark.parametrize("kbps", [140, 500])
def test_survives_x264_at_low_bitrate_half_and_third_size(kbps: int) -> None:
    """Noise over the whole picture takes the bits; the code must do with what is left."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 360, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 15), Fraction(15)
    encoder.bit_rate, encoder.gop_size = kbps * 1000, 15
    encoder.options = {"preset": "veryfast", "tune": "zerolatency"}
    decoder = av.CodecContext.create("h264", "r")
    wanted, seen, bits = [], [], 0
    packets = []
    for index in range(45):
        image = picture(seed=index)
        image[60:] = image[60:] // 8 + 100
        wanted.append(FrameCode(index * 1456, index * 372_827, index * 95_443_717))
        draw(image, wanted[-1])
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts = index
        packets += encoder.encode(frame)
    for packet in [*packets, *encoder.encode(None), None]:
        bits += 8 * (packet.size if packet else 0)
        for frame in decoder.decode(packet):
            full = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            assert read(scaled(full, 320, 180)) == read(full)
            assert read(scaled(full, 212, 120)) == read(full)
            seen.append(read(full))
    assert seen == wanted
    assert bits / 3 < 2000 * kbps


def test_too_small_for_a_code() -> None:
    with pytest.raises(ValueError, match="191x100 picture is too small"):
        draw(np.zeros((100, 191, 3), np.uint8), CODE)
    with pytest.raises(ValueError, match="too small"):
        draw(np.zeros((20, 640, 3), np.uint8), CODE)


@pytest.mark.parametrize("values", [(-1, 0, 0), (1 << 16, 0, 0), (0, 1 << 24, 0), (0, 0, 1 << 32)])
def test_values_that_do_not_fit(values: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        FrameCode(*values)


@given(
    epoch_s=st.floats(0, 1e6),
    rate_fps=st.sampled_from([5.0, 15.0, 29.97, 30.0, 60.0]),
    frames=st.integers(30, 600),
    loop=st.integers(0, 10_000),
    share=st.floats(0, 0.99),
    data=st.data(),
)
def test_resolve_finds_loop_and_capture_time(
    epoch_s: float, rate_fps: float, frames: int, loop: int, share: float, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, frames - 1))
    clip_s = frames / rate_fps
    captured_s = epoch_s + (loop * frames + index) / rate_fps
    code = FrameCode(1, index, round(index / rate_fps * 1e6))
    found, capture_s = resolve(code, epoch_s, clip_s, captured_s + share * clip_s)
    assert found == loop
    assert math.isclose(capture_s, captured_s, abs_tol=2e-6)


def test_resolve_says_when_a_frame_is_before_the_epoch() -> None:
    loop, _ = resolve(FrameCode(1, 10, 1_000_000), 100.0, 4.0, 100.5)
    assert loop == -1
