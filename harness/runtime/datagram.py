"""The UDP ports that a reader receives one track on: an even one and the next (RFC 3550, 11)."""

from __future__ import annotations

import contextlib
import errno
import socket

BUFFER_BYTES = 4 << 20  # what the system grants of it: a key frame comes in one burst
DATAGRAM_BYTES_MAX = 65_535
ATTEMPTS = 64  # to find an even free port with a free one above it


class PortPair:
    """Two bound, non-blocking sockets at `host`. Raises `OSError` where there are none left."""

    def __init__(self, host: str) -> None:
        self.media, self.control = _bind_pair(host)
        self.media.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)

    @property
    def port(self) -> int:
        """Of the media; reports go to the next one."""
        number: int = self.media.getsockname()[1]
        return number

    def connect(self, host: str, media: int, control: int) -> None:
        """Take datagrams of this sender alone from now on."""
        self.media.connect((host, media))
        self.control.connect((host, control))

    def report(self, data: bytes) -> None:
        """Send by the second port; what the other side does not want is nobody's loss."""
        with contextlib.suppress(OSError):
            self.control.send(data)

    def close(self) -> None:
        self.media.close()
        self.control.close()


def receive(sock: socket.socket, most: int) -> list[bytes]:
    """What has come, at most so many datagrams. Never blocks."""
    found: list[bytes] = []
    while len(found) < most:
        try:
            found.append(sock.recv(DATAGRAM_BYTES_MAX))
        except (BlockingIOError, InterruptedError):
            break
        except ConnectionRefusedError:  # of what was sent; reading takes the error away
            continue
    return found


def _bind_pair(host: str) -> tuple[socket.socket, socket.socket]:
    for _ in range(ATTEMPTS):
        one = _bind(host, 0)
        try:
            other = _bind(host, one.getsockname()[1] ^ 1)
        except OSError:
            one.close()
            continue
        return (one, other) if one.getsockname()[1] % 2 == 0 else (other, one)
    raise OSError(errno.EADDRINUSE, "no pair of free UDP ports")


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
