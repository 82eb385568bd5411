"""The database of a state directory: what it gives back, and what it refuses to open."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from harness.cloud.storage.database import FILE, SCHEMA_VERSION, Database
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.cloud.service.table import Change

PLANE = "123456789012/us-east-1"


def write(directory: Path, *changes: Change, plane: str = PLANE) -> None:
    with closing(Database(directory)) as database:
        database.write((plane, change) for change in changes)


def read(directory: Path, plane: str = PLANE) -> dict[str, list[tuple[str, bytes]]]:
    with closing(Database(directory)) as database:
        return database.read(plane)


def test_records_come_back_in_the_order_they_were_added(tmp_path: Path) -> None:
    write(tmp_path, ("jobs", "b", b"1"), ("jobs", "a", b"2"), ("devices", "x", b"{}"))
    write(tmp_path, ("jobs", "b", b"3"), ("jobs", "c", b"4"))
    assert read(tmp_path) == {
        "jobs": [("b", b"3"), ("a", b"2"), ("c", b"4")],
        "devices": [("x", b"{}")],
    }
    write(tmp_path, ("jobs", "b", None), ("jobs", "b", b"5"))
    assert read(tmp_path)["jobs"] == [("a", b"2"), ("c", b"4"), ("b", b"5")]


def test_planes_are_apart(tmp_path: Path) -> None:
    write(tmp_path, ("jobs", "a", b"1"))
    write(tmp_path, ("jobs", "a", b"2"), plane="other/eu-west-1")
    assert read(tmp_path)["jobs"] == [("a", b"1")]
    with closing(Database(tmp_path)) as database:
        assert database.planes() == [PLANE, "other/eu-west-1"]


def test_a_transaction_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    def changes() -> Iterable[tuple[str, Change]]:
        yield PLANE, ("jobs", "a", b"1")
        raise sqlite3.OperationalError("database or disk is full")

    with closing(Database(tmp_path)) as database:
        with pytest.raises(sqlite3.OperationalError):
            database.write(changes())
        assert database.read(PLANE) == {}
        database.write([(PLANE, ("jobs", "b", b"2"))])
    assert read(tmp_path) == {"jobs": [("b", b"2")]}


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    write(tmp_path / "state", ("secrets", "a", b"{}"))
    for path in ((tmp_path / "state"), *(tmp_path / "state").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_two_cannot_use_one_directory(tmp_path: Path) -> None:
    with closing(Database(tmp_path)), pytest.raises(InputError, match="another control plane"):
        Database(tmp_path)
    Database(tmp_path).close()


def test_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ("jobs", "a", b"1"))
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(InputError, match=f"version {SCHEMA_VERSION + 1}; known"):
        Database(tmp_path)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("CREATE TABLE accounts (name TEXT)")
    with pytest.raises(InputError, match="something else"):
        Database(tmp_path)


@pytest.mark.parametrize("damage", [b"not a database, whatever its name says", b"\xff" * 4096])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(InputError, match="damaged") as raised:
        Database(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert raised.value.hint


def test_a_database_with_overwritten_pages_is_refused(tmp_path: Path) -> None:
    write(tmp_path, *(("devices", f"d{n}", b"x" * 1000) for n in range(100)))
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    data[8192:40960] = b"\xa5" * (40960 - 8192)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path)


def test_state_cut_short_is_refused(tmp_path: Path) -> None:
    write(tmp_path, *(("devices", f"d{n}", b"x" * 1000) for n in range(100)))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path)
