"""An application's sandbox, made by bubblewrap: its files, its processes and its network alone.

It sees the container's files (`/panorama` and whatever else is at the archive's root), its
storage and logs, a temporary file system, and this machine's programs and libraries to read; no
other process, none of this machine's files or environment, and a loopback of its own. What it
may reach is brought in as sockets (`inside`). When its first process ends, all of them do.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import harness
from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from harness.runtime.spec import ApplicationSpec

HERE = Path(__file__).parent
PROBE_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 1.0  # for a system call or two; the harness waits meanwhile
UP_TIMEOUT_S = 30.0
_CREDENTIALS = struct.Struct("3i")
_UNSHARE = (
    *("--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0", "--die-with-parent"),
    *("--cap-drop", "ALL", "--cap-add", "CAP_NET_BIND_SERVICE"),  # containers may open port 80
)
# What programs need of a system, and nothing that says whose it is.
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl", "ca-certificates")
_OWN_ETC = {
    "hosts": b"127.0.0.1 localhost\n",
    "passwd": b"root:x:0:0:root:/tmp:/bin/sh\n",
    "group": b"root:x:0:\n",
    "nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\n",
}
_TAKEN = frozenset(("proc", "dev", "tmp", "run", "etc", "sys", *(p[1:] for p in _SYSTEM)))


class Sockets(Protocol):
    """Makes sockets where the application is."""

    def listen(self, port: int) -> socket.socket: ...

    def stream(self) -> socket.socket: ...

    def datagrams(self) -> tuple[socket.socket, socket.socket]: ...


@dataclass(frozen=True, slots=True)
class Isolation:
    """How an application is isolated: `program` is bubblewrap.

    `enter` is awaited when its network is there and before its first instruction runs.
    """

    program: str
    enter: Callable[[Sockets], Awaitable[None]]


@lru_cache(maxsize=1)
def bubblewrap() -> tuple[str | None, str]:
    """Bubblewrap's path, or None and why there is none that works."""
    path = shutil.which("bwrap")
    if path is None:
        return None, "bubblewrap (bwrap) is not installed"
    command = [path, *_UNSHARE, "--ro-bind", "/", "/", "true"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"bubblewrap does not run: {error}"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return None, f"bubblewrap may not make namespaces: {said[-1] if said else done.returncode}"
    return path, ""


class Maker:
    """The harness's end of `inside`: asks for sockets, one at a time, and gets them at once."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._broken = False
        self._waiting = False
        self._ended = False

    async def up(self) -> int:
        """The application's process id, once its sandbox stands. Raises `EngineError`."""
        self.theirs.close()
        self._ours.settimeout(UP_TIMEOUT_S)
        self._waiting = True
        try:
            return await asyncio.to_thread(self._here)
        except OSError as error:
            raise EngineError(f"the application's sandbox did not come up: {error}") from None
        finally:
            self._waiting = False
            if self._ended:
                self._ours.close()
            else:
                self._ours.settimeout(ANSWER_TIMEOUT_S)

    def _here(self) -> int:
        said, ancillary, _, _ = self._ours.recvmsg(16, socket.CMSG_SPACE(_CREDENTIALS.size))
        for level, kind, data in ancillary:
            if said and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                return int(_CREDENTIALS.unpack(data)[0])
        raise ConnectionResetError(errno.ECONNRESET, "it ended")

    def go(self) -> None:
        self._ours.send(b"go")

    def close(self) -> None:
        """A thread that still waits on it is told to stop, and it is closed after that."""
        self._ended = True
        self.theirs.close()
        if not self._waiting:
            self._ours.close()
        else:
            with contextlib.suppress(OSError):
                self._ours.shutdown(socket.SHUT_RDWR)

    def listen(self, port: int) -> socket.socket:
        """A socket that listens on 127.0.0.1 in the sandbox. Raises `OSError`, as the others."""
        (sock,) = self._ask(f"listen {port}", 1)
        return sock

    def stream(self) -> socket.socket:
        """A TCP socket that is not connected yet."""
        (sock,) = self._ask("stream", 1)
        return sock

    def datagrams(self) -> tuple[socket.socket, socket.socket]:
        """Two UDP sockets on ports in a row, the first one even."""
        first, second = self._ask("datagrams", 2)
        return first, second

    def _ask(self, request: str, count: int) -> list[socket.socket]:
        if self._broken:
            raise OSError(errno.EPIPE, "the application's sandbox makes no more sockets")
        try:
            said, made = self._asked(request, count)
        except OSError:
            self._broken = True
            raise
        if said != b"ok" or len(made) != count:
            for sock in made:
                sock.close()
            number = int(said) if said.isdigit() else errno.ECONNRESET
            raise OSError(number, f"the application's sandbox: {request}: {os.strerror(number)}")
        for sock in made:
            sock.setblocking(False)
        return made

    def _asked(self, request: str, count: int) -> tuple[bytes, list[socket.socket]]:
        self._ours.send(request.encode())
        space = socket.CMSG_SPACE(count * array.array("i").itemsize)
        space += socket.CMSG_SPACE(_CREDENTIALS.size)
        said, ancillary, _, _ = self._ours.recvmsg(16, space, socket.MSG_CMSG_CLOEXEC)
        numbers = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
        return said, [socket.socket(fileno=number) for number in numbers]


def command(
    program: str, spec: ApplicationSpec, logs: Path, etc: Mapping[str, int], maker_fd: int
) -> list[str]:
    """The command that becomes the application in its sandbox; `etc`: open files for /etc."""
    words = [program, *_UNSHARE, "--hostname", "panorama"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run"]
    for path in map(Path, _SYSTEM):
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in _ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name, number in etc.items():
        words += ["--ro-bind-data", str(number), f"/etc/{name}"]
    for path in _ours(spec):
        words += ["--ro-bind", str(path), str(path)]
    for path in sorted(spec.root.iterdir()):
        if path.name not in _TAKEN and not path.is_symlink():
            words += ["--bind", str(path.resolve()), f"/{path.name}"]
    words += ["--bind", str(spec.storage.resolve()), "/opt/aws/panorama/storage"]
    words += ["--bind", str(logs.resolve()), "/opt/aws/panorama/logs"]
    words += ["--chdir", "/", "--", sys.executable, "-I", "-S", str(HERE / "inside.py")]
    return [*words, str(maker_fd)]


def _ours(spec: ApplicationSpec) -> Iterator[Path]:
    """What the SDK is made of, and the application's models and Python packages."""
    usual = [Path(prefix) for prefix in (sys.base_prefix, sys.prefix)]
    yield from (path for path in usual if not path.is_relative_to("/usr"))
    yield Path(harness.__file__).parent
    yield from (model.path.parent for model in spec.models)
    if spec.packages is not None:
        yield spec.packages


@contextlib.contextmanager
def etc_files() -> Iterator[dict[str, int]]:
    """The sandbox's own files of /etc by name, open to be read."""
    made: dict[str, int] = {}
    try:
        for name, content in _OWN_ETC.items():
            made[name] = os.memfd_create(name)
            os.write(made[name], content)
            os.lseek(made[name], 0, os.SEEK_SET)
        yield made
    finally:
        for number in made.values():
            os.close(number)
