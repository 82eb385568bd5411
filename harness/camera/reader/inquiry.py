"""What a camera answers to a plain DESCRIBE: status, authentication, session description.

Written apart from the camera server's RTSP code on purpose: a probe that shares the server's
code shares its mistakes. One question, one answer (RFC 2326, 10.2); sockets with time-outs.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from harness.errors import Corrupt, InputError, LinkDown, PeerTimeout

PORTS = {"rtsp": 554, "rtsps": 322}
ANSWER_BYTES_MAX = 128 << 10
_STATUS = re.compile(rb"RTSP/1\.0 ([0-9]{3}) ?([^\r\n]*)")
_CHALLENGE = re.compile(r"^www-authenticate[ \t]*:[ \t]*(\w+)(.*)$", re.IGNORECASE | re.MULTILINE)
_ALGORITHM = re.compile(r"algorithm\s*=\s*\"?([\w-]+)", re.IGNORECASE)
_FRAME_RATE = re.compile(r"^a=framerate:\s*([0-9.]+)", re.MULTILINE)
_LENGTH = re.compile(r"^content-length[ \t]*:[ \t]*([0-9]{1,7})", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Target:
    """A camera's address without credentials, and the credentials."""

    url: str
    host: str
    port: int
    secure: bool
    username: str
    password: str

    @classmethod
    def parse(cls, url: str, username: str = "", password: str = "") -> Target:
        """Credentials in `url` count where none are given. Raises `InputError`."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InputError(f"an address that is none: {error}", hint=_HINT) from error
        if parts.scheme not in PORTS or not parts.hostname:
            raise InputError(f"an address of scheme {parts.scheme!r}", hint=_HINT)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return cls(
            bare,
            parts.hostname,
            port or PORTS[parts.scheme],
            parts.scheme == "rtsps",
            username or unquote(parts.username or ""),
            password or unquote(parts.password or ""),
        )

    @property
    def full_url(self) -> str:
        """With the credentials, for a client that wants them there. Never to be shown."""
        if not self.username:
            return self.url
        user = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}"
        return self.url.replace("://", f"://{user}@", 1)


_HINT = "rtsp://host[:port]/path, or rtsps://"


@dataclass(frozen=True, slots=True)
class Answer:
    """`schemes` are the challenges, such as "digest MD5"; `frame_rate` is what the SDP says."""

    status: int
    reason: str
    schemes: tuple[str, ...]
    frame_rate: float | None


def describe(target: Target, timeout_s: float) -> Answer:
    """Ask once, without credentials. Raises `LinkDown`, `PeerTimeout` or `Corrupt`."""
    request = (
        f"DESCRIBE {target.url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n"
        "User-Agent: harness-probe\r\n\r\n"
    )
    where = f"{target.host}:{target.port}"
    try:
        with _connect(target, timeout_s) as connection:
            connection.sendall(request.encode())
            return _parse(_receive(connection), where)
    except TimeoutError as error:
        raise PeerTimeout(
            f"{where} does not answer within {timeout_s:g} s",
            hint="check that the camera has power and that nothing blocks the way to it",
        ) from error
    except ConnectionRefusedError as error:
        raise LinkDown(
            f"{where} refuses the connection", hint="nothing listens there: check host and port"
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LinkDown(f"no connection to {where}: {reason}", hint="check host and port") from error


def _connect(target: Target, timeout_s: float) -> socket.socket:
    plain = socket.create_connection((target.host, target.port), timeout_s)
    if not target.secure:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # cameras sign their certificates themselves
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        return context.wrap_socket(plain, server_hostname=target.host)
    except OSError:
        plain.close()
        raise


def _receive(connection: socket.socket) -> bytes:
    """The whole answer, or what came of it before the other side hung up."""
    data = b""
    while len(data) < ANSWER_BYTES_MAX:
        head, end, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head.decode("latin-1"))
        if end and len(body) >= (int(length[1]) if length else 0):
            break
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    return data


def _parse(data: bytes, where: str) -> Answer:
    status = _STATUS.match(data)
    if status is None and not data:
        raise LinkDown(f"{where} hangs up without an answer", hint="is the camera online?")
    if status is None:
        raise Corrupt(f"{where} does not speak RTSP 1.0", hint="check the port")
    text = data.decode("latin-1")
    rate = _FRAME_RATE.search(text.replace("\r", ""))
    schemes = tuple(_scheme(*found) for found in _CHALLENGE.findall(text.replace("\r", "")))
    reason = status[2].decode("latin-1").strip()
    return Answer(int(status[1]), reason, schemes, float(rate[1]) if rate else None)


def _scheme(kind: str, parameters: str) -> str:
    if kind.lower() != "digest":
        return kind.lower()
    algorithm = _ALGORITHM.search(parameters)
    return f"digest {algorithm[1].upper() if algorithm else 'MD5'}"
