"""Defects of the housekeeping: memory, logs, heat, and what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from harness.appliance.defects.kind import Defect, altering
from harness.appliance.effect import Govern, Measure, Note, Now, Restart, TrimLog

if TYPE_CHECKING:
    from harness.appliance.defects.kind import Change
    from harness.appliance.effect import Effect, Program
    from harness.appliance.firmware import Firmware

LEAK_BYTES_PER_S = 1.5e6  # a frame of 1080p for every two seconds, never given back
MEGA = 1_000_000


def _leaks(_firmware: Firmware) -> Change:
    began_s: float | None = None

    def change(effect: Effect) -> Program[Any]:
        nonlocal began_s
        if began_s is None:
            began_s = yield Now()
        outcome = yield effect
        if isinstance(effect, Measure):
            leaked = int(((yield Now()) - began_s) * LEAK_BYTES_PER_S)
            outcome = replace(outcome, memory_used=outcome.memory_used + leaked)
            if outcome.memory_used > outcome.memory_total:
                yield Restart("out-of-memory")
        return outcome

    return change


def _never_trims(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, TrimLog):
            return None
        return (yield effect)

    return change


def _lets_burn(_firmware: Firmware) -> Change:
    governed = False

    def change(effect: Effect) -> Program[Any]:
        nonlocal governed
        if not governed:
            governed = True
            yield Govern(throttle=False)
        return (yield effect)

    return change


def _wrong_units(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, Note):
            parts = ("memory", "storage")
            told = {
                name: value // MEGA if name.startswith(parts) else value
                for name, value in effect.values.items()
            }
            effect = Note(effect.kind, told)
        return (yield effect)

    return change


DEFECTS = (
    Defect(
        name="memory-leak",
        step="monitor",
        summary="memory is not given back; after some hours there is none left",
        seen="field: decoders that keep a reference to frames",
        caught_by="memory-bounded",
        wrap=altering(_leaks),
    ),
    Defect(
        name="log-grows-without-bound",
        step="monitor",
        summary="the appliance's own logs are never trimmed",
        seen="field: daemons that log without rotation",
        caught_by="logs-bounded",
        wrap=altering(_never_trims),
    ),
    Defect(
        name="thermal-throttle-ignored",
        step="monitor",
        summary="clocks stay high however hot the module gets, until it cuts its power",
        seen="field: images with the governor pinned by jetson_clocks",
        caught_by="stops-explained",
        wrap=altering(_lets_burn),
    ),
    Defect(
        name="metrics-in-wrong-units",
        step="monitor",
        summary="storage and memory are told in megabytes where bytes are meant",
        seen="vendor's change log, fixed in 5.0.42: storage and memory metrics in wrong units",
        caught_by="usage-plausible",
        wrap=altering(_wrong_units),
    ),
)
