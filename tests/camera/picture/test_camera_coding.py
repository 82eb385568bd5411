"""Clips in every coding: decoded by FFmpeg, they show what they say."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from harness.camera.picture.clip import Clip, ClipSpec, load_clip
from harness.camera.serve import media
from harness.camera.wire import h264, h265, jpeg
from harness.errors import Corrupt, InputError
from harness.record import framecode, sei
from harness.scenario.coding import CBR, H265, MJPEG, VBR, Coding
from harness.scenario.look import NIGHT, Look

if TYPE_CHECKING:
    from pathlib import Path

SPEC = ClipSpec(
    width_px=384,
    height_px=216,
    rate_fps=15.0,
    duration_s=2.0,
    gop_frames=15,
    bitrate_kbps=300,
    objects=2,
    seed=5,
)
DECODERS = {H265: "hevc", MJPEG: "mjpeg"}


def decoded(clip: Clip) -> list[av.VideoFrame]:
    codec = clip.spec.coding.codec
    decoder = av.CodecContext.create(DECODERS.get(codec, "h264"), "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    start = b"" if codec == MJPEG else b"\0\0\0\1"
    data = [b"".join(start + nal for nal in unit.nals) for unit in clip.access_units]
    packets = [*map(av.Packet, data), None]
    return [frame for packet in packets for frame in decoder.decode(packet)]


def indexes(clip: Clip) -> list[int | None]:
    pictures = [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in decoded(clip)]
    codes = [framecode.read(picture) for picture in pictures]
    assert {code.clip_id for code in codes if code is not None} == {clip.id}
    return [None if code is None else code.index for code in codes]


def test_what_is_not_asked_for_changes_no_identity() -> None:
    """Clip identities are in histories: they must outlive new options."""
    assert ClipSpec(640, 360, 15.0, 3, 5, 800, 4, 7).clip_id == 18_204
    assert dataclasses.replace(SPEC, coding=Coding()).key == SPEC.key
    others = (
        {"coding": Coding(sei=True)},
        {"look": Look(light=NIGHT)},
        {"second_size_px": (640, 360)},
        {"source": "x"},
    )
    assert len({dataclasses.replace(SPEC, **one).clip_id for one in others} | {SPEC.clip_id}) == 5


@pytest.mark.parametrize(
    "coding",
    [
        Coding(profile="baseline", level="3.1"),
        Coding(profile="high", level="4.0", rate_control=VBR),
        Coding(rate_control=CBR, sei=True),
        Coding(codec=H265, sei=True),
        Coding(codec=H265, rate_control=CBR),
        Coding(codec=MJPEG),
    ],
    ids=str,
)
def test_every_frame_is_there_in_order(cache_dir: Path, coding: Coding) -> None:
    clip = load_clip(dataclasses.replace(SPEC, coding=coding), cache_dir)
    assert indexes(clip) == list(range(30))
    keys = [n for n, unit in enumerate(clip.access_units) if unit.key]
    assert keys == (list(range(30)) if coding.codec == MJPEG else [0, 15])
    if coding.sei:
        found = [sei.find(u.nals, h265=coding.codec == H265) for u in clip.access_units]
        assert found == [clip.spec.code(n) for n in range(30)]
    if coding.level:
        wanted = {"3.1": "42C01F", "4.0": "640028"}[coding.level]
        assert h264.profile_level_id(clip.sps) == wanted


@pytest.mark.parametrize("b_frames", [1, 2, 3])
def test_b_frames(cache_dir: Path, b_frames: int) -> None:
    """Nothing is sent before it was captured, and the loop has no seam."""
    spec = dataclasses.replace(SPEC, coding=Coding(b_frames=b_frames, sei=True))
    clip = load_clip(spec, cache_dir)
    assert indexes(clip) == [(n - b_frames) % 30 for n in range(30)]
    for sent, unit in enumerate(clip.access_units):
        code = sei.find(unit.nals)
        assert code is not None
        assert unit.lag_frames >= 0
        assert code.index == (sent - unit.lag_frames) % 30
    assert sorted({unit.lag_frames for unit in clip.access_units})[-1] == b_frames + 1
    assert load_clip(spec, cache_dir).access_units == clip.access_units  # from the cache


def test_a_constant_bitrate_is_filled_up(cache_dir: Path) -> None:
    base = dataclasses.replace(SPEC, bitrate_kbps=4000, objects=0)
    plain = load_clip(base, cache_dir)
    filled = load_clip(dataclasses.replace(base, coding=Coding(rate_control=CBR)), cache_dir)
    sizes = [sum(8 * len(n) for u in c.access_units for n in u.nals) for c in (plain, filled)]
    assert sizes[1] > sizes[0]
    assert sizes[1] / 2 == pytest.approx(4e6, rel=0.25)


def test_the_size_changes_in_mid_stream(cache_dir: Path) -> None:
    clip = load_clip(dataclasses.replace(SPEC, second_size_px=(640, 360)), cache_dir)
    sizes = [(frame.width, frame.height) for frame in decoded(clip)]
    assert sizes == [(384, 216)] * 15 + [(640, 360)] * 15
    assert indexes(clip) == list(range(30))
    sets = {n for u in clip.access_units for n in u.nals if h264.nal_type(n) == h264.NAL_SPS}
    assert len(sets) == 2
    for index in (14, 15):
        assert len(clip.truth(index)) == 2
    assert clip.truth(3) == clip.truth(33)


@pytest.mark.parametrize(
    "values",
    [
        {"codec": "av1"},
        {"profile": "extended"},
        {"level": "9"},
        {"rate_control": "abr"},
        {"b_frames": 4},
        {"b_frames": 1, "profile": "baseline"},
        {"b_frames": 1, "codec": H265},
        {"codec": MJPEG, "sei": True},
    ],
)
def test_impossible_codings(values: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Coding(**values)
    assert caught.value.hint


def test_impossible_clips() -> None:
    for values in (
        {"second_size_px": (641, 360)},
        {"coding": Coding(codec=MJPEG), "width_px": 390},
    ):
        with pytest.raises(InputError):
            dataclasses.replace(SPEC, **values)


# --- payloads -------------------------------------------------------------------------------------


def test_h265_packets(cache_dir: Path) -> None:
    """Put together again after RFC 7798, 4.4, they are the NAL units."""
    clip = load_clip(dataclasses.replace(SPEC, coding=Coding(codec=H265)), cache_dir)
    kinds = set()
    for unit in clip.access_units:
        parts = media.payloads(H265, unit.nals)
        assert max(map(len, parts)) <= 1400
        nals: list[bytes] = []
        for part in parts:
            kind = h265.nal_type(part)
            kinds.add(kind)
            if kind == 48:
                position = 2
                while position < len(part):
                    size = int.from_bytes(part[position : position + 2], "big")
                    nals.append(part[position + 2 : position + 2 + size])
                    position += 2 + size
            elif kind == 49:
                if part[2] & 0x80:
                    nals.append(bytes((part[0] & 0x81 | (part[2] & 0x3F) << 1, part[1])))
                nals[-1] += part[3:]
            else:
                nals.append(part)
        assert tuple(nals) == unit.nals
    assert kinds >= {48, 49}
    assert media.payloads(H265, (b"\x02\x01small",)) == [b"\x02\x01small"]
    lines = media.describe(clip)
    assert lines[0] == "a=rtpmap:96 H265/90000"
    assert all(f"sprop-{name}=" in lines[1] for name in ("vps", "sps", "pps"))


def test_jpeg_packets(cache_dir: Path) -> None:
    """RFC 2435, 3.1: offsets without holes, size in blocks, two tables in the first packet."""
    clip = load_clip(dataclasses.replace(SPEC, coding=Coding(codec=MJPEG)), cache_dir)
    (picture,) = clip.access_units[0].nals
    parts = media.payloads(MJPEG, (picture,))
    scan = b""
    for number, part in enumerate(parts):
        assert part[:1] == b"\0"
        assert int.from_bytes(part[1:4], "big") == len(scan)
        assert part[4:8] == bytes((1, 255, 48, 27))
        assert len(part) <= 1400
        scan += part[8:] if number else part[8 + 4 + 128 :]
    assert parts[0][8:12] == b"\0\0\0\x80"
    assert picture.endswith(scan + b"\xff\xd9")
    assert media.describe(clip) == ("a=rtpmap:96 JPEG/90000",)
    for broken in (b"", b"\xff\xd8\xff\xdb\0\x04\0\0", picture[:40]):
        with pytest.raises(Corrupt):
            jpeg.payloads(broken)
