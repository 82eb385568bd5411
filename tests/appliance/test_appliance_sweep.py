"""Power is cut at every moment of an update, and at every moment of the boots that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.engine.sweep.stand import online_box, provisioned_box
from harness.engine.sweep.truth import REST_S, running_version, settings, settle, violations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.engine.sweep.box import Box

OLD, NEW = "6.0.8", "6.2.1"
KEEPS: dict[str, Callable[[str, int], bool]] = {
    "all-lost": lambda _partition, _index: False,
    "all-kept": lambda _partition, _index: True,
}


def _update(box: Box, **image: Any) -> str:
    return box.cloud.order(box.cloud.offer(NEW, fuse_level=2, **image))


def _cut_points(keeps: Callable[[str, int], bool], **image: Any) -> Iterator[tuple[int, Box]]:
    """The box after a cut at each moment of an update, from the order to its end."""
    moment = 0
    while True:
        box = online_box("door")
        box.keeps, box.cut_at = keeps, box.moments + moment
        job = _update(box, **image)
        box.run(lambda: box.cloud.jobs[job]["status"] in ("SUCCEEDED", "FAILED"))  # noqa: B023
        if box.powered:
            return
        yield moment, box
        moment += 1


@pytest.mark.parametrize("keeps", KEEPS.values(), ids=KEEPS)
@pytest.mark.parametrize("defects", [(), ("health-check-fails",)], ids=["good", "bad"])
def test_a_cut_at_any_moment_of_an_update_ends_truthfully(
    keeps: Callable[[str, int], bool], defects: tuple[str, ...]
) -> None:
    device = settings(provisioned_box("door"))["device"]
    outcomes = set()
    for moment, box in _cut_points(keeps, defects=defects):
        settle(box)
        try:
            assert list(violations(box, device)) == []
        except AssertionError as error:
            error.add_note(f"cut before moment {moment}")
            raise
        outcomes.add((running_version(box), box.cloud.jobs["job-0"]["status"]))
    expected = {(OLD, "FAILED")} if defects else {(OLD, "FAILED"), (NEW, "SUCCEEDED")}
    assert outcomes == expected


def test_a_second_cut_at_any_moment_of_the_recovery_ends_truthfully() -> None:
    """Two deep: the first cut loses everything unsynced, the second keeps it."""
    device = settings(provisioned_box("door"))["device"]
    cuts = 0
    for moment, first in _cut_points(KEEPS["all-lost"]):
        again = 0
        while True:
            box = first.fork()
            box.keeps, box.cut_at = KEEPS["all-kept"], again
            box.power_up()
            box.run(for_s=REST_S)
            if box.powered:
                break
            settle(box)
            try:
                assert list(violations(box, device)) == []
            except AssertionError as error:
                error.add_note(f"cuts before moment {moment} and moment {again} of the recovery")
                raise
            cuts, again = cuts + 1, again + 1
    assert cuts > 1000
