"""The camera node's words, and its clock."""

from __future__ import annotations

import errno

import pytest

from harness.runtime.message import RtspBroken
from harness.runtime.reader import _Clock, explain
from harness.runtime.rtsp import RtspRefused
from harness.runtime.sdp import NotH264


@pytest.mark.parametrize(
    ("error", "connected", "line"),
    [
        (
            TimeoutError(),
            False,
            "liveMedia0: Failed to get SDP description: Connection to server failed: "
            "Connection timed out (-115)",
        ),
        (
            TimeoutError(),
            True,
            "dqBuffer(131) Failed due to Resource temporarily unavailable after retry",
        ),
        (
            RtspRefused(404, "Not Found"),
            False,
            "liveMedia0: Failed to get SDP description: 404 Not Found; with the result code: 404",
        ),
        (
            RtspBroken(),
            False,
            "liveMedia0: Failed to get SDP description: DESCRIBE send() failed: Broken pipe; "
            "with the result code: -32",
        ),
        (NotH264(), False, "Camera did not provide an H264 encoded stream"),
        (
            OSError(errno.EHOSTUNREACH, "rtsp://user:secret@host"),
            False,
            "liveMedia0: Failed to get SDP description: Connection to server failed: "
            "No route to host (-113)",
        ),
    ],
)
def test_failures_read_as_the_appliance_logs_them(
    error: Exception, connected: bool, line: str
) -> None:
    assert explain(error, connected=connected) == line


def test_the_streams_clock_survives_the_wrap_of_its_time_stamps() -> None:
    clock = _Clock()
    first_s = clock.unix_s(2**32 - 90_000)
    assert clock.unix_s(0) - first_s == pytest.approx(1.0)
    assert clock.unix_s(90_000) - first_s == pytest.approx(2.0)
    assert clock.unix_s(45_000) - first_s == pytest.approx(1.5)
