"""Clips changed for a fault: other pictures, other coding, the same frames as far as they go."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from harness.camera.picture import variant
from harness.camera.picture.clip import ClipSpec, load_clip
from harness.camera.picture.variant import Change, load_variant
from harness.camera.picture.video import load_video
from harness.errors import EngineError, InputError
from harness.record import framecode
from harness.scenario.coding import H265, MJPEG, Coding

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from harness.camera.picture.clip import Clip

SPEC = ClipSpec(384, 216, 30.0, 0.8, 8, 400, 2, 5)
START = b"\0\0\0\1"


def pictures(clip: Clip) -> list[NDArray[np.uint8]]:
    """In the order of showing, decoded without the code under test."""
    name = {"h264": "h264", "h265": "hevc", "mjpeg": "mjpeg"}[clip.spec.coding.codec]
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    shown = []
    for unit in clip.access_units:
        data = b"".join((b"" if name == "mjpeg" else START) + nal for nal in unit.nals)
        shown += decoder.decode(av.Packet(data)) if data else []
    shown += decoder.decode(None)
    return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in shown]


def indexes(clip: Clip) -> list[int | None]:
    codes = [framecode.read(picture) for picture in pictures(clip)]
    return [None if code is None else code.index for code in codes]


@pytest.mark.parametrize(
    "change",
    [Change(codec=H265), Change(codec=MJPEG), Change(width_px=192, height_px=108), Change()],
    ids=["h265", "mjpeg", "size", "nothing"],
)
@pytest.mark.parametrize("coding", [Coding(), Coding(b_frames=2)], ids=["plain", "b-frames"])
def test_every_frame_is_the_one_it_was(cache_dir: Path, change: Change, coding: Coding) -> None:
    base = load_clip(replace(SPEC, coding=coding), cache_dir)
    made = load_variant(base, change, cache_dir)
    assert len(made.access_units) == len(base.access_units)
    late = 2 if coding.b_frames and made.spec.coding.b_frames else 0
    assert indexes(made) == [(n - late) % 24 for n in range(24)]
    assert made.access_units[0].key
    assert [made.truth(n) for n in range(24)] == [base.truth(n) for n in range(24)]
    picture = pictures(made)[0]
    assert picture.shape == (made.spec.height_px, made.spec.width_px, 3)


def test_key_frames_are_where_they_are_wanted(cache_dir: Path) -> None:
    base = load_clip(SPEC, cache_dir)
    made = load_variant(base, Change(gop_frames=3), cache_dir)
    assert [n for n, unit in enumerate(made.access_units) if unit.key] == list(range(0, 24, 3))
    longest = load_variant(base, Change(gop_frames=36_000), cache_dir)
    assert [n for n, unit in enumerate(longest.access_units) if unit.key] == [0]


@pytest.mark.parametrize("at_s", [0.5, 0.5 + 0.8 * 3])
def test_a_still_is_one_frame_and_its_truth(cache_dir: Path, at_s: float) -> None:
    base = load_clip(SPEC, cache_dir)
    made = load_variant(base, Change(still_s=at_s), cache_dir)
    assert indexes(made) == [15] * 8  # one group of pictures
    assert made.truth(0) == made.truth(7) == base.truth(15) != base.truth(0)


def test_black_shows_nothing(cache_dir: Path) -> None:
    base = load_clip(SPEC, cache_dir)
    made = load_variant(base, Change(black=True), cache_dir)
    assert max(int(picture.max()) for picture in pictures(made)) < 5
    assert made.truth(0) == ()


def test_frames_that_are_left_out_stay_so(cache_dir: Path) -> None:
    base = load_clip(replace(SPEC, slow_fps=10.0), cache_dir)
    made = load_variant(base, Change(codec=H265), cache_dir)
    assert [bool(u.nals) for u in made.access_units] == [bool(u.nals) for u in base.access_units]
    assert indexes(made) == indexes(base)
    missing = next(n for n, unit in enumerate(base.access_units) if not unit.nals)
    still = load_variant(base, Change(still_s=missing / 30.0 + 0.01), cache_dir)
    assert set(indexes(still)) == {missing - 1}


def test_of_a_video(cache_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.gop_size = 10
        for number in range(20):
            picture = np.full((240, 320, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    base = load_video(path, cache_dir)
    greys = [float(picture.mean()) for picture in pictures(base)]
    still = load_variant(base, Change(still_s=0.5), cache_dir)
    assert all(abs(picture.mean() - greys[10]) < 4 for picture in pictures(still))
    other = load_variant(base, Change(codec=H265, width_px=160, height_px=120), cache_dir)
    shown = [float(picture.mean()) for picture in pictures(other)]
    assert all(abs(grey - was) < 4 for grey, was in zip(shown, greys, strict=True))
    assert other.truth(3) == ()


def test_it_is_made_once(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_clip(SPEC, cache_dir)
    change = Change(width_px=256, height_px=144)
    made = load_variant(base, change, cache_dir)
    assert made.key not in (base.key, Change(width_px=254, height_px=144).key(base))
    monkeypatch.setattr(variant, "_encode", lambda *_: pytest.fail("made again"))
    again = load_variant(base, change, cache_dir)
    assert again.access_units == made.access_units
    assert again.key == made.key


def test_it_stops_when_nobody_waits(cache_dir: Path, tmp_path: Path) -> None:
    base, stop = load_clip(SPEC, cache_dir), threading.Event()
    stop.set()
    with pytest.raises(EngineError, match="stopped"):
        load_variant(base, Change(gop_frames=7), tmp_path, stop=stop)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_encoded_is_said(cache_dir: Path) -> None:
    base = load_clip(replace(SPEC, width_px=386), cache_dir)
    with pytest.raises(InputError, match="motion JPEG of 386x216"):
        load_variant(base, Change(codec=MJPEG), cache_dir)
    with pytest.raises(InputError, match="51x216 pixels"):
        load_variant(base, Change(width_px=51), cache_dir)
