"""A light reader of many RTSP sessions: counts frames and measures lateness, decodes nothing.

A load client must cost less than the server it loads. This one does the RTSP handshake, then
only reads into one buffer and hops from packet header to packet header; when a frame was captured
it learns as any client does, from the sender reports, which it answers. When a frame arrived the
kernel says: that this reader gets to it later is its own affair, and told apart.
"""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import struct
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeAlias

from harness.camera.reader.ear import ANCILLARY_BYTES, Ear, arrival_s, reply, stamp_arrivals
from harness.camera.serve.packed import frame_interleaved
from harness.camera.wire import rtp
from harness.camera.wire.rtsp import Request, Response, RtspCodec
from harness.errors import LinkDown, PeerRefused, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

HANDSHAKE_TIMEOUT_S = 10.0
BUFFER_BYTES = 256 << 10
EVENTS_A_TURN = 512
_HEAD = struct.Struct(">BBHBBHI")  # framing, then RTP up to the time stamp
_REPORT_BYTES = 4 + 28
_MARKER = 0x80


@dataclass(slots=True, eq=False)
class Reader:
    """Where one connection is in its byte stream, and what its clock says.

    `missed` counts frames that did not come between two that came, by their time stamps.
    """

    sock: socket.socket
    url: str
    began_s: float
    session: str = ""
    first_frame_s: float | None = None  # after `began_s`
    need: int = 0  # bytes of the current packet that are still to come
    ends_frame: int | None = None  # time stamp, where that packet ends a frame
    carry: bytes = b""  # a header that came in two pieces
    report: rtp.SenderReport | None = None
    sequence: int = 0  # of the last frame over TCP
    stamp: int = 0  # of the last frame
    frames: int = 0
    missed: int = 0
    ear: Ear | None = None  # where frames come by UDP

    def close(self) -> None:
        self.sock.close()
        if self.ear is not None:
            self.ear.close()


@dataclass(slots=True)
class Window:
    """What arrived of the frames captured from `from_s` to `to_s` (Unix time).

    `late_s` is from a frame's capture to the arrival of its last packet, `unread_s` how long it
    then waited for this reader; both in the order of reading.
    """

    from_s: float
    to_s: float
    late_s: array[float] = field(default_factory=lambda: array("d"))
    unread_s: array[float] = field(default_factory=lambda: array("d"))


