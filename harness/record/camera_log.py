"""What an appliance logs about its cameras, word for word.

The vendor's developer guide (2024 edition, troubleshooting) documents those for a time-out, 404,
a broken pipe, missing credentials and other codecs than H.264, its change log the one for a
stalled stream; `CREDENTIALS` goes into `occ_log`, the others into the log of the camera's node.
What the guide leaves open is worded as live555 does, which the documented ones are from. None holds
an address or credentials.
"""

from __future__ import annotations

_SDP_FAILED = "liveMedia0: Failed to get SDP description: "
NOT_H264 = "Camera did not provide an H264 encoded stream"
BROKEN_PIPE = _SDP_FAILED + "DESCRIBE send() failed: Broken pipe; with the result code: -32"
TIMED_OUT = _SDP_FAILED + "Connection to server failed: Connection timed out (-115)"
CREDENTIALS = "ERROR finalizeInterface(35) Camera credential fetching for port [username] failed"
STALLED = "dqBuffer(131) Failed due to Resource temporarily unavailable after retry"


GOODBYE = 'Received RTCP "BYE" on "video/H264" subsession'
CLOSED = "liveMedia0: The connection was closed by the camera"


def refused(status: int, reason: str) -> str:
    """The camera answered with an RTSP status that is not 200."""
    return f"{_SDP_FAILED}{status} {reason}; with the result code: {status}"


def unreachable(number: int, reason: str) -> str:
    """No connection; `number` is the operating system's errno."""
    return f"{_SDP_FAILED}Connection to server failed: {reason} (-{number})"


def meaning(line: str) -> str:
    """`codec` of the line about other codecs than H.264, `refusal` of one about an RTSP status."""
    if line == NOT_H264:
        return "codec"
    return "refusal" if "with the result code: " in line and line != BROKEN_PIPE else ""


CONNECTION_REFUSED = unreachable(111, "Connection refused")  # ECONNREFUSED of Linux
