"""A TLS socket that behaves like a plain one: what cannot be done now is `BlockingIOError`.

The server's connections read and write non-blocking sockets themselves. RTSP over TLS is the
same protocol on another socket (RFC 7826, 19.2 describes what cameras call `rtsps`).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

_NOT_NOW = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsSocket:
    """Owns `sock`, which is accepted and non-blocking. The handshake happens while reading."""

    __slots__ = ("_ready", "_tls")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._ready = False

    def fileno(self) -> int:
        return self._tls.fileno()

    def getsockname(self) -> tuple[str, int]:
        name = self._tls.getsockname()
        return str(name[0]), int(name[1])

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._tls.setsockopt(level, option, value)

    def recv(self, size: int) -> bytes:
        """At most one TLS record, so nothing is left behind that the selector cannot see."""
        try:
            if not self._ready:
                self._tls.do_handshake()  # its answers fit the buffer of a new connection
                self._ready = True
            return self._tls.recv(size)
        except _NOT_NOW as error:
            raise BlockingIOError from error

    def send(self, data: bytes | bytearray) -> int:
        """All that fits. After a short count the next call must go on with the same bytes."""
        done = 0
        with memoryview(data) as view:
            while done < len(view):
                try:
                    done += self._tls.send(view[done:])
                except _NOT_NOW as error:
                    if done == 0:
                        raise BlockingIOError from error
                    break
        return done

    def shutdown(self, how: int) -> None:
        """Of the connection below: a TLS alert does not say so."""
        self._tls.shutdown(how)

    def close(self) -> None:
        self._tls.close()
