"""The database of a state directory: all records of all planes in one table, as JSON.

A commit is on disk when `write` returns: write-ahead log, synced with every commit.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.cloud.storage.files import sync_directory
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from harness.cloud.service.table import Change

SCHEMA_VERSION = 1
FILE = "state.db"
NEIGHBOURS = "neighbours"  # what stands in a plane's place for the services beside all of them
_LOCK = "lock"
_APPLICATION_ID = 0x48494C43  # "HILC": no other SQLite file is taken for one of ours
_SCHEMA = """
CREATE TABLE record (
  seq INTEGER PRIMARY KEY,  -- the order in which records were added
  plane TEXT NOT NULL,
  name TEXT NOT NULL,
  id TEXT NOT NULL,
  data TEXT NOT NULL,
  UNIQUE (plane, name, id)
) STRICT
"""
_PUT = """
INSERT INTO record (plane, name, id, data) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET data = excluded.data
"""
_DELETE = "DELETE FROM record WHERE plane = ? AND name = ? AND id = ?"

Rows: TypeAlias = "dict[str, list[tuple[str, bytes]]]"  # id and encoded record, by table


class Database:
    """Open for this process alone, until `close`. All methods may be called from any one thread.

    Raises `StateInUse` when another process has it open, `InputError` when it was written by a
    newer version or by something else, and when it is damaged.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / FILE
        self._lock = _lock(directory / _LOCK)
        try:
            self._connection = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)

    def read(self, plane: str) -> Rows:
        """All records of a plane, in the order in which they were added."""
        rows: Rows = {}
        query = "SELECT name, id, CAST(data AS BLOB) FROM record WHERE plane = ? ORDER BY seq"
        for name, key, data in self._query(query, plane):
            rows.setdefault(name, []).append((key, data))
        return rows

    def planes(self) -> list[str]:
        """Names of the planes that have records."""
        query = "SELECT DISTINCT plane FROM record ORDER BY plane"
        return [name for (name,) in self._query(query)]

    def contents(self) -> set[str]:
        """Names of the contents that are files: SHA-256 of objects, and parts of uploads."""
        query = (
            "SELECT json_extract(data, '$.sha256') FROM record"
            " WHERE name = 'objects' AND json_extract(data, '$.inline') IS NULL"
            " UNION SELECT json_extract(data, '$.file') FROM record WHERE name = 'upload_parts'"
        )
        return {str(name) for (name,) in self._query(query)}

    def measure_requests(self) -> Iterator[tuple[int, int, bool]]:
        """Number and bytes of the requests to neighbouring services; whether it only adds data."""
        query = (
            "SELECT id, length(data), json_extract(data, '$.data') FROM record"
            " WHERE plane = ? ORDER BY seq"
        )
        for number, size, data in self._query(query, NEIGHBOURS):
            yield int(number), int(size), bool(data)

    def requests(self) -> Iterator[tuple[int, bytes]]:
        """Those that are on disk, in order, from any thread: by a connection of its own."""
        query = "SELECT id, CAST(data AS BLOB) FROM record WHERE plane = ? ORDER BY seq"
        with closing(sqlite3.connect(self._path, check_same_thread=False)) as connection:
            for number, data in connection.execute(query, (NEIGHBOURS,)):
                yield int(number), data

    def write(self, changes: Iterable[tuple[str, Change]]) -> None:
        """Changes of planes, in one transaction. Raises `sqlite3.Error`: then none is kept."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for plane, (name, key, data) in changes:
                if data is None:
                    self._connection.execute(_DELETE, (plane, name, key))
                else:
                    self._connection.execute(_PUT, (plane, name, key, data.decode()))

    def damaged(self, error: Exception) -> InputError:
        return InputError(
            f"{self._path}: the state is damaged: {error}",
            hint="put a copy of the state directory in its place, or start with an empty one",
        )

    def _query(self, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from None

    def _open(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise self.damaged(error) from None
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        application, version, tables = (
            int(connection.execute(query).fetchone()[0])
            for query in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_schema",
            )
        )
        if (application != _APPLICATION_ID and tables) or version > SCHEMA_VERSION:
            what = f"of version {version}" if application == _APPLICATION_ID else "something else"
            raise InputError(
                f"{self._path}: this is state {what}; known is version {SCHEMA_VERSION}",
                hint="use the harness that wrote it, or another state directory",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if not tables:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            sync_directory(self._path.parent)


class StateInUse(InputError):
    """Another process holds the lock of the state directory."""


def _lock(path: Path) -> int:
    """A descriptor that holds the lock until it is closed, be it by a crash."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StateInUse(
            f"{path.parent}: another control plane uses this state directory",
            hint="stop it, or choose another directory",
        ) from None
    return descriptor
