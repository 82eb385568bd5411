"""Clips from video files of all kinds, whole and broken."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.camera.picture.video import load_video
from harness.camera.reader.probe import probe
from harness.camera.wire import h264
from harness.errors import InputError
from harness.record import framecode, sei

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.server import CameraServer

PLAIN: dict[str, Any] = {"x264-params": "bframes=0:scenecut=0:keyint=25:min-keyint=25"}
MILLISECOND = Fraction(1, 1000)


def steady(number: int) -> int:
    return number * 40


def uneven(number: int) -> int:
    return number * 40 + number // 10 * 200


def make(
    path: Path,
    codec: str = "libx264",
    frames: int = 50,
    at_ms: Callable[[int], int] = steady,
    container: dict[str, str] | None = None,
    **options: Any,
) -> Path:
    """A file whose frame `n` has a white bar at column 5 n."""
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {str(key): str(value) for key, value in options.items()}
        stream.codec_context.time_base = MILLISECOND
        for number in range(frames):
            image = np.full((240, 320, 3), 60, np.uint8)
            image[60:, number * 5 : number * 5 + 5] = 255
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = at_ms(number), MILLISECOND
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def pictures(clip: Clip) -> list[np.ndarray]:
    decoder = av.CodecContext.create("h264", "r")
    units = [b"".join(b"\0\0\0\1" + nal for nal in unit.nals) for unit in clip.access_units]
    frames = [frame for data in [*map(av.Packet, units), None] for frame in decoder.decode(data)]
    return [frame.to_ndarray(format="bgr24") for frame in frames]


def bar(image: np.ndarray) -> int:
    """Which frame of the file a picture shows."""
    return int(image[100:, :, 1].mean(axis=0).argmax()) // 5


def check(clip: Clip, frames: int) -> None:
    codes = [sei.find(unit.nals) for unit in clip.access_units]
    assert codes == [clip.spec.code(n) for n in range(frames)]
    assert clip.truth(3) == ()
    first = [h264.nal_type(nal) for nal in clip.access_units[0].nals]
    assert first[:2] == [h264.NAL_SPS, h264.NAL_PPS]
    assert clip.access_units[0].key
    assert clip.sps
    assert clip.pps


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.h264"])
def test_h264_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    clip = load_video(make(tmp_path / name, **PLAIN), tmp_path)
    check(clip, 50)
    assert clip.spec.source.endswith("remux")
    assert (clip.fps, clip.duration_s) == (25, 2)
    assert [n for n, u in enumerate(clip.access_units) if u.key] == [0, 25]
    assert [bar(image) for image in pictures(clip)] == list(range(50))
    again = load_video(tmp_path / name, tmp_path)
    assert again.access_units == clip.access_units
    assert again.id == clip.id


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b.mp4", {}),  # x264 makes B-frames unless told otherwise
        ("seldom.mp4", {"frames": 110, "x264-params": "bframes=0:keyint=250:scenecut=0"}),
        ("other.webm", {"codec": "libvpx"}),
        ("other.avi", {"codec": "mpeg4"}),
        ("hevc.mp4", {"codec": "libx265", "x265-params": "log-level=none"}),
    ],
)
def test_the_rest_is_encoded_anew(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    clip = load_video(make(tmp_path / name, **options), tmp_path)
    frames = options.get("frames", 50)
    check(clip, frames)
    assert clip.spec.source.endswith("encode")
    shown = [bar(image) for image in pictures(clip)]
    assert shown[:50] == list(range(50))


def test_a_variable_rate_becomes_a_constant_one(tmp_path: Path) -> None:
    clip = load_video(make(tmp_path / "a.mkv", at_ms=uneven, **PLAIN), tmp_path)
    shown = [bar(image) for image in pictures(clip)]
    assert shown == sorted(shown)
    assert (shown[0], shown[-1]) == (0, 49)
    assert clip.duration_s == pytest.approx(uneven(49) / 1000, abs=0.15)


def test_the_strip_is_drawn_when_asked_for(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", **PLAIN)
    clip, plain = load_video(path, tmp_path, strip=True), load_video(path, tmp_path)
    check(clip, 50)
    codes = [framecode.read(image) for image in pictures(clip)]
    assert codes == [clip.spec.code(n) for n in range(50)]
    assert clip.id != plain.id
    assert framecode.read(pictures(plain)[0]) is None


def damaged(path: Path, name: str) -> Path:
    """`path` whole, but for what its new name says."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    if name.startswith("cut"):
        del data[middle:]
    elif name.startswith("flip"):
        for position in range(middle, middle + 300):
            data[position] ^= 0x5A
    else:
        data = bytearray({"junk": b"hello" * 999, "empty": b""}[name])
    target = path.with_name(name)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("name", "container", "message"),
    [
        ("cut.mp4", {}, "not a video"),
        ("cut-index-first.mp4", {"movflags": "faststart"}, "cut off"),
        ("cut.mkv", {}, "cut off"),
        ("flip.mp4", {}, "damaged"),
        ("junk", {}, "not a video"),
        ("empty", {}, "not a video"),
    ],
)
def test_broken_files_are_refused(
    tmp_path: Path, name: str, container: dict[str, str], message: str
) -> None:
    suffix = name.rpartition(".")[2] if "." in name else "mp4"
    whole = make(tmp_path / f"whole.{suffix}", container=container, **PLAIN)
    with pytest.raises(InputError, match=message) as caught:
        load_video(damaged(whole, name), tmp_path / "cache")
    assert caught.value.hint
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Files of the usual kinds, with the index at either end."""
    folder = tmp_path_factory.mktemp("whole")
    kinds = {"mp4": {}, "mov": {"movflags": "faststart"}, "mkv": {}, "ts": {}}
    files = {
        suffix: make(folder / f"a.{suffix}", frames=30, container=options, **PLAIN).read_bytes()
        for suffix, options in kinds.items()
    }
    return lambda suffix: files[suffix]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(("mp4", "mov", "mkv", "ts")), st.floats(0, 1), st.binary(max_size=8))
def test_a_file_that_ends_anywhere_is_a_clip_or_refused(
    whole: Callable[[str], bytes], suffix: str, share: float, junk: bytes
) -> None:
    """Cut off at any place, with anything behind it. What is taken can be decoded to its end."""
    data = whole(suffix)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        path.write_bytes(data[: round(share * len(data))] + junk)
        with contextlib.suppress(InputError):
            clip = load_video(path, Path(folder) / "cache")
            assert len(pictures(clip)) == len(clip.access_units)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.rate = 8000
        out.mux(stream.encode(frame))
    for path, message in (
        (tmp_path / "a.wav", "no video"),
        (tmp_path / "none.mp4", "cannot read"),
        (tmp_path, "cannot read"),
    ):
        with pytest.raises(InputError, match=message):
            load_video(path, tmp_path)


async def test_a_camera_repeats_it_without_a_jump(server: CameraServer, tmp_path: Path) -> None:
    clip = load_video(make(tmp_path / "a.mp4", **PLAIN), tmp_path)
    camera = server.add("door", clip, "/door", fast_start=True)
    camera.epoch_s -= 1.5  # the file ends while it is watched
    report = await asyncio.to_thread(probe, camera.url, 1.2)
    assert (report.lost, report.duplicated, report.timestamp_jumps) == (0, 0, 0)
    assert report.identity == "sei"
    assert report.frames >= 28
