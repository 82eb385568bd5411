"""Defects of the connection to the control plane, and of what is told over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from harness.appliance.defects.kind import Defect, altering
from harness.appliance.effect import (
    Clock,
    Draw,
    Heartbeat,
    Note,
    Now,
    Publish,
    Restart,
    Sleep,
    Spawn,
    Upload,
)

if TYPE_CHECKING:
    from harness.appliance.defects.kind import Change
    from harness.appliance.effect import Effect, Program
    from harness.appliance.firmware import Firmware

TRIES_MAX = 6
FOR_GOOD_S = 1e9
CRASH_AFTER_S = 1200.0
AHEAD_S = 9 * 3600.0  # a time zone taken for UTC


def _marches_in_step(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, Draw):
            return 1.0
        return (yield effect)

    return change


def _gives_up(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        outcome = yield effect
        if isinstance(effect, Note) and effect.values.get("attempt", 0) >= TRIES_MAX:
            yield Sleep(FOR_GOOD_S)
        return outcome

    return change


def _silent_after_reconnect(_firmware: Firmware) -> Change:
    lost = False

    def change(effect: Effect) -> Program[Any]:
        nonlocal lost
        if lost and isinstance(effect, (Publish, Heartbeat)):
            return None
        lost = lost or (isinstance(effect, Note) and effect.kind == "link.lost")
        return (yield effect)

    return change


def _crashes(_firmware: Firmware) -> Change:
    begun = False

    def change(effect: Effect) -> Program[Any]:
        nonlocal begun
        if not begun:
            begun = True
            yield Spawn("crash", _crash())
        return (yield effect)

    return change


def _crash() -> Program[None]:
    yield Sleep(CRASH_AFTER_S)
    yield Restart("software-crash")


def _renews_late(firmware: Firmware) -> Change:
    """Asks for the time and takes it for half a life earlier."""

    def change(effect: Effect) -> Program[Any]:
        outcome = yield effect
        if isinstance(effect, Now):
            device = firmware.journal.values["device"]
            outcome -= (device["expires_s"] - device["issued_s"]) / 2
        return outcome

    return change


def _clock_read_once(_firmware: Firmware) -> Change:
    """What time it is follows from the first look at the clock, and from what has passed since."""
    first: tuple[float, float] | None = None

    def change(effect: Effect) -> Program[Any]:
        nonlocal first
        outcome = yield effect
        if isinstance(effect, Clock):
            passed_s = yield Now()
            first = first or (outcome, passed_s)
            outcome = first[0] + passed_s - first[1]
        return outcome

    return change


def _wrong_times(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, Upload):
            logs = [
                {**log, "lines": [(at + AHEAD_S, text) for at, text in log["lines"]]}
                if log["application"]
                else log
                for log in effect.document["logs"]
            ]
            effect = replace(effect, document={**effect.document, "logs": logs})
        return (yield effect)

    return change


DEFECTS = (
    Defect(
        name="reconnects-without-jitter",
        step="agent",
        summary="the waits between attempts to connect are the same on every appliance",
        seen="field: fleets that come back after an outage all at once",
        caught_by="reconnects-spread",
        wrap=altering(_marches_in_step),
    ),
    Defect(
        name="gives-up-reconnecting",
        step="agent",
        summary="after six refused attempts it never tries again",
        seen="vendor's change log, fixed in 4.3.93: device goes offline and needs a factory reset",
        caught_by="recovers",
        wrap=altering(_gives_up),
    ),
    Defect(
        name="silent-after-reconnect",
        step="agent",
        summary="it connects again after an interruption, and reports nothing any more",
        seen="vendor's change log, fixed in 6.2.1: appears offline after a network interruption",
        caught_by="converges",
        wrap=altering(_silent_after_reconnect),
    ),
    Defect(
        name="certificate-renewed-too-late",
        step="renew",
        summary="the device certificate is renewed after it has expired",
        seen="field: devices that cannot reconnect once their certificate has run out",
        caught_by="converges",
        wrap=altering(_renews_late),
    ),
    Defect(
        name="software-crashes",
        step="agent",
        summary="the appliance software crashes after twenty minutes",
        seen="vendor's change log, fixed in 4.3.23: appliance software crashes",
        caught_by="stops-explained",
        wrap=altering(_crashes),
    ),
    Defect(
        name="clock-step-breaks-time-stamps",
        step="ship",
        summary="lines of logs are stamped by a clock that is read once, before NTP set it",
        seen="field: loggers that count from the time at which they were started",
        caught_by="log-times",
        wrap=altering(_clock_read_once),
    ),
    Defect(
        name="application-log-times-wrong",
        step="ship",
        summary="lines of application logs are stamped in another time zone",
        seen="vendor's change log, fixed in 5.0.7: wrong time stamps in application logs",
        caught_by="log-times",
        wrap=altering(_wrong_times),
    ),
)
