"""A light reader of many RTSP sessions: counts frames and measures lateness, decodes nothing.

A load client must cost less than the server it loads. This one does the RTSP handshake, then
only `recv_into`s and hops from packet header to packet header; when a frame was captured it
learns as any client does, from the sender reports.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeAlias

from harness.camera.reader.ear import Ear
from harness.camera.wire import rtp
from harness.camera.wire.rtsp import Request, Response, RtspCodec
from harness.errors import LinkDown, PeerRefused, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HANDSHAKE_TIMEOUT_S = 10.0
BUFFER_BYTES = 256 << 10
EVENTS_A_TURN = 512
_HEAD = struct.Struct(">BBHBBHI")  # framing, then RTP up to the time stamp
_REPORT_BYTES = 4 + 28
_MARKER = 0x80


@dataclass(slots=True)
class _Reader:
    """Where one connection is in its byte stream, and what its clock says."""

    sock: socket.socket
    began_s: float
    first_frame_s: float | None = None  # after `began_s`
    need: int = 0  # bytes of the current packet that are still to come
    ends_frame: int | None = None  # time stamp, where that packet ends a frame
    carry: bytes = b""  # a header that came in two pieces
    report: rtp.SenderReport | None = None
    frames: int = 0
    ear: Ear | None = None  # where frames come by UDP

    def close(self) -> None:
        self.sock.close()
        if self.ear is not None:
            self.ear.close()


@dataclass(slots=True)
class Window:
    """What arrived of the frames captured from `from_s` to `to_s` (Unix time)."""

    from_s: float
    to_s: float
    late_s: array[float] = field(default_factory=lambda: array("d"))


class Drain:
    """Owns its sockets; use it as a context manager."""

    def __init__(self) -> None:
        self._readers: dict[int, _Reader] = {}
        self._media: dict[int, _Reader] = {}  # by the UDP socket, of those that have one
        self._control: dict[int, _Reader] = {}
        self._epoll = select.epoll()
        self._buffer = bytearray(BUFFER_BYTES)
        self._window: Window | None = None
        self.lost = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._epoll.close()

    def connect(
        self, host: str, port: int, path: str, *, udp: bool = False, hurry: bool = False
    ) -> None:
        """OPTIONS, DESCRIBE, SETUP and PLAY; then the session is drained with the others.

        With `hurry` requests do not wait for the answers to those before, where they need not.
        Raises `PeerTimeout`, `PeerRefused` or `LinkDown`.
        """
        began_s = time.monotonic()
        sock = socket.create_connection((host, port), timeout=HANDSHAKE_TIMEOUT_S)
        reader = _Reader(sock, began_s)
        transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
        if udp:
            reader.ear = Ear(lambda stamp: self._frame(reader, stamp))
            transport = reader.ear.transport
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            rest = _handshake(sock, f"rtsp://{host}:{port}{path}", transport, hurry=hurry)
        except TimeoutError as error:
            reader.close()
            raise PeerTimeout(f"{path}: no answer", hint="the server is overloaded") from error
        except BaseException:
            reader.close()
            raise
        sock.setblocking(False)
        if reader.ear is not None:
            for socks, one in (
                (self._media, reader.ear.media),
                (self._control, reader.ear.control),
            ):
                socks[one.fileno()] = reader
                self._epoll.register(one.fileno(), select.EPOLLIN)
        self._readers[sock.fileno()] = reader
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._hop(reader, rest)

    def poll(self, timeout_s: float) -> None:
        """Read what has come, waiting `timeout_s` for something."""
        buffer, media = self._buffer, self._media
        for number, _ in self._epoll.poll(timeout_s, EVENTS_A_TURN):
            if media and number not in self._readers:
                self._hear(number)
                continue
            reader = self._readers[number]
            try:
                count = reader.sock.recv_into(buffer)
            except BlockingIOError:
                continue
            except OSError:
                count = 0
            if count == 0:
                self._drop(number)
            elif reader.carry:
                self._hop(reader, reader.carry + buffer[:count])
            else:
                self._scan(reader, buffer, count)

    def measure(self, seconds: float, grace_s: float) -> Window:
        """Drain for `seconds`; frames captured then may arrive up to `grace_s` later."""
        from_s = time.time()
        self._window = window = Window(from_s, from_s + seconds)
        while time.time() < window.to_s + grace_s:
            self.poll(0.01)
        self._window = None
        return window

    def first_frames_s(self) -> Iterator[float]:
        """From connecting to the whole first frame, of every session that got one."""
        for reader in self._readers.values():
            if reader.first_frame_s is not None:
                yield reader.first_frame_s

    def _hear(self, number: int) -> None:
        """A UDP socket has something; none if its session was dropped in the same turn."""
        reader = self._media.get(number)
        if reader is not None and reader.ear is not None:
            reader.ear.hear(self._buffer)
        elif (reader := self._control.get(number)) is not None and reader.ear is not None:
            reader.report = reader.ear.report() or reader.report

    def _drop(self, number: int) -> None:
        self._epoll.unregister(number)
        reader = self._readers.pop(number)
        if reader.ear is not None:
            for socks, one in (
                (self._media, reader.ear.media),
                (self._control, reader.ear.control),
            ):
                del socks[one.fileno()]
                self._epoll.unregister(one.fileno())
        reader.close()
        self.lost += 1

    def _hop(self, reader: _Reader, data: bytes) -> None:
        reader.carry = b""
        self._scan(reader, bytearray(data), len(data))

    def _scan(self, reader: _Reader, buffer: bytearray, count: int) -> None:
        """Hop over `count` bytes from packet to packet."""
        position = reader.need
        if position > count:
            reader.need -= count
            return
        if reader.ends_frame is not None:
            self._frame(reader, reader.ends_frame)
            reader.ends_frame = None
        unpack = _HEAD.unpack_from
        size = _HEAD.size
        while position + size <= count:
            _, channel, length, _, kind, _, stamp = unpack(buffer, position)
            end = position + 4 + length
            if channel == 0:
                if kind & _MARKER:
                    if end <= count:
                        self._frame(reader, stamp)
                    else:
                        reader.ends_frame = stamp
            elif position + _REPORT_BYTES > count:
                break
            elif kind == rtp.RTCP_SENDER_REPORT:
                reader.report = rtp.SenderReport.from_bytes(bytes(buffer[position + 4 : end]))
            position = end
        reader.need = max(0, position - count)
        reader.carry = bytes(buffer[position:count])

    def _frame(self, reader: _Reader, stamp: int) -> None:
        reader.frames += 1
        if reader.frames == 1:
            reader.first_frame_s = time.monotonic() - reader.began_s
        window, report = self._window, reader.report
        if window is None or report is None:
            return
        ticks = (stamp - report.timestamp + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
        captured_s = report.wall_s + ticks / rtp.CLOCK_HZ
        if window.from_s <= captured_s < window.to_s:
            window.late_s.append(time.time() - captured_s)


def _handshake(sock: socket.socket, url: str, offer: str, *, hurry: bool) -> bytes:
    """Up to the answer to PLAY; returns the bytes that came behind it."""
    codec = RtspCodec()
    steps = [
        ("OPTIONS", url, ()),
        ("DESCRIBE", url, (("Accept", "application/sdp"),)),
        ("SETUP", f"{url}/trackID=0", (("Transport", offer),)),
    ]
    headers: tuple[tuple[str, str], ...] = ()
    for number in range(0, len(steps), 3 if hurry else 1):
        asked = steps[number : number + 3] if hurry else steps[number : number + 1]
        _ask(sock, asked, number + 1)
        for step in asked:
            session = _response(sock, codec, step).header("Session")
            if session is not None:
                headers = (("Session", session.partition(";")[0]),)
    play = ("PLAY", f"{url}/", headers)
    _ask(sock, [play], len(steps) + 1)
    _response(sock, codec, play)
    return codec.take_rest()


_Step: TypeAlias = "tuple[str, str, tuple[tuple[str, str], ...]]"  # method, URI, headers


def _ask(sock: socket.socket, steps: Sequence[_Step], number: int) -> None:
    requests = (
        Request((("CSeq", str(count)), *headers), method=method, uri=uri)
        for count, (method, uri, headers) in enumerate(steps, number)
    )
    sock.sendall(b"".join(request.to_bytes() for request in requests))


def _response(sock: socket.socket, codec: RtspCodec, step: _Step) -> Response:
    """The next response, which must be a good one."""
    while not isinstance(event := codec.next_event(), Response):
        data = sock.recv(BUFFER_BYTES)
        if not data:
            raise LinkDown("the server closed the connection", hint="is the camera offline?")
        codec.feed(data)
    if event.status != 200:
        raise PeerRefused(
            f"{step[0]} {step[1]}: {event.status} {event.reason}", hint="look at the path"
        )
    return event
