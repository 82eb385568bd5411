"""Every captured frame is sent, dropped or lost, whatever is done to a camera; patterns repeat."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from camera_by_hand import BEGAN_S, CLOCK, PEER, Clockwork, Sink, join, make, stop_the_clock, turn
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.camera.picture.variant import load_variant
from harness.camera.serve import detour
from harness.camera.serve.detour import Detour
from harness.camera.serve.packed import PackedClip
from harness.camera.serve.session import VIDEO, Flow, TcpCarrier
from harness.camera.serve.trouble import change_of
from harness.camera.wire.rtp import SenderReport
from harness.errors import InputError
from harness.fault.camera import (
    FAULTS,
    BitErrors,
    Black,
    Burst,
    CameraFault,
    Drift,
    Duplicate,
    Freeze,
    HalfOpen,
    Jitter,
    Loss,
    Reorder,
    SequenceReset,
    SsrcReset,
    Stall,
    TimestampJump,
    fault,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.camera.picture.clip import Clip
    from harness.camera.picture.variant import Change
    from harness.camera.serve.clockwork import Timed
    from harness.camera.serve.live import Camera
    from harness.camera.serve.session import Session

    Step = tuple[str, Any]

WAYS = (
    *(Stall(), HalfOpen(), Loss(rate=0.3), BitErrors(rate=1e-3), Duplicate(rate=0.3)),
    *(Reorder(rate=0.3), Jitter(most_s=0.4), Burst(hold_s=0.3), Drift(ppm=5000.0)),
    *(Freeze(at_s=1.0), Black(), SequenceReset(), SsrcReset(), TimestampJump(by_s=-7.0)),
)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_the_clock(monkeypatch)


class Film:
    """A clip, and what faults show instead of it."""

    def __init__(self, clip: Clip, cache_dir: Path) -> None:
        self.clip = clip
        changes = [change for one in WAYS if (change := change_of(one, clip)) is not None]
        self.variants: dict[Change | None, PackedClip] = {
            one: PackedClip.pack(load_variant(clip, one, cache_dir)) for one in changes
        }


@pytest.fixture(scope="session")
def film(clip: Clip, cache_dir: Path) -> Film:
    return Film(clip, cache_dir)


def counted(session: Session) -> int:
    account = session.account
    lost = sum(account.frames_lost.values())
    return account.frames_sent + account.frames_dropped_at_sender + lost


# --- the sum --------------------------------------------------------------------------------------


class Reader:
    """A session, its outbox, and the number of frames that were captured for it."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.session, self.sink = join(camera)
        self.captured = 0
        self.begun: int | None = None  # its first frame since it plays

    def look(self) -> None:
        playing = self.session in self.camera.playing
        if playing and self.begun is None and self.session.flow is not Flow.STARTING:
            self.begun = self.camera.next_frame - 1

    def play(self) -> None:
        start = self.session.prepare(None)
        if self.session not in self.camera.playing:
            self.session.play(start)
            if self.session.flow is not Flow.STARTING:
                self.begun = start.first

    def pause(self) -> None:
        self._capture()
        self.session.pause()
        assert counted(self.session) == self.captured

    def leave(self) -> None:
        self._capture()
        self.session.close()
        assert counted(self.session) == self.captured

    def _capture(self) -> None:
        """What was captured for it so far, by the frames' numbers alone."""
        camera = self.camera
        if self.begun is not None:
            last_s = camera.captured_s(camera.next_frame - 1)
            ahead = camera.stalled or last_s > CLOCK.now_s  # or waits for a key frame to go on
            end = camera._frame_now() if ahead else camera.next_frame
            self.captured += max(end, self.begun) - self.begun
        self.begun = None

    def fill(self) -> None:
        self.sink.full, self.sink.backlog_bytes = True, 1000

    def empty(self) -> None:
        self.sink.full, self.sink.backlog_bytes = False, 0


