"""What the appliance does with a USB stick: find the archive, unpack it, write logs back.

A stick comes from anywhere: an archive is unpacked as if somebody had prepared it to do harm.
"""

from __future__ import annotations

import io
import lzma
import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from harness.appliance.effect import (
    Note,
    Program,
    ReadStick,
    Receive,
    StickPlugged,
    WriteStick,
)
from harness.appliance.image import version_key
from harness.errors import Corrupt, PeerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.firmware import Firmware

ARCHIVE_NAME = re.compile(r"certificates-omni_.+\.zip", re.IGNORECASE)
ARCHIVE_FILES = ("config.json", "claim.cert.pem", "claim.key.pem", "ca.pem")
ENTRIES_MAX = 16
FILE_BYTES_MAX = 1 << 16
ARCHIVE_BYTES_MAX = 1 << 20
LOGS = "panorama/"
LOGS_SINCE = "4.3.23"  # the release that began to write provisioning logs
_ENCRYPTED = 0x1  # general purpose bit flag, APPNOTE.TXT 4.4.4
_SYMLINK = 0o120000
# What the library makes of bytes that are no archive, or only nearly one.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError),
)


def archive(files: Mapping[str, bytes]) -> str:
    """The provisioning archive's name; empty when there is none. Raises `Corrupt` for several."""
    found = [name for name in files if ARCHIVE_NAME.fullmatch(name)]
    if len(found) > 1:
        raise Corrupt(f"provisioning archive: {len(found)} on the stick", hint="leave one of them")
    return found[0] if found else ""


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of an archive. Raises `Corrupt` naming what is wrong, having kept nothing."""
    if len(data) > ARCHIVE_BYTES_MAX:
        raise Corrupt(f"provisioning archive: {len(data)} bytes, more than {ARCHIVE_BYTES_MAX}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            entries = opened.infolist()
            _refuse_entries(entries)
            files = {entry.filename: _read(opened, entry) for entry in entries}
    except _UNREADABLE as error:
        raise Corrupt(f"provisioning archive: {error or type(error).__name__}") from None
    missing = [name for name in ARCHIVE_FILES if name not in files]
    if missing:
        raise Corrupt(f"provisioning archive: {', '.join(missing)} missing")
    return files


def _refuse_entries(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > ENTRIES_MAX:
        raise Corrupt(f"provisioning archive: {len(entries)} entries, more than {ENTRIES_MAX}")
    names: set[str] = set()
    for entry in entries:
        name = entry.filename
        if not name or name in names:
            raise Corrupt(f"provisioning archive: {name!r} twice")
        names.add(name)
        if "/" in name or "\\" in name or ":" in name or name in (".", ".."):
            raise Corrupt(f"provisioning archive: {name!r} is no plain file name")
        if (entry.external_attr >> 16) & 0o170000 == _SYMLINK:
            raise Corrupt(f"provisioning archive: {name!r} is a link")
        if entry.flag_bits & _ENCRYPTED:
            raise Corrupt(f"provisioning archive: {name!r} is encrypted")


def _read(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """No more than the bound, whatever the entry says of its size."""
    with opened.open(entry) as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise Corrupt(f"provisioning archive: {entry.filename!r} has over {FILE_BYTES_MAX} bytes")
    return data


def write_logs(firmware: Firmware, lines: Mapping[str, list[str]]) -> Program[None]:
    """Logs to the stick, by file name; a stick that takes none is no reason to stop."""
    if version_key(firmware.manifest.version) < version_key(LOGS_SINCE):
        return
    for name, told in lines.items():
        text = "".join(f"{line}\n" for line in told)
        try:
            yield WriteStick(LOGS + name, text.encode())
        except PeerError as problem:
            line = f"WARN provisioning logs: {name}: {problem}"
            yield Note("log.line", {"stream": "syslog", "line": line})
            return


def refuse_archives(firmware: Firmware) -> Program[None]:
    """A registered appliance takes no other identity, deleted or not, before it is reset."""
    while True:
        if not isinstance((yield Receive()), StickPlugged):
            continue
        files = yield from look()
        if any(ARCHIVE_NAME.fullmatch(name) for name in files):
            told = "registered already; reset it before it is provisioned again"
            line = f"ERROR provisioning: {firmware.thing} is {told}"
            yield Note("log.line", {"stream": "occ_log", "line": line})
            yield from write_logs(firmware, {"occ.log": [line]})


def look() -> Program[Mapping[str, bytes]]:
    """What is on the stick; nothing when there is none, or it cannot be used."""
    try:
        return (yield ReadStick()) or {}
    except PeerError:
        return {}
