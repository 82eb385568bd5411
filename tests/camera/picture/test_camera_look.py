"""Looks of a scene: the truth stays the truth, and everything comes from the seed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest

from harness.camera.picture import caption
from harness.camera.picture.lens import Fisheye
from harness.camera.picture.scene import Box, Scene, SceneSpec
from harness.errors import InputError
from harness.record.glyph import glyph
from harness.scenario.look import (
    BICYCLE,
    FOG,
    LABELS_KNOWN,
    NIGHT,
    PERSON,
    PLAIN,
    RAIN,
    SNOW,
    VEHICLE,
    Look,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]

SPEC = SceneSpec(640, 360, 60, 15.0, 4, 7, noise=0)
LOOKS = [
    Look(light=NIGHT),
    Look(weather=RAIN),
    Look(weather=SNOW),
    Look(weather=FOG),
    Look(occluders=4),
    Look(fisheye_deg=60.0),
    Look(caption="gate 7/b", clock=True),
    Look(labels=LABELS_KNOWN, size=1.4),
    Look(NIGHT, RAIN, 3, "ALL", clock=True, fisheye_deg=50, labels=LABELS_KNOWN, size=0.7),
]
CHANNEL = {VEHICLE: 0, BICYCLE: 1, PERSON: 2}


def scene(look: Look, **values: Any) -> Scene:
    return Scene(dataclasses.replace(SPEC, look=look, **values))


def vivid(image: Picture, label: str) -> NDArray[np.bool_]:
    """Pixels of an object's colour: one channel clearly above the others."""
    channels = image.astype(np.int16)
    one = CHANNEL[label]
    others = np.delete(channels, one, axis=2).max(axis=2)
    mask: NDArray[np.bool_] = channels[:, :, one] - others > 18
    return mask


def edges(box: Box) -> tuple[int, int, int, int]:
    return (
        round(box.left * 640),
        round(box.top * 360),
        round(box.right * 640),
        round(box.bottom * 360),
    )


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_look_is_of_the_seed_and_repeats_with_the_clip(look: Look) -> None:
    one, two = scene(look), scene(look)
    for index in (0, 23):
        assert (one.render(index) == two.render(index)).all()
        assert one.truth(index) == two.truth(index)
        assert one.truth(index + 60) == one.truth(index)
        assert (one.render(index + 60) == one.render(index)).all()
    assert (one.render(23) != scene(PLAIN).render(23)).any()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_boxes_are_tight_round_what_is_seen(look: Look) -> None:
    filmed = scene(look)
    boxes = 0
    for index in range(0, 60, 9):
        image = filmed.render(index)
        rest = {label: vivid(image, label) for label in CHANNEL}
        for box in filmed.truth(index):
            left, top, right, bottom = edges(box)
            inside = rest[box.label][top:bottom, left:right]
            if look.weather in (RAIN, SNOW):  # a drop may lie on an edge
                assert inside.mean() > 0.2
            else:
                assert inside[0].any()
                assert inside[-1].any()
                assert inside[:, 0].any()
                assert inside[:, -1].any()
            rest[box.label][max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = False
            boxes += 1
        assert not any(left_over.any() for left_over in rest.values())
    assert boxes >= 20


def test_rain_and_snow_move_and_leave_the_strip_free() -> None:
    for weather in (RAIN, SNOW):
        filmed, dry = scene(Look(weather=weather), objects=0), scene(PLAIN, objects=0)
        wet = [(filmed.render(n) != dry.render(n)).any(axis=2) for n in (3, 4)]
        assert all(0.001 < one.mean() < 0.15 for one in wet)
        assert (wet[0] != wet[1]).any()
        assert not wet[0][: SPEC.top_px].any()


def test_night_is_darker_and_fog_flatter() -> None:
    plain, night, fog = (scene(look).render(5) for look in (PLAIN, LOOKS[0], LOOKS[3]))
    assert night.mean() < 0.5 * plain.mean()
    assert fog.std() < 0.7 * plain.std()


def test_what_is_mostly_hidden_has_no_box() -> None:
    look = Look(occluders=8)
    all_of_it, clear = scene(look), scene(dataclasses.replace(look, visibility_min=0.9))
    seen, left = ([len(s.truth(n)) for n in range(60)] for s in (all_of_it, clear))
    assert sum(left) < sum(seen)
    assert all(few <= many for few, many in zip(left, seen, strict=True))
    assert scene(Look(visibility_min=1.0), objects=1).truth(0)  # nothing hides it


def test_objects_are_larger_or_smaller_as_asked() -> None:
    heights = [
        np.mean([box.bottom - box.top for box in scene(Look(size=size)).truth(0)])
        for size in (0.4, 1.0, 1.5)
    ]
    assert heights[0] < 0.7 * heights[1]
    assert heights[1] < heights[2]
    assert {box.label for box in scene(Look(labels=(BICYCLE,))).truth(0)} == {BICYCLE}


def test_a_fisheye_maps_there_and_back() -> None:
    lens = Fisheye(640, 360, 60.0, 140.0)
    rng = np.random.default_rng(1)
    for x, y in zip(rng.integers(20, 620, 40), rng.integers(50, 310, 40), strict=True):
        out_x, out_y = lens.forward(np.array(x + 0.5), np.array(y + 0.5))
        flat = int(lens._sources[0][int(out_y) * 640 + int(out_x)])
        assert abs(flat % 640 - x) <= 3
        assert abs(flat // 640 - y) <= 3
    top_x, top_y = lens.forward(np.array(320.0), np.array(180.0 - 140.0))
    assert float(top_x) == pytest.approx(320)
    assert float(top_y) == pytest.approx(40)


def test_writing() -> None:
    image = np.full((360, 640, 3), 90, np.uint8)
    caption.draw(image, "Tor 1")
    plate = caption.plate_height_px(360)
    assert (image[:-plate] == 90).all()
    assert set(np.unique(image[-plate:])) == {16, 235}
    rows = ["".join(" #"[int(dot)] for dot in row).rstrip() for row in glyph("T")]
    assert rows == ["#####", *["  #"] * 6]
    assert (glyph("ß") == glyph("?")).all()
    assert caption.clock_text(3_723_045_678) == "01:02:03.045"
    caption.draw(image, "W" * 500)  # what does not fit is cut
    shown = scene(Look(clock=True), objects=0)
    assert (shown.render(0)[-plate:] != shown.render(1)[-plate:]).any()


@pytest.mark.parametrize(
    "values",
    [
        {"light": "dusk"},
        {"weather": "hail"},
        {"occluders": 9},
        {"occluders": -1},
        {"fisheye_deg": 90.0},
        {"fisheye_deg": float("nan")},
        {"labels": ()},
        {"labels": ("dragon",)},
        {"size": 0.0},
        {"visibility_min": 1.5},
        {"caption": "x" * 40},
        {"caption": "two\nlines"},
    ],
)
def test_impossible_looks(values: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Look(**values)
    assert caught.value.hint
