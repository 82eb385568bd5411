"""Compare what an application found with what was there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.camera.picture.scene import Box

IOU_MIN = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one or many frames: found and there, found and not there, there and not found."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float | None:
        """Share of detections that are right; None without detections."""
        found = self.tp + self.fp
        return self.tp / found if found else None

    @property
    def recall(self) -> float | None:
        """Share of objects that were found; None without objects."""
        there = self.tp + self.fn
        return self.tp / there if there else None


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0 where one of them has no area."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (_area(one) + _area(other) - common)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def match(
    detections: Sequence[Box], truth: Sequence[Box], iou_min: float = IOU_MIN
) -> list[tuple[int, int]]:
    """Pairs (detection, object) of the same label, best overlap first, each used once."""
    pairs = [
        (iou(found, there), d, t)
        for d, found in enumerate(detections)
        for t, there in enumerate(truth)
        if found.label == there.label
    ]
    pairs = sorted((pair for pair in pairs if pair[0] >= iou_min), key=lambda p: (-p[0], p[1:]))
    taken_d: set[int] = set()
    taken_t: set[int] = set()
    matched = []
    for _, d, t in pairs:
        if d not in taken_d and t not in taken_t:
            taken_d.add(d)
            taken_t.add(t)
            matched.append((d, t))
    return matched


def score(detections: Sequence[Box], truth: Sequence[Box], iou_min: float = IOU_MIN) -> Score:
    """Score of one frame."""
    hits = len(match(detections, truth, iou_min))
    return Score(hits, len(detections) - hits, len(truth) - hits)
