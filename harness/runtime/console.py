"""`console_output`: what an application prints, in a log file that cannot fill the disk."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# The appliance keeps at most 11 MB since software 4.3.55 (change log); one old file, one new.
BYTES_MAX = 11_000_000
LINES_KEPT = 50
LINE_BYTES_MAX = 4096


class Console:
    """Writes to `path`; when half of `bytes_max` is full it becomes `<path>.1`.

    Reopening continues the file of the run before, as a restarted node does.
    """

    def __init__(self, path: Path, bytes_max: int = BYTES_MAX) -> None:
        self.path = path
        self._old = path.with_name(f"{path.name}.1")
        self._half = bytes_max // 2
        self._lines: deque[bytes] = deque(maxlen=LINES_KEPT)
        self._partial = b""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), self._half):
            self._append(data[start : start + self._half])
        *lines, rest = (self._partial + data).split(b"\n")
        self._lines.extend(line[:LINE_BYTES_MAX] for line in lines[-LINES_KEPT:])
        self._partial = rest[:LINE_BYTES_MAX]

    def _append(self, data: bytes) -> None:
        if self._size + len(data) > self._half:
            self._file.close()
            self.path.replace(self._old)
            self._file = self.path.open("ab", buffering=0)
            self._size = 0
        self._file.write(data)
        self._size += len(data)

    def lines(self) -> tuple[str, ...]:
        """The last lines written since it was opened, oldest first, unfinished one included."""
        kept = [*self._lines, self._partial] if self._partial else list(self._lines)
        return tuple(line.decode(errors="replace").rstrip("\r") for line in kept)

    @property
    def size_bytes(self) -> int:
        """Of the file and of the old one beside it."""
        return self._size + (self._old.stat().st_size if self._old.exists() else 0)

    def close(self) -> None:
        self._file.close()
