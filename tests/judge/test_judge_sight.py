"""What applications saw, and what faults did to it: from windows to shares and words."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judge import measure
from harness.judge.sight import Sight, by_stream, under_faults
from harness.record import kind


def sight(
    there: int, hits: int, false: int = 0, kept: int = 0, broken: int = 0, bin_: int = 19
) -> dict[str, Any]:
    labels = {"person": {"there": there, "found": [[bin_, hits, false]]}}
    return {"frames": 15, "kept": kept, "broken": broken, "labels": labels}


def window(from_s: float, seen: dict[str, Any] | None, **more: Any) -> Any:
    values = {"camera": "door", "instance": "i", "from_s": from_s, "to_s": from_s + 1.0}
    values |= {"delivered": 15, "detected": 0, "missed": 0, "false": 0, **more}
    if seen is not None:
        values["sight"] = seen
    return (from_s + 1.0, "app/i", kind.FRAMES, values)


def total(*windows: dict[str, Any]) -> Sight:
    made = Sight()
    for one in windows:
        made.add({"delivered": 15, "sight": one})
    return made


def test_windows_add_up() -> None:
    made = total(sight(10, 8, 2, kept=6, broken=2), sight(10, 6, 0, kept=6, broken=1))
    assert made.precision == 14 / 16
    assert made.recall == 14 / 20
    assert made.continuity == 12 / 15


def test_nothing_there_and_nothing_found_is_no_share() -> None:
    made = total({"frames": 15, "kept": 0, "broken": 0, "labels": {}})
    assert made.precision is made.recall is made.continuity is made.mean_average_precision is None


@pytest.mark.parametrize(
    ("bins", "there", "expected"),
    [
        ([[19, 10, 0]], 10, 1.0),
        ([[19, 5, 0]], 10, 0.5),
        ([[19, 5, 0], [3, 0, 50]], 10, 0.5),  # what is made up when unsure costs nothing
        ([[19, 0, 5], [3, 5, 0]], 5, 0.5),  # what is made up when sure costs much
        ([[19, 5, 5], [10, 5, 0]], 10, 2 / 3),  # precision is the best at a recall as high
        ([], 10, 0.0),
    ],
)
def test_average_precision_is_the_area_under_the_curve(
    bins: list[list[int]], there: int, expected: float
) -> None:
    labels = {"person": {"there": there, "found": bins}}
    made = total({"frames": 1, "kept": 0, "broken": 0, "labels": labels})
    assert made.mean_average_precision == pytest.approx(expected)


def test_the_mean_is_over_the_labels_that_there_are() -> None:
    labels = {
        "person": {"there": 10, "found": [[19, 10, 0]]},
        "vehicle": {"there": 10, "found": []},
        "ghost": {"there": 0, "found": [[19, 0, 9]]},
    }
    made = total({"frames": 1, "kept": 0, "broken": 0, "labels": labels})
    assert made.mean_average_precision == 0.5


def story(site: Any, *more: Any, under: dict[str, Any] | None, delivered: int = 15) -> Any:
    good = sight(30, 30, kept=28)
    return site.only(
        window(0, good),
        window(1, good),
        (
            *(2.0, "nemesis", kind.FAULT_INJECTED),
            {"fault": "f", "fault_kind": "camera.dim", "target": "camera/door"},
        ),
        window(2, under, delivered=delivered),
        *more,
        (3.5, "nemesis", kind.FAULT_HEALED, {"fault": "f"}),
        window(4, good),
    )


def test_a_worse_picture_that_nobody_speaks_of_is_unnoticed(site: Any) -> None:
    (one,) = under_faults(story(site, under=sight(30, 12, kept=10, broken=15)))
    assert (one.outcome, one.unnoticed, one.noticed) == ("worse", True, ())
    assert (one.before.recall, one.under.recall, one.after.recall) == (1.0, 0.4, 1.0)


def test_a_word_about_it_is_notice(site: Any) -> None:
    told = {"camera": "door", "instance": "i", "trouble": "dark", "count": 1}
    other = {**told, "camera": "yard", "trouble": "frozen"}
    (one,) = under_faults(
        story(
            site,
            (2.5, "app/i", kind.CAMERA_TROUBLE, other),
            (2.6, "app/i", kind.CAMERA_TROUBLE, told),
            under=sight(30, 0),
        )
    )
    assert (one.outcome, one.unnoticed, one.noticed) == ("worse", False, ("dark",))
    assert len(one.events) == 1


def test_a_fault_of_a_moment_has_no_window_of_its_own(site: Any) -> None:
    fault = {"fault": "f", "fault_kind": "camera.ssrc-reset", "target": "camera/door"}
    history = site.only(
        window(0, sight(30, 30)),
        (1.5, "nemesis", kind.FAULT_INJECTED, fault),
        (1.5, "nemesis", kind.FAULT_HEALED, {"fault": "f"}),
        window(2, sight(30, 30)),
    )
    (one,) = under_faults(history)
    assert (one.outcome, one.unnoticed) == ("not known", False)


@pytest.mark.parametrize(
    ("under", "delivered", "outcome"),
    [
        (sight(30, 29, kept=28), 15, "as before"),
        (None, 0, "no picture"),
        (None, 15, "not known"),
        (sight(30, 30, 20, kept=28), 15, "worse"),
        (sight(30, 30, kept=10, broken=18), 15, "worse"),
    ],
)
def test_outcomes(site: Any, under: dict[str, Any] | None, delivered: int, outcome: str) -> None:
    (one,) = under_faults(story(site, under=under, delivered=delivered))
    assert one.outcome == outcome


def test_each_camera_and_each_fault_is_measured(site: Any) -> None:
    history = story(site, under=sight(30, 12, kept=10, broken=15))
    found = {(one.name, *one.labels.values()): one.value for one in measure(history)}
    assert found["camera_recall_ratio", "i", "door"] == pytest.approx(102 / 120)
    assert found["fault_recall_ratio", "f", "i", "door"] == 0.4
    assert found["fault_continuity_ratio", "f", "i", "door"] == 0.4
    assert found["fault_map_ratio", "f", "i", "door"] == pytest.approx(0.4)
    assert ("fault_precision_ratio", "f", "i", "door") in found


def test_without_truth_nothing_is_said(site: Any) -> None:
    history = story(site, under=None)
    bare = site.only(window(0, None))
    assert by_stream(bare) == {}
    assert under_faults(bare) == []
    assert list(by_stream(history)) == [("i", "door")]
