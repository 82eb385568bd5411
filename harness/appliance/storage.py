"""Durable storage as the appliance sees it: partitions, unsynced writes, power cuts, fuses.

A write lands in the device's cache and is visible to reads at once; only `sync` makes it
durable. A power cut keeps what was synced and any subset of the rest (eMMC makes no promise of
order between cache flushes). Bulk content that nobody reads byte by byte (a firmware payload on
the model rung) is kept as a `Blob`: known by digest and size, never materialised.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from harness.errors import Corrupt, InputError, StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Blob:
    """The first `length` bytes of content that has `digest` (SHA-256, hex) when whole."""

    digest: str
    size: int
    length: int


Content: TypeAlias = bytes | Blob


@dataclass
class Partition:
    """One partition: the durable bytes, the bytes as read now, and the writes between them."""

    name: str
    size: int
    durable: bytearray = field(default_factory=bytearray)
    durable_blobs: dict[int, Blob] = field(default_factory=dict)
    current: bytearray = field(default_factory=bytearray)
    blobs: dict[int, Blob] = field(default_factory=dict)
    pending: list[tuple[int, Content]] = field(default_factory=list)

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        if self.blobs:
            for start, blob in self.blobs.items():
                if start < offset + length and offset < start + blob.length:
                    raise Corrupt(
                        f"{self.name}: bytes at {offset} belong to bulk content known by digest",
                        hint="use Digest for bulk content",
                    )
        data = bytes(self.current[offset : offset + length])
        return data if len(data) == length else data + bytes(length - len(data))

    def write(self, offset: int, content: Content) -> None:
        length = content.length if isinstance(content, Blob) else len(content)
        self._check(offset, length)
        _apply(self.current, self.blobs, offset, content)
        self.pending.append((offset, content))

    def sync(self) -> None:
        for offset, content in self.pending:
            _apply(self.durable, self.durable_blobs, offset, content)
        self.pending.clear()

    def cut(self, keeps: Callable[[int], bool]) -> None:
        """Lose power: of the unsynced writes only those whose index `keeps` accepts survive."""
        for index, (offset, content) in enumerate(self.pending):
            if keeps(index):
                _apply(self.durable, self.durable_blobs, offset, content)
        self.pending.clear()
        self.current = bytearray(self.durable)
        self.blobs = dict(self.durable_blobs)

    def digest(self, offset: int, length: int) -> str:
        blob = self.blobs.get(offset)
        if blob is not None:
            if blob.length == blob.size == length:
                return blob.digest
            described = f"{blob.digest}:{blob.length}:{length}".encode()
            return hashlib.sha256(described).hexdigest()
        return hashlib.sha256(self.read(offset, length)).hexdigest()

    def fork(self) -> Partition:
        return Partition(
            self.name,
            self.size,
            bytearray(self.durable),
            dict(self.durable_blobs),
            bytearray(self.current),
            dict(self.blobs),
            list(self.pending),
        )

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise StorageFull(
                f"{self.name}: {length} bytes at {offset} do not fit {self.size} bytes"
            )


def _apply(data: bytearray, blobs: dict[int, Blob], offset: int, content: Content) -> None:
    length = content.length if isinstance(content, Blob) else len(content)
    if blobs:
        for start in [s for s, b in blobs.items() if s < offset + length and offset < s + b.length]:
            del blobs[start]
    if isinstance(content, Blob):
        blobs[offset] = content
        return
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + length] = content


class Disk:
    """All partitions of an appliance, and its fuses."""

    __slots__ = ("fuses", "partitions")

    def __init__(self, sizes: Mapping[str, int], *, fuses: int = 0) -> None:
        self.partitions = {name: Partition(name, size) for name, size in sizes.items()}
        self.fuses = fuses

    def __getitem__(self, name: str) -> Partition:
        try:
            return self.partitions[name]
        except KeyError:
            raise InputError(
                f"no partition {name!r}", hint=f"partitions: {', '.join(self.partitions)}"
            ) from None

    def sync_all(self) -> None:
        for partition in self.partitions.values():
            partition.sync()

    def cut(self, keeps: Callable[[str, int], bool]) -> None:
        """Lose power; `keeps(partition, index)` says which unsynced writes made it."""
        for name, partition in self.partitions.items():
            if partition.pending:
                partition.cut(lambda index, name=name: keeps(name, index))  # type: ignore[misc]

    def blow(self, level: int) -> None:
        """Fuses are one-way: a lower level changes nothing."""
        self.fuses = max(self.fuses, level)

    def fork(self) -> Disk:
        """A copy that shares nothing mutable: what a sweep boots after a cut."""
        twin = Disk({}, fuses=self.fuses)
        twin.partitions = {name: part.fork() for name, part in self.partitions.items()}
        return twin


BOOT_CONTROL = "boot-control"
SLOT_PARTITION = {"a": "slot-a", "b": "slot-b"}
DATA = "data"


def partition_sizes(slot_bytes: int, data_bytes: int) -> dict[str, int]:
    """The partition table of every appliance here: boot control, two slots, data."""
    return {BOOT_CONTROL: 8192, "slot-a": slot_bytes, "slot-b": slot_bytes, DATA: data_bytes}
