"""Archives of packages: what is read of them, and what does not get in."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cloud.service import archive
from harness.cloud.service.archive import ArchiveInvalid, read
from harness.cloud.service.content import BytesContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ASSET = b"a container"
NAME = f"{hashlib.sha256(ASSET).hexdigest()}.tar.gz"


def tar(files: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as made:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def plain_tar(files: Mapping[str, bytes]) -> bytes:
    return tar(files, "w")


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


KINDS = pytest.mark.parametrize("pack", [tar, plain_tar, zipped])


@KINDS
def test_manifest_and_assets_are_found_in_whatever_folders(
    pack: Callable[[Mapping[str, bytes]], bytes],
) -> None:
    files = {"p/package.json": b"{}", f"assets/{NAME}": ASSET, "p/src/application.py": b"pass"}
    found = read(BytesContent(pack(files)))
    assert found.manifest == b"{}"
    assert found.assets == {NAME: ASSET}


@KINDS
@pytest.mark.parametrize("count", [0, 2])
def test_there_must_be_one_manifest(
    pack: Callable[[Mapping[str, bytes]], bytes], count: int
) -> None:
    files = {f"p{number}/package.json": b"{}" for number in range(count)}
    with pytest.raises(ArchiveInvalid, match=f"holds {count} files"):
        read(BytesContent(pack({**files, "readme": b""})))


@KINDS
def test_an_asset_must_be_what_it_is_named(pack: Callable[[Mapping[str, bytes]], bytes]) -> None:
    with pytest.raises(ArchiveInvalid, match="SHA-256"):
        read(BytesContent(pack({"package.json": b"{}", NAME: b"something else"})))


@KINDS
def test_files_are_counted(
    pack: Callable[[Mapping[str, bytes]], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ENTRIES_MAX", 3)
    with pytest.raises(ArchiveInvalid, match="more than"):
        read(BytesContent(pack({f"{n}": b"" for n in range(4)})))


@KINDS
@pytest.mark.parametrize("name", ["package.json", "film.mp4"])
def test_bytes_are_counted_whether_wanted_or_not(
    pack: Callable[[Mapping[str, bytes]], bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "UNPACKED_BYTES_MAX", 1 << 16)
    with pytest.raises(ArchiveInvalid, match="more than"):
        read(BytesContent(pack({name: bytes(1 << 17)})))


def test_a_header_that_unpacks_to_any_size_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_BYTES_MAX", 1 << 16)
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 1 << 24
    with pytest.raises(ArchiveInvalid, match="more than"):
        read(BytesContent(gzip.compress(header.tobuf() + bytes(1 << 24))))


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"", None),
        (b"no archive", None),
        (bytes(4096), None),
        (b"\x1f\x8b\x08", None),
        (tar({"package.json": b"{}"}), -20),
        (zipped({"package.json": b"{}"}), -20),
    ],
    ids=["nothing", "text", "zeros", "gzip", "half a tar", "half a zip"],
)
def test_what_is_no_archive_is_refused(data: bytes, kept: int | None) -> None:
    with pytest.raises(ArchiveInvalid):
        read(BytesContent(data[:kept]))


@settings(deadline=None)
@given(st.sampled_from([tar, plain_tar, zipped]), st.integers(0, 600), st.integers(0, 255))
def test_damage_never_ends_in_another_error(
    pack: Callable[[Mapping[str, bytes]], bytes], place: int, byte: int
) -> None:
    data = bytearray(pack({"package.json": b"{}", NAME: ASSET}))
    data[place % len(data)] = byte
    with contextlib.suppress(ArchiveInvalid):
        read(BytesContent(bytes(data)))
