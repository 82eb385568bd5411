"""Durable storage: what is visible, what survives a cut, bulk content by digest, twins."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from harness.appliance.storage import (
    DATA,
    PAGE_BYTES,
    SECTOR_BYTES,
    Blob,
    Disk,
    Partition,
    Survival,
    by_chance,
    partition_sizes,
    survivals,
)
from harness.errors import Corrupt, InputError, StorageFull, StorageReadOnly

SIZE = 64
WRITES = st.lists(
    st.tuples(st.integers(0, SIZE - 8), st.binary(min_size=1, max_size=8), st.booleans()),
    max_size=12,
)


def _blob(length: int = 40) -> Blob:
    return Blob(hashlib.sha256(b"bulk").hexdigest(), 40, length)


def test_a_write_is_visible_at_once_and_durable_after_sync() -> None:
    partition = Partition("p", SIZE)
    partition.write(4, b"abcd")
    assert partition.read(2, 8) == b"\0\0abcd\0\0"
    partition.cut(lambda _index: False)
    assert partition.read(2, 8) == bytes(8)
    partition.write(4, b"abcd")
    partition.sync()
    partition.cut(lambda _index: False)
    assert partition.read(4, 4) == b"abcd"


@limits(deadline=None)
@given(WRITES, st.integers(0, 4095))
def test_a_cut_keeps_what_was_synced_and_exactly_the_chosen_rest(
    writes: list[tuple[int, bytes, bool]], survivors: int
) -> None:
    partition = Partition("p", SIZE)
    synced, pending = bytearray(SIZE), []
    for offset, data, sync in writes:
        partition.write(offset, data)
        pending.append((offset, data))
        if sync:
            partition.sync()
            for at, what in pending:
                synced[at : at + len(what)] = what
            pending.clear()
    partition.cut(lambda index: bool(survivors >> index & 1))
    for index, (at, what) in enumerate(pending):
        if survivors >> index & 1:
            synced[at : at + len(what)] = what
    assert partition.read(0, SIZE) == bytes(synced)


def test_a_cut_asks_for_each_partition_by_name() -> None:
    disk = Disk({"one": SIZE, "two": SIZE})
    for name in ("one", "two"):
        disk[name].write(0, b"x")
        disk[name].write(1, b"y")
    asked = []

    def keeps(name: str, index: int) -> bool:
        asked.append((name, index))
        return name == "two" and index == 1

    disk.cut(keeps)
    assert asked == [("one", 0), ("one", 1), ("two", 0), ("two", 1)]
    assert (disk["one"].read(0, 2), disk["two"].read(0, 2)) == (b"\0\0", b"\0y")


@pytest.mark.parametrize(("offset", "length"), [(SIZE - 1, 2), (-1, 1), (SIZE + 1, 0)])
def test_what_does_not_fit_is_refused_whole(offset: int, length: int) -> None:
    partition = Partition("p", SIZE)
    with pytest.raises(StorageFull, match="p: "):
        partition.write(offset, bytes(length))
    with pytest.raises(StorageFull):
        partition.read(offset, length)
    assert partition.pending == []


def test_a_blob_is_known_by_its_digest_only_when_whole() -> None:
    partition = Partition("p", SIZE)
    partition.write(8, _blob(20))
    assert partition.digest(8, 40) != _blob().digest
    partition.write(8, _blob())
    assert partition.digest(8, 40) == _blob().digest
    assert partition.digest(8, 39) != _blob().digest
    with pytest.raises(Corrupt) as caught:
        partition.read(0, 9)
    assert "Digest" in caught.value.hint
    assert partition.read(0, 8) == bytes(8)


def test_bytes_over_a_blob_destroy_it() -> None:
    partition = Partition("p", SIZE)
    partition.write(8, _blob())
    partition.sync()
    partition.write(20, b"x")
    assert partition.read(20, 1) == b"x"
    assert partition.digest(8, 40) != _blob().digest
    partition.cut(lambda _index: False)
    assert partition.digest(8, 40) == _blob().digest


def test_a_twin_shares_nothing() -> None:
    disk = Disk({DATA: SIZE}, fuses=2)
    disk[DATA].write(0, b"synced")
    disk[DATA].sync()
    disk[DATA].write(0, b"cached")
    disk[DATA].write(8, _blob())
    twin = disk.fork()
    twin.blow(3)
    twin[DATA].write(0, b"twins!")
    twin[DATA].sync()
    assert disk.fuses == 2
    assert disk[DATA].read(0, 6) == b"cached"
    disk.cut(lambda _name, _index: False)
    assert disk[DATA].read(0, 6) == b"synced"
    twin.cut(lambda _name, _index: False)
    assert twin[DATA].read(0, 6) == b"twins!"
    assert twin[DATA].digest(8, 40) == _blob().digest


def test_fuses_do_not_grow_back() -> None:
    disk = Disk({}, fuses=1)
    disk.blow(4)
    disk.blow(2)
    assert disk.fuses == 4


def test_an_orderly_shutdown_keeps_everything() -> None:
    disk = Disk(partition_sizes(SIZE, SIZE))
    for name in disk.partitions:
        disk[name].write(0, name.encode())
    disk.sync_all()
    disk.cut(lambda _name, _index: False)
    assert all(disk[name].read(0, len(name)) == name.encode() for name in disk.partitions)


def test_an_unknown_partition_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="no partition 'slot-c'") as caught:
        Disk(partition_sizes(SIZE, SIZE))["slot-c"]
    assert "slot-b" in caught.value.hint


# --- writes in part, rot, read-only --------------------------------------------------------------

BIG = 64 * SECTOR_BYTES


def _survivor(offset: int, data: bytes, survival: Survival) -> bytes:
    """What of `data`, written over ones at `offset`, is there after a cut; `1` where it is not."""
    partition = Partition("p", BIG)
    partition.write(0, b"1" * BIG)
    partition.sync()
    partition.write(offset, data)
    partition.cut(lambda _index: survival)
    return partition.read(offset, len(data))


def test_a_write_of_two_sectors_tears_between_them() -> None:
    data = b"a" * SECTOR_BYTES + b"b" * SECTOR_BYTES
    old = b"1" * SECTOR_BYTES
    assert _survivor(0, data, Survival.HEAD) == data[:SECTOR_BYTES] + old
    assert _survivor(0, data, Survival.TAIL) == old + data[SECTOR_BYTES:]
    assert _survivor(0, data, Survival.LOST) == old + old
    assert _survivor(0, data, Survival.WHOLE) == data


def test_a_large_write_may_keep_every_other_page() -> None:
    data = bytes(range(1, 6)) * PAGE_BYTES
    kept = _survivor(100, data, Survival.PAGES)
    first = PAGE_BYTES - 100
    assert kept[:first] == data[:first]
    assert kept[first : first + PAGE_BYTES] == b"1" * PAGE_BYTES
    assert (
        kept[first + PAGE_BYTES : first + 2 * PAGE_BYTES]
        == (data[first + PAGE_BYTES : first + 2 * PAGE_BYTES])
    )


@given(
    st.integers(0, 3 * SECTOR_BYTES),
    st.integers(1, 20 * SECTOR_BYTES),
    st.sampled_from(list(Survival)),
)
def test_a_sector_is_written_whole_or_not_at_all(
    offset: int, length: int, survival: Survival
) -> None:
    kept = _survivor(offset, b"n" * length, survival)
    for start in range(offset, offset + length):
        if start % SECTOR_BYTES and start > offset:
            assert kept[start - offset] == kept[start - offset - 1], "torn inside a sector"


@given(st.integers(0, 2000), st.integers(1, 30_000))
def test_the_survivals_of_a_write_all_differ(offset: int, length: int) -> None:
    data = bytes(length)
    found = {_survivor(offset, data, survival) for survival in survivals(offset, data)}
    assert len(found) == len(survivals(offset, data))


def test_bulk_content_tears_in_the_step_that_was_under_way() -> None:
    partition = Partition("p", 1 << 20)
    digest = _blob().digest
    partition.write(0, Blob(digest, 1 << 20, 64 * SECTOR_BYTES))
    partition.sync()
    partition.write(0, Blob(digest, 1 << 20, 128 * SECTOR_BYTES))
    partition.cut(lambda _index: Survival.HEAD)
    assert partition.blobs[0].length == 96 * SECTOR_BYTES


def test_what_a_cut_would_leave_can_be_looked_at_without_a_cut() -> None:
    disk = Disk({DATA: SIZE})
    disk[DATA].write(0, b"synced")
    disk[DATA].sync()
    disk[DATA].write(0, b"cached")
    assert disk.after_cut(lambda _name, _index: False)[DATA].read(0, 6) == b"synced"
    assert disk.after_cut(lambda _name, _index: True)[DATA].read(0, 6) == b"cached"
    assert disk[DATA].read(0, 6) == b"cached"
    assert len(disk[DATA].pending) == 1


def test_disks_that_a_boot_cannot_tell_apart_have_one_key() -> None:
    one, two = Disk({DATA: SIZE}), Disk({DATA: SIZE})
    one[DATA].write(0, b"ab")
    one[DATA].sync()
    two[DATA].write(1, b"b")
    two[DATA].write(0, b"a")
    assert one.durable_key() != two.durable_key()
    two[DATA].sync()
    assert one.durable_key() == two.durable_key()
    two.blow(1)
    assert one.durable_key() != two.durable_key()


def test_chance_leaves_everything_a_cut_may_leave() -> None:
    draw = random.Random(1)
    keeps = by_chance(draw.random)
    assert {keeps("p", 0) for _ in range(200)} == set(Survival)


def test_rot_flips_one_bit_and_comes_back_after_a_cut() -> None:
    partition = Partition("p", SIZE)
    partition.write(0, b"abc")
    partition.sync()
    partition.rot(1, 0)
    assert partition.read(0, 3) == b"acc"
    partition.cut(lambda _index: Survival.LOST)
    assert partition.read(0, 3) == b"acc"


def test_rot_in_bulk_content_changes_its_digest() -> None:
    partition = Partition("p", SIZE)
    partition.write(8, _blob())
    partition.sync()
    partition.rot(20, 3)
    assert partition.digest(8, 40) != _blob().digest


def test_a_read_only_partition_takes_nothing_and_gives_everything() -> None:
    partition = Partition("p", SIZE)
    partition.write(0, b"abc")
    partition.sync()
    partition.read_only = True
    with pytest.raises(StorageReadOnly, match="p: mounted read-only"):
        partition.write(0, b"x")
    assert partition.read(0, 3) == b"abc"
    assert partition.pending == []
    assert partition.fork().read_only
