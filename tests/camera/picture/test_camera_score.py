from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.picture.scene import Box
from harness.camera.picture.score import Score, iou, match, score

HERE = Box("person", 0.1, 0.1, 0.3, 0.5)
NEAR = Box("person", 0.12, 0.1, 0.32, 0.5)
FAR = Box("person", 0.6, 0.1, 0.8, 0.5)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, top = draw(st.integers(0, 90)), draw(st.integers(0, 90))
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    label = draw(st.sampled_from(["person", "vehicle"]))
    return Box(label, left / 100, top / 100, (left + width) / 100, (top + height) / 100)


def test_iou() -> None:
    assert iou(HERE, HERE) == pytest.approx(1)
    assert iou(HERE, FAR) == 0
    assert iou(HERE, NEAR) == pytest.approx(0.18 / 0.22)
    assert iou(HERE, Box("person", 0.2, 0.2, 0.2, 0.2)) == 0


def test_score_of_a_frame() -> None:
    assert score([], []) == Score()
    assert score([NEAR], [HERE, FAR]) == Score(tp=1, fn=1)
    assert score([NEAR, FAR], [HERE]) == Score(tp=1, fp=1)
    assert score([Box("vehicle", 0.1, 0.1, 0.3, 0.5)], [HERE]) == Score(fp=1, fn=1)


def test_two_detections_of_one_object_are_one_hit_and_one_false() -> None:
    assert score([NEAR, HERE], [HERE]) == Score(tp=1, fp=1)
    assert match([NEAR, HERE], [HERE]) == [(1, 0)]  # the better one


def test_precision_and_recall() -> None:
    total = Score(8, 2, 0) + Score(0, 0, 8)
    assert total == Score(8, 2, 8)
    assert total.precision == pytest.approx(0.8)
    assert total.recall == pytest.approx(0.5)
    assert Score().precision is None
    assert Score().recall is None


@given(st.lists(boxes(), max_size=8), st.lists(boxes(), max_size=8))
def test_counts_add_up(found: list[Box], there: list[Box]) -> None:
    result = score(found, there)
    assert result.tp + result.fp == len(found)
    assert result.tp + result.fn == len(there)
    pairs = match(found, there)
    assert len({d for d, _ in pairs}) == len({t for _, t in pairs}) == result.tp
    assert all(iou(found[d], there[t]) >= 0.5 for d, t in pairs)


@given(st.lists(boxes(), max_size=8, unique=True))
def test_the_truth_is_right(there: list[Box]) -> None:
    assert score(there, there) == Score(tp=len(there))


@given(boxes(), boxes())
def test_iou_is_symmetric_and_a_share(one: Box, other: Box) -> None:
    assert iou(one, other) == pytest.approx(iou(other, one))
    assert 0 <= iou(one, other) <= 1 + 1e-9
