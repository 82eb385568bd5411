"""Group commit: nothing is said to be kept before it is, and what comes meanwhile goes together."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any

import pytest

from harness.cloud.storage.journal import Journal, WriteFailed

WAIT_S = 5.0


class Disk:
    """A `write` that the test lets go on, one batch at a time."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.turns = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self.error: Exception | None = None

    def write(self, batch: list[Any]) -> None:
        self.began.release()
        assert self.turns.acquire(timeout=WAIT_S)
        if self.error is not None:
            raise self.error
        self.batches.append([key for _, (_, key, _) in batch])

    async def writing(self) -> None:
        assert await asyncio.to_thread(self.began.acquire, timeout=WAIT_S)


def append(journal: Journal, *keys: str) -> None:
    journal.append("plane", [("jobs", key, b"{}") for key in keys])


async def test_what_comes_while_a_commit_is_under_way_goes_together() -> None:
    disk = Disk()
    async with Journal(disk.write) as journal, asyncio.TaskGroup() as group:
        append(journal, "a")
        await disk.writing()
        first = group.create_task(journal.kept())
        await asyncio.sleep(0)  # it begins to wait
        for key in ("b", "c", "d"):
            append(journal, key)
        rest = [group.create_task(journal.kept()) for _ in range(3)]
        disk.turns.release()
        await first
        await disk.writing()
        assert not any(task.done() for task in rest)
        disk.turns.release()
        await asyncio.gather(*rest)
    assert disk.batches == [["a"], ["b", "c", "d"]]


async def test_nobody_waits_when_everything_is_kept() -> None:
    disk = Disk()
    disk.turns.release()
    async with Journal(disk.write) as journal:
        await journal.kept()
        append(journal, "a")
        await journal.kept()
        await journal.kept()
    assert disk.batches == [["a"]]


async def test_who_gives_up_waiting_harms_nobody() -> None:
    disk = Disk()
    async with Journal(disk.write) as journal, asyncio.TaskGroup() as group:
        append(journal, "a")
        impatient, patient = (group.create_task(journal.kept()) for _ in range(2))
        await disk.writing()
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait({impatient})
        disk.turns.release()
        await patient


async def test_closing_writes_what_is_left() -> None:
    disk = Disk()
    disk.turns.release(3)
    async with Journal(disk.write) as journal:
        for key in ("a", "b", "c"):
            append(journal, key)
    assert [key for batch in disk.batches for key in batch] == ["a", "b", "c"]
    assert not any(thread.name == "cloud journal" for thread in threading.enumerate())


async def test_a_failed_commit_is_the_end() -> None:
    disk = Disk()
    disk.error = sqlite3.OperationalError("database or disk is full")
    disk.turns.release(3)
    async with Journal(disk.write) as journal, asyncio.TaskGroup() as group:
        end = group.create_task(journal.failed())
        append(journal, "a")
        with pytest.raises(WriteFailed, match="disk is full") as raised:
            await journal.kept()
        assert await end is raised.value
        assert "start again" in raised.value.hint
        append(journal, "b")
        with pytest.raises(WriteFailed):
            await journal.kept()
    assert disk.batches == []
