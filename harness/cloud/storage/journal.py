"""Group commit: changes are written in a thread, as many at once as came in the meantime.

The event loop never waits for a disk. Whoever must not answer before what was decided is on disk
awaits `kept`. A commit that fails is the end: what is in memory is then more than what is kept,
so nothing is acknowledged any more, and the process should end and start again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from harness.cloud.service.table import Change

_COMMIT_CHANGES_MAX = 10_000


class WriteFailed(EngineError):
    """What was decided could not be kept; nothing may be acknowledged."""


class Journal:
    """An async context manager that runs the thread. `write` is called in it, batch by batch."""

    def __init__(self, write: Callable[[list[tuple[str, Change]]], None]) -> None:
        self._write = write
        self._queue: queue.SimpleQueue[list[tuple[str, Change]] | None] = queue.SimpleQueue()
        self._appended = 0
        self._kept = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.failure: WriteFailed | None = None  # of a commit
        self._failed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="cloud journal", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Everything appended is written first."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def append(self, plane: str, changes: Sequence[Change]) -> None:
        """To be called in the event loop's thread; before the thread runs they wait for it."""
        self._appended += 1
        self._queue.put([(plane, change) for change in changes])

    async def kept(self) -> None:
        """Wait until everything appended so far is on disk. Raises `WriteFailed`."""
        if self.failure is not None:
            raise self.failure
        if self._kept < self._appended:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((self._appended, future))
            await future

    async def failed(self) -> WriteFailed:
        """Wait for a commit to fail; why it did."""
        await self._failed.wait()
        assert self.failure is not None
        return self.failure

    # --- in the thread ------------------------------------------------------------------

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, count, going_on = self._next()
            try:
                if batch:
                    self._write(batch)
            except Exception as error:  # whatever it was, these changes are not on disk
                self._tell(self._fail, error)
                return
            if count:
                self._tell(self._done, count)

    def _next(self) -> tuple[list[tuple[str, Change]], int, bool]:
        """What waits to be written, at least one append; and whether there may be more."""
        batch: list[tuple[str, Change]] = []
        count = 0
        entry = self._queue.get()
        while entry is not None:
            batch += entry
            count += 1
            if len(batch) >= _COMMIT_CHANGES_MAX:
                return batch, count, True
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return batch, count, True
        return batch, count, False

    def _tell(self, report: Callable[..., None], value: Any) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(report, value)

    # --- back in the loop ---------------------------------------------------------------

    def _done(self, count: int) -> None:
        self._kept += count
        while self._waiting and self._waiting[0][0] <= self._kept:
            future = self._waiting.popleft()[1]
            if not future.done():  # who waited may have been cancelled
                future.set_result(None)

    def _fail(self, error: Exception) -> None:
        self.failure = WriteFailed(
            f"state cannot be written: {error}",
            hint="make room on the disk and start again: nothing that was acknowledged is lost",
        )
        self._failed.set()
        while self._waiting:
            future = self._waiting.popleft()[1]
            if not future.done():
                future.set_exception(self.failure)
