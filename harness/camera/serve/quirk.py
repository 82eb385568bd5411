"""How a camera behaves that has bad habits. The habits are data: `harness.scenario.quirk`.

The server knows none of them. It calls at a few seams, with the camera's `Quirks`:

    hear      on every request before it is looked at: `tcp_only`, `get_parameter_unknown`
    dress     on every response before it is sent: `content_base`, `rtp_info`, `sdp_origin`,
              `parameter_sets`, `lower_case_headers`, `get_parameter_unknown`
    Places    when a session opens and ends: `clients_max`, `stale_sessions_s`
    rewind_ticks  when the RTP clock is set up: `timestamp_reset_s`
    carried   on every access unit that is packed: `parameter_sets`

`silent_rtcp` and `session_timeout_s` are read where reports and time-outs are.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.camera.wire import h264
from harness.camera.wire.rtp import CLOCK_HZ
from harness.camera.wire.rtsp import Response
from harness.scenario.coding import H264
from harness.scenario.quirk import NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.camera.wire.rtsp import Headers, Request
    from harness.scenario.quirk import Quirks

WRONG_HOST = "192.168.1.108"  # a private address behind NAT, where no reader finds anything
NOT_IMPLEMENTED = 501
STALE_MAX = 1024  # sessions a camera remembers of readers that went without a word
_SPROP = re.compile(rb";?\s*sprop-[a-z-]+=[^;\r\n]*")
_ORIGIN = re.compile(rb"^o=[^\r\n]*\r\n", re.MULTILINE)
_BLANK_ORIGIN = b"o=RTSP Session 0 0 IN IP4 0.0.0.0\r\n"
_RTPTIME = re.compile(r"rtptime=[0-9]+")


def hear(quirks: Quirks, request: Request) -> Request | Response:
    """The request as the camera takes it, or the answer when it does not know what to do."""
    if quirks.get_parameter_unknown and request.method == "GET_PARAMETER":
        return Response(status=NOT_IMPLEMENTED)
    if quirks.tcp_only and request.method == "SETUP":
        return _without_udp(request)
    return request


def _without_udp(request: Request) -> Request:
    """A camera that has no UDP does not see it offered, and says 461 when nothing is left."""
    headers = tuple(
        (name, _offers_of_tcp(value) if name.lower() == "transport" else value)
        for name, value in request.headers
    )
    return replace(request, headers=headers)


def _offers_of_tcp(transport: str) -> str:
    offers = (offer.strip() for offer in transport.split(","))
    return ",".join(offer for offer in offers if offer.upper().startswith("RTP/AVP/TCP"))


def dress(quirks: Quirks, response: Response) -> Response:
    """The response as the camera words it."""
    if quirks == NONE:
        return response
    headers, body = response.headers, response.body
    if quirks.get_parameter_unknown:
        headers = _reworded(headers, "Public", lambda value: value.replace("GET_PARAMETER, ", ""))
    if quirks.session_timeout_s:
        timeout = f"timeout={round(quirks.session_timeout_s)}"
        headers = _reworded(headers, "Session", lambda v: re.sub(r"timeout=[0-9]+", timeout, v))
    headers = _content_base(quirks, headers)
    headers = _rtp_info(quirks, headers)
    if _is_sdp(response):
        body = _sdp(quirks, body)
    if quirks.lower_case_headers:
        if body:
            headers = (*headers, ("Content-Length", str(len(body))))
        headers = tuple((name.lower(), value) for name, value in headers)
    return replace(response, headers=headers, body=body)


def _content_base(quirks: Quirks, headers: Headers) -> Headers:
    if quirks.content_base == "missing":
        return _without(headers, "Content-Base")
    if quirks.content_base == "wrong-host":
        return _reworded(
            headers, "Content-Base", lambda v: re.sub(r"//[^/]*", f"//{WRONG_HOST}", v, count=1)
        )
    if quirks.content_base == "no-scheme":
        return _reworded(headers, "Content-Base", lambda value: value.removeprefix("rtsp://"))
    return headers


def _rtp_info(quirks: Quirks, headers: Headers) -> Headers:
    if quirks.rtp_info == "missing":
        return _without(headers, "RTP-Info")
    if quirks.rtp_info == "zero-rtptime":
        return _reworded(headers, "RTP-Info", lambda value: _RTPTIME.sub("rtptime=0", value))
    return headers


def _is_sdp(response: Response) -> bool:
    return response.header("Content-Type") == "application/sdp"


def _sdp(quirks: Quirks, body: bytes) -> bytes:
    if quirks.parameter_sets == "stream":
        body = _SPROP.sub(b"", body)
    if quirks.sdp_origin == "missing":
        body = _ORIGIN.sub(b"", body)
    elif quirks.sdp_origin == "blanks":
        body = _ORIGIN.sub(_BLANK_ORIGIN, body)
    return body


def _without(headers: Headers, name: str) -> Headers:
    return tuple(header for header in headers if header[0] != name)


def _reworded(headers: Headers, name: str, reword: Callable[[str], str]) -> Headers:
    return tuple((key, reword(value) if key == name else value) for key, value in headers)


def rewind_ticks(quirks: Quirks) -> int:
    """After how many ticks the RTP clock starts anew; 0: it runs on, as it should."""
    return round(quirks.timestamp_reset_s * CLOCK_HZ)


def carried(quirks: Quirks, codec: str, nals: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """NAL units of an access unit that such a camera puts into the stream."""
    if quirks.parameter_sets != "sdp" or codec != H264:
        return nals
    return tuple(nal for nal in nals if h264.nal_type(nal) not in (h264.NAL_SPS, h264.NAL_PPS))


class Places:
    """The readers a camera has room for, and who takes them up.

    With `stale_sessions_s` a reader that leaves without TEARDOWN keeps its place for so long,
    as with cameras that count sessions and never look at the connection.
    """

    def __init__(self, quirks: Quirks, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = quirks.clients_max or math.inf
        self._stale_s = quirks.stale_sessions_s
        self._clock = clock
        self._open: set[str] = set()
        self._stale: dict[str, float] = {}  # session -> when its place is free again

    @property
    def taken(self) -> int:
        """Places in use, by readers that are there and by those that are gone."""
        now_s = self._clock()
        while self._stale and (first := next(iter(self._stale.items())))[1] <= now_s:
            del self._stale[first[0]]
        return len(self._open) + len(self._stale)

    @property
    def free(self) -> bool:
        return self.taken < self._most

    def enter(self, session_id: str) -> None:
        self._open.add(session_id)

    def leave(self, session_id: str) -> None:
        """The session has ended; whether with a word is known from `part`."""
        if session_id not in self._open:
            return
        self._open.remove(session_id)
        if self._stale_s and len(self._stale) < STALE_MAX:
            self._stale[session_id] = self._clock() + self._stale_s

    def part(self, session_id: str) -> None:
        """The reader said good-bye: TEARDOWN was answered."""
        self._stale.pop(session_id, None)
