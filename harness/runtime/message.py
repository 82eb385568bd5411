"""What comes in on a reader's RTSP connection: answers, and media between them (RFC 2326)."""

from __future__ import annotations

from dataclasses import dataclass

HEADER_BYTES_MAX = 16 << 10
BODY_BYTES_MAX = 64 << 10


class RtspBroken(ConnectionError):
    """The camera closed the connection or the session, or what came is not RTSP."""


class SaidGoodbye(RtspBroken):
    """The camera ended the session by RTCP BYE."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by name in lower case, each with all its values."""

    status: int
    reason: str
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name, [""])[0]


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Media inside the connection (section 10.12)."""

    channel: int
    data: bytes

    def to_bytes(self) -> bytes:
        return b"$" + bytes((self.channel,)) + len(self.data).to_bytes(2, "big") + self.data


class Inbox:
    """Bytes in, messages out, one at a time; holds at most one that is not whole yet."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> Answer | Interleaved | None:
        """The next message; None when more bytes are needed. Raises `RtspBroken`."""
        buffer = self._buffer
        if buffer[:1] != b"$":
            return self._take_answer() if buffer else None
        end = 4 + int.from_bytes(buffer[2:4], "big")
        if len(buffer) < max(4, end):
            return None
        message = Interleaved(buffer[1], bytes(buffer[4:end]))
        del buffer[:end]
        return message

    def _take_answer(self) -> Answer | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEADER_BYTES_MAX:
                raise RtspBroken("header too long")
            return None
        status, reason, headers = _head(self._buffer[:end].decode("latin-1"))
        length = headers.get("content-length", ["0"])[0]
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            raise RtspBroken("body too long")
        start, stop = end + 4, end + 4 + int(length)
        if len(self._buffer) < stop:
            return None
        body = bytes(self._buffer[start:stop])
        del self._buffer[:stop]
        return Answer(status, reason, headers, body)


def _head(text: str) -> tuple[int, str, dict[str, list[str]]]:
    first, *lines = text.split("\r\n")
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("RTSP/1.") or not status.isdigit():
        raise RtspBroken("not an RTSP answer")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    return int(status), reason, headers