class Course:
    """A camera with two readers, and what is done to it."""

    def __init__(self, film: Film) -> None:
        self.clockwork = Clockwork()
        self.clockwork.made.update(film.variants)
        self.camera = make(film.clip, clockwork=self.clockwork)
        self.readers = [Reader(self.camera) for _ in range(2)]
        self.session, self.sink = self.readers[0].session, self.readers[0].sink

    def run(self, seconds: float) -> None:
        until_s = CLOCK.now_s + seconds
        while (timed := self._next()) is not None and timed.due_s <= until_s:
            CLOCK.now_s = max(CLOCK.now_s, timed.due_s)
            timed.emit(CLOCK.now_s)
            for reader in self.readers:
                reader.look()
        CLOCK.now_s = max(CLOCK.now_s, until_s)

    def _next(self) -> Timed | None:
        due = [timed for timed in self.clockwork.scheduled if timed.due_s < math.inf]
        return min(due, key=lambda timed: timed.due_s, default=None)

    def act(self, step: Step) -> None:
        what, value = step
        if isinstance(value, CameraFault):
            if what == "inject":
                self.camera.inject(value)
            else:
                self.camera.heal(type(value))
        elif what == "hang":  # the machine does nothing for a while
            CLOCK.now_s += value
        else:
            getattr(self.readers[value], what)()

    def leave(self) -> None:
        for reader in self.readers:
            reader.leave()


ACTIONS = st.one_of(
    st.tuples(st.just("inject"), st.sampled_from(WAYS)),
    st.tuples(st.just("heal"), st.sampled_from(WAYS)),
    st.tuples(st.sampled_from(["pause", "play", "fill", "empty"]), st.sampled_from([0, 1])),
    st.tuples(st.just("hang"), st.sampled_from([0.2, 3.0])),
)
STEPS = st.tuples(ACTIONS, st.sampled_from([0.5, 0.1, 0.02, 1.0]))  # and how long it goes on


