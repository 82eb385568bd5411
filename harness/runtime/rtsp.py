"""A small RTSP 1.0 client for camera nodes: H.264 over TCP interleaved, whole access units out.

Why not FFmpeg's: its demuxer hands a frame on only when the next one begins, which adds one
frame time (33-67 ms) to every latency this harness measures; here the RTP marker ends a frame.
It also tells exactly what was refused, and a waiting read can be ended from another thread.
RFC 2326 (RTSP), 7616 (Digest, MD5), 4566 (SDP), 3550 (RTP), 6184 (H.264 payload).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 554
HEADER_BYTES_MAX = 16 << 10
BODY_BYTES_MAX = 64 << 10
ACCESS_UNIT_BYTES_MAX = 8 << 20
KEEP_ALIVE_S = 20.0  # under half of the usual session time-out of 60 s
_RECEIVE_BYTES = 64 << 10
_START_CODE = b"\x00\x00\x00\x01"
_STAP_A, _FU_A = 24, 28
_CHANNEL = 0  # RTP; RTCP comes on 1
_AUTH_FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


class RtspRefused(Exception):
    """The camera answered with a status other than 200."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class RtspBroken(ConnectionError):
    """The camera closed the connection, or what came is not RTSP."""


class NotH264(Exception):
    """The camera offers no H.264 video."""


@dataclass(frozen=True, slots=True)
class Track:
    """The video of an SDP: where to SETUP it, and its parameter sets (SPS, PPS)."""

    control: str
    parameter_sets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name, [""])[0]


