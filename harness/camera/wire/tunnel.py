"""RTSP inside HTTP, for readers behind a proxy (Apple, "Tunneling RTSP and RTP over HTTP", 1999).

A reader makes two connections with the same `x-sessioncookie`: what the server sends comes as
the endless answer to a GET, what the reader asks goes as the endless body of a POST, in base64.
This reads heads and bodies; it does no I/O.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from harness.camera.wire.rtsp import BadHeader, BadStartLine, LineTooLong

HEAD_BYTES_MAX = 8192
COOKIE_CHARS_MAX = 128
TYPE = "application/x-rtsp-tunnelled"
BEGINNINGS = (b"GET ", b"POST ")
_START = re.compile(rb"(GET|POST) [!-~]+ HTTP/1\.[01]")
_END = re.compile(rb"\r?\n\r?\n")
_BLANK = re.compile(rb"[\r\n\t ]+")


@dataclass(frozen=True, slots=True)
class Head:
    """How a tunnel's connection begins."""

    method: str
    cookie: str


def may_begin(data: bytes) -> bool:
    """Whether `data`, the first bytes of a connection, can be those of a tunnel."""
    return any(data.startswith(word) or word.startswith(data) for word in BEGINNINGS)


def take_head(buffer: bytearray) -> Head | None:
    """Take an HTTP head off `buffer`; None when more is needed.

    Raises `RtspError` for what is none, or has no cookie.
    """
    match = _END.search(buffer, 0, HEAD_BYTES_MAX + 4)
    if match is None:
        if len(buffer) > HEAD_BYTES_MAX:
            raise LineTooLong(
                f"an HTTP head of more than {HEAD_BYTES_MAX} bytes", hint="send fewer headers"
            )
        return None
    lines = bytes(buffer[: match.start()]).splitlines()
    del buffer[: match.end()]
    start = _START.fullmatch(lines[0] if lines else b"")
    if start is None:
        raise BadStartLine("no HTTP request of a tunnel", hint="GET or POST /path HTTP/1.0")
    cookie = ""
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"x-sessioncookie":
            cookie = value.strip().decode("latin-1")
    if not 0 < len(cookie) <= COOKIE_CHARS_MAX:
        raise BadHeader("a tunnel without x-sessioncookie", hint="the same in GET and POST")
    return Head(start[1].decode(), cookie)


def greeting() -> bytes:
    """The head of the answer to GET; what follows is RTSP."""
    return (
        f"HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nPragma: no-cache\r\n"
        f"Content-Type: {TYPE}\r\n\r\n"
    ).encode()


def refusal(status: int, reason: str) -> bytes:
    return f"HTTP/1.0 {status} {reason}\r\nConnection: close\r\n\r\n".encode()


class Base64Stream:
    """Base64 that comes in pieces; every message in it may be padded by itself."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What is complete, decoded. Raises `RtspError` for what is no base64."""
        text = self._rest + _BLANK.sub(b"", data)
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        parts = []
        begin = 0
        try:
            while begin < whole:
                padding = text.find(b"=", begin, whole)
                end = whole if padding < 0 else padding // 4 * 4 + 4
                parts.append(base64.b64decode(text[begin:end], validate=True))
                begin = end
        except binascii.Error:
            raise BadHeader("a tunnel's body that is no base64", hint="RFC 4648, 4") from None
        return b"".join(parts)
