"""Which slot boots next, and whether a restore is under way: kept twice with a sequence number,
so that a cut never loses both.

Modelled on the slot metadata of Android A/B and of NVIDIA's nvbootctrl: per slot bootable,
successful and a count of tries left. One slot is active; the other is the way back.
"""

from __future__ import annotations

import enum
import struct
import zlib
from typing import Any

import msgspec
from msgspec.structs import replace

from harness.appliance.effect import Program, Read, Sync, Write
from harness.appliance.storage import BOOT_CONTROL

COPY_BYTES = 4096
TRIES = 3
_MAGIC = b"BCT2"
_RECORD = struct.Struct(">4sIBBBBBBBB")
_CRC = struct.Struct(">I")
_LENGTH = _RECORD.size + _CRC.size


class Restore(enum.IntEnum):
    """What a press of buttons asked for and is not done yet (vendor's guide, appliance buttons)."""

    NONE = 0
    LATEST = 1
    REQUIRED = 2
    FACTORY = 3


class SlotState(msgspec.Struct, frozen=True, gc=False):
    bootable: bool
    successful: bool
    tries: int

    @property
    def may_boot(self) -> bool:
        return self.bootable and (self.successful or self.tries > 0)


class BootControl(msgspec.Struct, frozen=True, gc=False):
    """The whole record. Slots are `a` and `b`; `active` is tried first."""

    sequence: int
    active: str
    a: SlotState
    b: SlotState
    restore: Restore = Restore.NONE

    def slot(self, name: str) -> SlotState:
        return self.a if name == "a" else self.b

    def choose(self) -> str | None:
        """The slot to boot: the active one if it may, else the other if it may."""
        for name in (self.active, other(self.active)):
            if self.slot(name).may_boot:
                return name
        return None

    def tried(self, name: str) -> BootControl:
        return self._with(name, replace(self.slot(name), tries=self.slot(name).tries - 1))

    def unbootable(self, name: str) -> BootControl:
        """Close a slot; if it was the active one the other becomes active."""
        closed = self._with(name, SlotState(bootable=False, successful=False, tries=0))
        return replace(closed, active=other(name)) if self.active == name else closed

    def armed(self, name: str) -> BootControl:
        """A freshly written slot: tried first, a few times, until it is committed."""
        fresh = SlotState(bootable=True, successful=False, tries=TRIES)
        return replace(self._with(name, fresh), active=name)

    def committed(self, name: str) -> BootControl:
        good = SlotState(bootable=True, successful=True, tries=0)
        return replace(self._with(name, good), active=name)

    def fell_back(self, name: str) -> BootControl:
        """The other slot used up its tries: close it and make `name` the active one."""
        return self.unbootable(other(name))

    def restoring(self, what: Restore) -> BootControl:
        return replace(self, restore=what)

    def _with(self, name: str, state: SlotState) -> BootControl:
        return replace(self, a=state) if name == "a" else replace(self, b=state)

    def encode(self) -> bytes:
        record = _RECORD.pack(
            _MAGIC,
            self.sequence,
            0 if self.active == "a" else 1,
            self.a.bootable,
            self.a.successful,
            self.a.tries,
            self.b.bootable,
            self.b.successful,
            self.b.tries,
            self.restore,
        )
        return record + _CRC.pack(zlib.crc32(record))

    def describe(self, fuse_level: int) -> dict[str, Any]:
        """The values of a `boot.control` event."""
        slots = {
            name: {"bootable": s.bootable, "successful": s.successful, "tries": s.tries}
            for name, s in (("a", self.a), ("b", self.b))
        }
        return {"active": self.active, "slots": slots, "fuse_level": fuse_level}


_EMPTY = SlotState(bootable=False, successful=False, tries=0)
FACTORY = BootControl(1, "a", SlotState(bootable=True, successful=True, tries=0), _EMPTY)


def other(slot: str) -> str:
    return "b" if slot == "a" else "a"


def decode(data: bytes) -> BootControl | None:
    """None when the copy is torn or was never written."""
    record = data[: _RECORD.size]
    if data[:4] != _MAGIC or _CRC.unpack_from(data, _RECORD.size)[0] != zlib.crc32(record):
        return None
    _, sequence, active, *states, restore = _RECORD.unpack(record)
    a = SlotState(bool(states[0]), bool(states[1]), states[2])
    b = SlotState(bool(states[3]), bool(states[4]), states[5])
    return BootControl(sequence, "b" if active else "a", a, b, Restore(restore))


def load() -> Program[BootControl]:
    """The newer valid copy; with none at all, the factory's."""
    copies = []
    for index in (0, 1):
        copy = decode((yield Read(BOOT_CONTROL, index * COPY_BYTES, _LENGTH)))
        if copy is not None:
            copies.append(copy)
    return max(copies, key=lambda copy: copy.sequence, default=FACTORY)


def save(control: BootControl) -> Program[BootControl]:
    """Write over the older copy only, and sync before anything may rely on it."""
    successor = replace(control, sequence=control.sequence + 1)
    yield Write(BOOT_CONTROL, (successor.sequence % 2) * COPY_BYTES, successor.encode())
    yield Sync(BOOT_CONTROL)
    return successor
