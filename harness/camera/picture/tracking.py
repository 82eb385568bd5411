"""Scores of many frames in a row: found or not by confidence, and whether objects stay found.

What a window of a history holds is small and adds up: counts by label and confidence, and of the
objects in two frames that were scored one after the other. Average precision, precision and
recall come from them (`harness.judge.sight`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.camera.picture.score import match
from harness.record.sight import BINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.camera.picture.scene import Box


@dataclass(slots=True)
class Sight:
    """What was seen of what was there. `kept` of an object: found in this frame and in the one
    before; `broken`: found before, still there, and not found any more."""

    frames: int = 0
    there: Counter[str] = field(default_factory=Counter)
    hits: Counter[tuple[str, int]] = field(default_factory=Counter)
    false: Counter[tuple[str, int]] = field(default_factory=Counter)
    kept: int = 0
    broken: int = 0
    by_label: bool = False

    def to_json(self) -> dict[str, Any]:
        """By label: there, and [confidence bin, hits, false] where there are any.

        `by` says what was scored: the boxes, or of an application without boxes the labels.
        """
        labels = sorted({*self.there, *(label for label, _ in (*self.hits, *self.false))})
        return {
            "by": "labels" if self.by_label else "boxes",
            "frames": self.frames,
            "kept": self.kept,
            "broken": self.broken,
            "labels": {label: self._label(label) for label in labels},
        }

    def _label(self, label: str) -> dict[str, Any]:
        bins = sorted({number for name, number in (*self.hits, *self.false) if name == label})
        return {
            "there": self.there[label],
            "found": [[n, self.hits[label, n], self.false[label, n]] for n in bins],
        }


@dataclass(slots=True)
class Tracker:
    """Scores the frames of one camera in the order in which an application puts them out."""

    _before: dict[object, bool] = field(default_factory=dict)  # object -> found in the last frame
    _index: int = -1

    def see(
        self,
        sight: Sight,
        index: int,
        found: Sequence[Box],
        confidences: Sequence[float],
        there: Sequence[Box],
    ) -> tuple[int, int, int]:
        """Add frame `index` to `sight`. Gives hits, false ones and missed ones."""
        pairs = dict(match(found, there))
        sight.frames += 1
        sight.there.update(box.label for box in there)
        for number, (box, confidence) in enumerate(zip(found, confidences, strict=True)):
            counts = sight.hits if number in pairs else sight.false
            counts[box.label, bin_of(confidence)] += 1
        hit = set(pairs.values())
        self._follow(sight, index, {box.track: n in hit for n, box in enumerate(there)})
        return len(pairs), len(found) - len(pairs), len(there) - len(pairs)

    def see_labels(
        self,
        sight: Sight,
        index: int,
        claims: Sequence[tuple[str, float]],
        there: Sequence[Box],
    ) -> tuple[int, int, int]:
        """Add frame `index` by what it is said to show, wherever: each label counts once."""
        sight.by_label = True
        present = {box.label for box in there}
        claimed: dict[str, float] = {}
        for label, confidence in claims:
            claimed[label] = max(confidence, claimed.get(label, 0.0))
        sight.frames += 1
        sight.there.update(present)
        for label, confidence in claimed.items():
            counts = sight.hits if label in present else sight.false
            counts[label, bin_of(confidence)] += 1
        self._follow(sight, index, {label: label in claimed for label in present})
        hits = len(present & claimed.keys())
        return hits, len(claimed) - hits, len(present) - hits

    def _follow(self, sight: Sight, index: int, now: dict[object, bool]) -> None:
        """`now` says of each object, or label, that is there whether it was found."""
        if index == self._index:
            return  # the same frame once more
        for track, found in now.items():
            if self._before.get(track):
                sight.kept += found
                sight.broken += not found
        self._before, self._index = now, index


def bin_of(confidence: float) -> int:
    """0 to `BINS` - 1, the surest last."""
    return min(BINS - 1, max(0, int(confidence * BINS)))
