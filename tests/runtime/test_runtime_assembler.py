"""Packets in order to access units, and what becomes of frames with a part missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.runtime.assembler import START_CODE, Assembler, Unit
from harness.runtime.reorder import Ordered
from harness.runtime.rtp import Packet, read_packet

SLICE = b"\x41\x80"  # a slice that is the first of its picture
TICK = 6000  # 15 frames a second


def packet(
    payload: bytes, *, stamp: int = 0, marker: bool = False, lost: int = 0, restarted: bool = False
) -> Ordered:
    return Ordered(Packet(0, stamp, 7, marker, payload), lost, restarted)


def fragments(nal: bytes, size: int) -> list[bytes]:
    """RFC 6184, 5.8."""
    pieces = [nal[1:][at : at + size] for at in range(0, len(nal) - 1, size)]
    heads = [nal[0] & 0x1F] * len(pieces)
    heads[0] |= 0x80
    heads[-1] |= 0x40
    return [bytes([nal[0] & 0xE0 | 28, h]) + p for h, p in zip(heads, pieces, strict=True)]


def fed(assembler: Assembler, *packets: Ordered) -> list[Unit]:
    return [unit for one in packets for unit in assembler.feed(one)]


def frames(assembler: Assembler, *numbers: int) -> list[Unit]:
    """Whole frames of one packet each, at their times."""
    units = (packet(SLICE + bytes([n]), stamp=n * TICK, marker=True) for n in numbers)
    return fed(assembler, *units)


def test_the_marker_ends_a_frame_at_once() -> None:
    assembler = Assembler()
    assert assembler.feed(packet(b"\x67sps", stamp=90)) == []
    (unit,) = assembler.feed(packet(b"\x65\x80idr", stamp=90, marker=True))
    assert (unit.nals, unit.timestamp) == ((b"\x67sps", b"\x65\x80idr"), 90)
    assert unit.annex_b == START_CODE + b"\x67sps" + START_CODE + b"\x65\x80idr"
    assert (unit.lost, unit.damaged) == (0, False)


def test_a_new_time_stamp_ends_a_frame_whose_marker_is_missing() -> None:
    assembler = Assembler()
    assert fed(assembler, packet(b"\x65one", stamp=1)) == []
    assert fed(assembler, packet(b"\x41two", stamp=2)) == [Unit((b"\x65one",), 1)]
    both = fed(assembler, packet(b"\x41three", stamp=3, marker=True))
    assert [unit.nals for unit in both] == [(b"\x41two",), (b"\x41three",)]


def test_aggregates_are_taken_apart() -> None:
    payload = b"\x78" + b"\x00\x02\x67s" + b"\x00\x02\x65p"
    (unit,) = Assembler().feed(packet(payload, marker=True))
    assert unit.nals == (b"\x67s", b"\x65p")


@given(st.binary(min_size=3, max_size=4000), st.integers(1, 1400))
def test_fragments_are_put_together(body: bytes, size: int) -> None:
    nal = b"\x65" + body
    *first, last = fragments(nal, size)
    assembler = Assembler()
    assert fed(assembler, *map(packet, first)) == []
    assert assembler.feed(packet(last, marker=True)) == [Unit((nal,), 0)]


@given(st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 3), st.booleans()), max_size=12))
def test_any_packets_are_survived(packets: list[tuple[bytes, int, bool]]) -> None:
    assembler = Assembler()
    for number, (payload, lost, marker) in enumerate(packets):
        for unit in assembler.feed(packet(payload, stamp=number, marker=marker, lost=lost)):
            assert unit.lost >= 0
            assert unit.nals


def test_parameter_sets_of_their_own_go_with_the_next_frame() -> None:
    assembler = Assembler()
    assert fed(assembler, packet(b"\x67sps", stamp=1, marker=True)) == []
    (unit,) = fed(assembler, packet(b"\x65\x80", stamp=2, marker=True))
    assert unit == Unit((b"\x67sps", b"\x65\x80"), 2)


# --- loss -----------------------------------------------------------------------------------------


def test_a_frame_with_a_hole_in_its_only_slice_is_lost() -> None:
    assembler = Assembler()
    frames(assembler, 0, 1)
    first, _, last = fragments(SLICE + bytes(29), 10)
    assert fed(assembler, packet(first, stamp=2 * TICK)) == []
    assert fed(assembler, packet(last, stamp=2 * TICK, marker=True, lost=1)) == []
    (unit,) = frames(assembler, 3)
    assert (unit.lost, unit.damaged) == (1, False)


def test_a_frame_that_keeps_a_slice_is_damaged_and_not_lost() -> None:
    assembler = Assembler()
    frames(assembler, 0, 1)
    second = packet(b"\x41\x40", stamp=2 * TICK, marker=True, lost=1)
    assert fed(assembler, packet(SLICE, stamp=2 * TICK)) == []
    (unit,) = fed(assembler, second)
    assert (unit.lost, unit.damaged) == (0, True)
    # The same where the first slice is the one that is missing: it does not begin the picture.
    (unit,) = fed(assembler, packet(b"\x41\x40", stamp=3 * TICK, marker=True, lost=1))
    assert (unit.lost, unit.damaged) == (0, True)


def test_frames_that_left_no_trace_follow_from_the_time_stamps() -> None:
    assembler = Assembler()
    frames(assembler, 0, 1, 2)
    (unit,) = fed(assembler, packet(SLICE, stamp=6 * TICK, marker=True, lost=9))
    assert (unit.lost, unit.damaged) == (3, False)
    # Never more than packets are missing: a camera may slow down as well.
    (unit,) = fed(assembler, packet(SLICE, stamp=12 * TICK, marker=True, lost=1))
    assert unit.lost == 1


def test_a_slow_moment_without_missing_packets_is_no_loss() -> None:
    assembler = Assembler()
    assert [unit.lost for unit in frames(assembler, 0, 1, 2, 5, 8, 11)] == [0] * 6


def test_the_tail_of_one_frame_and_the_head_of_the_next_may_be_missing() -> None:
    assembler = Assembler()
    frames(assembler, 0, 1)
    head, *_ = fragments(SLICE + bytes(40), 10)
    *_, tail = fragments(SLICE + bytes(40), 10)
    assert fed(assembler, packet(head, stamp=2 * TICK)) == []
    assert fed(assembler, packet(tail, stamp=4 * TICK, marker=True, lost=6)) == []
    (unit,) = frames(assembler, 5)
    assert unit.lost == 3  # two damaged beyond use, and the one between them


def test_a_stream_entered_in_the_middle_of_a_frame_has_lost_it() -> None:
    assembler = Assembler()
    *_, tail = fragments(SLICE + bytes(40), 10)
    assert fed(assembler, packet(tail, stamp=0, marker=True)) == []
    (unit,) = frames(assembler, 1)
    assert unit.lost == 1


def test_a_sender_that_begins_anew_has_another_clock() -> None:
    assembler = Assembler()
    frames(assembler, 0, 1)
    fed(assembler, packet(fragments(SLICE + bytes(40), 10)[0], stamp=2 * TICK))
    (unit,) = fed(assembler, packet(SLICE, stamp=99 * TICK, marker=True, restarted=True))
    assert (unit.lost, unit.restarted) == (1, True)
    (unit,) = frames(assembler, 100)
    assert (unit.lost, unit.restarted) == (0, False)


# --- the packets themselves -----------------------------------------------------------------------


def test_header_extension_sources_and_padding_are_passed_over() -> None:
    head = bytes([0xB2, 0xE0, 0x12, 0x34]) + (90).to_bytes(4, "big") + (7).to_bytes(4, "big")
    data = head + bytes(8) + b"\xbe\xde\x00\x01abcd" + b"\x41\x80x" + b"\0\0\x03"
    assert read_packet(data) == Packet(0x1234, 90, 7, marker=True, payload=b"\x41\x80x")


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_none(data: bytes) -> None:
    found = read_packet(data)
    assert found is None or found.payload
