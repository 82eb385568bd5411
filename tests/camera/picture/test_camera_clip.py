from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from harness.camera.picture import cache
from harness.camera.picture import clip as clip_module
from harness.camera.picture.clip import Clip, ClipSpec, default_cache_dir, load_clip
from harness.camera.wire import h264
from harness.errors import InputError
from harness.record.framecode import FrameCode, read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TINY = ClipSpec(
    width_px=192,
    height_px=108,
    rate_fps=10.0,
    duration_s=1.5,
    gop_frames=5,
    bitrate_kbps=100,
    objects=1,
    seed=3,
)


def pictures(clip: Clip) -> list[NDArray[np.uint8]]:
    decoder = av.CodecContext.create("h264", "r")
    stream = [b"".join(b"\0\0\0\1" + nal for nal in unit.nals) for unit in clip.access_units]
    packets = [*map(av.Packet, stream), None]
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in frames]


def test_every_frame_carries_its_code(clip: Clip) -> None:
    codes = [read(picture) for picture in pictures(clip)]
    assert codes == [FrameCode(clip.id, n, round(n / 60 * 1e6)) for n in range(240)]


def test_shape_of_the_stream(clip: Clip) -> None:
    assert (clip.fps, clip.duration_s, len(clip.access_units)) == (60.0, 4.0, 240)
    assert [n for n, unit in enumerate(clip.access_units) if unit.key] == list(range(0, 240, 20))
    kinds = {tuple(h264.nal_type(nal) for nal in unit.nals) for unit in clip.access_units}
    assert kinds == {(h264.NAL_SPS, h264.NAL_PPS, h264.NAL_IDR), (h264.NAL_SLICE,)}
    assert h264.profile_level_id(clip.sps).startswith("4D40")  # Main
    bits = 8 * sum(len(nal) for unit in clip.access_units for nal in unit.nals)
    assert 0.7 < bits / clip.duration_s / 600_000 < 1.2


def test_the_loop_has_no_seam_for_a_decoder(clip: Clip) -> None:
    twice = dataclasses.replace(clip, access_units=clip.access_units[200:] + clip.access_units[:40])
    indexes = [code.index if (code := read(p)) else None for p in pictures(twice)]
    assert indexes == [*range(200, 240), *range(40)]


def test_truth_repeats_with_the_loop(clip: Clip) -> None:
    assert len(clip.truth(0)) == 2
    assert clip.truth(7) == clip.truth(247)
    assert clip.truth(7) != clip.truth(60)


def test_second_load_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_clip(TINY, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{TINY.key}.clip"]
    monkeypatch.setattr(clip_module, "_encode", None)  # would be called
    assert load_clip(TINY, tmp_path).access_units == first.access_units


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_damaged_entry_is_built_again(tmp_path: Path, damage: str) -> None:
    first = load_clip(TINY, tmp_path)
    path = tmp_path / f"{TINY.key}.clip"
    data = bytearray(path.read_bytes())
    whole = bytes(data)
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": whole[:-9], "empty": b"", "other": b"x" * 99}.get(damage, bytes(data)))
    again = load_clip(TINY, tmp_path)
    assert again.access_units == first.access_units
    assert path.read_bytes() == whole


def test_encoding_is_deterministic(tmp_path: Path) -> None:
    one, two = load_clip(TINY, tmp_path / "a"), load_clip(TINY, tmp_path / "b")
    assert one.access_units == two.access_units
    other = load_clip(dataclasses.replace(TINY, seed=4), tmp_path / "a")
    assert other.access_units != one.access_units
    assert other.id != one.id


def test_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [dataclasses.replace(TINY, seed=seed) for seed in range(4)]
    for age, spec in enumerate(specs[:3]):
        load_clip(spec, tmp_path)
        os.utime(tmp_path / f"{spec.key}.clip", (1000 + age, 1000 + age))
    size = (tmp_path / f"{specs[0].key}.clip").stat().st_size
    monkeypatch.setattr(cache, "CACHE_BYTES_MAX", int(size * 2.5))
    load_clip(specs[3], tmp_path)
    left = {path.stem for path in tmp_path.iterdir()}
    assert left == {specs[2].key, specs[3].key}


def test_cache_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "edge-hil-harness"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "edge-hil-harness"


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot") as caught:
        load_clip(TINY, tmp_path / "file")
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_frame_times_of_broadcast_rates() -> None:
    spec = dataclasses.replace(TINY, rate_fps=30000 / 1001)
    assert (spec.rate.numerator, spec.rate.denominator) == (30000, 1001)
    assert [spec.time_us(n) for n in (0, 1, 30)] == [0, 33_367, 1_001_000]


@pytest.mark.parametrize(
    "values",
    [
        {"width_px": 193},
        {"height_px": 107},
        {"rate_fps": 0.0},
        {"rate_fps": float("nan")},
        {"rate_fps": 500.0},
        {"duration_s": 0.0},
        {"duration_s": 1e9},
        {"gop_frames": 0},
        {"bitrate_kbps": 0},
    ],
)
def test_impossible_clips_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(TINY, **values)  # type: ignore[arg-type]
    assert caught.value.hint


def test_split_annex_b() -> None:
    assert h264.split_annex_b(b"\0\0\0\1\x67a\0\0\1\x68b\0\0\0\1\x65c\0\0\3\1\0\0") == [
        b"\x67a",
        b"\x68b",
        b"\x65c\0\0\3\1",
    ]
    assert h264.split_annex_b(b"") == []
    assert h264.split_annex_b(b"junk\0\0\1") == []


def test_importing_the_server_does_not_import_the_codec() -> None:
    code = "import sys, harness.camera.serve.server; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=20, check=False).returncode == 0
