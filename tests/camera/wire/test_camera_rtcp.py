from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.wire import rtcp
from harness.camera.wire.rtcp import ReportBlock, parse, receiver_report
from harness.camera.wire.rtp import BadRtp, SenderReport

BLOCK = ReportBlock(4711, 0.5, -3, 70000, 90, 1, 2)


@given(
    st.builds(
        ReportBlock,
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 255).map(lambda n: n / 256),
        st.integers(-(1 << 23), (1 << 23) - 1),
        *[st.integers(0, 0xFFFFFFFF)] * 4,
    )
)
def test_round_trip(block: ReportBlock) -> None:
    assert parse(receiver_report(9, block)).blocks == (block,)


def test_compound_packets() -> None:
    report = SenderReport(1, 1.7e9, 5, 6, 7).to_bytes("reader")
    data = receiver_report(9, BLOCK) + report + receiver_report(8, BLOCK)
    assert parse(data) == rtcp.Feedback((BLOCK, BLOCK), goodbye=False)
    assert parse(data + rtcp.goodbye(9)).goodbye


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81\xc9",
        b"RTSP/1.0",
        receiver_report(9, BLOCK)[:-1],
        receiver_report(9, BLOCK) + b"\0",
        b"\x9f" + receiver_report(9, BLOCK)[1:],  # says 31 blocks
        b"\x81\x10\x00\x01" + bytes(4),  # a type that is no RTCP
        receiver_report(9, BLOCK) * (rtcp.BYTES_MAX // 32 + 1),
    ],
)
def test_what_does_not_add_up_is_refused(data: bytes) -> None:
    with pytest.raises(BadRtp) as caught:
        parse(data)
    assert caught.value.hint


@given(st.binary(max_size=200), st.integers(0, 31), st.integers(0, 20))
def test_any_bytes(data: bytes, count: int, words: int) -> None:
    for body in (data, struct.pack(">BBH", 0x80 | count, 201, words) + data):
        try:
            feedback = parse(body)
        except BadRtp:
            continue
        assert len(feedback.blocks) <= len(body) // 24


def test_round_trip_time() -> None:
    now_s = 1_700_000_000.0
    sent = round((now_s + 2_208_988_800 - 0.75) * 65536) & 0xFFFFFFFF
    block = ReportBlock(1, 0.0, 0, 0, 0, sent, 65536 // 2)
    assert block.round_trip_s(now_s) == pytest.approx(0.25, abs=1e-4)
    assert block.round_trip_s(now_s - 1) is None  # from the future
    assert ReportBlock(1, 0.0, 0, 0, 0, 0, 0).round_trip_s(now_s) is None
