"""A variable frame rate: frames that a camera leaves out."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from harness.camera.picture.clip import ClipSpec, load_clip
from harness.errors import InputError
from harness.record import framecode

if TYPE_CHECKING:
    from pathlib import Path

    from harness.camera.serve.server import CameraServer
    from tests.camera.conftest import Connect


def test_a_camera_that_slows_down_leaves_frames_out(cache_dir: Path) -> None:
    spec = ClipSpec(384, 216, 30.0, 2.0, 15, 300, 1, 4, slow_fps=10.0)
    clip = load_clip(spec, cache_dir)
    sent = [index for index, unit in enumerate(clip.access_units) if unit.nals]
    assert sent == [*range(30), *range(30, 60, 3)]
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    seen = []
    for index in sent:
        data = b"".join(b"\0\0\0\1" + nal for nal in clip.access_units[index].nals)
        for picture in decoder.decode(av.Packet(data)):
            code = framecode.read(np.asarray(picture.to_ndarray(format="bgr24"), np.uint8))
            assert code is not None
            seen.append(code.index)
    assert seen == sent[: len(seen)]
    assert len(seen) >= len(sent) - 2  # what the decoder still holds
    for slow_fps in (-1.0, 31.0):
        with pytest.raises(InputError, match="and then"):
            dataclasses.replace(spec, slow_fps=slow_fps)


async def test_what_is_left_out_is_not_sent_and_not_missed(
    server: CameraServer, cache_dir: Path, connect: Connect
) -> None:
    spec = ClipSpec(384, 216, 30.0, 2.0, 15, 300, 1, 4, slow_fps=10.0)
    camera = server.add("door", load_clip(spec, cache_dir), "/door", fast_start=True)
    camera.epoch_s -= 0.6
    client = await connect(camera.url)
    await client.play(camera.url)
    stamps = await client.take(20)  # none of which lacks a packet
    steps = {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)}
    assert steps == {3000, 9000}
