"""Archives of packages that are imported: one package.json, and assets named by their SHA-256.

A tar archive, plain or gzipped, or a ZIP file, with the files in whatever folders; so a package
folder of an application project can be packed as it is. Everything is bounded, because an archive
of kilobytes can unpack to any size.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cloud.service.content import Content

MANIFEST = "package.json"
UNPACKED_BYTES_MAX = 256 << 20  # held in memory while an import is carried out
ENTRIES_MAX = 1024
# What the readers of the standard library raise for damaged archives: names that are not UTF-8,
# lengths that lead nowhere, encrypted files, methods of compression that nobody uses.
_UNREADABLE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError,
    EOFError, ValueError, LookupError, RuntimeError,
)  # fmt: skip
_GZIP = b"\x1f\x8b"
_ASSET = re.compile(r"[0-9a-f]{64}\.[a-z0-9.]{1,32}")


class ArchiveInvalid(Exception):
    """The object is not an archive of a package; the text says why."""


@dataclass(frozen=True, slots=True)
class Archive:
    """`manifest` is package.json as it is, `assets` are by file name."""

    manifest: bytes = field(repr=False)
    assets: dict[str, bytes] = field(repr=False)


_TOO_LARGE = ArchiveInvalid(
    f"the archive holds more than {ENTRIES_MAX} files or {UNPACKED_BYTES_MAX} bytes"
)


def read(content: Content) -> Archive:
    """Raises `ArchiveInvalid`."""
    manifests: list[bytes] = []
    assets: dict[str, bytes] = {}
    left = UNPACKED_BYTES_MAX
    try:
        for count, (name, size, opened) in enumerate(_files(content), start=1):
            left -= size
            if count > ENTRIES_MAX or left < 0:
                raise _TOO_LARGE
            if name == MANIFEST:
                manifests.append(opened.read(size))
            elif _ASSET.fullmatch(name):
                assets[name] = _verified(name, opened.read(size))
    except _UNREADABLE as error:
        raise ArchiveInvalid(f"the archive cannot be read: {error}") from None
    if len(manifests) != 1:
        raise ArchiveInvalid(f"the archive holds {len(manifests)} files {MANIFEST}, not one")
    return Archive(manifests[0], assets)


def _verified(name: str, data: bytes) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    if not name.startswith(digest):
        raise ArchiveInvalid(f"{name} in the archive has content with SHA-256 {digest}")
    return data


def _files(content: Content) -> Iterator[tuple[str, int, Any]]:
    """Name without folders, size, and something to read it from, of every regular file."""
    file = io.BufferedReader(_Reader(content))
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as opened:
                        yield PurePosixPath(entry.filename).name, entry.file_size, opened
        return
    file.seek(0)
    zipped = file.peek(2)[:2] == _GZIP
    stream = _Bounded(gzip.GzipFile(fileobj=file) if zipped else file)
    with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            if member.isfile():
                yield PurePosixPath(member.name).name, member.size, tar.extractfile(member)


class _Bounded:
    """A stream that ends in an error: headers, too, can be of any size."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = UNPACKED_BYTES_MAX

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _TOO_LARGE
        return data


class _Reader(io.RawIOBase):
    """A content as a file."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size_bytes}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._content.read(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
