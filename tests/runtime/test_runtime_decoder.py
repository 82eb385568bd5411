"""Access units to pictures, and who they say they are: beside the picture first, then in it."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.camera.picture.clip import Clip, ClipSpec, load_clip
from harness.camera.wire import h264
from harness.record import sei
from harness.record.framecode import FrameCode
from harness.runtime.assembler import Unit
from harness.runtime.decoder import Decoder, Picture, luma
from harness.scenario.coding import Coding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeClip = Callable[..., Clip]

SPEC = ClipSpec(320, 192, 15, 2, 15, 300, 2, 7)


@pytest.fixture(scope="module")
def make_clip(tmp_path_factory: pytest.TempPathFactory) -> MakeClip:
    cache: Path = tmp_path_factory.mktemp("clips")

    def make(**coding: object) -> Clip:
        return load_clip(dataclasses.replace(SPEC, coding=Coding(**coding)), cache)  # type: ignore[arg-type]

    return make


def decoded(nals: list[tuple[bytes, ...]], *, damaged: bool = False) -> list[Picture]:
    decoder = Decoder(())
    units = [Unit(each, number * 6000, damaged=damaged) for number, each in enumerate(nals)]
    return [
        picture for number, unit in enumerate(units) for picture in decoder.decode(unit, number)
    ]


def nals_of(clip: Clip) -> list[tuple[bytes, ...]]:
    return [unit.nals for unit in clip.access_units]


def without_sei(nals: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(nal for nal in nals if h264.nal_type(nal) != h264.NAL_SEI)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_picture_is_that_of_its_own_unit(make_clip: MakeClip, b_frames: int) -> None:
    """With B-frames pictures come out later, and in another order."""
    clip = make_clip(sei=True, b_frames=b_frames)
    pictures = decoded(nals_of(clip))
    assert len(pictures) >= len(clip.access_units) - b_frames
    for picture in pictures:
        assert picture.said is not None
        assert picture.said == picture.seen
        assert not picture.mistaken
        assert picture.timestamp == round(picture.arrived_s) * 6000
    assert len({picture.timestamp for picture in pictures}) == len(pictures)


def test_without_sei_the_picture_says_who_it_is(make_clip: MakeClip) -> None:
    clip = make_clip(sei=False)
    for number, picture in enumerate(decoded(nals_of(clip))):
        assert picture.said is None
        assert picture.code == picture.seen == clip.spec.code(number)


def test_an_sei_with_a_wrong_checksum_is_none(make_clip: MakeClip) -> None:
    clip = make_clip(sei=True)
    spoilt = []
    for nals in nals_of(clip):
        (own,) = [nal for nal in nals if h264.nal_type(nal) == h264.NAL_SEI]
        wrong = bytearray(own)
        wrong[-2] ^= 1  # of the CRC, before the trailing bits
        spoilt.append(tuple(bytes(wrong) if nal == own else nal for nal in nals))
    for picture in decoded(spoilt):
        assert picture.said is None
        assert picture.code == picture.seen


def test_what_is_said_beside_a_picture_comes_first_and_a_contradiction_is_noted(
    make_clip: MakeClip,
) -> None:
    clip = make_clip(sei=False)
    other = FrameCode(1, 2, 3)
    (picture, *_) = decoded([(sei.nal(other), *nals) for nals in nals_of(clip)])
    assert picture.code == other
    assert picture.seen == clip.spec.code(0)
    assert picture.mistaken


def test_where_the_strip_cannot_be_read_the_sei_is_enough(make_clip: MakeClip) -> None:
    clip = make_clip(sei=True)
    (picture, *_) = decoded(nals_of(clip))
    blank = dataclasses.replace(picture, seen=None)
    assert (blank.code, blank.mistaken) == (clip.spec.code(0), False)


def test_damage_is_told_by_the_decoder_and_by_who_put_the_frame_together(
    make_clip: MakeClip,
) -> None:
    clip = make_clip(sei=True)
    assert not any(picture.damaged for picture in decoded(nals_of(clip)))
    assert all(picture.damaged for picture in decoded(nals_of(clip)[:3], damaged=True))
    draw = random.Random(3)
    wrong = []
    for nals in nals_of(clip):
        last = bytearray(nals[-1])
        for _ in range(20):
            last[draw.randrange(8, len(last))] ^= 1 << draw.randrange(8)
        wrong.append((*nals[:-1], bytes(last)))
    assert any(picture.damaged for picture in decoded(wrong))


def test_what_is_dark_has_nothing_below_the_strip(make_clip: MakeClip) -> None:
    (picture, *_) = decoded(nals_of(make_clip(sei=False)))
    assert not picture.dark
    rows = luma(picture.frame)
    assert rows.shape == (192, 320)
    dark = np.array(rows)
    dark[20:] = 16
    frame = type(picture.frame).from_ndarray(dark, format="gray8")
    assert dataclasses.replace(picture, frame=frame).dark


def test_pictures_of_one_moment_are_the_same_scene(make_clip: MakeClip) -> None:
    one, other, *_ = decoded([without_sei(nals) for nals in nals_of(make_clip(sei=True))])
    assert one.scene != other.scene
    assert one.scene == dataclasses.replace(one, arrived_s=9.0).scene
    nameless = dataclasses.replace(one, seen=None)
    assert nameless.scene == dataclasses.replace(nameless).scene
    assert nameless.scene != dataclasses.replace(other, seen=None).scene
