"""Media over UDP through an appliance's link, as a firewall lets it through (an RTSP ALG).

Over TCP media is inside the connection that the link relays. Over UDP it would pass beside it:
the camera sends to ports that the reader names in its SETUP. So the gateway of a relayed
connection reads the requests that pass and puts ports of its own in the place of the reader's,
and in the answer ports of its own in the place of the camera's; what comes to those it hands on.
The reader needs to know nothing, and no privileges are needed. `Transport` is not covered by
Digest (RFC 7616, 3.4.3), so a rewritten request is still the reader's.

It looks at what the camera says only while a SETUP over UDP is unanswered, which a reader sends
before media flows; else, and from the first thing on that is no RTSP, bytes pass as they are.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, TypeAlias

from harness.camera.serve.udp import bind_pair

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

Address: TypeAlias = tuple[str, int]
Pair: TypeAlias = "tuple[socket.socket, socket.socket]"
Ports: TypeAlias = tuple[int, int]  # of media, and of reports about it

BUFFER_BYTES = 4 << 20  # what the system grants of it
DATAGRAM_BYTES_MAX = 65_535
DATAGRAMS_A_TURN = 64
RELAYS_MAX = 8  # of one connection: more tracks than any reader sets up
HEAD_BYTES_MAX = 16 << 10
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,7})[ \t]*\r?$", re.I | re.M)
_CSEQ = re.compile(rb"^cseq[ \t]*:[ \t]*(\d+)", re.I | re.M)
_TRANSPORT = re.compile(rb"^transport[ \t]*:.*$", re.I | re.M)
_PORTS = re.compile(rb"(client_port|server_port)\s*=\s*(\d{1,5})(?:\s*-\s*(\d{1,5}))?", re.I)
_GRANTED = re.compile(rb"RTSP/1\.[0-9] 200 ")


class _Relay:
    """Datagrams of one track and their reports, both ways, between a camera and a reader.

    `outer` faces the camera, `inner` the reader. What cannot be handed on is lost, as on any way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        audible: Callable[[], bool],
        pair: Callable[[], Pair] | None,
    ) -> None:
        self._loop = loop
        self._audible = audible
        self.outer = bind_pair(host)
        self.inner: tuple[socket.socket, socket.socket] = self.outer
        try:
            self.inner = pair() if pair is not None else bind_pair(host)
            self.outer[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        except OSError:
            self.close()
            raise

    def connect(self, camera: tuple[Address, Address], reader: tuple[Address, Address]) -> None:
        """Hand on from now on: media and reports of `camera` to `reader`, and back."""
        for outer, inner, there, here in zip(self.outer, self.inner, camera, reader, strict=True):
            outer.connect(there)
            inner.connect(here)
            self._loop.add_reader(outer, self._pass, outer, inner)
            self._loop.add_reader(inner, self._pass, inner, outer)

    def close(self) -> None:
        for sock in {*self.outer, *self.inner}:
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock)
                sock.close()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data = source.recv(DATAGRAM_BYTES_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # the port at the other end is closed; reading takes the error away
                continue
            if self._audible():
                try:
                    sink.send(data)
                except OSError:
                    continue


class Gateway:
    """Of one relayed connection, whose far end is `camera`; `audible` says whether UDP passes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        camera: str,
        audible: Callable[[], bool],
        pair: Callable[[], Pair] | None = None,
    ) -> None:
        """`pair` makes the sockets that face the reader, where it has a network of its own."""
        self._pair = pair
        self._loop = loop
        self._host = host
        self._camera = camera
        self._audible = audible
        self._requests: _Splitter | None = _Splitter()
        self._answers: _Splitter | None = None  # only while a SETUP is unanswered
        self._asked: dict[bytes, tuple[_Relay, Ports]] = {}  # by CSeq
        self._open: list[_Relay] = []

    def request(self, data: bytes) -> bytes:
        """What the reader says, as it is handed on to the camera."""
        if self._requests is None:
            return data
        passed = b"".join(map(self._setup, self._requests.feed(data)))
        if self._requests.astray:
            self._requests = None
        return passed

    def answer(self, data: bytes) -> bytes:
        """What the camera says, as it is handed on to the reader."""
        if self._answers is None:
            return data
        passed = b"".join(map(self._granted, self._answers.feed(data)))
        if not self._asked or self._answers.astray:
            passed += self._answers.rest()
            self._answers = None
        return passed

    def close(self) -> None:
        for relay in (*self._open, *(relay for relay, _ in self._asked.values())):
            relay.close()
        self._open.clear()
        self._asked.clear()

    def _setup(self, message: bytes) -> bytes:
        """A SETUP over UDP gets ports of a new relay in place of the reader's."""
        theirs = _ports(message, b"client_port") if message.startswith(b"SETUP ") else None
        if theirs is None or len(self._open) + len(self._asked) >= RELAYS_MAX:
            return message
        try:
            relay = _Relay(self._loop, self._host, self._audible, self._pair)
        except OSError:
            return message  # no ports left: media goes directly, as if there were no gateway
        self._asked[_sequence(message)] = relay, theirs
        self._answers = self._answers or _Splitter()
        return _with_ports(message, {b"client_port": _numbers(relay.outer)})

    def _granted(self, message: bytes) -> bytes:
        """The answer gets ports of the relay in place of the camera's."""
        relay, theirs = self._asked.pop(_sequence(message), (None, (0, 0)))
        if relay is None:
            return message
        ours = _ports(message, b"server_port")
        if ours is None or not _GRANTED.match(message):
            relay.close()
            return message
        self._open.append(relay)
        relay.connect(_addresses(self._camera, ours), _addresses(self._host, theirs))
        return _with_ports(message, {b"client_port": theirs, b"server_port": _numbers(relay.inner)})


class _Splitter:
    """Bytes of one direction to whole messages, byte for byte: RTSP, or media between it.

    What is neither is handed out as it is, and then the splitter has gone `astray`.
    """

    def __init__(self) -> None:
        self.astray = False
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while (size := self._size()) and len(self._buffer) >= size:
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            yield message
        if self.astray:
            yield self.rest()

    def rest(self) -> bytes:
        """What is no whole message."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _size(self) -> int:
        """Of the next message; 0 while that cannot be told."""
        buffer = self._buffer
        if buffer[:1] == b"$":
            return 4 + int.from_bytes(buffer[2:4], "big") if len(buffer) >= 4 else 0
        head = _HEAD_END.search(buffer)
        if head is None:
            self.astray = len(buffer) > HEAD_BYTES_MAX
            return 0
        body = _LENGTH.search(buffer, 0, head.end())
        return head.end() + (int(body[1]) if body else 0)


def _sequence(message: bytes) -> bytes:
    found = _CSEQ.search(message)
    return found[1] if found else b""


def _numbers(pair: tuple[socket.socket, socket.socket]) -> Ports:
    return pair[0].getsockname()[1], pair[1].getsockname()[1]


def _addresses(host: str, ports: Ports) -> tuple[Address, Address]:
    return (host, ports[0]), (host, ports[1])


def _ports(message: bytes, which: bytes) -> Ports | None:
    transport = _TRANSPORT.search(message)
    for name, first, second in _PORTS.findall(transport[0] if transport else b""):
        if name.lower() == which:
            return int(first), int(second) if second else int(first) + 1
    return None


def _with_ports(message: bytes, ports: Mapping[bytes, Ports]) -> bytes:
    """`message` with other numbers in its Transport, which is in its head."""

    def put(found: re.Match[bytes]) -> bytes:
        pair = ports.get(found[1].lower())
        return found[0] if pair is None else b"%b=%d-%d" % (found[1], *pair)

    return _TRANSPORT.sub(lambda line: _PORTS.sub(put, line[0]), message, count=1)