class RtspClient:
    """One connection to one camera. `url` is without credentials; times out after `timeout_s`."""

    def __init__(self, url: str, username: str, password: str, timeout_s: float) -> None:
        self._url = url
        self._username = username
        self._password = password
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._sequence = 0
        self._challenge: dict[str, str] = {}
        self._session = ""

    def close(self) -> None:
        """From any thread: a read that waits ends with `RtspBroken`."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it was down already

    def release(self) -> None:
        """Give the socket back; by the thread that reads, when it is done."""
        if self._socket is not None:
            self._socket.close()

    def open(self) -> Track:
        """Connect, DESCRIBE, SETUP, PLAY. Raises `OSError`, `RtspRefused` or `NotH264`."""
        parts = urlsplit(self._url)
        address = (parts.hostname or "", parts.port or PORT)
        self._socket = socket.create_connection(address, self._timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        described = self._ask("DESCRIBE", self._url, {"Accept": "application/sdp"})
        base = described.header("content-base") or described.header("content-location") or self._url
        track = find_video(described.body.decode(errors="replace"), base)
        transport = f"RTP/AVP/TCP;unicast;interleaved={_CHANNEL}-{_CHANNEL + 1}"
        setup = self._ask("SETUP", track.control, {"Transport": transport})
        self._session = setup.header("session").partition(";")[0].strip()
        self._ask("PLAY", base, {"Range": "npt=0.000-"})
        return track

    def access_units(self) -> Iterator[tuple[bytes, int]]:
        """(Annex B access unit, RTP time stamp) as they come, for ever.

        Raises `RtspBroken` when the connection ends, `TimeoutError` when nothing comes.
        """
        assembler = Assembler()
        alive_s = time.monotonic()
        while True:
            channel, payload = self._receive_interleaved()
            if channel == _CHANNEL and (unit := assembler.feed(payload)) is not None:
                yield unit
            if time.monotonic() - alive_s > KEEP_ALIVE_S:
                alive_s = time.monotonic()
                self._send("GET_PARAMETER", self._url, {})

    def _ask(self, method: str, url: str, headers: dict[str, str]) -> Answer:
        for _ in range(2):  # once more with credentials when asked for them
            self._send(method, url, headers)
            answer = self._receive_answer()
            if answer.status == 200:
                return answer
            challenges = answer.headers.get("www-authenticate", [])
            if answer.status != 401 or self._challenge or not self._username or not challenges:
                break
            self._challenge = read_challenge(challenges)
        raise RtspRefused(answer.status, answer.reason)

    def _send(self, method: str, url: str, headers: dict[str, str]) -> None:
        assert self._socket is not None
        self._sequence += 1
        fields = {"CSeq": str(self._sequence), **headers}
        if self._session:
            fields["Session"] = self._session
        if self._challenge:
            fields["Authorization"] = authorize(
                self._challenge, method, url, self._username, self._password, self._sequence
            )
        lines = [f"{method} {url} RTSP/1.0", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode())

    def _receive_answer(self) -> Answer:
        while True:
            if self._fill(1) and self._buffer[0] == 0x24:
                self._receive_interleaved()
                continue
            return self._read_answer()

    def _receive_interleaved(self) -> tuple[int, bytes]:
        """The next interleaved frame (RFC 2326, 10.12); answers to keep-alives are passed over."""
        while self._fill(4) and self._buffer[0] != 0x24:
            self._read_answer()
        size = int.from_bytes(self._buffer[2:4], "big")
        self._fill(4 + size)
        channel, payload = self._buffer[1], bytes(self._buffer[4 : 4 + size])
        del self._buffer[: 4 + size]
        return channel, payload

    def _read_answer(self) -> Answer:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEADER_BYTES_MAX:
                raise RtspBroken("header too long")
            self._fill(len(self._buffer) + 1)
        head = self._buffer[:end].decode("latin-1").split("\r\n")
        version, _, rest = head[0].partition(" ")
        status, _, reason = rest.partition(" ")
        if not version.startswith("RTSP/1.") or not status.isdigit():
            raise RtspBroken("not an RTSP answer")
        headers: dict[str, list[str]] = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        length = headers.get("content-length", ["0"])[0]
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            raise RtspBroken("body too long")
        start, stop = end + 4, end + 4 + int(length)
        self._fill(stop)
        body = bytes(self._buffer[start:stop])
        del self._buffer[:stop]
        return Answer(int(status), reason, headers, body)

    def _fill(self, size: int) -> bool:
        """Receive until the buffer holds `size` bytes."""
        assert self._socket is not None
        while len(self._buffer) < size:
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise RtspBroken("closed by the camera")
            self._buffer += data
        return True


def find_video(sdp: str, base: str) -> Track:
    """The first video of `sdp` (RFC 4566). Raises `NotH264`."""
    _, found, video = sdp.partition("m=video")
    section = re.split(r"^m=", video, flags=re.MULTILINE)[0]
    if not found or not re.search(r"a=rtpmap:\d+\s+H264/", section, re.IGNORECASE):
        raise NotH264("no H.264 video in the SDP")
    control = re.search(r"^a=control:\s*(\S+)", section, re.MULTILINE)
    sets = re.search(r"sprop-parameter-sets=([^;\s]+)", section)
    url = base
    if control and control[1] != "*":
        url = urljoin(base if base.endswith("/") else base + "/", control[1])
    try:
        parameter_sets = [base64.b64decode(s) for s in sets[1].split(",")] if sets else []
    except binascii.Error:
        parameter_sets = []  # they come in band as well, or the decoder waits for them
    return Track(url, tuple(parameter_sets))


def read_challenge(challenges: list[str]) -> dict[str, str]:
    """The fields of the challenge to answer: Digest (MD5) before Basic; `scheme` added."""
    for challenge in sorted(challenges, key=lambda text: not text.lower().startswith("digest")):
        scheme, _, rest = challenge.partition(" ")
        fields = {name.lower(): one or two for name, one, two in _AUTH_FIELD.findall(rest)}
        if scheme.lower() == "basic" or fields.get("algorithm", "MD5").upper() == "MD5":
            return {**fields, "scheme": scheme.lower()}
    return {"scheme": "none"}


def authorize(
    challenge: dict[str, str], method: str, url: str, username: str, password: str, count: int
) -> str:
    """The Authorization header that answers `challenge` (RFC 7616, 3.4; RFC 7617).

    `count` rises with every request, as a nonce that is used again demands.
    """
    if challenge["scheme"] != "digest":
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        return f"Basic {token}"
    realm, nonce = challenge.get("realm", ""), challenge.get("nonce", "")
    secret = _md5(f"{username}:{realm}:{password}")
    request = _md5(f"{method}:{url}")
    fields = {"username": username, "realm": realm, "nonce": nonce, "uri": url}
    extra = ""
    if "auth" in challenge.get("qop", "").replace(" ", "").split(","):
        cnonce = secrets.token_hex(8)
        response = _md5(f"{secret}:{nonce}:{count:08x}:{cnonce}:auth:{request}")
        extra = f', qop=auth, nc={count:08x}, cnonce="{cnonce}"'
    else:
        response = _md5(f"{secret}:{nonce}:{request}")
    if "opaque" in challenge:
        fields["opaque"] = challenge["opaque"]
    quoted = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return f'Digest {quoted}, response="{response}"{extra}'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class Assembler:
    """RTP packets in, access units out (RFC 6184: single NAL unit, STAP-A, FU-A)."""

    def __init__(self) -> None:
        self._unit = bytearray()
        self._timestamp = -1

    def feed(self, packet: bytes) -> tuple[bytes, int] | None:
        """The access unit that `packet` completes, as Annex B with its RTP time stamp."""
        payload = _payload(packet)
        if not payload:
            return None
        timestamp = int.from_bytes(packet[4:8], "big")
        done = None
        if timestamp != self._timestamp and self._unit:
            done = self._finish()  # the marker was missing: a new time stamp ends the frame too
        self._timestamp = timestamp
        self._append(payload)
        if len(self._unit) > ACCESS_UNIT_BYTES_MAX:
            raise RtspBroken("frame too large")
        return self._finish() if packet[1] & 0x80 and done is None else done

    def _finish(self) -> tuple[bytes, int]:
        unit = bytes(self._unit), self._timestamp
        self._unit.clear()
        return unit

    def _append(self, payload: bytes) -> None:
        kind = payload[0] & 0x1F
        if kind == _STAP_A:
            offset = 1
            while offset + 2 < len(payload):
                size = int.from_bytes(payload[offset : offset + 2], "big")
                self._unit += _START_CODE + payload[offset + 2 : offset + 2 + size]
                offset += 2 + size
        elif kind == _FU_A and len(payload) > 1:
            if payload[1] & 0x80:
                header = bytes([payload[0] & 0xE0 | payload[1] & 0x1F])
                self._unit += _START_CODE + header
            self._unit += payload[2:]
        elif 0 < kind < _STAP_A:
            self._unit += _START_CODE + payload


def _payload(packet: bytes) -> bytes:
    """What an RTP packet carries (RFC 3550, 5.1), without header, extension and padding."""
    if len(packet) < 12 or packet[0] >> 6 != 2:
        return b""
    start, end = 12 + 4 * (packet[0] & 0x0F), len(packet)
    if packet[0] & 0x10 and start + 4 <= end:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    if packet[0] & 0x20:
        end -= packet[-1]
    return packet[start:end]
