"""Storage in files keeps the same promises as storage in memory, and its own about threads."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

import pytest

from harness.appliance.storage import Blob, Partition
from harness.engine.process import disk as disk_module
from harness.engine.process.disk import FileDisk, FilePartition
from harness.errors import EngineError, InputError, StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = 1 << 16
WAIT_S = 10.0


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[FilePartition]:
    partition = FilePartition("data", SIZE, tmp_path / "data.img")
    yield partition
    partition.close()


@pytest.fixture(params=["memory", "file"])
def partition(request: pytest.FixtureRequest) -> Partition:
    if request.param == "memory":
        return Partition("data", SIZE)
    found: Partition = request.getfixturevalue("in_file")
    return found


def keep(*indices: int) -> Callable[[int], bool]:
    return lambda index: index in indices


# --- one contract for both -----------------------------------------------------------------------


def test_what_was_never_written_reads_as_zeros(partition: Partition) -> None:
    assert partition.read(0, 10) == bytes(10)
    assert partition.read(SIZE - 4, 4) == bytes(4)


def test_a_write_is_read_before_it_is_synced(partition: Partition) -> None:
    partition.write(100, b"hello")
    assert partition.read(98, 9) == b"\0\0hello\0\0"
    assert partition.read(102, 2) == b"ll"


def test_later_writes_lie_over_earlier_ones(partition: Partition) -> None:
    partition.write(0, b"aaaaaaaa")
    partition.sync()
    partition.write(2, b"bbbb")
    partition.write(4, b"cc")
    assert partition.read(0, 8) == b"aabbccaa"
    partition.sync()
    assert partition.read(0, 8) == b"aabbccaa"


def test_a_power_cut_keeps_what_was_synced_and_drops_the_rest(partition: Partition) -> None:
    partition.write(0, b"kept")
    partition.sync()
    partition.write(0, b"lost")
    partition.write(4, b"too")
    partition.cut(keep())
    assert partition.read(0, 8) == b"kept\0\0\0\0"


def test_of_unsynced_writes_any_may_survive(partition: Partition) -> None:
    for offset, data in ((0, b"one"), (4, b"two"), (8, b"three")):
        partition.write(offset, data)
    partition.cut(keep(0, 2))
    assert partition.read(0, 13) == b"one\0\0\0\0\0three"
    partition.cut(keep())
    assert partition.read(0, 3) == b"one"  # what survived is durable


def test_nothing_is_pending_after_sync_or_cut(partition: Partition) -> None:
    partition.write(0, b"a")
    assert len(partition.pending) == 1
    partition.sync()
    assert partition.pending == []
    partition.write(0, b"b")
    partition.cut(keep())
    assert partition.pending == []


def test_writes_beyond_the_end_are_refused_whole(partition: Partition) -> None:
    partition.write(SIZE - 4, b"last")
    with pytest.raises(StorageFull, match=rf"data: 5 bytes at {SIZE - 4} do not fit {SIZE}"):
        partition.write(SIZE - 4, b"last!")
    with pytest.raises(StorageFull):
        partition.read(SIZE, 1)
    assert partition.read(SIZE - 4, 4) == b"last"


def test_digest_is_of_what_would_be_read(partition: Partition) -> None:
    partition.write(10, b"hello")
    partition.sync()
    partition.write(12, b"LL")
    assert partition.digest(10, 5) == hashlib.sha256(b"heLLo").hexdigest()
    assert partition.digest(0, SIZE) == hashlib.sha256(partition.read(0, SIZE)).hexdigest()


# --- files ---------------------------------------------------------------------------------------


def test_unsynced_data_is_not_in_the_file(in_file: FilePartition, tmp_path: Path) -> None:
    path = tmp_path / "data.img"
    in_file.write(5, b"secret")
    assert path.read_bytes() == bytes(SIZE)
    in_file.sync()
    assert path.read_bytes() == bytes(5) + b"secret" + bytes(SIZE - 11)
    assert path.stat().st_mode & 0o777 == 0o600


def test_files_are_sparse(tmp_path: Path) -> None:
    partition = FilePartition("slot-a", 6 << 30, tmp_path / "slot-a.img")
    partition.write((6 << 30) - 1, b"x")
    partition.sync()
    assert (tmp_path / "slot-a.img").stat().st_blocks * 512 < 1 << 20
    partition.close()


def test_a_file_that_exists_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "data.img").touch()
    with pytest.raises(FileExistsError):
        FilePartition("data", SIZE, tmp_path / "data.img")


def test_bulk_content_without_bytes_is_refused(in_file: FilePartition) -> None:
    with pytest.raises(EngineError, match="digest only"):
        in_file.write(0, Blob("00" * 32, 10, 10))
    with pytest.raises(EngineError, match="cannot be forked"):
        in_file.fork()


def test_a_disk_of_files(tmp_path: Path) -> None:
    disk = FileDisk({"data": SIZE, "slot-a": SIZE}, tmp_path)
    disk["data"].write(0, b"hello")
    disk["slot-a"].write(0, b"world")
    disk["slot-a"].sync()
    disk.cut(lambda name, _index: name == "slot-a")
    assert (disk["data"].read(0, 5), disk["slot-a"].read(0, 5)) == (bytes(5), b"world")
    with pytest.raises(InputError, match="no partition 'slot-c'"):
        disk["slot-c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.img", "slot-a.img"]
    disk.close()


# --- a sync in its thread ------------------------------------------------------------------------


class Flushes:
    """Stands in for fdatasync: every call waits until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, _fd: int) -> None:
        self.entered.release()
        assert self.may_end.acquire(timeout=WAIT_S)

    def start(self, partition: Partition) -> threading.Thread:
        """A sync in a thread of its own, as far as its flush."""
        thread = threading.Thread(target=partition.sync)
        thread.start()
        assert self.entered.acquire(timeout=WAIT_S)
        return thread

    def end(self, thread: threading.Thread) -> None:
        self.may_end.release()
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> Flushes:
    return Flushes(monkeypatch)


