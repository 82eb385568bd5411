"""Scores over frames in a row: by label and confidence, and whether objects stay found."""

from __future__ import annotations

import json

from harness.camera.picture.scene import Box, Scene, SceneSpec
from harness.camera.picture.tracking import Sight, Tracker, bin_of
from harness.record.sight import BINS


def box(label: str, place: float, track: int = -1) -> Box:
    return Box(label, place, 0.1, place + 0.1, 0.2, track)


TRUTH = (box("person", 0.1, 0), box("person", 0.4, 1), box("vehicle", 0.7, 2))


def test_hits_and_false_ones_are_counted_by_label_and_confidence() -> None:
    sight = Sight()
    found = [box("person", 0.1), box("person", 0.25), box("vehicle", 0.4)]
    assert Tracker().see(sight, 0, found, [0.97, 0.52, 1.0], TRUTH) == (1, 2, 2)
    assert json.loads(json.dumps(sight.to_json())) == {
        "by": "boxes",
        "frames": 1,
        "kept": 0,
        "broken": 0,
        "labels": {
            "person": {"there": 2, "found": [[10, 0, 1], [19, 1, 0]]},
            "vehicle": {"there": 1, "found": [[BINS - 1, 0, 1]]},
        },
    }


def test_an_object_found_before_is_kept_or_broken_while_it_is_there() -> None:
    sight, tracker = Sight(), Tracker()
    everything = [box(one.label, one.left) for one in TRUTH]
    tracker.see(sight, 0, everything, [1.0] * 3, TRUTH)
    tracker.see(sight, 1, everything[:1], [1.0], TRUTH)
    assert (sight.kept, sight.broken) == (1, 2)
    tracker.see(sight, 1, [], [], TRUTH)  # the same frame again says nothing of continuity
    tracker.see(sight, 2, everything, [1.0] * 3, TRUTH[1:])  # the first one has left the scene
    assert (sight.kept, sight.broken) == (1, 2)
    tracker.see(sight, 3, everything, [1.0] * 3, TRUTH)
    assert (sight.kept, sight.broken) == (3, 2)


def test_labels_without_boxes_count_once_a_frame_wherever_they_are() -> None:
    sight, tracker = Sight(), Tracker()
    claims = [("person", 0.6), ("person", 0.9), ("bicycle", 0.3)]
    assert tracker.see_labels(sight, 0, claims, TRUTH) == (1, 1, 1)
    told = sight.to_json()
    assert (told["by"], told["frames"]) == ("labels", 1)
    assert told["labels"] == {
        "bicycle": {"there": 0, "found": [[6, 0, 1]]},
        "person": {"there": 1, "found": [[18, 1, 0]]},
        "vehicle": {"there": 1, "found": []},
    }
    assert tracker.see_labels(sight, 1, [], TRUTH) == (0, 0, 2)
    assert (sight.kept, sight.broken) == (0, 1)
    assert tracker.see_labels(sight, 2, [("person", 1.0)], []) == (0, 1, 0)


def test_confidences_fall_into_bins() -> None:
    assert [bin_of(c) for c in (-1, 0, 0.049, 0.05, 0.999, 1, 7)] == [0, 0, 0, 1, 19, 19, 19]


def test_the_truth_numbers_its_objects() -> None:
    scene = Scene(SceneSpec(640, 360, 30, 15.0, objects=3, seed=4))
    tracks = [tuple(one.track for one in scene.truth(index)) for index in (0, 7)]
    assert tracks == [(0, 1, 2)] * 2
