"""The camera node's words, and its clock."""

from __future__ import annotations

import errno

import pytest

from harness.runtime.message import RtspBroken, SaidGoodbye
from harness.runtime.reader import _Clock, explain
from harness.runtime.rtsp import Phase, RtspRefused
from harness.runtime.sdp import NotH264

SDP_FAILED = "liveMedia0: Failed to get SDP description: "
CONNECTING, ASKING, PLAYING = Phase.CONNECTING, Phase.ASKING, Phase.PLAYING


@pytest.mark.parametrize(
    ("error", "phase", "line"),
    [
        (
            TimeoutError(),
            CONNECTING,
            SDP_FAILED + "Connection to server failed: Connection timed out (-115)",
        ),
        (
            TimeoutError(),
            PLAYING,
            "dqBuffer(131) Failed due to Resource temporarily unavailable after retry",
        ),
        (
            RtspRefused(404, "Not Found"),
            ASKING,
            SDP_FAILED + "404 Not Found; with the result code: 404",
        ),
        (
            RtspRefused(401, "Unauthorized"),
            ASKING,
            SDP_FAILED + "401 Unauthorized; with the result code: 401",
        ),
        (
            RtspBroken(),
            ASKING,
            SDP_FAILED + "DESCRIBE send() failed: Broken pipe; with the result code: -32",
        ),
        (
            BrokenPipeError(errno.EPIPE, "Broken pipe"),
            CONNECTING,
            SDP_FAILED + "DESCRIBE send() failed: Broken pipe; with the result code: -32",
        ),
        (
            RtspBroken(),
            CONNECTING,
            SDP_FAILED + "Connection to server failed: Connection reset by peer (-104)",
        ),
        (RtspBroken(), PLAYING, "liveMedia0: The connection was closed by the camera"),
        (ConnectionResetError(), PLAYING, "liveMedia0: The connection was closed by the camera"),
        (SaidGoodbye(), PLAYING, 'Received RTCP "BYE" on "video/H264" subsession'),
        (NotH264(), ASKING, "Camera did not provide an H264 encoded stream"),
        (
            OSError(errno.EHOSTUNREACH, "rtsp://user:secret@host"),
            CONNECTING,
            SDP_FAILED + "Connection to server failed: No route to host (-113)",
        ),
    ],
)
def test_failures_read_as_the_appliance_logs_them(
    error: Exception, phase: Phase, line: str
) -> None:
    assert explain(error, phase) == line


def test_the_streams_clock_survives_the_wrap_of_its_time_stamps() -> None:
    clock = _Clock()
    first_s = clock.unix_s(2**32 - 90_000)
    assert clock.unix_s(0) - first_s == pytest.approx(1.0)
    assert clock.unix_s(90_000) - first_s == pytest.approx(2.0)
    assert clock.unix_s(45_000) - first_s == pytest.approx(1.5)
