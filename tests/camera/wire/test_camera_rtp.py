from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.wire.rtp import (
    ACCESS_UNIT_BYTES_MAX,
    FU_A,
    STAP_A,
    BadRtp,
    Depacketiser,
    Packet,
    ReceivedUnit,
    SenderReport,
    payloads,
)

nals = st.builds(
    lambda head, kind, body: bytes((head << 5 | kind,)) + body,
    st.integers(0, 7),
    st.integers(1, 23),
    st.binary(max_size=400),
)
units = st.lists(nals, min_size=1, max_size=8)


def packets(unit: list[bytes], limit: int, sequence: int = 0, timestamp: int = 0) -> list[Packet]:
    parts = payloads(unit, limit)
    return [
        Packet(sequence + n & 0xFFFF, timestamp, 1, part, marker=n == len(parts) - 1)
        for n, part in enumerate(parts)
    ]


@given(st.lists(units, min_size=1, max_size=4), st.integers(10, 300), st.integers(0, 0xFFFF))
def test_any_access_unit_survives_the_round_trip(
    stream: list[list[bytes]], limit: int, sequence: int
) -> None:
    depacketiser, received = Depacketiser(), []
    for number, unit in enumerate(stream):
        for packet in packets(unit, limit, sequence, number * 3000):
            assert len(packet.payload) <= limit
            again = Packet.from_bytes(packet.to_bytes())
            assert again == packet
            received += depacketiser.feed(again)
            sequence = packet.sequence + 1
    assert received == [
        ReceivedUnit(number * 3000, tuple(unit), 0) for number, unit in enumerate(stream)
    ]


def test_the_three_kinds_of_packets() -> None:
    small, other, large = b"\x67abc", b"\x68d", b"\x65" + bytes(range(256)) * 10
    parts = payloads([small, other, large, small], 1000)
    assert [part[0] & 0x1F for part in parts] == [STAP_A, FU_A, FU_A, FU_A, 7]
    assert parts[0] == b"\x78\x00\x04\x67abc\x00\x02\x68d"
    assert [part[1] for part in parts[1:4]] == [0x85, 0x05, 0x45]
    assert parts[4] == small


@given(units, st.integers(10, 100), st.data())
def test_a_lost_packet_is_counted_and_never_invents_a_unit(
    unit: list[bytes], limit: int, data: st.DataObject
) -> None:
    whole = packets(unit, limit)
    gone = data.draw(st.integers(0, len(whole) - 1))
    later = packets([b"\x61later"], limit, len(whole), 3000)
    depacketiser, received = Depacketiser(), []
    for packet in [packet for n, packet in enumerate(whole) if n != gone] + later:
        received += depacketiser.feed(packet)
    assert received[-1].nals == (b"\x61later",)
    if gone > 0:  # before the first packet nobody can tell
        assert sum(got.lost for got in received) == 1
    for got in received[:-1]:
        assert set(got.nals) <= set(unit)


def test_a_new_time_stamp_ends_a_unit_whose_marker_was_lost() -> None:
    depacketiser = Depacketiser()
    assert depacketiser.feed(Packet(1, 10, 1, b"\x61a")) == []
    assert depacketiser.feed(Packet(2, 20, 1, b"\x61b", marker=True)) == [
        ReceivedUnit(10, (b"\x61a",), 0),
        ReceivedUnit(20, (b"\x61b",), 0),
    ]


def test_header_with_padding_extension_and_sources() -> None:
    header = bytes((0x80 | 0x20 | 0x10 | 2, 0x80 | 96)) + b"\0\7" + b"\0\0\0\5" + b"\0\0\0\1"
    extension = b"\xab\xac\0\1" + b"eeee"
    data = header + b"s" * 8 + extension + b"\x61payload" + b"\0\0\3"
    assert Packet.from_bytes(data) == Packet(7, 5, 1, b"\x61payload", marker=True)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    try:
        packet = Packet.from_bytes(data)
    except BadRtp:
        return
    assert len(packet.payload) <= len(data) - 12


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_payload_is_taken_or_refused(stream: list[bytes]) -> None:
    depacketiser = Depacketiser()
    for number, payload in enumerate(stream):
        with contextlib.suppress(BadRtp):
            depacketiser.feed(Packet(number, number // 3, 1, payload, number % 3 == 2))


def test_an_endless_access_unit_is_refused() -> None:
    depacketiser = Depacketiser()
    whole = ACCESS_UNIT_BYTES_MAX // 1400
    for number in range(whole):
        depacketiser.feed(Packet(number, 1, 1, b"\x61" + bytes(1399)))
    with pytest.raises(BadRtp, match="more than"):
        depacketiser.feed(Packet(whole, 1, 1, b"\x61" + bytes(1399)))


@given(st.floats(0, 4e9), st.integers(0, 2**32 - 1), st.integers(0, 2**40), st.integers(0, 2**40))
def test_sender_report_round_trip(wall_s: float, stamp: int, count: int, octets: int) -> None:
    if wall_s >= 2**32 - 2_208_988_800:
        wall_s -= 2**32 - 2_208_988_800  # NTP's first era ends in 2036
    data = SenderReport(9, wall_s, stamp, count, octets).to_bytes("door")
    assert len(data) % 4 == 0
    again = SenderReport.from_bytes(data)
    assert again.wall_s == pytest.approx(wall_s, abs=1e-6)
    assert (again.ssrc, again.timestamp) == (9, stamp)
    assert (again.packets, again.octets) == (count % 2**32, octets % 2**32)


def test_sender_report_on_the_wire() -> None:
    """RFC 3550, 6.4.1: 1 January 1970 is 2,208,988,800 s of NTP; then a CNAME (6.5.1)."""
    data = SenderReport(0x01020304, 0.5, 7, 8, 9).to_bytes("ab")
    assert data[:28].hex() == ("80c800060102030483aa7e8080000000000000070000000800000009")
    assert data[28:].hex() == "81ca0003010203040102616200000000"
    with pytest.raises(BadRtp):
        SenderReport.from_bytes(data[28:])
