"""An appliance's storage in real files: a sparse file a partition, a write cache in memory.

What was not synced is not in the file, so a power cut is what it says. `sync` writes and calls
fdatasync; it may block and belongs into a thread.
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

from harness.appliance.storage import Blob, Disk, Partition, Survival, surviving
from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.appliance.storage import Content

HASH_BYTES = 1 << 20


class FilePartition(Partition):
    """A partition kept in one file; unsynced writes lie over it until they are synced."""

    def __init__(self, name: str, size: int, path: Path) -> None:
        super().__init__(name, size)
        self._syncing = threading.Lock()  # syncs of several programs come from several threads
        self._writing = threading.Lock()  # a cut falls between two writes to the file
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._fd, size)

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        pending = tuple(self.pending)  # before the file: a sync moves writes from here to there
        data = bytearray(os.pread(self._fd, length, offset))
        data.extend(bytes(length - len(data)))
        for start, content in pending:
            if start < offset + length and offset < start + len(_bytes(content)):
                source = _bytes(content)
                first, last = max(start, offset), min(start + len(source), offset + length)
                data[first - offset : last - offset] = source[first - start : last - start]
        return bytes(data)

    def write(self, offset: int, content: Content) -> None:
        data = _bytes(content)
        self._check(offset, len(data))
        self.refuse()
        self.pending.append((offset, data))

    def sync(self) -> None:
        """Write what is pending now; what comes meanwhile waits for the next sync.

        A power cut ends it: what it has not written by then must not land in the next life.
        """
        with self._syncing:
            pending = self.pending
            batch = tuple(pending)
            for offset, content in batch:
                with self._writing:
                    if self.pending is not pending:
                        return
                    _write_all(self._fd, _bytes(content), offset)
            os.fdatasync(self._fd)
            del pending[: len(batch)]

    def cut(self, keeps: Callable[[int], int]) -> None:
        with self._writing:
            # A new list tells a sync that is under way in its thread.
            pending, self.pending = self.pending, []
            for index, (offset, content) in enumerate(pending):
                for at, part in surviving(offset, content, keeps(index)):
                    _write_all(self._fd, _bytes(part), at)

    def erase(self, start: int, end: int) -> None:
        """Only the whole partition: a file gives back all its blocks at once."""
        if (start, end) != (0, self.size):
            raise EngineError("a partition in a file is erased as a whole")
        with self._syncing, self._writing:
            self.pending = []
            os.ftruncate(self._fd, 0)
            os.ftruncate(self._fd, self.size)
            os.fdatasync(self._fd)

    def rot(self, offset: int, bit: int) -> None:
        self._check(offset, 1)
        (byte,) = os.pread(self._fd, 1, offset)
        _write_all(self._fd, bytes((byte ^ (1 << bit),)), offset)

    def digest(self, offset: int, length: int) -> str:
        digest = hashlib.sha256()
        for start in range(offset, offset + length, HASH_BYTES):
            digest.update(self.read(start, min(HASH_BYTES, offset + length - start)))
        return digest.hexdigest()

    def fork(self) -> Partition:
        raise EngineError("a disk in files cannot be forked; sweeps run on disks in memory")

    def close(self) -> None:
        """Ends a sync that is under way; the file's number is not given away before."""
        self.cut(lambda _index: Survival.LOST)
        with self._syncing:
            os.close(self._fd)
            self._fd = -1


class FileDisk(Disk):
    """The partitions of one appliance as files in `directory`. Close it in the end."""

    __slots__ = ()

    def __init__(self, sizes: Mapping[str, int], directory: Path) -> None:
        super().__init__({})
        self.partitions = {
            name: FilePartition(name, size, directory / f"{name}.img")
            for name, size in sizes.items()
        }

    def close(self) -> None:
        for partition in self.partitions.values():
            assert isinstance(partition, FilePartition)
            partition.close()


def _bytes(content: Content) -> bytes:
    if isinstance(content, Blob):
        raise EngineError("bulk content known by digest only cannot be kept in a file")
    return content


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
