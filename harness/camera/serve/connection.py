"""One connection to the camera server: bytes in, requests to the dialogue, bytes out.

A connection may be the RTSP connection itself, or one half of a tunnel through HTTP: the GET
half sends, the POST half brings requests for the dialogue of the GET half.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Protocol

from harness.camera.serve import dialogue
from harness.camera.serve.dialogue import Dialogue
from harness.camera.serve.outbox import KERNEL_BUFFER_BYTES, Outbox
from harness.camera.wire import tunnel
from harness.camera.wire.rtsp import Interleaved, Request, Response, RtspCodec, RtspError

if TYPE_CHECKING:
    import asyncio

    from harness.camera.serve.live import Camera
    from harness.camera.serve.session import Session
    from harness.camera.wire.tls import TlsSocket

READ_BYTES_MAX = 16 << 10  # one TLS record; so much a turn, then others have theirs
FIRST_REQUEST_S_MAX = 10.0  # a connection that asks nothing by then is closed
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Site(dialogue.Site, Protocol):
    """What a connection needs of its server."""

    tunnels: dict[str, Connection] | None
    tls: bool

    def gone(self, connection: Connection) -> None:
        """The connection is closed."""


class Connection:
    """Owns an accepted, non-blocking socket until `close` or `abort`."""

    def __init__(
        self,
        site: Site,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket | TlsSocket,
        peer: tuple[str, int],
    ) -> None:
        self._site = site
        self.loop = loop
        self._socket = sock
        self._codec = RtspCodec()
        self._head: bytearray | None = None if site.tunnels is None else bytearray()
        self._cookie = ""  # of the GET half of a tunnel
        self._get_half: Connection | None = None  # where this is a POST half
        self._post_half: Connection | None = None
        self._base64 = tunnel.Base64Stream()
        self._asked = False
        self.hushed_for: Camera | None = None
        self.peer = peer
        self.heard_s = time.monotonic()
        self.outbox = Outbox(loop, sock, self.close)
        self._dialogue = Dialogue(site, self)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
        loop.add_reader(sock, self._readable)

    @property
    def session(self) -> Session | None:
        return self._dialogue.session

    @property
    def here(self) -> str:
        return str(self._socket.getsockname()[0])

    @property
    def wrapped(self) -> bool:
        return self._site.tls or bool(self._cookie)

    # --- ends -------------------------------------------------------------------------------

    def close(self) -> None:
        """End the session and close the socket; what was not sent is settled as dropped."""
        if self.outbox.closed:
            return
        self.loop.remove_reader(self._socket)
        self.outbox.close()
        self._dialogue.end()
        self._socket.close()
        self._site.gone(self)
        self._leave_tunnel()

    def leave(self) -> None:
        """Close because the server stops: the reader is told so."""
        self._dialogue.end(goodbye=True)
        self.close()

    def abort(self) -> None:
        """Close with a reset, as a device does that lost its power or its network stack."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def break_off(self) -> None:
        """End, then reset: after both the reader's next send() fails with EPIPE."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self.abort()

    def hush(self, camera: Camera) -> None:
        """Be silent from now on, and stay until the reader leaves or `camera` is healed."""
        self.hushed_for = camera
        if self._post_half is not None:
            self._post_half.hushed_for = camera
        self._dialogue.hush()
        self.outbox.hush()

    def sweep(self, now_s: float) -> None:
        """Once in a while: close what is dead, report to who watches."""
        if self.hushed_for is not None:
            return
        session = self._dialogue.session
        if session is not None:
            if session.lively:
                self.heard_s = now_s  # it fetches its frames, so it lives
            self._dialogue.report(now_s)
        elif self._dialogue.busy:
            self.heard_s = now_s
        elif self._get_half is not None:
            self.heard_s = self._get_half.heard_s
        allowed_s = self._dialogue.timeout_s
        if not self._asked:
            allowed_s = min(allowed_s, FIRST_REQUEST_S_MAX)
        if now_s - self.heard_s > allowed_s:
            self.close()

    def alive(self) -> None:
        self.heard_s = time.monotonic()

    # --- reading ----------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES_MAX)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self.hushed_for is not None:
            return
        try:
            if self._head is not None:
                self._begin(data)
            elif self._get_half is not None:
                self._get_half.take(self._base64.feed(data))
            else:
                self.take(data)
        except RtspError as error:
            self._refuse(error)

    def take(self, data: bytes) -> None:
        """RTSP of the reader. Whole messages are a sign of life, bytes alone are not."""
        self._codec.feed(data)
        try:
            while not self.outbox.closed and (event := self._codec.next_event()) is not None:
                if isinstance(event, Request):
                    self._asked = True
                    self.alive()
                    self._dialogue.answer(event)
                elif isinstance(event, Interleaved):
                    self._dialogue.receive_control(event.channel, event.payload)
        except RtspError as error:
            self._refuse(error)

    def _refuse(self, error: RtspError) -> None:
        self.outbox.send(Response(status=error.status).to_bytes())
        self.close()

    # --- tunnels ----------------------------------------------------------------------------

    def _begin(self, data: bytes) -> None:
        """The first bytes: RTSP, or the head of a tunnel's half."""
        assert self._head is not None
        self._head += data
        if tunnel.may_begin(bytes(self._head[:5])):
            head = tunnel.take_head(self._head)
            if head is None:
                return
            self._asked = True
            self.alive()
            if not self._join(head):
                self.close()
                return
        rest, self._head = bytes(self._head), None
        if self._get_half is not None:
            self._get_half.take(self._base64.feed(rest))
        elif rest:
            self.take(rest)

    def _join(self, head: tunnel.Head) -> bool:
        """Become a half of a tunnel; False where there is no such tunnel, or one already."""
        tunnels = self._site.tunnels
        assert tunnels is not None
        other = tunnels.get(head.cookie)
        if head.method == "GET":
            if other is not None:
                self.outbox.send(tunnel.refusal(400, "Bad Request"))
                return False
            tunnels[head.cookie], self._cookie = self, head.cookie
            self.outbox.send(tunnel.greeting())
            return True
        if other is None or other.peer[0] != self.peer[0]:
            self.outbox.send(tunnel.refusal(404, "Not Found"))
            return False
        if other._post_half is not None:  # readers may replace it (Apple's paper, "POST")
            other._post_half.close()
        self._get_half, other._post_half = other, self
        return True

    def _leave_tunnel(self) -> None:
        tunnels = self._site.tunnels
        if tunnels is not None and self._cookie:
            tunnels.pop(self._cookie, None)
        if self._post_half is not None:
            self._post_half.close()
        if self._get_half is not None and self._get_half._post_half is self:
            self._get_half._post_half = None
        self._get_half = self._post_half = None
