"""A state directory in use: stores taken up from it, and what they commit written to it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from harness.cloud.service.state import KeptStore
from harness.cloud.storage.database import Database
from harness.cloud.storage.files import ContentFiles, FileObjects
from harness.cloud.storage.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from harness.cloud.service.table import Change
    from harness.cloud.storage.journal import WriteFailed

OBJECTS = "objects"


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
            self._database = Database(self._directory)
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
        return self._database.planes()

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

    async def failed(self) -> WriteFailed:
        """Wait for the end that a failed write is; why it failed."""
        return await self._journal.failed()


class _Entry:
    """The journal as one plane sees it."""

    def __init__(self, journal: Journal, plane: str) -> None:
        self._journal = journal
        self._plane = plane

    def append(self, changes: Sequence[Change]) -> None:
        self._journal.append(self._plane, changes)
