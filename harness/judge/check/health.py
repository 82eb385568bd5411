"""Checkers of how the appliance fares over time: stops, crashes, memory, logs, what it tells."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from harness.judge.checker import Case
from harness.judge.reading import installed_instances, name_of
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.checker import Finding
    from harness.record.event import Event
    from harness.record.history import History

# Stops that somebody asked for: jobs, buttons, faults, and the way back of a failed update.
ASKED_FOR = frozenset(
    {"reboot", "update", "rollback", "power-cut", "power-button", "restore", "factory-reset"}
    | {"unplugged"}
)
GROWTH_MAX = 1.25  # of memory, from the first to the last sample of one life
LATE_LINES_S = 120.0  # how long lines of a time that was wrong may still arrive
SAMPLES_MIN = 3  # that a growth is told from
LOG_BYTES_MAX = 22_000_000  # twice 11 MB: what is trimmed now and then may be over it meanwhile
KILLS = ("app.kill", "storage.rot-application")  # kinds of fault that end an application once
PLAUSIBLE_BYTES = (1 << 30, 1 << 42)  # of memory or storage in all


def check_stops_explained(history: History, parameters: Mapping[str, Any]) -> Finding:
    """No appliance ever stops for a reason of its own."""
    case = Case()
    for number, event in history.of(kind.STOPPED):
        reason = event.values.get("reason")
        if reason in ASKED_FOR:
            case.seen(number)
        else:
            case.fail(f"{name_of(event.source)} stopped by itself: {reason}", number)
    for number, _ in history.of(kind.BOOTED)[:1]:
        case.seen(number)
    return case.finding("nobody stopped by itself", empty="no appliance booted")


def check_crashes_explained(history: History, parameters: Mapping[str, Any]) -> Finding:
    """An application ends when it is killed or stopped, and never by itself."""
    case = Case()
    kills: Counter[str] = Counter()  # that have not ended anything yet
    for number, event in history.of(kind.FAULT_INJECTED, kind.NODE_ENDED):
        if event.kind == kind.FAULT_INJECTED:
            kills[event.values["target"]] += event.values["fault_kind"] in KILLS
            continue
        instance = event.values["instance"]
        if kills[instance]:
            kills[instance] -= 1
            case.seen(number)
        else:
            reason = event.values.get("reason") or event.values.get("code")
            case.fail(f"{instance} ended by itself: {reason}", number)
    for number, _ in history.of(kind.NODE_STARTED)[:1]:
        case.seen(number)
    return case.finding("no application ended by itself", empty="no application was started")


def check_configuration_kept(history: History, parameters: Mapping[str, Any]) -> Finding:
    """Once provisioned, an appliance asks for a stick only after a reset to the factory state."""
    case = Case()
    provisioned: dict[str, int] = {}
    for number, event in history.of(kind.PROVISIONED, kind.RESTORED, kind.STATE):
        name = name_of(event.source)
        if event.kind == kind.PROVISIONED:
            provisioned[name] = number
            case.seen(number)
        elif event.kind == kind.RESTORED and event.values["what"] == "factory":
            provisioned.pop(name, None)
        elif event.values.get("state") == "provisioning" and name in provisioned:
            case.fail(f"{name} has lost its configuration", provisioned[name], number)
    return case.finding("no configuration was lost", empty="no appliance was provisioned")


def check_memory_bounded(history: History, parameters: Mapping[str, Any]) -> Finding:
    """Between a boot and the next the memory in use stays what it is with the same applications.

    A growth is told from three samples or more, with the same applications running; running out
    of memory is one without any sample.
    """
    case = Case()
    for samples in _lives(history):
        for (number, event), count in samples:
            name, values = name_of(event.source), event.values
            if event.kind == kind.STOPPED:
                if values["reason"] == "out-of-memory":
                    case.fail(f"{name} ran out of memory", number)
                continue
            alike = [one for one, running in samples if running == count and one[0] <= number]
            first, grown = alike[0], values["memory_used_bytes"]
            usual = first[1].values["memory_used_bytes"]
            if len(alike) >= SAMPLES_MIN and grown > usual * GROWTH_MAX:
                case.fail(f"{name} grew from {usual} to {grown} bytes", first[0], number)
            else:
                case.seen(number)
    return case.finding("memory in use does not grow", empty="nobody told what it uses")


def _lives(history: History) -> list[list[tuple[tuple[int, Event], int]]]:
    """By boot, what was told of use and the stop after it, each with how many applications ran."""
    lives: list[list[tuple[tuple[int, Event], int]]] = []
    current: dict[str, list[tuple[tuple[int, Event], int]]] = {}
    running: dict[str, set[str]] = defaultdict(set)
    for number, event in history.of(
        kind.BOOTED, kind.STOPPED, kind.USAGE, kind.NODE_STARTED, kind.NODE_ENDED, kind.REMOVED
    ):
        name = event.source
        if event.kind == kind.BOOTED:
            running[name].clear()
            current[name] = []
            lives.append(current[name])
        elif event.kind == kind.NODE_STARTED:
            running[name].add(event.values["instance"])
        elif event.kind in (kind.NODE_ENDED, kind.REMOVED):
            running[name].discard(event.values["instance"])
        elif name in current and event.kind == kind.STOPPED:
            current[name].append(((number, event), -1))
        elif name in current:
            current[name].append(((number, event), len(running[name])))
    return lives


def check_logs_bounded(history: History, parameters: Mapping[str, Any]) -> Finding:
    """No log grows beyond twice the 11 MB that the vendor's change log names for 4.3.55."""
    case = Case()
    for number, event in history.of(kind.USAGE):
        for part in ("log_bytes", "console_bytes"):
            size = event.values[part]
            if size > LOG_BYTES_MAX:
                case.fail(f"{name_of(event.source)}: {part} are {size}", number)
            else:
                case.seen(number)
    return case.finding("logs stay within their bounds", empty="nobody told what it uses")


