"""Housekeeping: what the box uses is told now and then, and its logs are kept in bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.appliance.applications import ASSETS_AT
from harness.appliance.effect import CONSOLE_BYTES_MAX, Measure, Note, Program, Sleep, TrimLog

if TYPE_CHECKING:
    from harness.appliance.firmware import Firmware

FIRST_S = 300.0  # after a boot
EVERY_S = 6 * 3600.0
LOG_BYTES_MAX = CONSOLE_BYTES_MAX  # of the appliance's own log files, as of an application's


def monitor(firmware: Firmware) -> Program[None]:
    """Measure and tell for ever, in bytes."""
    yield Sleep(FIRST_S)
    while True:
        usage = yield Measure()
        if usage.log > LOG_BYTES_MAX:
            yield TrimLog(LOG_BYTES_MAX // 2)
        assets = sum(size for _, size in firmware.journal.values.get("assets", {}).values())
        yield Note(
            "device.usage",
            {
                "memory_used_bytes": usage.memory_used,
                "memory_total_bytes": usage.memory_total,
                "storage_used_bytes": ASSETS_AT + assets,
                "storage_total_bytes": firmware.data_bytes,
                "asset_bytes": assets,
                "log_bytes": usage.log,
                "console_bytes": usage.console,
            },
        )
        yield Sleep(EVERY_S)
