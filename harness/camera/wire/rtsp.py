"""RTSP 1.0 (RFC 2326) without I/O: bytes in, events out; messages to bytes.

    codec = RtspCodec()
    codec.feed(data)
    while (event := codec.next_event()) is not None: ...

What a peer sends may be malformed in any way; the answer is always an `RtspError` of the type
of its cause, and the codec is then at its end. The same codec reads both roles.

    RtspError
    ├── BadStartLine         neither a request line nor a status line
    ├── UnsupportedVersion   RTSP, but not 1.0
    ├── BadHeader            a header line without a name or a colon
    ├── BadContentLength     no number, or two that differ
    ├── LineTooLong
    ├── TooManyHeaders
    └── BodyTooLarge
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from harness.errors import EngineError, PeerError

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_BYTES_MAX = 4096
HEADERS_MAX = 64
BODY_BYTES_MAX = 64 << 10
BLANK_LINES_MAX = 16  # before a message, for peers that end the last one with too many

REASONS: Mapping[int, str] = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    406: "Not Acceptable",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    451: "Parameter Not Understood",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    457: "Invalid Range",
    459: "Aggregate Operation Not Allowed",
    460: "Only Aggregate Operation Allowed",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
}

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) RTSP/([0-9]+\.[0-9]+)")
_STATUS_LINE = re.compile(rb"RTSP/([0-9]+\.[0-9]+) ([0-9]{3})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_HEADER_LINE = re.compile(rb"(" + _TOKEN + rb")[ \t]*:[ \t]*(.*?)[ \t]*", re.DOTALL)
_INTERLEAVED = 0x24  # "$"


class RtspError(PeerError):
    """The peer broke the protocol; `status` is what to answer before closing."""

    status = 400


class BadStartLine(RtspError):
    pass


class UnsupportedVersion(RtspError):
    status = 505


class BadHeader(RtspError):
    pass


class BadContentLength(RtspError):
    pass


class LineTooLong(RtspError):
    status = 414


class TooManyHeaders(RtspError):
    pass


class BodyTooLarge(RtspError):
    status = 413


Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """Headers in order, and a body. Names of headers are read without regard to case."""

    headers: Headers = ()
    body: bytes = field(default=b"", kw_only=True)

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def _to_bytes(self, start: str) -> bytes:
        lines = [start, *(f"{name}: {value}" for name, value in self.headers)]
        if self.body and self.header("Content-Length") is None:
            lines.append(f"Content-Length: {len(self.body)}")
        if any("\r" in line or "\n" in line for line in lines):
            raise EngineError(f"a line break inside an RTSP header: {lines}", hint="remove it")
        return "\r\n".join((*lines, "", "")).encode() + self.body


@dataclass(frozen=True, slots=True)
class Request(Message):
    method: str = field(kw_only=True)
    uri: str = field(kw_only=True)

    def to_bytes(self) -> bytes:
        return self._to_bytes(f"{self.method} {self.uri} RTSP/1.0")


@dataclass(frozen=True, slots=True)
class Response(Message):
    status: int = field(kw_only=True)
    reason: str = field(default="", kw_only=True)

    def to_bytes(self) -> bytes:
        reason = self.reason or REASONS.get(self.status, "Unknown")
        return self._to_bytes(f"RTSP/1.0 {self.status} {reason}")


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Binary data between messages (RFC 2326, 10.12): RTP on even channels, RTCP on odd ones."""

    channel: int
    payload: bytes


Event: TypeAlias = "Request | Response | Interleaved"


class _State(enum.Enum):
    START = "before a message"
    HEADERS = "inside the headers"
    BODY = "inside the body"
    BROKEN = "after an error"


