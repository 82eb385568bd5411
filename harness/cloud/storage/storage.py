"""A state directory in use: stores taken up from it, and what they commit written to it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from harness.cloud.service.state import KeptStore
from harness.cloud.storage.database import NEIGHBOURS, Database, StateInUse
from harness.cloud.storage.files import ContentFiles, FileObjects
from harness.cloud.storage.journal import Journal
from harness.cloud.storage.requests import RequestLog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from harness.cloud.service.table import Change
    from harness.cloud.storage.journal import WriteFailed

OBJECTS = "objects"
LOCK_WAIT_S = 3.0
LOCK_LOOK_S = 0.02


class Storage:
    """An async context manager; one for all planes of a process.

    Whatever a store committed is on disk once `kept` returns, also when the process is killed
    right then. Raises `InputError` when the directory cannot be used.
    """

    files: ContentFiles

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._database = await _opened(self._directory)
            stack.callback(self._database.close)
            self.files = ContentFiles(self._directory / OBJECTS)
            self.files.sweep(self._database.contents())
            self._journal = await stack.enter_async_context(Journal(self._database.write))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def planes(self) -> list[str]:
        """Names of the planes that something is kept of."""
        return [name for name in self._database.planes() if name != NEIGHBOURS]

    def requests(self) -> RequestLog:
        """What is kept of the neighbouring services. To be taken once."""
        return RequestLog(
            self._database.measure_requests(),
            _Entry(self._journal, NEIGHBOURS).append,
            self._database.requests,
        )

    def store(self, plane: str) -> KeptStore:
        """What is kept of a plane. To be taken once."""
        rows = self._database.read(plane)
        try:
            return KeptStore(_Entry(self._journal, plane), rows)
        except ValueError as error:
            raise self._database.damaged(error) from None

    def objects(self, store: KeptStore) -> FileObjects:
        return FileObjects(store.objects, self.files)

    async def kept(self) -> None:
        """Wait until everything committed so far is on disk. Raises `WriteFailed`."""
        await self._journal.kept()

    @property
    def failure(self) -> WriteFailed | None:
        return self._journal.failure

    async def failed(self) -> WriteFailed:
        """Wait for the end that a failed write is; why it failed."""
        return await self._journal.failed()


async def _opened(directory: Path) -> Database:
    """The database; whoever was told to stop or killed a moment ago may still hold it."""
    until_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return Database(directory)
        except StateInUse:
            if time.monotonic() > until_s:
                raise
        await asyncio.sleep(LOCK_LOOK_S)


class _Entry:
    """The journal as one plane sees it."""

    def __init__(self, journal: Journal, plane: str) -> None:
        self._journal = journal
        self._plane = plane

    def append(self, changes: Sequence[Change]) -> None:
        self._journal.append(self._plane, changes)
