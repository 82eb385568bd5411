"""Durable storage as the appliance sees it: partitions, unsynced writes, power cuts, fuses.

A write lands in the device's cache and is visible to reads at once; only `sync` makes it
durable. A power cut keeps what was synced and, of the rest, any subset in any order (eMMC makes
no promise between cache flushes), and of each write all, nothing or a part: `Survival`. A sector
is written whole or not at all (JEDEC JESD84-B51: the device's native sector is its unit of
atomicity); nothing larger is. Bulk content that nobody reads byte by byte (a firmware payload on
the model rung) is kept as a `Blob`: known by digest and size, never materialised.

Storage can also fail without a cut: `rot` flips a durable bit, a partition that is `read_only`
takes no write, as a file system does that was remounted after an error.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from harness.errors import Corrupt, InputError, StorageFull, StorageReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

SECTOR_BYTES = 512
PAGE_BYTES = 4096
_ZEROS = bytes(PAGE_BYTES)


class Survival(enum.IntEnum):
    """What a power cut leaves of one unsynced write.

    False and True are LOST and WHOLE. HEAD is the first half and TAIL the second, parted at a
    sector; PAGES is every other page, as a device writes that reorders within one write.
    """

    LOST = 0
    WHOLE = 1
    HEAD = 2
    TAIL = 3
    PAGES = 4


@dataclass(frozen=True, slots=True)
class Blob:
    """The first `length` bytes of content that has `digest` (SHA-256, hex) when whole.

    `rotten` are the bits that flipped since: (position, bit).
    """

    digest: str
    size: int
    length: int
    rotten: tuple[tuple[int, int], ...] = ()

    def upto(self, length: int) -> Blob:
        return Blob(self.digest, self.size, length, self.rotten)

    def flipped(self, position: int, bit: int) -> Blob:
        """With one bit the other way round; twice is not at all."""
        rotten = tuple(sorted(set(self.rotten) ^ {(position, bit)}))
        return Blob(self.digest, self.size, self.length, rotten)

    def section(self, at: int, length: int) -> str:
        """Stands for the digest of `length` bytes at `at`, which nobody has."""
        if at == 0 and length == self.size:
            known = self.digest
        else:
            known = hashlib.sha256(f"{self.digest}:{at}:{length}".encode()).hexdigest()
        there = min(length, self.length - at)
        rotten = [place for place in self.rotten if at <= place[0] < at + there]
        if there == length and not rotten:
            return known
        return hashlib.sha256(f"{known}:{there}:{rotten}".encode()).hexdigest()


Content: TypeAlias = bytes | Blob


@dataclass
class Partition:
    """One partition: the durable pages, the pages as read now, and the writes between them.

    Pages are immutable, so a twin of a partition costs two dictionaries and no bytes.
    """

    name: str
    size: int
    durable: dict[int, bytes] = field(default_factory=dict)
    durable_blobs: dict[int, Blob] = field(default_factory=dict)
    current: dict[int, bytes] = field(default_factory=dict)
    blobs: dict[int, Blob] = field(default_factory=dict)
    pending: list[tuple[int, Content]] = field(default_factory=list)
    read_only: bool = False
    changes: int = 0
    full: bool = False  # something else has taken all the room
    slow_s: float = 0.0  # what each sync takes longer than it should

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        if self.blobs:
            for start, blob in self.blobs.items():
                if start < offset + length and offset < start + blob.length:
                    raise Corrupt(
                        f"{self.name}: bytes at {offset} belong to bulk content known by digest",
                        hint="use Digest for bulk content",
                    )
        first, skip = divmod(offset, PAGE_BYTES)
        page = self.current.get(first, _ZEROS)
        if skip + length <= PAGE_BYTES:
            return page[skip : skip + length]
        last = (offset + length - 1) // PAGE_BYTES
        rest = (self.current.get(number, _ZEROS) for number in range(first + 1, last + 1))
        return b"".join((page, *rest))[skip : skip + length]

    def write(self, offset: int, content: Content) -> None:
        """Raises `StorageFull` where it does not fit, `StorageReadOnly` where nothing is taken."""
        self._check(offset, _length(content))
        self.refuse()
        _apply(self.current, self.blobs, offset, content)
        self.pending.append((offset, content))
        self.changes += 1

    def refuse(self) -> None:
        """Raises `StorageReadOnly` or `StorageFull` when it takes no write at all."""
        if self.read_only:
            raise StorageReadOnly(f"{self.name}: mounted read-only, as after an I/O error")
        if self.full:
            raise StorageFull(f"{self.name}: no space left")

    @property
    def troubled(self) -> bool:
        return self.read_only or self.full or self.slow_s > 0.0

    def sync(self) -> None:
        for offset, content in self.pending:
            _apply(self.durable, self.durable_blobs, offset, content)
        self.pending.clear()
        self.changes += 1

    def cut(self, keeps: Callable[[int], int]) -> None:
        """Lose power: `keeps` gives the `Survival` of every unsynced write by its index."""
        _apply_survivors(self.durable, self.durable_blobs, self.pending, keeps)
        self.pending.clear()
        self.current = dict(self.durable)
        self.blobs = dict(self.durable_blobs)

    def erase(self, start: int, end: int) -> None:
        """Discard what lies from `start` to `end`, durably and at once, as TRIM does."""
        self._check(start, end - start)
        self.pending = [(at, what) for at, what in self.pending if not start <= at < end]
        for pages in (self.durable, self.current):
            for number in [n for n in pages if start <= n * PAGE_BYTES < end]:
                del pages[number]
        for blobs in (self.durable_blobs, self.blobs):
            for at in [at for at in blobs if start <= at < end]:
                del blobs[at]
        self.changes += 1

    def bulk(self, offset: int, length: int) -> Content:
        """Content to copy: as a `Blob` where it is known by digest, else its bytes."""
        blob = self.blobs.get(offset)
        return self.read(offset, length) if blob is None else blob

    def rot(self, offset: int, bit: int) -> None:
        """Flip one durable bit."""
        self._check(offset, 1)
        for blobs in (self.durable_blobs, self.blobs):
            for start, blob in blobs.items():
                if start <= offset < start + blob.length:
                    blobs[start] = blob.flipped(offset - start, bit)
                    break
            else:
                pages = self.durable if blobs is self.durable_blobs else self.current
                page = pages.get(offset // PAGE_BYTES, _ZEROS)
                byte = page[offset % PAGE_BYTES] ^ (1 << bit)
                _put(pages, offset, bytes((byte,)))

    def digest(self, offset: int, length: int) -> str:
        for start, blob in self.blobs.items():
            if (
                start <= offset
                and offset + length <= start + blob.size
                and offset < (start + blob.length)
            ):
                return blob.section(offset - start, length)
        return hashlib.sha256(self.read(offset, length)).hexdigest()

    def after_cut(self, keeps: Callable[[int], int]) -> Partition:
        """What a power cut would leave; this partition goes on."""
        durable, blobs = dict(self.durable), dict(self.durable_blobs)
        _apply_survivors(durable, blobs, self.pending, keeps)
        return Partition(
            self.name,
            self.size,
            durable,
            blobs,
            dict(durable),
            dict(blobs),
            read_only=self.read_only,
            full=self.full,
            slow_s=self.slow_s,
        )

    def fork(self) -> Partition:
        return Partition(
            self.name,
            self.size,
            dict(self.durable),
            dict(self.durable_blobs),
            dict(self.current),
            dict(self.blobs),
            list(self.pending),
            self.read_only,
            full=self.full,
            slow_s=self.slow_s,
        )

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise StorageFull(
                f"{self.name}: {length} bytes at {offset} do not fit {self.size} bytes"
            )


def _apply_survivors(
    pages: dict[int, bytes],
    blobs: dict[int, Blob],
    pending: list[tuple[int, Content]],
    keeps: Callable[[int], int],
) -> None:
    for index, (offset, content) in enumerate(pending):
        for at, part in surviving(offset, content, keeps(index), grown(blobs, offset, content)):
            _apply(pages, blobs, at, part)


def grown(blobs: Mapping[int, Blob], offset: int, content: Content) -> int:
    """How much of `content` is among `blobs` already: bulk content comes by and by."""
    there = blobs.get(offset)
    if there is None or not isinstance(content, Blob) or there.digest != content.digest:
        return 0
    return there.length


def surviving(
    offset: int, content: Content, survival: int, grown: int = 0
) -> Iterator[tuple[int, Content]]:
    """The parts of one write that a cut leaves; the first `grown` bytes were there before."""
    if survival == Survival.WHOLE:
        yield offset, content
    elif survival == Survival.PAGES:
        if not isinstance(content, Blob):
            yield from _every_other_page(offset, content)
    elif survival != Survival.LOST:
        middle = torn_at(offset, content, grown)
        if isinstance(content, Blob):
            if survival == Survival.HEAD:
                yield offset, content.upto(middle - offset)
        elif survival == Survival.HEAD:
            yield offset, content[: middle - offset]
        else:
            yield middle, content[middle - offset :]


def torn_at(offset: int, content: Content, grown: int = 0) -> int:
    """The border of a sector about the middle of what is new; the end when none is inside."""
    start, end = offset + grown, offset + _length(content)
    middle = -(-((start + end) // 2) // SECTOR_BYTES) * SECTOR_BYTES
    return middle if start < middle < end else end


def survivals(offset: int, content: Content, grown: int = 0) -> tuple[Survival, ...]:
    """Every `Survival` of one write that differs from the others."""
    if torn_at(offset, content, grown) == offset + _length(content):
        return Survival.LOST, Survival.WHOLE
    if isinstance(content, Blob):
        return Survival.LOST, Survival.WHOLE, Survival.HEAD
    if (offset + len(content) - 1) // PAGE_BYTES - offset // PAGE_BYTES < 2:
        return Survival.LOST, Survival.WHOLE, Survival.HEAD, Survival.TAIL
    return tuple(Survival)


def by_chance(draw: Callable[[], float]) -> Callable[[str, int], Survival]:
    """Survival as it comes: two in five lost, two in five whole, one in five torn."""

    def keeps(_partition: str, _index: int) -> Survival:
        return _CHANCES[int(draw() * len(_CHANCES))]

    return keeps


_CHANCES = (
    *6 * (Survival.LOST, Survival.WHOLE),
    *(Survival.HEAD, Survival.TAIL, Survival.PAGES),
)


def _every_other_page(offset: int, content: bytes) -> Iterator[tuple[int, bytes]]:
    end = offset + len(content)
    for start in range(offset - offset % PAGE_BYTES, end, 2 * PAGE_BYTES):
        first, last = max(offset, start), min(end, start + PAGE_BYTES)
        yield first, content[first - offset : last - offset]


def _length(content: Content) -> int:
    return content.length if isinstance(content, Blob) else len(content)


def _apply(pages: dict[int, bytes], blobs: dict[int, Blob], offset: int, content: Content) -> None:
    if blobs:
        end = offset + _length(content)
        for start in [s for s, b in blobs.items() if s < end and offset < s + b.length]:
            del blobs[start]
    if isinstance(content, Blob):
        blobs[offset] = content
    else:
        _put(pages, offset, content)


def _put(pages: dict[int, bytes], offset: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        number, skip = divmod(offset + done, PAGE_BYTES)
        part = data[done : done + PAGE_BYTES - skip]
        page = pages.get(number, _ZEROS)
        pages[number] = page[:skip] + part + page[skip + len(part) :]
        done += len(part)


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

    def cut(self, keeps: Callable[[str, int], int]) -> None:
        """Lose power; `keeps(partition, index)` gives the `Survival` of each unsynced write."""
        for name, partition in self.partitions.items():
            if partition.pending:
                partition.cut(partial(keeps, name))

    def blow(self, level: int) -> None:
        """Fuses are one-way: a lower level changes nothing."""
        self.fuses = max(self.fuses, level)

    @property
    def changes(self) -> int:
        """Grows with every write, sync and blown fuse: unchanged means that nothing happened."""
        return self.fuses + sum(part.changes for part in self.partitions.values())

    def after_cut(self, keeps: Callable[[str, int], int]) -> Disk:
        """What a power cut would leave; this disk goes on."""
        twin = Disk({}, fuses=self.fuses)
        twin.partitions = {
            name: part.after_cut(partial(keeps, name)) for name, part in self.partitions.items()
        }
        return twin

    def durable_key(self) -> Hashable:
        """Equal for disks that a boot cannot tell apart, whatever led to them."""
        parts = (
            (name, frozenset(part.durable.items()), frozenset(part.durable_blobs.items()))
            for name, part in self.partitions.items()
        )
        return self.fuses, tuple(parts)

    def fork(self) -> Disk:
        """A copy that shares nothing mutable: what a sweep boots after a cut."""
        twin = Disk({}, fuses=self.fuses)
        twin.partitions = {name: part.fork() for name, part in self.partitions.items()}
        return twin


BOOT_CONTROL = "boot-control"
SLOT_PARTITION = {"a": "slot-a", "b": "slot-b"}
RECOVERY_LATEST = "recovery-latest"
RECOVERY_REQUIRED = "recovery-required"
DATA = "data"


def partition_sizes(slot_bytes: int, data_bytes: int) -> dict[str, int]:
    """The partition table of every appliance here: boot control, two slots, recovery, data.

    What recovery restores is kept unpacked, so that it is as large as a slot.
    """
    slots = (*SLOT_PARTITION.values(), RECOVERY_LATEST, RECOVERY_REQUIRED)
    return {BOOT_CONTROL: 8192, **dict.fromkeys(slots, slot_bytes), DATA: data_bytes}
