"""Unpacking: honest archives come out whole, attacks are refused and leave nothing behind."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import Corrupt, InputError
from harness.runtime.unpack import Limits, unpack

if TYPE_CHECKING:
    from pathlib import Path

Member: TypeAlias = "tuple[str, bytes, str | bytes]"  # name, tar type, link target or content

FILE, LINK, HARD, DIRECTORY = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def build(path: Path, *members: Member) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, value in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if isinstance(value, str):
                entry.linkname = value
                tar.addfile(entry)
            else:
                entry.size = len(value)
                tar.addfile(entry, io.BytesIO(value))
    return path


def test_files_directories_and_links_come_out(tmp_path: Path) -> None:
    archive = build(
        tmp_path / "a.tar.gz",
        ("./", DIRECTORY, b""),
        ("usr/bin", DIRECTORY, b""),
        ("usr/bin/python3.8", FILE, b"binary"),
        ("usr/bin/python3", LINK, "python3.8"),
        ("bin", LINK, "usr/bin"),
        ("bin/tool", FILE, b"through a link that stays inside"),
        ("etc/python", LINK, "/usr/bin/python3"),
        ("again", HARD, "usr/bin/python3.8"),
        ("again2", FILE, b"old"),
        ("again2", FILE, b"new"),
    )
    root = tmp_path / "root"
    assert unpack(archive, root) == 6 + 32 + 3 + 3
    assert (root / "usr/bin/tool").read_bytes().startswith(b"through")
    assert (root / "etc/python").read_bytes() == b"binary"  # absolute: from the container's root
    assert (root / "again").read_bytes() == b"binary"
    assert (root / "again2").read_bytes() == b"new"


ATTACKS: list[tuple[str, tuple[Member, ...]]] = [
    ("'/etc/passwd': leaves", (("/etc/passwd", FILE, b"x"),)),
    ("'../evil': leaves", (("../evil", FILE, b"x"),)),
    ("'a/../../evil': leaves", (("a/../../evil", FILE, b"x"),)),
    ("'out': leads outside", (("out", LINK, "../outside"),)),
    ("'deep/out': leads outside", (("deep/out", LINK, "../../outside"),)),
    ("'out': leads outside", (("s", LINK, "."), ("out", LINK, "s/s/s/../../../outside"))),
    ("'t': leads outside", (("t", LINK, "q/x/../../o"), ("q", LINK, "."), ("x", LINK, "."))),
    ("'dev': is a device", (("dev", tarfile.CHRTYPE, b""),)),
    ("'fifo': is a device", (("fifo", tarfile.FIFOTYPE, b""),)),
    ("'h': leaves", (("h", HARD, "/etc/passwd"),)),
    ("'h': leaves", (("h", HARD, "../outside"),)),
    ("'h': links to 'l'", (("f", FILE, b"x"), ("l", LINK, "f"), ("h", HARD, "l"))),
    ("'h': links to 'nothing'", (("h", HARD, "nothing"),)),
    ("'d': replaces a directory", (("d/f", FILE, b"x"), ("d", LINK, "f"))),
    ("'f/x': ", (("f", FILE, b"x"), ("f/x", FILE, b"x"))),
]


@pytest.mark.parametrize(("message", "members"), ATTACKS)
def test_attacks_are_refused_and_leave_nothing(
    tmp_path: Path, message: str, members: tuple[Member, ...]
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    archive = build(tmp_path / "a.tar.gz", *members)
    with pytest.raises(Corrupt) as caught:
        unpack(archive, tmp_path / "root")
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.tar.gz: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "outside"]
    assert outside.read_text() == "untouched"


def test_bombs_are_bounded(tmp_path: Path) -> None:
    zeros = build(tmp_path / "zeros.tar.gz", ("zeros", FILE, bytes(5_000_000)))
    with pytest.raises(Corrupt, match=r"'zeros': unpacks to more than 1000000 bytes"):
        unpack(zeros, tmp_path / "root", Limits(bytes_max=1_000_000))
    many = build(tmp_path / "many.tar.gz", *((f"f{n}", FILE, b"") for n in range(11)))
    with pytest.raises(Corrupt, match="more than 10 members"):
        unpack(many, tmp_path / "root", Limits(members_max=10))
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 32
    (tmp_path / "pax.tar.gz").write_bytes(
        gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    )
    with pytest.raises(Corrupt, match=r"a header of 4294967296 bytes"):
        unpack(tmp_path / "pax.tar.gz", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_truncated_archive_is_corrupt_wherever_it_ends(tmp_path: Path) -> None:
    whole = build(tmp_path / "whole.tar.gz", ("f", FILE, os.urandom(20_000))).read_bytes()
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 9):
        (tmp_path / "cut.tar.gz").write_bytes(whole[:size])
        with pytest.raises(Corrupt):
            unpack(tmp_path / "cut.tar.gz", tmp_path / "root")
        assert not (tmp_path / "root").exists()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 400), value=st.integers(0, 255))
def test_a_damaged_archive_is_refused_or_harmless(
    tmp_path: Path, position: int, value: int
) -> None:
    archive = build(tmp_path / "a.tar.gz", ("d/f", FILE, b"x" * 300), ("l", LINK, "d"))
    data = bytearray(archive.read_bytes())
    data[position % len(data)] = value
    archive.write_bytes(data)
    root = tmp_path / f"root-{len(list(tmp_path.iterdir()))}"
    try:
        unpack(archive, root)
    except Corrupt:
        assert not root.exists()


def test_an_existing_target_is_not_touched(tmp_path: Path) -> None:
    archive = build(tmp_path / "a.tar.gz", ("f", FILE, b"x"))
    (tmp_path / "root").mkdir()
    with pytest.raises(InputError, match="exists already"):
        unpack(archive, tmp_path / "root")
