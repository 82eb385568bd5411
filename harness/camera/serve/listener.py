"""A listening port of the camera server: open, closed, or a black hole."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING

from harness.camera.serve import capacity
from harness.camera.serve.connection import Connection
from harness.camera.serve.trouble import Port
from harness.camera.wire.rtsp import Response
from harness.camera.wire.tls import TlsSocket
from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.camera.serve.live import Camera
    from harness.camera.serve.server import CameraServer

_FULL = Response(status=503).to_bytes()
LISTEN_BACKLOG = 512
ACCEPTS_A_TURN = 64
ACCEPT_RETRY_S = 0.5  # when the process has no file descriptor left


class Listener:
    """Makes a `Connection` of what comes, for the cameras `find` knows."""

    def __init__(
        self, server: CameraServer, host: str, port: int, find: Callable[[str], Camera | None]
    ) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self.find = find
        self.session_timeout_s = server.session_timeout_s
        self.segment = server.segment
        self.tls = server.tls is not None
        self.tunnels: dict[str, Connection] | None = {} if server.http_tunnel else None
        self.connections: set[Connection] = set()
        self.state = Port.CLOSED
        self._plug: socket.socket | None = None
        self._socket = _bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        try:
            self.set(Port.OPEN)
        except BaseException:
            self._socket.close()
            raise

    def gone(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def set(self, state: Port) -> None:
        """Open the port, close it or let it swallow what comes; connections that are there stay.

        A closed port is bound still, so that nobody else gets it, and does not listen: connecting
        is refused. A swallowing port has a queue for one connection, which a plug of our own
        takes: the kernel then drops every further SYN without an answer, and who connects tries
        again until it gives up (Linux: `tcp_conn_request`, a full accept queue).
        """
        if state is self.state:
            return
        self._stop()
        if state is Port.CLOSED:
            address = self._socket.getsockname()
            self._socket.close()
            self._socket = _bound(*address[:2])
        elif state is Port.SWALLOWING:
            self._socket.listen(0)
            self._plug = socket.socket(self._socket.family, socket.SOCK_STREAM)
            self._plug.setblocking(False)
            self._plug.connect_ex(self._socket.getsockname())
        else:
            self._listen()
            self._loop.add_reader(self._socket, self._accept)
        self.state = state

    def _listen(self) -> None:
        try:
            self._socket.listen(LISTEN_BACKLOG)
        except OSError as error:
            host, port = self._socket.getsockname()[:2]
            raise _not_ours(host, port, error) from error

    def _stop(self) -> None:
        """Accept nothing more."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._loop.remove_reader(self._socket)
        if self._plug is not None:
            self._plug.close()
            self._plug = None

    def close(self) -> None:
        """Stop listening; connections stay until they are closed or aborted."""
        self._stop()
        self._socket.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._loop.remove_reader(self._socket)
                self._retry = self._loop.call_later(ACCEPT_RETRY_S, self._accept_again)
                return
            sock.setblocking(False)
            context = self._server.tls
            if self._server.connections >= capacity.connections_max():
                if context is None:
                    with contextlib.suppress(OSError):
                        sock.send(_FULL)
                sock.close()
                continue
            peer = (str(address[0]), int(address[1]))
            link = sock if context is None else TlsSocket(sock, context)
            self.connections.add(Connection(self, self._loop, link, peer))

    def _accept_again(self) -> None:
        self._loop.add_reader(self._socket, self._accept)


def _bound(host: str, port: int) -> socket.socket:
    """A socket at `port`, not listening. Raises `EngineError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise _not_ours(host, port, error) from error
    return sock


def _not_ours(host: str, port: int, error: OSError) -> EngineError:
    return EngineError(
        f"cannot listen on {host}:{port}: {error.strerror}",
        hint="another process holds the port; port 0 takes a free one",
    )