def check_usage_plausible(history: History, parameters: Mapping[str, Any]) -> Finding:
    """What is told of memory and storage is bytes, and no more is used than there is."""
    case = Case()
    low, high = PLAUSIBLE_BYTES
    for number, event in history.of(kind.USAGE):
        for part in ("memory", "storage"):
            used, total = (event.values[f"{part}_{what}_bytes"] for what in ("used", "total"))
            if not low <= total <= high:
                case.fail(f"{name_of(event.source)} has {total} bytes of {part}", number)
            elif used > total:
                case.fail(f"{name_of(event.source)} uses {used} of {total} bytes of {part}", number)
            else:
                case.seen(number)
    return case.finding("memory and storage are as can be", empty="nobody told what it uses")


def check_removal_clean(history: History, parameters: Mapping[str, Any]) -> Finding:
    """With no application installed any more no file of one is left."""
    case = Case()
    installed: dict[str, set[str]] = defaultdict(set)
    removed: dict[str, int] = {}
    for number, event in history.of(kind.INSTALLED, kind.REMOVED, kind.USAGE):
        name = name_of(event.source)
        if event.kind == kind.INSTALLED:
            installed[name].add(event.values["instance"])
        elif event.kind == kind.REMOVED:
            installed[name].discard(event.values["instance"])
            removed[name] = number
        elif name in removed and not installed[name]:
            left = event.values["asset_bytes"]
            if left:
                case.fail(f"{name}: {left} bytes of removed applications", removed[name], number)
            else:
                case.seen(removed[name], number)
    return case.finding(
        "removed applications leave no file",
        empty="nobody told what it uses after its last application was removed",
    )


def check_instances_settle(history: History, parameters: Mapping[str, Any]) -> Finding:
    """In the end every application instance is deployed, or removed, or was refused."""
    case = Case()
    last = {event.values["instance"]: (n, event) for n, event in history.of(kind.CLOUD_INSTANCE)}
    for instance, (number, event) in last.items():
        status = event.values["status"]
        if status.endswith(("_SUCCEEDED", "_ERROR", "_FAILED")):
            case.seen(number)
        else:
            case.fail(f"{instance} ended {status}", number)
    return case.finding(f"{len(last)} instances came to an end", empty="nothing was deployed")


