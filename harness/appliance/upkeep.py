"""Storage that takes no writes, or takes them too slowly: noticed, told, and waited out.

The kernel says that something is wrong; what it means is found out by a write of one's own, again
and again until it is as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.appliance.effect import (
    Note,
    Now,
    Program,
    Receive,
    Sleep,
    StorageTrouble,
    WatchStorage,
)
from harness.errors import StorageFull, StorageReadOnly

if TYPE_CHECKING:
    from harness.appliance.firmware import Firmware

MAILBOX = "storage"
PROBE_EVERY_S = 10.0
SLOW_S = 1.0  # a write that takes longer keeps others waiting
READ_ONLY, FULL, SLOW = "read-only", "full", "slow"


def watch(firmware: Firmware) -> Program[None]:
    """Look after the data partition for ever."""
    if (yield WatchStorage(MAILBOX)):
        yield from _until_well(firmware)
    while True:
        if isinstance((yield Receive()), StorageTrouble):
            yield from _until_well(firmware)


def _until_well(firmware: Firmware) -> Program[None]:
    began_s = yield Now()
    told = ""
    while trouble := (yield from _probe(firmware)):
        if trouble != told:
            told = trouble
            yield Note("storage.trouble", {"partition": "data", "trouble": trouble})
            line = f"ERROR data partition: {trouble}"
            yield Note("log.line", {"stream": "kern_log", "line": line})
        yield Sleep(PROBE_EVERY_S)
    if told:
        lasted_s = round((yield Now()) - began_s, 6)
        values = {"partition": "data", "trouble": told, "lasted_s": lasted_s}
        yield Note("storage.clear", values)


def _probe(firmware: Firmware) -> Program[str]:
    """What is wrong with writes; empty when nothing is."""
    began_s = yield Now()
    try:
        yield from firmware.journal.put({"probe": None})
    except StorageReadOnly:
        return READ_ONLY
    except StorageFull:
        return FULL
    return SLOW if (yield Now()) - began_s >= SLOW_S else ""
