from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.camera.picture.paint import SATURATION_MIN, TINT_MAX, person, vehicle
from harness.camera.picture.scene import LABELS, LANES_MAX, PERSON, VEHICLE, Box, Scene, SceneSpec
from harness.errors import InputError
from harness.record.framecode import strip_height_px

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]
    Paint: TypeAlias = Callable[[int, int, np.random.Generator], tuple[Picture, NDArray[np.bool_]]]

SPEC = SceneSpec(640, 360, 90, 15.0, 3, 7)


def channels(image: Picture) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    blue, green, red = np.moveaxis(image.astype(np.int16), 2, 0)
    return blue, green, red


def redness(image: Picture) -> NDArray[np.int16]:
    blue, green, red = channels(image)
    return red - np.maximum(green, blue)


def blueness(image: Picture) -> NDArray[np.int16]:
    blue, green, red = channels(image)
    return blue - np.maximum(green, red)


def area_of(box: Box, image: Picture) -> tuple[slice, slice]:
    height, width = image.shape[:2]
    return (
        slice(round(box.top * height), round(box.bottom * height)),
        slice(round(box.left * width), round(box.right * width)),
    )


def test_same_seed_same_pictures_and_truth() -> None:
    one, two, other = Scene(SPEC), Scene(SPEC), Scene(SceneSpec(640, 360, 90, 15.0, 3, 8))
    assert (one.render(13) == two.render(13)).all()
    assert one.truth(13) == two.truth(13)
    assert (one.render(13) != other.render(13)).any()
    assert one.truth(13) != other.truth(13)


def test_render_into_a_buffer_is_the_same() -> None:
    scene = Scene(SPEC)
    buffer = np.empty((360, 640, 3), np.uint8)
    assert scene.render(40, buffer) is buffer
    assert (buffer == scene.render(40)).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720), (384, 216)])
def test_every_box_is_tight_round_coloured_pixels(width: int, height: int, seed: int) -> None:
    """What a perfect detector of colour finds is exactly the truth."""
    scene = Scene(SceneSpec(width, height, 60, 15.0, 3, seed, noise=0))
    for index in range(0, 60, 7):
        image = scene.render(index)
        rest = {
            PERSON: redness(image) >= SATURATION_MIN,
            VEHICLE: blueness(image) >= SATURATION_MIN,
        }
        boxes = scene.truth(index)
        assert len(boxes) == 3
        for box in boxes:
            area = area_of(box, image)
            inside = rest[box.label][area]
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            rest[box.label][area] = False
        assert not rest[PERSON].any()
        assert not rest[VEHICLE].any()


def test_background_is_nearly_grey() -> None:
    image = Scene(SceneSpec(640, 360, 10, 15.0, 0, 3)).render(2)
    assert abs(redness(image)).max() <= TINT_MAX
    assert abs(blueness(image)).max() <= TINT_MAX
    assert image.std() > 8  # textured


@settings(max_examples=60, deadline=None)
@given(
    objects=st.integers(1, 12),
    seed=st.integers(0, 2**32),
    frames=st.integers(1, 300),
    size=st.sampled_from([(640, 360), (1920, 1080), (384, 216), (640, 480)]),
)
def test_objects_stay_below_the_code_and_inside(
    objects: int, seed: int, frames: int, size: tuple[int, int]
) -> None:
    width, height = size
    scene = Scene(SceneSpec(width, height, frames, 15.0, objects, seed))
    for index in {0, frames // 3, frames - 1}:
        for box in scene.truth(index):
            assert box.label in LABELS
            assert 0 <= box.left < box.right <= 1
            assert strip_height_px(width) / height <= box.top < box.bottom <= 1
            if objects <= LANES_MAX:
                assert (box.bottom - box.top) >= 0.08


def test_objects_move_smoothly_over_the_loop() -> None:
    scene = Scene(SPEC)
    track = [scene.truth(index) for index in range(91)]
    assert track[0] == track[90]
    for before, after in itertools.pairwise(track):
        for one, two in zip(before, after, strict=True):
            assert abs(one.left - two.left) < 0.03
            assert abs(one.top - two.top) < 0.01
    assert len({boxes[0].left for boxes in track}) > 40


def test_hidden_parts_are_not_in_the_truth() -> None:
    """Objects that share lanes hide one another: every edge of a box still has a seen pixel."""
    scene = Scene(SceneSpec(384, 216, 200, 15.0, 20, 5, noise=0))
    overlaps = 0
    for index in range(0, 200, 3):
        image = scene.render(index)
        seen = {
            PERSON: redness(image) >= SATURATION_MIN,
            VEHICLE: blueness(image) >= SATURATION_MIN,
        }
        boxes = scene.truth(index)
        for box in boxes:
            inside = seen[box.label][area_of(box, image)]
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
        overlaps += sum(
            one.left < two.right
            and two.left < one.right
            and one.label != two.label
            and one.top < two.bottom
            and two.top < one.bottom
            for one in boxes
            for two in boxes
        )
    assert overlaps > 20


def test_a_wholly_hidden_object_has_no_box() -> None:
    scene = Scene(SPEC)
    behind, *others = scene._movers
    scene._movers = (behind, *others, dataclasses.replace(behind))
    boxes = scene.truth(5)
    assert len(boxes) == 3
    assert boxes == (*Scene(SPEC).truth(5)[1:], Scene(SPEC).truth(5)[0])


@pytest.mark.parametrize("paint", [person, vehicle])
@pytest.mark.parametrize("size", [(19, 12), (33, 60), (100, 42), (216, 380)])
def test_sprites_touch_all_four_edges(paint: Paint, size: tuple[int, int]) -> None:
    picture, mask = paint(*size, np.random.default_rng(1))
    assert picture.shape == (*size, 3)
    assert mask[0].any()
    assert mask[-1].any()
    assert mask[:, 0].any()
    assert mask[:, -1].any()
    colour = redness(picture) if paint is person else blueness(picture)
    assert colour[mask].min() >= SATURATION_MIN


@pytest.mark.parametrize(
    "values",
    [
        (100, 90, 10, 15.0, 1, 1),
        (640, 60, 10, 15.0, 1, 1),
        (640, 360, 0, 15.0, 1, 1),
        (640, 360, 10, 0.0, 1, 1),
        (640, 360, 10, float("nan"), 1, 1),
        (640, 360, 10, 15.0, 33, 1),
        (640, 360, 10, 15.0, -1, 1),
    ],
)
def test_impossible_scenes_are_refused(values: tuple[int, int, int, float, int, int]) -> None:
    with pytest.raises(InputError) as caught:
        SceneSpec(*values)
    assert caught.value.hint
