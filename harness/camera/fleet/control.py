"""The control socket of running cameras: a Unix domain socket that only its owner may use.

One JSON object a line each way (`desk.py`). The folder is private (0700), the socket 0600.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.camera.fleet import desk
from harness.errors import EngineError, InputError

if TYPE_CHECKING:
    from harness.camera.fleet.cameras import Keeper

FOLDER_NAME = "edge-hil-harness"
SUFFIX = ".camera.sock"
CLIENTS_MAX = 16
IDLE_S_MAX = 60.0
ANSWER_TIMEOUT_S = 620.0  # more than a worker may take
PATH_BYTES_MAX = 107  # of sun_path on Linux, less its zero byte


def default_folder() -> Path:
    """`$XDG_RUNTIME_DIR/edge-hil-harness`, or one for this user in the temporary folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime:
        return Path(runtime) / FOLDER_NAME
    return Path(tempfile.gettempdir()) / f"{FOLDER_NAME}-{os.getuid()}"


def running(folder: Path | None = None) -> list[Path]:
    """Control sockets that somebody listens at."""
    folder = default_folder() if folder is None else folder
    return [path for path in sorted(folder.glob(f"*{SUFFIX}")) if _answers(path)]


def find(path: Path | None) -> Path:
    """The socket to talk to: `path`, or the only one there is. Raises `InputError`."""
    if path is not None:
        return path
    found = running()
    if not found:
        raise InputError("no cameras run", hint="start some: `harness camera serve PROFILE`")
    if len(found) > 1:
        names = ", ".join(str(one) for one in found)
        raise InputError(f"{len(found)} sets of cameras run", hint=f"--control one of: {names}")
    return found[0]


class ControlServer:
    """Answers for `keeper` at `path`; an asynchronous context manager."""

    def __init__(self, keeper: Keeper, path: Path | None = None) -> None:
        self._keeper = keeper
        self._wanted = path
        self._clients: set[asyncio.Task[None]] = set()
        self.path = path or default_folder() / f"{os.getpid()}{SUFFIX}"

    async def __aenter__(self) -> Self:
        if self._wanted is None:
            _private_folder(self.path.parent)
        listening = _listen(self.path)
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listening, limit=desk.REQUEST_BYTES_MAX
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self._server.wait_closed()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) <= CLIENTS_MAX:
                await self._converse(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # gone, silent too long, or the end: all the same to this end
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_S_MAX):
                try:
                    line = await reader.readline()
                except ValueError:  # longer than the limit
                    return
            if not line:
                return
            writer.write(await desk.answer(self._keeper, line))
            async with asyncio.timeout(IDLE_S_MAX):
                await writer.drain()


async def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """One request to the cameras behind `path`. Raises what they answer, and `InputError`."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=desk.REPLY_BYTES_MAX)
            try:
                writer.write(desk.encode(request))
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise InputError(
            f"no cameras answer at {path}", hint="`harness camera serve` says where its socket is"
        ) from error
    return desk.checked(desk.decode(line))


def _private_folder(folder: Path) -> None:
    """Make it, 0700; one of somebody else's in its place is refused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InputError(
            f"{folder} is not private to this user", hint="remove it, or set XDG_RUNTIME_DIR"
        )


def _listen(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise InputError(
            f"the control socket's path is too long: {path}",
            hint=f"at most {PATH_BYTES_MAX} bytes: --control PATH",
        )
    if path.exists():
        if not path.is_socket() or _answers(path):
            raise InputError(f"{path} is in use", hint="--control PATH: another one")
        path.unlink()  # of a process that died
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        before = os.umask(0o177)  # for the whole process, and for no longer than this
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen()
    except OSError as error:
        listening.close()
        raise EngineError(
            f"cannot make the control socket {path}: {error.strerror}", hint="--control PATH"
        ) from error
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
