"""One application process: started, listened to, stopped, and never left behind.

The process leads its own process group; the group is killed when the process ends, the process
is killed when the harness dies. Where bubblewrap is there it runs in a sandbox (`sandbox`), else
in a mount namespace of its own (`launch`). Its environment holds what the container's would.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from harness.errors import CapabilityMissing, Corrupt, EngineError
from harness.runtime import control
from harness.runtime.console import Console
from harness.runtime.sandbox import Isolation, Maker, etc_files
from harness.runtime.sandbox import command as sandboxed
from harness.runtime.screen import PictureReader
from harness.runtime.spec import FILES_VARIABLE, ApplicationSpec, CameraInput, ModelFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping

__all__ = ["Application", "ApplicationSpec", "CameraInput", "ModelFile"]

CONSOLE = "console_output.log"
CODE_LOGS = "code"  # what the application sees as /opt/aws/panorama/logs
CLOSE_CAMERAS_S = 1.5  # how long an application may take to close its cameras before SIGTERM
DRAIN_S = 2.0  # how long output is still read after the end, if a stray child holds it open
SIGNALLED = 128
_READ_BYTES = 1 << 16
_LINE_BYTES_MAX = 1 << 20
_HERE = Path(__file__).parent


class _Pipes:
    """Between the harness and an application, as (reading, writing) ends."""

    def __init__(self) -> None:
        self.telemetry, self.output, self.display = os.pipe(), os.pipe(), os.pipe()
        self.control = os.pipe()

    def close_theirs(self) -> None:
        for fd in (self.telemetry[1], self.output[1], self.display[1], self.control[0]):
            os.close(fd)

    def close_ours(self) -> None:
        for fd in (self.telemetry[0], self.output[0], self.display[0], self.control[1]):
            os.close(fd)


class Application:
    """The process of one application instance: started once, then waited for or stopped.

    Its output goes to `<logs>/console_output.log` (rotating, at most 11 MB), what it writes to
    `/opt/aws/panorama/logs` to `<logs>/code/`.
    """

    def __init__(self) -> None:
        self.malformed = 0  # telemetry lines that were not JSON objects
        self._process: asyncio.subprocess.Process | None = None
        self._console: Console | None = None
        self._watch: asyncio.Task[int] | None = None
        self._control_fd = -1
        self._maker: Maker | None = None
        self._inner_pid = 0  # of the application in its sandbox, where it has one
        self._sdk_up = False
        self._cameras_closed = asyncio.Event()

    async def start(
        self,
        spec: ApplicationSpec,
        on_telemetry: Callable[[dict[str, Any]], None],
        on_picture: Callable[[bytes], object] = lambda _jpeg: None,
        isolation: Isolation | None = None,
    ) -> None:
        """Start the process. `on_telemetry` gets each message, in the event loop, as a dict.

        `harness.runtime.telemetry.parse` makes it typed. `on_picture` gets each picture for the
        screen, JPEG, while `show` asks for some. Without `isolation` the application only gets
        its paths (`launch`). Raises `Corrupt` when the container's files lack the entry,
        `CapabilityMissing` when this machine lacks the entry's program.
        """
        if self._process is not None:
            raise EngineError("this application ran before", hint="make a new Application")
        command = _command(spec)
        for directory in (spec.storage, spec.logs / CODE_LOGS):
            directory.mkdir(parents=True, exist_ok=True)
        pipes = _Pipes()
        try:
            with tempfile.TemporaryFile() as file:
                file.write(spec.to_json())
                file.flush()
                process = await self._spawn(spec, command, pipes, file.fileno(), isolation)
        except BaseException:
            pipes.close_ours()
            if self._maker is not None:
                self._maker.close()
            raise
        finally:
            pipes.close_theirs()
        self._process = process
        self._control_fd = pipes.control[1]
        self._console = Console(spec.logs / CONSOLE)
        self._watch = asyncio.create_task(
            self._run(
                process,
                self._copy_output(pipes.output[0]),
                self._listen(pipes.telemetry[0], on_telemetry),
                _look(pipes.display[0], on_picture),
            ),
            name=f"application {spec.instance}",
        )
        if isolation is not None:
            await self._enter(isolation)

    async def _spawn(
        self,
        spec: ApplicationSpec,
        command: list[str],
        pipes: _Pipes,
        spec_fd: int,
        isolation: Isolation | None,
    ) -> asyncio.subprocess.Process:
        files = (spec_fd, pipes.telemetry[1], pipes.control[0], pipes.display[1])
        with contextlib.ExitStack() as stack:
            extra: tuple[int, ...] = ()
            launcher = _launcher(spec)
            if isolation is not None:
                self._maker = Maker()
                etc = stack.enter_context(etc_files())
                theirs = self._maker.theirs.fileno()
                extra = (theirs, *etc.values())
                launcher = sandboxed(isolation.program, spec, spec.logs / CODE_LOGS, etc, theirs)
            return await asyncio.create_subprocess_exec(
                *launcher,
                *command,
                stdin=subprocess.DEVNULL,
                stdout=pipes.output[1],
                stderr=subprocess.STDOUT,
                pass_fds=(*files, *extra),
                env=_environment(spec, files),
                start_new_session=True,
            )

    async def _enter(self, isolation: Isolation) -> None:
        """Bring in what the application may reach, then let it run."""
        assert self._maker is not None
        try:
            self._inner_pid = await self._maker.up()
            await isolation.enter(self._maker)
            self._maker.go()
        except BaseException as error:
            self.kill()
            await self.wait()
            if isinstance(error, (EngineError, OSError)):  # it may end at any moment
                raise EngineError(f"{error}: {self.error_line or 'it says nothing'}") from None
            raise

    @property
    def pid(self) -> int:
        """Of the application's first process. Raises `EngineError` before start."""
        return self._inner_pid or self._started().pid

    @property
    def spawned(self) -> bool:
        """There is a process, or was."""
        return self._process is not None

    @property
    def outer_pid(self) -> int:
        """Of the process that all of the application's processes descend from."""
        return self._started().pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines it printed, oldest first (at most 50)."""
        return self._console.lines() if self._console is not None else ()

    @property
    def console_bytes(self) -> int:
        """How much of what it printed is kept."""
        return 0 if self._console is None else self._console.size_bytes

    @property
    def error_line(self) -> str:
        """The last line that is not blank: of a traceback, what went wrong."""
        return next((line for line in reversed(self.last_lines) if line.strip()), "")

    async def wait(self) -> int:
        """Exit code (negative: ended by that signal), once all output and telemetry are in."""
        self._started()
        assert self._watch is not None
        return await asyncio.shield(self._watch)

    async def stop(self, grace_s: float = 10.0) -> int:
        """Close its cameras, then SIGTERM, then after `grace_s` SIGKILL.

        Without isolation all of its process group gets them; in a sandbox its first process gets
        SIGTERM, and all of them end with that.
        """
        self._started()
        assert self._watch is not None
        if self._sdk_up and not self._watch.done():
            with contextlib.suppress(OSError):
                os.write(self._control_fd, control.STOP + b"\n")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_CAMERAS_S):
                    await self._cameras_closed.wait()
        if not self._watch.done():
            self._signal(signal.SIGTERM)
            await asyncio.wait([self._watch], timeout=grace_s)
        self.kill()
        return await self.wait()

    def pause(self, nodes: Iterable[str]) -> None:
        """Let go of the cameras of these nodes, and take up those of all others."""
        self._tell(control.pause(nodes))

    def login(self, who: control.Login) -> None:
        """Give a camera node other credentials, or take them away; for its next connection."""
        self._tell(control.login(who))

    def show(self, rate_fps: float) -> None:
        """So many pictures a second of what it puts out; 0 when it does not own the screen."""
        self._tell(control.display(rate_fps))

    def pace(self, paces: Mapping[str, tuple[float, float]]) -> None:
        """Model nodes take so long from now on (`control.pace`)."""
        self._tell(control.pace(paces))

    def _tell(self, line: bytes) -> None:
        if self._watch is not None and not self._watch.done():
            with contextlib.suppress(OSError):
                os.write(self._control_fd, line + b"\n")

    def kill(self) -> None:
        """SIGKILL to the whole group, at once; `wait` tells when it is over."""
        if self._watch is not None and not self._watch.done():
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._inner_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._inner_pid, number)
        else:
            _signal_group(self._started(), number)

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise EngineError("the application was not started", hint="await start() first")
        return self._process

    async def _run(
        self,
        process: asyncio.subprocess.Process,
        *reading: Coroutine[Any, Any, None],
    ) -> int:
        """Own the process until nothing of it is left."""
        try:
            async with asyncio.TaskGroup() as group:
                readers = [group.create_task(one) for one in reading]
                code = self._code(await process.wait())
                _signal_group(process, signal.SIGKILL)
                await asyncio.wait(readers, timeout=DRAIN_S)
                for reader in readers:
                    reader.cancel()
        finally:
            _signal_group(process, signal.SIGKILL)
            await process.wait()
            os.close(self._control_fd)
            self._cameras_closed.set()
            if self._maker is not None:
                self._maker.close()
            if self._console is not None:
                self._console.close()
        return code

    def _code(self, code: int) -> int:
        """As of a child; a sandbox tells of a signal as shells do, 128 above its number."""
        return SIGNALLED - code if self._maker is not None and code > SIGNALLED else code

    async def _copy_output(self, output_fd: int) -> None:
        assert self._console is not None
        async with _reading(output_fd) as reader:
            while chunk := await reader.read(_READ_BYTES):
                self._console.write(chunk)

    async def _listen(
        self, telemetry_fd: int, on_telemetry: Callable[[dict[str, Any]], None]
    ) -> None:
        async with _reading(telemetry_fd) as reader:
            while True:
                try:
                    line = await reader.readline()
                    message = json.loads(line) if line else None
                except ValueError:  # not JSON, or longer than any message: somebody else's bytes
                    self.malformed += 1
                    continue
                if not line:
                    return
                self._hand_on(message, on_telemetry)

    def _hand_on(self, message: Any, on_telemetry: Callable[[dict[str, Any]], None]) -> None:
        if not isinstance(message, dict):
            self.malformed += 1
            return
        self._sdk_up = self._sdk_up or message.get("kind") == "Started"
        on_telemetry(message)
        if message.get("kind") == "Stopped":
            self._cameras_closed.set()


async def _look(display_fd: int, on_picture: Callable[[bytes], object]) -> None:
    pictures = PictureReader()
    async with _reading(display_fd) as reader:
        while chunk := await reader.read(_READ_BYTES):
            for jpeg in pictures.feed(chunk):
                on_picture(jpeg)


@contextlib.asynccontextmanager
async def _reading(fd: int) -> AsyncIterator[asyncio.StreamReader]:
    """The reading end of a pipe as a stream; closed at the end, whoever still holds the other."""
    reader = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    try:
        yield reader
    finally:
        transport.close()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _launcher(spec: ApplicationSpec) -> list[str]:
    """The command that becomes the application: isolated, without site packages, quick."""
    places = (spec.root.resolve(), spec.storage.resolve())
    logs = (spec.logs / CODE_LOGS).resolve()
    script = _HERE / "launch.py"
    return [sys.executable, "-I", "-S", *map(str, (script, os.getpid(), *places, logs))]


def _command(spec: ApplicationSpec) -> list[str]:
    """The descriptor's entry as a command of this machine."""
    path, *arguments = spec.entry
    for word in arguments:
        if word.startswith("/panorama/") and not (spec.root / word.lstrip("/")).is_file():
            raise Corrupt(
                f"{spec.instance}: the container has no {word}",
                hint="descriptor.json names the entry; the file must be in the package's src/",
            )
    program = sys.executable if path in ("python3", "python") else shutil.which(path)
    if program is None:
        raise CapabilityMissing(
            f"{spec.instance}: this machine has no {path!r}",
            hint="the entry's path must be python3, or a program that is installed here",
        )
    return [program, *arguments]


def _environment(spec: ApplicationSpec, files: tuple[int, ...]) -> dict[str, str]:
    ours = Path(harness.__file__).parent.parent
    paths = [_HERE / "sdk", *([spec.packages] if spec.packages else []), ours]
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "AWS_REGION": spec.region,
        "AWS_EC2_METADATA_DISABLED": "true",  # no credentials but those of the role
        **spec.environment,
        "PYTHONPATH": ":".join(map(str, paths)),
        "PYTHONUNBUFFERED": "1",
        FILES_VARIABLE: ":".join(map(str, files)),
    }
