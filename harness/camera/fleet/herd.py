"""Cameras spread over processes: each worker has its share of them, and its own port."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from harness.camera.fleet import desk
from harness.camera.fleet.post import Share
from harness.errors import EngineError, InputError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from harness.camera.fleet.cameras import Row
    from harness.camera.fleet.post import Post

START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 30.0
SET_TIMEOUT_S = 600.0  # pictures that a fault shows are encoded first
STOP_TIMEOUT_S = 10.0


class _Worker:
    """One process; requests to it wait for one another."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self._lost = False
        self.rows: tuple[Row, ...] = ()

    async def start(self, share: Share) -> None:
        """Raises what the worker met when it put its cameras up."""
        reply = await self._ask(msgspec.json.encode(share) + b"\n", START_TIMEOUT_S)
        self.rows = tuple(desk.row_of(row) for row in reply["cameras"])

    async def ask(
        self, request: dict[str, Any], timeout_s: float = ANSWER_TIMEOUT_S
    ) -> dict[str, Any]:
        return await self._ask(desk.encode(request), timeout_s)

    async def _ask(self, line: bytes, timeout_s: float) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        answer = b""
        async with self._turn:
            with suppress(TimeoutError, ConnectionError):
                if not self._lost:
                    async with asyncio.timeout(timeout_s):
                        process.stdin.write(line)
                        await process.stdin.drain()
                        answer = await process.stdout.readline()
            self._lost = self._lost or not answer  # a late reply would answer the next request
        if not answer:
            raise EngineError(
                f"camera worker {process.pid} does not answer",
                hint="it ended or hangs; its messages are above",
            )
        return desk.checked(json.loads(answer))

    async def stop(self) -> None:
        """Close its stdin and wait; kill it where that does not help."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.stdin.wait_closed()
                await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Herd:
    """Cameras of several workers, kept as one fleet. Made by `open_herd`."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self._workers = tuple(workers)
        self._home = {row.name: worker for worker in workers for row in worker.rows}

    async def rows(self) -> tuple[Row, ...]:
        replies = await asyncio.gather(*(worker.ask({"do": "list"}) for worker in self._workers))
        return tuple(desk.row_of(row) for reply in replies for row in reply["cameras"])

    async def set(self, name: str, do: str, parameters: Mapping[str, Any] | None = None) -> Row:
        worker = self._home.get(name)
        if worker is None:
            raise InputError(f"no camera {name!r}", hint="`harness camera list` names them")
        request = {"do": "set", "camera": name, "verb": do, "with": dict(parameters or {})}
        return desk.row_of((await worker.ask(request, SET_TIMEOUT_S))["camera"])


@asynccontextmanager
async def open_herd(
    parts: Sequence[tuple[Post, ...]], ports: Sequence[int], *, cache_dir: Path | None = None
) -> AsyncIterator[Herd]:
    """A worker for each part; all of them are gone when the block ends."""
    async with AsyncExitStack() as stack:
        workers = []
        for _ in parts:
            command = (sys.executable, "-m", "harness.camera.fleet.worker")
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, limit=desk.REPLY_BYTES_MAX
            )
            worker = _Worker(process)
            stack.push_async_callback(worker.stop)
            workers.append(worker)
        where = None if cache_dir is None else str(cache_dir)
        for worker, part, port in zip(workers, parts, ports, strict=True):
            await worker.start(Share(part, port, where))
        yield Herd(workers)
