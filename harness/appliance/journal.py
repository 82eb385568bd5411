"""The appliance's settings: a small key-value store as an append-only journal on `data`.

One transaction is one record with a checksum, appended and synced: after a power cut it is
there whole or not at all. Two halves take turns; a full half is replaced by a snapshot in the
other. This is what configuration, certificates, the job in hand and the list of applications
are kept in.

Several programs put at once, so a cut may lose one record and keep the next. Such an orphan must
not come back when a later life writes another record into the gap: every checksum goes on from
the record before, and covers the number of the life that wrote it.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from harness.appliance.effect import JSON, Draw, Program, Read, Sync, Write
from harness.appliance.storage import DATA
from harness.errors import StorageFull, StorageReadOnly

if TYPE_CHECKING:
    from collections.abc import Mapping

HALF_BYTES = 256 * 1024
RECORDS_MAX = 16  # after so many a snapshot is due, which bounds what a boot has to replay
_CHUNK = 8 * 1024
_PREFIX = struct.Struct(">II")  # payload length, CRC-32 of what follows
_BODY = struct.Struct(">QI")  # sequence, life
_HEAD_BYTES = _PREFIX.size + _BODY.size


class Journal:
    """The values in RAM and where the next record goes. Make one with `load`."""

    __slots__ = (
        "_checksum",
        "_half",
        "_life",
        "_offset",
        "_records",
        "_sequence",
        "_torn",
        "values",
    )

    def __init__(self, life: int) -> None:
        self.values: dict[str, JSON] = {}
        self._life = life
        self._half = 0
        self._offset = 0
        self._sequence = 0
        self._records = 0
        self._torn = False  # a record could not be written: those after it cannot be reached
        self._checksum = 0

    def put(self, changes: Mapping[str, JSON]) -> Program[None]:
        """Change several keys in one atomic, durable step; None deletes a key.

        Raises `StorageFull` or `StorageReadOnly`, and has changed nothing then.
        """
        values = dict(self.values)
        before = {key: values.get(key) for key in changes}
        _merge(values, changes)
        record = self._encode(changes, self._checksum)
        half = self._half
        room = self._records < RECORDS_MAX and self._offset + len(record) <= HALF_BYTES
        if self._torn or not room:
            # Records of the half's previous life may follow: they do not go on from this one.
            record = self._encode(values, 0)
            if len(record) > HALF_BYTES:
                raise StorageFull(f"the settings need {len(record)} bytes, of {HALF_BYTES}")
            self._half, self._offset, self._records = 1 - half, 0, 0
            self._torn = False
        else:
            self._records += 1
        # The place is taken before the first yield: other programs append meanwhile.
        written = self._half
        offset = written * HALF_BYTES + self._offset
        self.values = values
        self._sequence += 1
        self._offset += len(record)
        self._checksum = _PREFIX.unpack_from(record)[1]
        try:
            yield Write(DATA, offset, record)
            yield Sync(DATA)
        except (StorageFull, StorageReadOnly):
            if self._half == written:  # a snapshot that is not there has taken nobody's place
                self._half = half
            self.values = dict(self.values)
            _merge(self.values, before)
            self._torn = True
            raise
        if self._torn:  # a record before this one is missing: nobody would find it
            yield from self.put({})

    def _encode(self, changes: Mapping[str, Any], checksum: int) -> bytes:
        payload = msgspec.json.encode(changes)
        body = _BODY.pack(self._sequence + 1, self._life) + payload
        return _PREFIX.pack(len(payload), zlib.crc32(body, checksum)) + body

    def replay(self, half: int) -> Program[None]:
        """Take over what one half holds, if it is newer than what is here."""
        data = b""
        offset = 0
        first = sequence = checksum = 0
        values: dict[str, JSON] = {}
        while True:
            while len(data) < offset + _HEAD_BYTES and len(data) < HALF_BYTES:
                data += yield Read(DATA, half * HALF_BYTES + len(data), _CHUNK)
            if len(data) < offset + _HEAD_BYTES:
                break
            length, crc = _PREFIX.unpack_from(data, offset)
            end = offset + _HEAD_BYTES + length
            if length == 0 or end > HALF_BYTES:
                break
            while len(data) < end:
                data += yield Read(DATA, half * HALF_BYTES + len(data), _CHUNK)
            if zlib.crc32(data[offset + _PREFIX.size : end], checksum) != crc:
                break
            sequence, _ = _BODY.unpack_from(data, offset + _PREFIX.size)
            _merge(values, msgspec.json.decode(data[offset + _HEAD_BYTES : end]))
            offset, checksum = end, crc
            first = first or sequence
        if sequence > self._sequence:
            self._half, self._offset, self._sequence = half, offset, sequence
            self._records, self._checksum = sequence - first, checksum
            self.values = values


def load() -> Program[Journal]:
    """Read both halves and continue the newer one."""
    journal = Journal(life=int((yield Draw()) * 2**32))
    for half in (0, 1):
        yield from journal.replay(half)
    return journal


def _merge(values: dict[str, JSON], changes: Mapping[str, JSON]) -> None:
    for key, value in changes.items():
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