def test_what_comes_during_a_sync_waits_for_the_next(
    in_file: FilePartition, flushes: Flushes, tmp_path: Path
) -> None:
    in_file.write(0, b"first")
    thread = flushes.start(in_file)
    in_file.write(10, b"second")
    flushes.end(thread)
    assert [data for _, data in in_file.pending] == [b"second"]
    assert in_file.read(0, 16) == b"first\0\0\0\0\0second"
    assert (tmp_path / "data.img").read_bytes()[:16] == b"first".ljust(16, b"\0")


def test_two_syncs_at_once_lose_nothing(
    in_file: FilePartition, flushes: Flushes, tmp_path: Path
) -> None:
    """Two programs share a partition: each may sync while the other's sync is under way."""
    in_file.write(0, b"first")
    one = flushes.start(in_file)
    in_file.write(10, b"second")
    two = threading.Thread(target=in_file.sync)
    two.start()
    flushes.entered.acquire(timeout=0.05)  # where syncs do not wait for one another, it is there
    in_file.write(20, b"third")
    flushes.end(one)
    flushes.end(two)
    in_file.cut(keep(*range(10)))
    read = in_file.read(0, 25)
    assert (read[:5], read[10:16], read[20:25]) == (b"first", b"second", b"third")


def test_a_cut_during_a_sync_is_stable_from_then_on(
    in_file: FilePartition, flushes: Flushes
) -> None:
    in_file.write(0, b"first")
    thread = flushes.start(in_file)
    in_file.write(10, b"second")
    in_file.cut(keep())
    after = in_file.read(0, 16)
    assert after[10:] == bytes(6)  # it was not part of the sync
    in_file.write(0, b"newer")
    flushes.end(thread)
    assert in_file.read(0, 5) == b"newer"
    assert [data for _, data in in_file.pending] == [b"newer"]


def test_a_sync_writes_nothing_after_the_cut(
    in_file: FilePartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next boot writes must not be overwritten by what the last one had under way."""
    cut = threading.Event()
    began = threading.Event()
    real_write = disk_module._write_all

    def slow(fd: int, data: bytes, offset: int) -> None:
        real_write(fd, data, offset)
        if threading.current_thread() is not threading.main_thread():
            began.set()
            cut.wait(0.2)  # the lock of a write that is under way may hold the cut back so long

    monkeypatch.setattr(disk_module, "_write_all", slow)
    for number in range(3):
        in_file.write(number * 10, b"old")
    thread = threading.Thread(target=in_file.sync)
    thread.start()
    assert began.wait(WAIT_S)
    in_file.cut(keep())
    durable = os.pread(in_file._fd, 30, 0)
    cut.set()
    in_file.write(20, b"new")
    thread.join(WAIT_S)
    in_file.sync()
    assert os.pread(in_file._fd, 30, 0) == durable[:20] + b"new" + durable[23:]


def test_a_read_during_a_sync_sees_every_write(
    in_file: FilePartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync may end between the read of the file and the look at what is pending."""
    in_file.write(0, b"hello")
    real_read = os.pread

    def read_then_sync(fd: int, length: int, offset: int) -> bytes:
        data = real_read(fd, length, offset)
        monkeypatch.setattr(os, "pread", real_read)
        in_file.sync()
        return data

    monkeypatch.setattr(os, "pread", read_then_sync)
    assert in_file.read(0, 5) == b"hello"


def test_close_waits_for_a_sync(tmp_path: Path, flushes: Flushes) -> None:
    """A file number must not be given away while a thread still writes to it."""
    partition = FilePartition("data", SIZE, tmp_path / "data.img")
    partition.write(0, b"hello")
    syncing = flushes.start(partition)
    closing = threading.Thread(target=partition.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    flushes.end(syncing)
    closing.join(WAIT_S)
    assert not closing.is_alive()
    with pytest.raises(OSError, match="Bad file descriptor"):
        partition.read(0, 5)
