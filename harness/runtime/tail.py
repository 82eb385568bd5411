"""What an application printed and wrote into its log files since the last look, in whole lines.

The files are the application's own, so nothing about them is believed: links are not followed,
only regular files are read, and each look reads a bounded piece of each of a bounded number.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PIECE_BYTES_MAX = 1 << 16  # of one file in one look
FILES_MAX = 50
LINE_BYTES_MAX = 4096


@dataclass(slots=True)
class _Place:
    """How far a file was read. `begun`: the start of a line that is not complete."""

    inode: int
    offset: int
    begun: bytes = b""


class Tail:
    """Follows files, each a stream of its own, and all files of a directory as one more stream.

    From their ends at the start: what is there by then was told in a life before.
    """

    def __init__(self, streams: Mapping[str, Path], name: str, directory: Path) -> None:
        self._streams = {path: stream for stream, path in streams.items()}
        self._name = name
        self._directory = directory
        self._places: dict[Path, _Place] = {}
        for path in self._paths():
            with _opened(path) as file:
                if file is not None:
                    status = os.fstat(file)
                    self._places[path] = _Place(status.st_ino, status.st_size)

    def look(self) -> dict[str, list[str]]:
        """New lines by stream; streams without any are left out."""
        found: dict[str, list[str]] = {}
        for path in self._paths():
            lines = list(self._read(path))
            if lines:
                found.setdefault(self._streams.get(path, self._name), []).extend(lines)
        return found

    def _paths(self) -> list[Path]:
        found = list(self._streams)
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            found += sorted(self._directory / entry.name for entry in entries)[:FILES_MAX]
        return found

    def _read(self, path: Path) -> Iterator[str]:
        with _opened(path) as file:
            if file is None:
                return
            status = os.fstat(file)
            place = self._places.get(path)
            if place is None or place.inode != status.st_ino or place.offset > status.st_size:
                if place is not None:
                    yield from self._rest(path, place)
                place = self._places[path] = _Place(status.st_ino, 0)
            yield from _lines(file, place)

    def _rest(self, path: Path, place: _Place) -> Iterator[str]:
        """What was left of a file that was rotated away, as the console is."""
        with _opened(path.with_name(f"{path.name}.1")) as file:
            if file is not None and os.fstat(file).st_ino == place.inode:
                yield from _lines(file, place)


def _lines(file: int, place: _Place) -> Iterator[str]:
    data = os.pread(file, PIECE_BYTES_MAX, place.offset)
    place.offset += len(data)
    *lines, rest = (place.begun + data).split(b"\n")
    if len(rest) > LINE_BYTES_MAX:
        lines, rest = [*lines, rest], b""
    place.begun = rest
    for line in lines:
        yield line[:LINE_BYTES_MAX].decode(errors="replace").rstrip("\r")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """A descriptor of a regular file, None for anything else."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    try:
        yield file if stat.S_ISREG(os.fstat(file).st_mode) else None
    finally:
        os.close(file)