class Drain:
    """Owns its sockets; use it as a context manager. A frame is `step_ticks` of the RTP clock."""

    def __init__(self, step_ticks: int = 3000) -> None:
        self._step_ticks = step_ticks
        self._readers: dict[int, Reader] = {}
        self._media: dict[int, Reader] = {}  # by the UDP socket, of those that have one
        self._control: dict[int, Reader] = {}
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

    @property
    def readers(self) -> Collection[Reader]:
        """Those whose connection stands."""
        return self._readers.values()

    def connect(
        self,
        host: str,
        port: int,
        path: str,
        *,
        udp: bool = False,
        hurry: bool = False,
        track: str = "trackID=0",
    ) -> Reader:
        """OPTIONS, DESCRIBE, SETUP and PLAY; then the session is drained with the others.

        With `hurry` requests do not wait for the answers to those before, where they need not.
        Raises `PeerTimeout`, `PeerRefused` or `LinkDown`.
        """
        began_s = time.monotonic()
        reader = Reader(_connected(host, port), f"rtsp://{host}:{port}{path}", began_s)
        try:
            rest = self._greet(reader, track, udp=udp, hurry=hurry)
        except TimeoutError as error:
            reader.close()
            raise PeerTimeout(f"{path}: no answer", hint="the server is overloaded") from error
        except ConnectionError as error:
            reader.close()
            raise LinkDown(f"{path}: {error.strerror}", hint="is the camera offline?") from error
        except BaseException:
            reader.close()
            raise
        for socks, one in self._sockets(reader):
            socks[one.fileno()] = reader
            self._epoll.register(one.fileno(), select.EPOLLIN)
        self._hop(reader, rest, time.time())
        return reader

    def _greet(self, reader: Reader, track: str, *, udp: bool, hurry: bool) -> bytes:
        """Up to the answer to PLAY; returns the bytes that came behind it."""
        sock = reader.sock
        transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
        if udp:
            reader.ear = Ear(functools.partial(self._frame, reader))
            transport = reader.ear.transport
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stamp_arrivals(sock)
        reader.session, rest = _handshake(sock, reader.url, transport, track, hurry=hurry)
        sock.setblocking(False)
        return rest

    def leave(self, reader: Reader, *, rudely: bool = False) -> None:
        """End a session that stands: with TEARDOWN, or `rudely` without a word."""
        if not rudely:
            headers = (("CSeq", "9"), ("Session", reader.session))
            with contextlib.suppress(OSError):
                reader.sock.send(Request(headers, method="TEARDOWN", uri=reader.url).to_bytes())
        self._forget(reader.sock.fileno())

    def poll(self, timeout_s: float) -> None:
        """Read what has come, waiting `timeout_s` for something."""
        buffer, media = self._buffer, self._media
        for number, _ in self._epoll.poll(timeout_s, EVENTS_A_TURN):
            reader = self._readers.get(number)
            if reader is None:
                if media:
                    self._hear(number)
                continue
            try:
                count, ancillary, _, _ = reader.sock.recvmsg_into((buffer,), ANCILLARY_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                count = 0
            if count == 0:
                self._forget(number)
                self.lost += 1
            elif reader.carry:
                self._hop(reader, reader.carry + buffer[:count], arrival_s(ancillary))
            else:
                self._scan(reader, buffer, count, arrival_s(ancillary))

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

    def _sockets(self, reader: Reader) -> Iterator[tuple[dict[int, Reader], socket.socket]]:
        """Its sockets, each with the table it stands in."""
        yield self._readers, reader.sock
        if reader.ear is not None:
            yield self._media, reader.ear.media
            yield self._control, reader.ear.control

    def _hear(self, number: int) -> None:
        """A UDP socket has something; none if its session was dropped in the same turn."""
        reader = self._media.get(number)
        if reader is not None and reader.ear is not None:
            reader.ear.hear(self._buffer)
        elif (reader := self._control.get(number)) is not None and reader.ear is not None:
            reader.report = reader.ear.report() or reader.report

    def _forget(self, number: int) -> None:
        reader = self._readers[number]
        for socks, one in self._sockets(reader):
            del socks[one.fileno()]
            self._epoll.unregister(one.fileno())
        reader.close()

    def _hop(self, reader: Reader, data: bytes, arrived_s: float) -> None:
        reader.carry = b""
        self._scan(reader, bytearray(data), len(data), arrived_s)

    def _scan(self, reader: Reader, buffer: bytearray, count: int, arrived_s: float) -> None:
        """Hop over `count` bytes, which came at `arrived_s`, from packet to packet."""
        position = reader.need
        if position > count:
            reader.need -= count
            return
        if reader.ends_frame is not None:
            self._frame(reader, reader.ends_frame, arrived_s)
            reader.ends_frame = None
        unpack = _HEAD.unpack_from
        size = _HEAD.size
        while position + size <= count:
            _, channel, length, _, kind, sequence, stamp = unpack(buffer, position)
            end = position + 4 + length
            if channel == 0:
                if kind & _MARKER:
                    reader.sequence = sequence
                    if end <= count:
                        self._frame(reader, stamp, arrived_s)
                    else:
                        reader.ends_frame = stamp
            elif position + _REPORT_BYTES > count:
                break
            elif kind == rtp.RTCP_SENDER_REPORT:
                self._answer(reader, bytes(buffer[position + 4 : end]))
            position = end
        reader.need = max(0, position - count)
        reader.carry = bytes(buffer[position:count])

    def _answer(self, reader: Reader, data: bytes) -> None:
        """A sender report came inside the connection."""
        reader.report = report = rtp.SenderReport.from_bytes(data)
        with contextlib.suppress(OSError):
            reader.sock.send(frame_interleaved(1, reply(report, reader.sequence)))

    def _frame(self, reader: Reader, stamp: int, arrived_s: float) -> None:
        reader.frames += 1
        if reader.frames == 1:
            reader.first_frame_s = time.monotonic() - reader.began_s
        else:
            reader.missed += max(1, _ticks(reader.stamp, stamp) // self._step_ticks) - 1
        reader.stamp = stamp
        window, report = self._window, reader.report
        if window is None or report is None:
            return
        captured_s = report.wall_s + _ticks(report.timestamp, stamp) / rtp.CLOCK_HZ
        if window.from_s <= captured_s < window.to_s:
            window.late_s.append(arrived_s - captured_s)
            window.unread_s.append(time.time() - arrived_s)


def _ticks(before: int, after: int) -> int:
    """From one time stamp to another one near it, forward or back, over the wrap."""
    return (after - before + (1 << 31) & 0xFFFFFFFF) - (1 << 31)


def _connected(host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=HANDSHAKE_TIMEOUT_S)
    except TimeoutError as error:
        raise PeerTimeout(f"{host}:{port}: no answer", hint="the server is overloaded") from error
    except OSError as error:
        raise LinkDown(f"{host}:{port}: {error.strerror}", hint="is the server up?") from error


def _handshake(
    sock: socket.socket, url: str, offer: str, track: str, *, hurry: bool
) -> tuple[str, bytes]:
    """Up to the answer to PLAY; returns the session, and the bytes that came behind it."""
    codec = RtspCodec()
    steps = [
        ("OPTIONS", url, ()),
        ("DESCRIBE", url, (("Accept", "application/sdp"),)),
        ("SETUP", f"{url}/{track}", (("Transport", offer),)),
    ]
    session = ""
    for number in range(0, len(steps), 3 if hurry else 1):
        asked = steps[number : number + 3] if hurry else steps[number : number + 1]
        _ask(sock, asked, number + 1)
        for step in asked:
            answer = _response(sock, codec, step)
            session = (answer.header("Session") or session).partition(";")[0]
    play = ("PLAY", url, (("Session", session),))
    _ask(sock, [play], len(steps) + 1)
    _response(sock, codec, play)
    return session, codec.take_rest()


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
        if event is not None:
            continue
        data = sock.recv(BUFFER_BYTES)
        if not data:
            raise LinkDown("the server closed the connection", hint="is the camera offline?")
        codec.feed(data)
    if event.status != 200:
        raise PeerRefused(
            f"{step[0]} {step[1]}: {event.status} {event.reason}", hint="look at the path"
        )
    return event
