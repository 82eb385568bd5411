"""What a camera node notices of a stream, frame by frame, with the time in the test's hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from harness.record import trouble
from harness.record.framecode import FrameCode
from harness.runtime.assembler import Unit
from harness.runtime.decoder import Picture
from harness.runtime.rtp import CLOCK_HZ
from harness.runtime.stream import Stream
from harness.runtime.telemetry import Trouble
from harness.runtime.watch import CLEAR_S, FROZEN_S, SPREADS_KEPT, Clock, Inspector, Keys, Watch

if TYPE_CHECKING:
    from harness.runtime.telemetry import Message

FPS = 15


@dataclass
class Post:
    """An inspector at its stream; what it told is in `told`."""

    stream: Stream = field(default_factory=lambda: Stream(0.0))
    told: list[Message] = field(default_factory=list)
    now_s: float = 100.0
    frame: int = 0

    def __post_init__(self) -> None:
        self.inspector = Inspector(Watch("door", self.told.append), self.stream)

    def look(self, *, lost: int = 0, step: int = CLOCK_HZ // FPS, **picture: Any) -> None:
        """One more frame on time, `lost` of them before it, with `picture` otherwise."""
        self.now_s += 1 / FPS
        self.frame += 1
        unit = Unit((b"\x41",), self.frame * step, lost=lost)
        self.inspector.unit(unit, self.now_s)
        self.inspector.picture(shown(self.now_s, FrameCode(1, self.frame, 0), **picture))

    def flow(self, seconds: float, **picture: Any) -> None:
        for _ in range(round(seconds * FPS)):
            self.look(**picture)

    @property
    def names(self) -> list[tuple[str, bool]]:
        return [(m.trouble, m.over) for m in self.told if isinstance(m, Trouble)]


def shown(now_s: float, code: FrameCode | None, **changes: Any) -> Picture:
    level, size = changes.pop("level", 120), changes.pop("size", (96, 64))
    image = np.full((size[1], size[0], 3), level, np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
    values: dict[str, Any] = {"said": None, "seen": code, "damaged": False, **changes}
    return Picture(frame, 0, now_s, **values)


@pytest.fixture
def post() -> Post:
    made = Post()
    made.flow(2.0)
    assert made.told == []
    return made


def test_a_good_stream_is_told_nothing_about(post: Post) -> None:
    post.flow(30.0)
    assert post.told == []


def test_a_trouble_is_told_once_and_once_more_when_it_is_over(post: Post) -> None:
    began_s = post.now_s
    for _ in range(5):
        post.look(lost=2)
        post.flow(0.5)
    assert post.names == [(trouble.FRAMES_LOST, False)]
    post.flow(CLEAR_S)
    assert post.names == [(trouble.FRAMES_LOST, False), (trouble.FRAMES_LOST, True)]
    first, last = post.told
    assert isinstance(first, Trouble)
    assert isinstance(last, Trouble)
    assert (first.camera, first.count) == ("door", 2)
    assert last.count == 10
    assert last.lasted_s == pytest.approx(2.4)
    assert first.at_s == pytest.approx(began_s + 1 / FPS)
    post.flow(2.0)
    post.look(lost=1)
    assert post.names[2:] == [(trouble.FRAMES_LOST, False)]


@pytest.mark.parametrize(
    ("picture", "name"),
    [
        ({"damaged": True}, trouble.FRAMES_DAMAGED),
        ({"seen": None}, trouble.FRAMES_DAMAGED),  # one could read them before
        ({"level": 8, "seen": None}, trouble.DARK),
        ({"level": 8}, trouble.DARK),  # who it is may still be drawn over it
        ({"said": FrameCode(1, 9999, 0)}, trouble.MISTAKEN),
    ],
)
def test_pictures_that_are_not_right(post: Post, picture: dict[str, Any], name: str) -> None:
    post.look(**picture)
    assert post.names == [(name, False)]
    post.flow(CLEAR_S + 0.2)
    assert post.names == [(name, False), (name, True)]


def test_a_picture_of_another_size_is_told_until_it_has_its_own_again(post: Post) -> None:
    post.flow(5.0, size=(128, 96))
    assert post.names == [(trouble.RESIZED, False)]
    post.flow(2.0)
    assert post.names == [(trouble.RESIZED, False), (trouble.RESIZED, True)]


def keys(*distances: int, lost_after: int = -1) -> list[bool]:
    """What is said of a stream whose key frames are so far apart."""
    found, seen, number = Keys(), [], 0
    for distance in distances:
        for frame in range(distance):
            nal = b"\x65" if frame == 0 else b"\x41"
            seen.append(found.rare(Unit((nal,), 0, lost=int(number == lost_after))))
            number += 1
    return seen


def test_key_frames_that_come_late_are_rare_until_they_are_in_time_again() -> None:
    seen = keys(10, 10, 10, 40, 40, 10, 10)
    assert seen.index(True) == 30 + 16  # one and a half of the usual distance
    assert all(seen[46:110])
    assert not any(seen[120:])


def test_a_camera_whose_key_frames_come_unevenly_is_as_it_is() -> None:
    assert not any(keys(10, 4, 10, 7, 15, 10, 3, 20))


def test_where_frames_were_lost_no_key_frame_is_missed() -> None:
    assert not any(keys(10, 10, 24, 10, lost_after=22))


@pytest.mark.parametrize("code", [FrameCode(1, 5, 0), None])
def test_a_picture_that_stands_still_is_frozen(code: FrameCode | None) -> None:
    """By who it is, or of a camera that does not say so by its pixels."""
    post = Post()
    for number in range(2 * FPS):
        post.look(seen=FrameCode(1, number, 0) if code else None, level=60 + number)
    assert post.told == []
    post.flow(FROZEN_S - 0.2, seen=code)
    assert post.told == []
    post.flow(1.0, seen=code)
    assert post.names == [(trouble.FROZEN, False)]
    for number in range(2 * FPS):
        post.look(seen=FrameCode(2, number, 0) if code else None, level=60 + number)
    assert post.names == [(trouble.FROZEN, False), (trouble.FROZEN, True)]


def test_a_dark_picture_is_not_called_frozen_or_damaged(post: Post) -> None:
    post.flow(3.0, level=4, seen=None)
    assert post.names == [(trouble.DARK, False)]


@pytest.mark.parametrize(
    ("counter", "name"),
    [
        ("late", trouble.OUT_OF_ORDER),
        ("overtaken", trouble.OUT_OF_ORDER),
        ("duplicated", trouble.DUPLICATED),
        ("restarts", trouble.RESTARTED),
    ],
)
def test_what_happened_on_the_way_is_told(post: Post, counter: str, name: str) -> None:
    setattr(post.stream.disorder, counter, 3)
    post.look()
    assert post.names == [(name, False)]
    post.flow(CLEAR_S + 0.2)
    assert post.names == [(name, False), (name, True)]


def test_a_unit_that_cannot_be_decoded_is_damage(post: Post) -> None:
    post.inspector.undecodable(post.now_s)
    assert post.names == [(trouble.FRAMES_DAMAGED, False)]


# --- clocks ---------------------------------------------------------------------------------------


def wrong(clock: Clock, frames: list[tuple[float, float]]) -> list[str]:
    """What is said of frames as (by their time stamps, by arrival), in seconds."""
    stamps = [(round(stamp_s * CLOCK_HZ) % (1 << 32), at_s) for stamp_s, at_s in frames]
    return [name for stamp, at_s in stamps for name in clock.wrong(stamp, at_s)]


def test_time_stamps_may_wrap_and_pictures_come_in_coding_order() -> None:
    start_s = (1 << 32) / CLOCK_HZ - 2.0
    assert wrong(Clock(), [(start_s + n / FPS, n / FPS) for n in range(100)]) == []
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 15, 13, 14]
    b_frames = [(n / FPS, (index + 3) / FPS) for index, n in enumerate(order)]
    assert wrong(Clock(), b_frames * 1) == []


def test_a_clock_that_is_set_has_jumped_and_is_believed_from_then_on() -> None:
    for jump_s in (-600.0, -1.5, 1.5, 3600.0):
        clock = Clock()
        frames = [(1000.0 + n / FPS + (jump_s if n >= 20 else 0.0), n / FPS) for n in range(100)]
        assert wrong(clock, frames) == [trouble.CLOCK_JUMPED]


@pytest.mark.parametrize("rate", [0.95, 1.05])
def test_a_clock_that_runs_otherwise_drifts(rate: float) -> None:
    told = wrong(Clock(), [(n / FPS * rate, n / FPS) for n in range(10 * FPS)])
    assert set(told) == {trouble.CLOCK_DRIFTS}
    assert 4 <= len(told) <= 6  # once a second, as soon as it is sure


def test_queues_are_no_drift() -> None:
    """Every other frame waits; some of each second do not."""
    frames = [(n / FPS, n / FPS + (0.06 if n % 3 else 0.0)) for n in range(20 * FPS)]
    assert trouble.CLOCK_DRIFTS not in wrong(Clock(), frames)


def test_frames_that_travel_differently_are_uneven() -> None:
    uneven = [(n / FPS, n / FPS + (0.06 if n % 2 else 0.0)) for n in range(3 * SPREADS_KEPT)]
    assert set(wrong(Clock(), uneven)) == {trouble.UNEVEN}
    some_late = [(n / FPS, n / FPS + (0.4 if n % 30 == 0 else 0.02 * (n % 2))) for n in range(100)]
    assert wrong(Clock(), some_late) == []


def test_frames_that_come_all_at_once_are_uneven_and_no_jump() -> None:
    bursts = [(n / FPS, (n // 30 + 1) * 2.0 + n % 30 / 1000) for n in range(120)]
    assert set(wrong(Clock(), bursts)) == {trouble.UNEVEN}