@given(steps=st.lists(STEPS, min_size=4, max_size=16))
@settings(deadline=None, max_examples=150)
def test_the_account_sums_up(film: Film, steps: list[tuple[Step, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_the_clock(patch)
        course = Course(film)
        course.run(0.5)
        for step, seconds in steps:
            course.act(step)
            course.run(seconds)
        course.leave()


# --- by fault -------------------------------------------------------------------------------------


@pytest.fixture
def watched(stopped: None, film: Film) -> Iterator[Course]:
    course = Course(film)
    course.run(1.0)
    yield course
    course.leave()


def test_a_stall_is_accounted_from_its_beginning_to_the_next_key_frame(watched: Course) -> None:
    camera, account = watched.camera, watched.session.account
    sent, first = account.frames_sent, camera.next_frame
    camera.stall()
    watched.run(0.5)
    assert account.frames_lost == {}
    camera.resume()
    on = camera.next_frame
    watched.run(0.5)
    assert account.frames_lost == {"stall": on - first}
    assert account.frames_sent > sent
    assert account.frames_dropped_at_sender == 0


def test_jitter_holds_frames_back_in_order_and_the_heal_sends_them(watched: Course) -> None:
    watched.camera.inject(Jitter(most_s=30.0, seed=1))
    before = len(watched.sink.blobs)
    watched.run(0.5)
    held = watched.camera.next_frame - (watched.session.account.first_index or 0) - before
    assert held > 10
    watched.camera.heal()
    assert len(watched.sink.blobs) == before + held
    stamps = [packet.timestamp for packet in watched.sink.packets() if packet.marker]
    assert stamps == [(stamps[0] + 1500 * n) & 0xFFFFFFFF for n in range(len(stamps))]


def test_what_is_held_back_when_a_reader_leaves_is_lost(watched: Course) -> None:
    watched.camera.inject(Jitter(most_s=30.0))
    watched.run(0.5)
    watched.readers[0].pause()
    assert watched.session.account.frames_lost["jitter"] > 10


def test_a_reader_without_room_drops_and_loses(watched: Course) -> None:
    watched.camera.inject(Loss(rate=1.0))
    watched.readers[0].fill()
    watched.run(0.5)
    account = watched.session.account
    assert account.frames_dropped_at_sender == 0  # nothing came as far as that
    assert account.frames_lost["loss"] >= 29


def test_a_burst_comes_at_once(watched: Course) -> None:
    watched.camera.inject(Burst(hold_s=0.5))
    before = len(watched.sink.blobs)
    sizes = []
    for _ in range(10):
        watched.run(0.1)
        sizes.append(len(watched.sink.blobs) - before)
    assert set(sizes) <= {0, 30, 60}  # half a second of it, twice at most
    assert 30 in sizes


def test_duplicates_and_bit_errors(watched: Course) -> None:
    watched.camera.inject(Duplicate(rate=1.0))
    before = len(watched.sink.packets())
    watched.run(0.5)
    packets = watched.sink.packets()[before:]
    assert packets[::2] == packets[1::2]
    assert watched.session.account.frames_damaged == 0
    watched.camera.heal()
    watched.camera.inject(BitErrors(rate=0.01))
    watched.run(0.5)
    assert watched.session.account.frames_damaged > 20
    packets = watched.sink.packets()
    assert {packet.ssrc for packet in packets} == {watched.camera.ssrc}
    assert watched.session.account.frames_lost == {}


def test_the_share_of_wrong_bits_is_what_was_asked_for() -> None:
    packets = [bytes(12) + bytes(12_500)] * 4  # 400,000 bits
    chance = random.Random(1)
    wrong = 0
    for packet in detour._flip(BitErrors(rate=1e-3), chance, packets):
        assert packet[:12] == bytes(12)
        wrong += sum(byte.bit_count() for byte in packet)
    assert 320 < wrong < 480
    assert detour._flip(BitErrors(rate=0.0), chance, packets) == packets


# --- clock and identity ---------------------------------------------------------------------------


def stamps_of(course: Course) -> list[int]:
    stamps = [packet.timestamp for packet in course.sink.packets() if packet.marker]
    return [(two - one + (1 << 31) & 0xFFFFFFFF) - (1 << 31) for one, two in pairwise(stamps)]


def test_drift_and_its_heal_make_no_jump(watched: Course) -> None:
    watched.camera.inject(Drift(ppm=100_000.0))
    watched.run(0.5)
    watched.camera.inject(Drift(ppm=-100_000.0))
    watched.run(0.5)
    watched.camera.heal()
    watched.run(0.5)
    steps = stamps_of(watched)
    assert sorted(set(steps)) == [1350, 1500, 1650]
    assert steps[-20:] == [1500] * 20
    ticks = watched.camera.timestamp_at(watched.camera.captured_s(watched.camera.next_frame))
    assert abs(ticks - watched.camera.timestamp(watched.camera.next_frame)) <= 1


def test_a_jump_is_one_and_reports_agree(watched: Course) -> None:
    watched.camera.inject(TimestampJump(by_s=-100.0))
    watched.run(0.5)
    steps = stamps_of(watched)
    assert [step for step in steps if step != 1500] == [1500 - 100 * 90_000]
    assert watched.camera.faults == ()
    watched.session.report()
    report = SenderReport.from_bytes(watched.sink.messages[-1][4:])
    assert abs(watched.camera.timestamp_at(CLOCK.now_s) - report.timestamp) <= 1


def test_sequence_and_ssrc_begin_anew(watched: Course) -> None:
    camera = watched.camera
    before = camera.ssrc
    camera.inject(SequenceReset(first=65_530))
    camera.inject(SsrcReset())
    count = len(watched.sink.packets())
    watched.run(0.5)
    packets = watched.sink.packets()
    assert [p.sequence for p in packets[count:]] == [
        (65_530 + n) & 0xFFFF for n in range(len(packets) - count)
    ]
    assert {p.ssrc for p in packets[:count]} == {before}
    assert {p.ssrc for p in packets[count:]} == {camera.ssrc} != {before}
    watched.session.report()
    assert SenderReport.from_bytes(watched.sink.messages[-1][4:]).ssrc == camera.ssrc


# --- other pictures -------------------------------------------------------------------------------


def test_other_pictures_begin_with_a_key_frame_and_leave_no_gap(watched: Course) -> None:
    watched.camera.inject(Freeze(at_s=1.0))
    watched.run(1.0)
    watched.camera.heal()
    watched.run(1.0)
    packets = watched.sink.packets()
    sequences = [packet.sequence for packet in packets]
    assert sequences == [(sequences[0] + n) & 0xFFFF for n in range(len(sequences))]
    stamps = [packet.timestamp for packet in packets if packet.marker]
    assert stamps == [(stamps[0] + 1500 * n) & 0xFFFFFFFF for n in range(len(stamps))]
    assert len(stamps) > 150


def test_who_comes_while_pictures_change_sees_only_the_new_ones(watched: Course) -> None:
    camera = watched.camera
    watched.run(0.05)
    camera.inject(Freeze(at_s=1.0))
    assert camera.offered.still == 60
    assert camera.shown is camera.clip
    late = camera.open("2", PEER)
    sink = Sink()
    late.attach(VIDEO, TcpCarrier(sink, 0, 1))  # type: ignore[arg-type]
    start = late.prepare(None)
    late.play(start)
    watched.run(1.0)
    assert camera.shown.still == 60
    assert sink.packets()[0].sequence == start.sequence
    assert sink.packets()[0].timestamp == start.timestamp
    assert late.account.first_index == start.first
    late.close()


@pytest.mark.parametrize("leaves", ["the one who waits", "those who watch"])
def test_who_leaves_while_pictures_change(watched: Course, leaves: str) -> None:
    camera = watched.camera
    watched.run(0.05)
    camera.inject(Freeze(at_s=1.0))
    late, sink = camera.open("2", PEER), Sink()
    late.attach(VIDEO, TcpCarrier(sink, 0, 1))  # type: ignore[arg-type]
    start = late.prepare(None)
    late.play(start)
    if leaves == "the one who waits":
        late.close()
        watched.run(1.0)
        assert sink.blobs == []
        assert watched.session.account.last_index == camera.next_frame - 1
    else:
        for reader in watched.readers:
            reader.pause()
        watched.run(1.0)
        assert sink.packets()[0].sequence == start.sequence
        late.close()
    assert camera.shown.still == 60


# --- patterns -------------------------------------------------------------------------------------


def pattern(clip: Clip, faults: list[CameraFault], age_s: float, channel: int = 0) -> Sink:
    CLOCK.now_s = BEGAN_S
    camera = make(clip, age_s)
    for one in faults:
        camera.inject(one)
    _, sink = join(camera, channel)
    turn(camera, 200)
    return sink


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    "values",
    [
        {"verb": "loss", "rate": 0.3},
        {"verb": "bit-errors", "rate": 1e-3},
        {"verb": "duplicate", "rate": 0.3},
        {"verb": "reorder", "rate": 0.3},
    ],
    ids=lambda values: str(values["verb"]),
)
def test_the_same_seed_the_same_pattern(clip: Clip, values: dict[str, Any]) -> None:
    """Frame by frame, whoever watches and since when."""
    rest = {key: value for key, value in values.items() if key != "verb"}
    one, again, other = (fault(values["verb"], {**rest, "seed": seed}) for seed in (5, 5, 6))
    plain = pattern(clip, [], 10.0).packets()
    first = pattern(clip, [one], 10.0).packets()
    assert first != plain
    assert first == pattern(clip, [again], 10.0, channel=4).packets()
    assert first != pattern(clip, [other], 10.0).packets()
    ahead = pattern(clip, [one], 11.0).packets()  # a second later, and what both saw of it
    begin, end = ahead[30].timestamp, first[-30].timestamp
    both = [
        [(p.timestamp, p.payload) for p in seen if begin < p.timestamp < end]
        for seen in (first, ahead)
    ]
    assert len(both[0]) > 50
    assert both[0] == both[1]


# --- what a camera says of it ---------------------------------------------------------------------


def test_no_detour_without_a_fault(watched: Course) -> None:
    camera = watched.camera
    direct = camera._outlets
    camera.inject(Loss())
    assert isinstance(camera._outlets[0], Detour)
    camera.heal()
    assert camera._outlets is direct is camera.playing


def test_pictures_must_be_made_first(stopped: None, clip: Clip) -> None:
    camera = make(clip)
    with pytest.raises(InputError, match="the pictures of freeze are not made yet") as caught:
        camera.inject(Freeze())
    assert "prepare_fault" in caught.value.hint
    assert camera.faults == ()


@pytest.mark.parametrize("kind", FAULTS.values(), ids=FAULTS)
def test_every_fault_is_told(kind: type[CameraFault]) -> None:
    assert len(kind.does) > 10
    for parameter in kind.parameters():
        assert parameter.says
        assert parameter.range_text
        assert fault(kind.verb, {parameter.name: str(parameter.default)}) == kind()
