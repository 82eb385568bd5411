"""Receiver reports: what they say of loss and jitter, and that the camera's side reads them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.wire import rtcp, rtp
from harness.runtime.reception import Reception
from harness.runtime.rtp import CLOCK_HZ, Packet


def take(reception: Reception, *sequences: int, ssrc: int = 7, late_s: float = 0.0) -> None:
    """Packets sent 10 ms after each other, that come `late_s` after that."""
    for sequence in sequences:
        stamp = sequence * CLOCK_HZ // 100
        packet = Packet(sequence % 65_536, stamp, ssrc, marker=False, payload=b"x")
        reception.take(packet, sequence / 100 + late_s)


def block(reception: Reception, now_s: float = 0.0) -> rtcp.ReportBlock:
    (found,) = rtcp.parse(reception.report(now_s)).blocks
    return found


def test_a_report_before_any_packet_has_no_block() -> None:
    assert rtcp.parse(Reception().report(0.0)) == rtcp.Feedback((), goodbye=False)


def test_loss_is_told_since_the_beginning_and_since_the_report_before() -> None:
    reception = Reception()
    take(reception, 65_530, 65_531, 65_534, 65_536)  # wraps
    first = block(reception)
    assert (first.ssrc, first.lost) == (7, 3)
    assert first.fraction_lost == pytest.approx(3 / 7, abs=0.004)
    assert first.highest_sequence == 65_536
    take(reception, *range(65_537, 65_547))
    second = block(reception)
    assert (second.lost, second.fraction_lost) == (3, 0.0)


def test_packets_that_come_twice_or_late_do_not_count_as_lost() -> None:
    reception = Reception()
    take(reception, 1, 2, 4, 3, 3)
    assert (reception.expected, reception.lost) == (4, -1)
    assert block(reception).lost == -1
    assert block(reception).fraction_lost == 0.0


def test_jitter_is_what_packets_travel_differently() -> None:
    even, uneven = Reception(), Reception()
    take(even, *range(1, 200))
    for number in range(1, 200):
        take(uneven, number, late_s=0.02 * (number % 2))
    assert block(even).jitter < CLOCK_HZ / 10_000  # the ticks do not divide evenly
    assert block(uneven).jitter == pytest.approx(0.02 * CLOCK_HZ, rel=0.05)


def test_another_source_is_counted_anew() -> None:
    reception = Reception()
    take(reception, 1, 9)
    take(reception, 30_000, ssrc=8)
    assert (block(reception).ssrc, block(reception).lost) == (8, 0)


def test_the_round_trip_follows_from_a_sender_report() -> None:
    reception = Reception()
    take(reception, 1)
    sent_s = time.time()
    sender = rtp.SenderReport(7, sent_s, 0, 1, 1).to_bytes("door")
    assert reception.hear(sender, 100.0) is False
    answer = block(reception, 102.0)
    assert answer.delay == 2 * 65_536
    assert answer.round_trip_s(sent_s + 2.5) == pytest.approx(0.5, abs=0.001)


def test_goodbyes_are_said_and_heard() -> None:
    reception = Reception()
    take(reception, 1)
    assert rtcp.parse(reception.report(0.0, goodbye=True)).goodbye
    report = rtp.SenderReport(7, 0.0, 0, 1, 1).to_bytes("door")
    assert reception.hear(report + rtcp.goodbye(7), 0.0)
    assert not reception.hear(report + rtcp.goodbye(8), 0.0)


@given(st.binary(max_size=200))
def test_any_bytes_of_a_camera_are_survived(data: bytes) -> None:
    reception = Reception()
    reception.hear(data, 1.0)
    rtcp.parse(reception.report(2.0))
