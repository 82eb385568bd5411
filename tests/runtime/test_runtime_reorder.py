"""Packets in any order: what is waited for, what is given up, and what it costs at most."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.runtime.reorder import MISORDER_MAX, Disorder, Ordered, Reorder
from harness.runtime.rtp import Packet, steps_between

if TYPE_CHECKING:
    import random

HOLD_S = 0.1


def packet(sequence: int, ssrc: int = 7) -> Packet:
    return Packet(sequence % 65_536, 0, ssrc, marker=False, payload=b"x")


@dataclass
class Line:
    """A reorder buffer and all that it gave out, by sequence number."""

    reorder: Reorder = field(default_factory=lambda: Reorder(HOLD_S))
    out: list[Ordered] = field(default_factory=list)

    def push(self, *sequences: int, at_s: float = 0.0, ssrc: int = 7) -> Line:
        for sequence in sequences:
            self.out += self.reorder.push(packet(sequence, ssrc), at_s)
        return self

    def due(self, at_s: float) -> Line:
        self.out += self.reorder.due(at_s)
        return self

    @property
    def sequences(self) -> list[int]:
        return [one.packet.sequence for one in self.out]

    @property
    def lost(self) -> int:
        return sum(one.lost for one in self.out)

    @property
    def seen(self) -> Disorder:
        return self.reorder.seen


def test_packets_in_order_pass_at_once() -> None:
    line = Line().push(65_534, 65_535, 0, 1)
    assert line.sequences == [65_534, 65_535, 0, 1]
    assert line.seen == Disorder()
    assert line.reorder.deadline_s is None


def test_one_that_was_overtaken_is_waited_for() -> None:
    line = Line().push(1, 3, 4, at_s=5.0)
    assert line.sequences == [1]
    assert line.reorder.deadline_s == pytest.approx(5.1)
    assert line.push(2, at_s=5.05).sequences == [1, 2, 3, 4]
    assert (line.lost, line.seen.overtaken) == (0, 1)


def test_what_does_not_come_in_time_is_lost_and_late_when_it_comes() -> None:
    line = Line().push(1).push(4, at_s=1.0).due(1.09)
    assert line.sequences == [1]
    assert line.due(1.1).sequences == [1, 4]
    assert line.lost == 2
    line.push(2, 2, 5, at_s=1.2)
    assert line.sequences == [1, 4, 5]
    assert (line.seen.late, line.seen.duplicated, line.seen.lost) == (1, 1, 2)


def test_two_holes_are_given_up_one_after_the_other() -> None:
    line = Line().push(1).push(3, at_s=1.0).push(5, at_s=1.05).due(1.1)
    assert line.sequences == [1, 3]
    assert line.due(1.2).sequences == [1, 3, 5]
    assert line.lost == 2


def test_packets_that_come_again_are_dropped() -> None:
    line = Line().push(1, 1, 2, 4, 4, 2)
    assert line.sequences == [1, 2]
    assert line.seen.duplicated == 3


def test_without_patience_nothing_is_held() -> None:
    line = Line(Reorder(0.0)).push(1, 3, 2, 4)
    assert line.sequences == [1, 3, 4]
    assert (line.lost, line.seen.late) == (1, 1)


def test_the_buffer_is_bounded() -> None:
    line = Line(Reorder(60.0, packets_max=10)).push(0, *range(2, 12))
    assert line.sequences == [0]
    assert line.push(12).sequences == [0, *range(2, 13)]
    assert line.lost == 1


def test_another_source_begins_anew_and_what_was_held_is_not_lost_with_it() -> None:
    line = Line().push(1, 3).push(500, 501, ssrc=8)
    assert line.sequences == [1, 3, 500, 501]
    assert [one.restarted for one in line.out] == [False, False, True, False]
    assert (line.lost, line.seen.restarts) == (1, 1)


def test_numbers_that_begin_anew_are_believed_once_two_follow_each_other() -> None:
    line = Line().push(40_000, 40_001, 7)
    assert line.sequences == [40_000, 40_001]
    assert line.push(8, 9).sequences == [40_000, 40_001, 7, 8, 9]
    assert (line.lost, line.seen.restarts) == (0, 1)
    line = Line().push(40_000, 7, 40_001, 40_002)  # a stray packet is none
    assert (line.sequences, line.seen.restarts) == ([40_000, 40_001, 40_002], 0)


@given(st.randoms(use_true_random=False), st.integers(0, 65_535))
def test_any_shuffle_within_reach_is_put_right(draw: random.Random, first: int) -> None:
    sent = list(range(first + 1, first + 200))
    shuffled = sorted(sent, key=lambda number: number + draw.uniform(0, 20))
    line = Line().push(first, *shuffled)
    assert line.sequences == [number % 65_536 for number in (first, *sent)]
    assert line.lost == 0


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 0.2)), max_size=200))
def test_whatever_comes_goes_out_in_order_and_once(steps: list[tuple[int, float]]) -> None:
    line, now_s = Line().push(0), 0.0
    for sequence, passed_s in steps:
        now_s += passed_s
        line.push(sequence, at_s=now_s).due(now_s)
    line.due(now_s + 1.0)
    assert line.reorder.deadline_s is None
    assume(not line.seen.restarts)  # two in a row from far away are another sender's beginning
    pairs = zip(line.sequences, line.sequences[1:], strict=False)
    assert all(steps_between(one, other) > 0 for one, other in pairs)
    assert line.lost == line.sequences[-1] - line.sequences[0] + 1 - len(line.out)
    assert line.seen.late <= line.lost
    assert len(line.reorder._given_up) <= MISORDER_MAX
