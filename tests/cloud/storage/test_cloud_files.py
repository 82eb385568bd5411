"""Contents as files: whole or not there, shared when equal, gone when nothing refers to them."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from typing import TYPE_CHECKING

import pytest

from harness.cloud.service.content import BytesContent
from harness.cloud.storage import storage as storage_module
from harness.cloud.storage.files import INLINE_BYTES_MAX, ContentFiles, write_private
from harness.cloud.storage.storage import Storage
from harness.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cloud.service.content import Content

PLANE = "123456789012/us-east-1"
LARGE = bytes(range(256)) * (INLINE_BYTES_MAX // 256) + b"!"


def whole(content: Content | None) -> bytes:
    assert content is not None
    return content.read(0, content.size_bytes)


@pytest.mark.parametrize("data", [b"", b"small", LARGE[:-1], LARGE])
async def test_objects_are_there_after_a_restart(tmp_path: Path, data: bytes) -> None:
    async with Storage(tmp_path) as storage:
        store = storage.store(PLANE)
        storage.objects(store).put("bucket", "a key/with slashes", BytesContent(data))
        store.commit()
        await storage.kept()
    async with Storage(tmp_path) as storage:
        objects = storage.objects(storage.store(PLANE))
        assert whole(objects.get("bucket", "a key/with slashes")) == data
        assert objects.get("bucket", "another") is None
    files = [path.name for path in (tmp_path / "objects").iterdir()]
    assert files == ([hashlib.sha256(data).hexdigest()] if data == LARGE else [])


async def test_objects_are_listed_and_removed(tmp_path: Path) -> None:
    async with Storage(tmp_path) as storage:
        store = storage.store(PLANE)
        objects = storage.objects(store)
        for bucket, key in (("b", "p/2"), ("b", "p/1"), ("b", "q"), ("bp", "1")):
            objects.put(bucket, key, BytesContent(LARGE))
        assert objects.keys("b", "p/") == ["p/1", "p/2"]
        assert objects.keys("b", "") == ["p/1", "p/2", "q"]
        objects.remove("b", "p/1")
        objects.remove("b", "none")
        assert objects.keys("b", "p") == ["p/2"]
        store.commit()
        await storage.kept()
    async with Storage(tmp_path) as storage:
        assert storage.objects(storage.store(PLANE)).keys("b", "") == ["p/2", "q"]


async def test_equal_contents_are_one_file(tmp_path: Path) -> None:
    async with Storage(tmp_path) as storage:
        objects = storage.objects(storage.store(PLANE))
        for key in ("a", "b"):
            objects.put("bucket", key, BytesContent(LARGE))
        copied = objects.get("bucket", "a")
        assert copied is not None
        objects.put("bucket", "c", copied)
        assert whole(objects.get("bucket", "c")) == LARGE
    assert len(list((tmp_path / "objects").iterdir())) == 1


async def test_what_nothing_refers_to_is_swept_away_at_the_start(tmp_path: Path) -> None:
    async with Storage(tmp_path) as storage:
        store = storage.store(PLANE)
        objects = storage.objects(store)
        objects.put("bucket", "key", BytesContent(LARGE))
        objects.put("bucket", "key", BytesContent(LARGE + b"?"))
        objects.put("bucket", "inline", BytesContent(b"small"))
        store.commit()
        storage.files.partial().write_bytes(b"cut off by a crash")
        assert len(list((tmp_path / "objects").iterdir())) == 3
    async with Storage(tmp_path) as storage:
        objects = storage.objects(storage.store(PLANE))
        assert whole(objects.get("bucket", "key")) == LARGE + b"?"
        assert whole(objects.get("bucket", "inline")) == b"small"
    assert len(list((tmp_path / "objects").iterdir())) == 1


async def test_a_state_that_is_just_being_left_is_waited_for(tmp_path: Path) -> None:
    first = await Storage(tmp_path).__aenter__()
    async with asyncio.TaskGroup() as group:
        second = group.create_task(Storage(tmp_path).__aenter__())
        await asyncio.sleep(0.05)
        assert not second.done()
        await first.__aexit__(None, None, None)
    await second.result().__aexit__(None, None, None)


async def test_a_state_in_use_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "LOCK_WAIT_S", 0.05)
    async with Storage(tmp_path):
        with pytest.raises(InputError, match="another control plane"):
            await Storage(tmp_path).__aenter__()


def test_private_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for data in (b"first", b"second"):
        write_private(path, data)
        assert path.read_bytes() == data
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_partial_paths_do_not_meet(tmp_path: Path) -> None:
    files = ContentFiles(tmp_path)
    assert len({files.partial() for _ in range(10)}) == 10