def check_health_truthful(history: History, parameters: Mapping[str, Any]) -> Finding:
    """What the service hears in the end of an application that runs is that it runs."""
    case = Case()
    running: dict[str, int] = {}
    told: dict[str, tuple[int, str]] = {}
    installed = installed_instances(history)
    for number, event in history.of(
        kind.NODE_STARTED, kind.NODE_ENDED, kind.STOPPED, kind.CLOUD_HEALTH
    ):
        if event.kind == kind.NODE_STARTED:
            running[event.values["instance"]] = number
        elif event.kind == kind.NODE_ENDED:
            running.pop(event.values["instance"], None)
        elif event.kind == kind.CLOUD_HEALTH:
            told[event.values["instance"]] = (number, event.values["status"])
    for instance in running.keys() & installed.keys():
        number, status = told.get(instance, (running[instance], "RUNNING"))
        if status == "RUNNING":
            case.seen(number)
        else:
            case.fail(f"{instance} runs, and is told to be {status}", running[instance], number)
    return case.finding("applications that run are told to", empty="no application runs in the end")


def check_log_times(history: History, parameters: Mapping[str, Any]) -> Finding:
    """No line of a log is of the future, or older than the device that sent it.

    Nothing is asked of an appliance while its clock is wrong, and says so, nor of what it still
    sends of that time soon after.
    """
    case = Case()
    excused: dict[str, float] = {}  # appliance: until when
    watched = (kind.CLOCK_WRONG, kind.CLOCK_RIGHT, kind.CLOUD_LOG_SKEWED)
    for number, event in history.of(*watched):
        values = event.values
        if event.kind == kind.CLOCK_WRONG:
            excused[name_of(event.source)] = math.inf
            continue
        if event.kind == kind.CLOCK_RIGHT:
            excused[name_of(event.source)] = event.t_s + LATE_LINES_S
            continue
        if event.t_s <= excused.get(values["device"], 0.0):
            continue
        by = ", ".join(f"{name} {value:g}" for name, value in values.items() if name[-2:] == "_s")
        case.fail(f"{values['device']}, stream {values['stream']}: {by}", number)
    for number, _ in history.of(kind.LINK_CONNECTED)[:1]:
        case.seen(number)
    return case.finding("lines of logs have the time they were written at", empty="no connection")


def check_names_resolve(history: History, parameters: Mapping[str, Any]) -> Finding:
    """No application fails to find a host by its name."""
    case = Case()
    for number, event in history.of(kind.APP_ERROR):
        if "name resolution" in str(event.values.get("line")):
            case.fail(f"{name_of(event.source)}: {event.values['line']}", number)
    for number, _ in history.of(kind.NODE_STARTED)[:1]:
        case.seen(number)
    return case.finding("applications find hosts by name", empty="no application was started")


def check_ports_open(history: History, parameters: Mapping[str, Any]) -> Finding:
    """Every port that an application has on its appliance is opened whenever it is started."""
    case = Case()
    wanted: dict[str, list[int]] = {}
    opened: dict[str, set[int]] = defaultdict(set)
    for number, event in history.of(kind.INSTALLED, kind.PORT_OPENED, kind.NODE_STARTED):
        instance = event.values["instance"]
        if event.kind == kind.INSTALLED:
            wanted[instance] = event.values.get("ports", [])
        elif event.kind == kind.PORT_OPENED:
            opened[instance].add(event.values["port"])
        elif wanted.get(instance):
            closed = sorted(set(wanted[instance]) - opened.pop(instance, set()))
            if closed:
                listed = ", ".join(map(str, closed))
                case.fail(f"{instance} started, and ports {listed} stay closed", number)
            else:
                case.seen(number)
    return case.finding("inbound ports are open", empty="no application has an inbound port")


def check_display_tiles(history: History, parameters: Mapping[str, Any]) -> Finding:
    """The display shows a tile for every stream of the application that owns it."""
    case = Case()
    for number, event in history.of(kind.DISPLAY):
        values = event.values
        if values["tiles"] < values["streams"]:
            shown = f"{values['tiles']} of {values['streams']} streams"
            case.fail(f"{name_of(event.source)} shows {shown} of {values['owner']}", number)
        else:
            case.seen(number)
    return case.finding("every stream has its tile", empty="nothing was displayed")