class RtspCodec:
    """One direction of one connection. Holds at most one message beside what was just fed."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._state = _State.START
        self._error: RtspError | None = None
        self._blank_lines = 0
        self._start = b""
        self._headers: list[tuple[str, str]] = []
        self._body_bytes = 0

    def feed(self, data: bytes) -> None:
        if self._error is None:
            self._buffer += data

    def next_event(self) -> Event | None:
        """The next event, None when more bytes are needed. Raises `RtspError`, then always."""
        if self._error is not None:
            raise self._error
        try:
            return self._advance()
        except RtspError as error:
            self._error, self._state = error, _State.BROKEN
            self._buffer.clear()
            raise

    def take_rest(self) -> bytes:
        """Bytes that belong to no event yet, for a reader that goes on without the codec."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _advance(self) -> Event | None:
        while True:
            if self._state is _State.BODY:
                return self._take_body()
            if self._state is _State.START and self._buffer[:1] == b"$":
                return self._take_interleaved()
            line = self._take_line()
            if line is None:
                return None
            if self._state is _State.START:
                self._begin(line)
            elif line:
                self._add_header(line)
            else:
                self._body_bytes = self._content_length()
                self._state = _State.BODY

    def _take_line(self) -> bytes | None:
        """One line without its end: CR LF, or LF alone as RFC 2326, 4 asks to accept."""
        end = self._buffer.find(b"\n", 0, LINE_BYTES_MAX + 1)
        if end < 0:
            if len(self._buffer) > LINE_BYTES_MAX:
                raise LineTooLong(
                    f"a line of more than {LINE_BYTES_MAX} bytes {self._state.value}",
                    hint=f"at most {LINE_BYTES_MAX} bytes a line",
                )
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def _take_interleaved(self) -> Interleaved | None:
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        end = 4 + int.from_bytes(buffer[2:4], "big")
        if len(buffer) < end:
            return None
        event = Interleaved(buffer[1], bytes(buffer[4:end]))
        del buffer[:end]
        self._blank_lines = 0
        return event

    def _begin(self, line: bytes) -> None:
        if not line:
            self._blank_lines += 1
            if self._blank_lines > BLANK_LINES_MAX:
                raise BadStartLine(
                    f"more than {BLANK_LINES_MAX} empty lines", hint="begin with a request line"
                )
            return
        self._blank_lines = 0
        match = _REQUEST_LINE.fullmatch(line)
        version = match[3] if match else None
        if match is None and (match := _STATUS_LINE.fullmatch(line)):
            version = match[1]
        if version is None:
            raise BadStartLine(
                f"not a request or status line: {line[:80]!r}",
                hint="METHOD rtsp://host/path RTSP/1.0",
            )
        if version != b"1.0":
            raise UnsupportedVersion(
                f"RTSP version {version.decode()}", hint="this side speaks RTSP/1.0"
            )
        self._start, self._headers, self._state = line, [], _State.HEADERS

    def _add_header(self, line: bytes) -> None:
        if line[:1] in (b" ", b"\t") and self._headers:  # a folded line goes on
            name, value = self._headers[-1]
            folded = f"{value} {line.strip().decode('utf-8', 'replace')}"
            if len(folded) > LINE_BYTES_MAX:
                raise LineTooLong(f"header {name} folded beyond bounds", hint="send one line")
            self._headers[-1] = (name, folded)
            return
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            raise BadHeader(f"not a header line: {line[:80]!r}", hint="Name: value")
        if len(self._headers) == HEADERS_MAX:
            raise TooManyHeaders(
                f"more than {HEADERS_MAX} headers", hint=f"at most {HEADERS_MAX} a message"
            )
        self._headers.append((match[1].decode(), match[2].decode("utf-8", "replace")))

    def _content_length(self) -> int:
        values = {value for name, value in self._headers if name.lower() == "content-length"}
        if not values:
            return 0
        text = values.pop()
        if values or not text.isascii() or not text.isdigit():
            raise BadContentLength(
                f"Content-Length {text[:20]!r}", hint="one number of bytes, decimal digits"
            )
        if len(text) > len(str(BODY_BYTES_MAX)) or int(text) > BODY_BYTES_MAX:
            raise BodyTooLarge(
                f"a body of {text[:20]} bytes", hint=f"at most {BODY_BYTES_MAX} bytes"
            )
        return int(text)

    def _take_body(self) -> Request | Response | None:
        if len(self._buffer) < self._body_bytes:
            return None
        body = bytes(self._buffer[: self._body_bytes])
        del self._buffer[: self._body_bytes]
        self._state = _State.START
        headers = tuple(self._headers)
        if match := _REQUEST_LINE.fullmatch(self._start):
            return Request(headers, body=body, method=match[1].decode(), uri=match[2].decode())
        match = _STATUS_LINE.fullmatch(self._start)
        assert match is not None  # _begin let nothing else pass
        reason = (match[3] or b"").decode("utf-8", "replace")
        return Response(headers, body=body, status=int(match[2]), reason=reason)
