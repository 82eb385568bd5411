"""Unpacking an asset archive that came over the network, trusting nothing in it.

The archive may be truncated, a decompression bomb, or made to write outside its directory by
absolute names, `..`, links or devices. It is unpacked beside the target and moved into place
when all of it was good, so a target that exists is complete.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from harness.errors import Corrupt, InputError, StorageFull

_CHUNK_BYTES = 1 << 20
_READ_BYTES_MAX = 16 << 20  # no honest tar header needs more in one piece


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unpack to: bytes in all (headers included) and members."""

    bytes_max: int = 8 << 30
    members_max: int = 100_000


def unpack(archive: Path, target: Path, limits: Limits | None = None) -> int:
    """Unpack the tar.gz `archive` into the new directory `target`; returns its content bytes.

    Absolute symbolic links, usual in exported container file systems, mean the container's root
    and are stored relative to it. Raises `Corrupt` naming the member that is damaged, too much,
    or would reach outside, `StorageFull` when there is no room; then nothing is left behind.
    """
    if target.exists():
        raise InputError(f"{target}: exists already", hint="unpack into a new directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        size = _Unpacking(archive, scratch.resolve(), limits or Limits()).run()
        scratch.chmod(0o755)
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return size


class _Bounded:
    """A gzip stream that refuses to yield more than `bytes_max`, or much in one read."""

    def __init__(self, stream: gzip.GzipFile, bytes_max: int) -> None:
        self.stream = stream
        self.bytes_max = bytes_max

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _READ_BYTES_MAX:
            raise Corrupt(f"a header of {size} bytes", hint="the archive is damaged or hostile")
        data = self.stream.read(size)
        self.check(self.stream.tell())
        return data

    def seek(self, offset: int) -> int:
        self.check(offset)
        return self.stream.seek(offset)

    def tell(self) -> int:
        return self.stream.tell()

    def check(self, position: int) -> None:
        if position > self.bytes_max:
            raise Corrupt(
                f"unpacks to more than {self.bytes_max} bytes",
                hint="a decompression bomb, or the limit is too low for this application",
            )


class _Unpacking:
    def __init__(self, archive: Path, root: Path, limits: Limits) -> None:
        self.archive = archive
        self.root = root
        self.limits = limits
        self.links: list[tuple[str, Path]] = []
        self.member = "its first member"

    def run(self) -> int:
        size = 0
        try:
            with gzip.open(self.archive, "rb") as packed:
                bounded = cast("IO[bytes]", _Bounded(packed, self.limits.bytes_max))
                with tarfile.open(fileobj=bounded, mode="r:") as tar:
                    for count, member in enumerate(tar, 1):
                        self.member = repr(member.name)
                        self.count(count)
                        size += self.extract(tar, member)
                self.member = "its end"
                while bounded.read(_CHUNK_BYTES):  # only its very end holds the checksum
                    pass
        except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise StorageFull(f"{self.root}: no room for {self.member}") from error
            raise self.corrupt(str(error)) from error
        except Corrupt as error:
            raise Corrupt(f"{self.archive.name}: {self.member}: {error}", hint=error.hint) from None
        self.check_links()
        return size

    def corrupt(self, reason: str) -> Corrupt:
        return Corrupt(
            f"{self.archive.name}: {self.member}: {reason}",
            hint="an asset is an intact tar.gz whose members stay inside the container's root",
        )

    def count(self, count: int) -> None:
        if count > self.limits.members_max:
            raise Corrupt(f"more than {self.limits.members_max} members", hint="too many files")

    def extract(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
        path = self.place(member.name)
        if member.isdir():
            if path != self.root:
                self.clear(path, keep_directory=True)
                path.mkdir(exist_ok=True)
            return 0
        if path == self.root:
            raise Corrupt("replaces the root directory", hint="members need a name")
        self.clear(path)
        if member.issym():
            self.link(path, member.linkname)
        elif member.islnk():
            self.hard_link(path, member.linkname)
        elif member.isreg():
            return self.write(tar, member, path)
        else:
            raise Corrupt("is a device, pipe or unknown kind", hint="only files and links")
        return 0

    def place(self, name: str) -> Path:
        """Where `name` goes: inside the root, its directories made, no link followed out."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name:
            raise Corrupt("leaves the archive's root", hint="no absolute names and no `..`")
        path = self.root / pure
        if path == self.root:
            return path
        parent = Path(os.path.realpath(path.parent))
        self.inside(parent)
        parent.mkdir(parents=True, exist_ok=True)
        return parent / path.name

    def inside(self, path: Path) -> None:
        if not path.is_relative_to(self.root):
            raise Corrupt("leads outside through a link", hint="links must stay inside the root")

    def clear(self, path: Path, *, keep_directory: bool = False) -> None:
        """Later members replace earlier ones, as tar does; directories stay directories."""
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir() and not keep_directory:
            raise Corrupt("replaces a directory", hint="the archive contradicts itself")

    def link(self, path: Path, to: str) -> None:
        if to.startswith("/"):
            to = os.path.relpath(self.root / to.lstrip("/"), path.parent)
        path.symlink_to(to)
        self.inside(Path(os.path.realpath(path)))
        self.links.append((self.member, path))

    def hard_link(self, path: Path, to: str) -> None:
        source = self.place(to)
        if source.is_symlink() or not source.is_file():
            raise Corrupt(f"links to {to!r}, which is no file", hint="a hard link needs its file")
        os.link(source, path)

    def write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> int:
        source = tar.extractfile(member)
        assert source is not None  # it is a regular file
        with source, path.open("xb") as file:
            shutil.copyfileobj(source, file, _CHUNK_BYTES)
            written = file.tell()
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
        if written != member.size:
            raise Corrupt(f"{written} of {member.size} bytes", hint="the archive is truncated")
        return written

    def check_links(self) -> None:
        """Once more at the end: a later link can change where an earlier one leads."""
        for member, path in self.links:
            self.member = member
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self.root):
                raise self.corrupt("leads outside through a link")
