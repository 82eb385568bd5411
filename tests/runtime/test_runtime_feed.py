"""Feeds and accounts, without a camera."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runtime.feed import Account, Arrival, Feed, fit
from harness.runtime.spec import CameraInput
from harness.runtime.world import pair

CAMERAS = [CameraInput(f"{n}_node", "video_in", n, f"rtsp://h/{n}", "", "") for n in ("a", "b")]


def arrival(account: Account, width: int = 64, height: int = 48) -> Arrival:
    account.packets += 1
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="bgr24")
    return Arrival(CAMERAS[0], account, frame, None, 0.0, 0.0)


def test_the_newest_frame_wins_and_the_one_before_was_skipped() -> None:
    feed, account = Feed(CAMERAS[:1]), Account("a", 1)
    (slot,) = feed.slots
    feed.publish(slot, arrival(account))
    newest = arrival(account)
    feed.publish(slot, newest)
    assert feed.take(1) == [(newest, True)]
    assert (account.delivered, account.skipped, account.counts().in_flight) == (1, 1, 0)
    with pytest.raises(TimeoutError, match=r"no new frame within 0\.01 s"):
        feed.take(0.01)


def test_a_camera_that_never_had_a_frame_is_not_in_the_list() -> None:
    feed, account = Feed(CAMERAS), Account("a", 1)
    feed.publish(feed.slots[0], arrival(account))
    assert [new for _, new in feed.take(1)] == [True]
    feed.publish(feed.slots[1], arrival(Account("b", 1)))
    assert [new for _, new in feed.take(1)] == [False, True]


def test_a_paused_camera_shows_nothing_and_its_frame_was_skipped() -> None:
    feed, account = Feed(CAMERAS), Account("a", 1)
    paused, other = feed.slots
    feed.publish(paused, arrival(account))
    feed.withdraw(paused)
    feed.publish(other, arrival(Account("b", 1)))
    assert [found.account.camera for found, _ in feed.take(1)] == ["b"]
    assert (account.delivered, account.skipped, account.counts().in_flight) == (0, 1, 0)
    feed.withdraw(paused)
    assert account.skipped == 1


@given(st.lists(st.sampled_from(["packet", "frame", "get", "pause", "end"]), max_size=40))
def test_accounts_add_up_whatever_happens(steps: list[str]) -> None:
    feed, account = Feed(CAMERAS[:1]), Account("a", 1)
    (slot,) = feed.slots
    for step in steps:
        if step == "packet":
            feed.came(slot, account, lost=1)
        elif step == "frame":
            feed.publish(slot, arrival(account))
        elif step == "get" and slot.fresh:
            feed.take(0)
        elif step == "pause":
            feed.withdraw(slot)
        elif step == "end":
            feed.settle(slot, account)
            break
        counts = account.counts()
        parts = counts.delivered + counts.skipped + counts.dropped_decoder + counts.in_flight
        assert counts.packets == parts
        assert counts.in_flight >= 0
    feed.settle(slot, account)
    assert account.counts().in_flight == slot.fresh


def test_only_changed_accounts_are_told_and_settled_ones_are_let_go() -> None:
    feed, old, new = Feed(CAMERAS[:1]), Account("a", 1, packets=1), Account("a", 2)
    (slot,) = feed.slots
    slot.accounts += [old, new]
    assert [counts.connection for counts in feed.changed()] == [1, 2]
    assert list(feed.changed()) == []
    feed.settle(slot, old)
    assert [(c.connection, c.dropped_decoder) for c in feed.changed()] == [(1, 1)]
    assert slot.accounts == [new]


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((640, 360), (640, 360)),
        ((1920, 1080), (1920, 1080)),
        ((3840, 2160), (1920, 1080)),
        ((2592, 1944), (1440, 1080)),
        ((2048, 1024), (1920, 960)),
    ],
)
def test_above_two_megapixels_streams_are_scaled(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    assert fit(*size) == seen


def test_a_scaled_picture_is_writable_and_new_each_time() -> None:
    frame = arrival(Account("a", 1), 2592, 1944)
    picture = frame.picture()
    assert picture.shape == (1080, 1440, 3)
    picture[:] = 255
    assert frame.picture().max() == 0


def test_rectangles_take_the_nearest_label_without_its_confidence() -> None:
    rects = [(0.1, 0.1, 0.3, 0.5), (0.6, 0.1, 0.9, 0.5), (0.5, 0.5, 0.6, 0.6)]
    labels = [("vehicle: 93.5%", 0.6, 0.08), ("person 0.87", 0.1, 0.1)]
    assert [(entry[0], entry[5]) for entry in pair(rects, labels)] == [
        *(("person", 0.87), ("vehicle", 0.935)),
        ("", 1.0),
    ]
    assert pair([(0, 0, 1, 1)], [("traffic light (0.5)", 0, 0)])[0][0] == "traffic light"
    assert pair([], labels) == ()
    for label, confidence in (("cat", 1.0), ("cat 87", 0.87), ("cat 1", 1.0), ("cat 50%", 0.5)):
        assert pair([(0, 0, 1, 1)], [(label, 0, 0)]) == (("cat", 0, 0, 1, 1, confidence),)
