"""Checkers of the appliance: slots and fuses, the truth about updates, applications that return."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from harness.judge.checker import Case
from harness.judge.reading import devices_by_name, name_of
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.checker import Finding
    from harness.record.event import Event
    from harness.record.history import History

RETURN_WITHIN_S = 120.0


def check_slots_safe(history: History, parameters: Mapping[str, Any]) -> Finding:
    """One active slot, always bootable, always the one that runs; fuses never go back.

    Anti-rollback: an image expects a number of blown fuses, and the boot chain refuses images
    that expect fewer than are blown (vendor's developer guide, 2024 edition).
    """
    case = Case()
    control: dict[str, tuple[int, Event]] = {}
    booted: dict[str, tuple[int, Event]] = {}
    for number, event in history.of(kind.SLOTS, kind.BOOTED):
        name = name_of(event.source)
        if event.kind == kind.SLOTS:
            _check_control(case, name, number, event, control.get(name))
            if name in booted and name not in control:
                _check_boot(case, name, booted[name], (number, event))
            control[name] = (number, event)
        else:
            booted[name] = (number, event)
            if name in control:
                _check_boot(case, name, (number, event), control[name])
    for name in booted.keys() - control.keys():
        case.doubt(f"{name} booted but its boot control was never seen", booted[name][0])
    return case.finding(
        f"{len(control)} appliances, {case.looked_at} boots and boot-control records",
        empty="no boot control was recorded",
    )


def _check_control(
    case: Case, name: str, number: int, event: Event, before: tuple[int, Event] | None
) -> None:
    active, slots = event.values["active"], event.values["slots"]
    if not isinstance(active, str) or active not in slots:
        case.fail(f"{name} has no single active slot: {active!r}", number)
    elif not slots[active]["bootable"]:
        case.fail(f"{name}: the active slot {active} is not bootable", number)
    elif before and event.values["fuse_level"] < before[1].values["fuse_level"]:
        levels = f"{before[1].values['fuse_level']} to {event.values['fuse_level']}"
        case.fail(f"{name}: the fuse level went back from {levels}", before[0], number)
    else:
        case.seen(number)


def _check_boot(case: Case, name: str, boot: tuple[int, Event], control: tuple[int, Event]) -> None:
    number, values = boot[0], boot[1].values
    evidence = (number, control[0])
    if values["slot"] != control[1].values["active"]:
        active = control[1].values["active"]
        case.fail(f"{name} booted slot {values['slot']} while {active} is active", *evidence)
    elif control[0] < number and values["fuse_level"] < control[1].values["fuse_level"]:
        blown = control[1].values["fuse_level"]
        case.fail(
            f"{name} booted {values['version']} (fuse level {values['fuse_level']})"
            f" below its {blown} blown fuses",
            *evidence,
        )
    else:
        case.seen(*evidence)


def check_ota_truthful(history: History, parameters: Mapping[str, Any]) -> Finding:
    """What the appliance and the cloud say about an update is what really runs."""
    case = Case()
    ended: dict[str, tuple[int, Event]] = {}
    for number, event in history.of(kind.OTA_ENDED):
        ended[event.values["job"]] = (number, event)
    statuses = _job_statuses(history)
    changes = _by_source(history, kind.OTA_PHASE, kind.BOOT_REFUSED)
    boots = _by_source(history, kind.BOOTED)
    for job, (number, event) in ended.items():
        _check_version(case, number, event, changes[event.source], boots[event.source])
        _check_reported(case, job, number, event, statuses.get(job))
    _check_not_too_early(history, case, ended)
    _check_every_update_ended(history, case, ended)
    _check_nothing_made_up(history, case, ended, statuses)
    return case.finding(
        f"{len(ended)} updates: versions and job statuses agree", empty="no update was attempted"
    )


def _check_version(
    case: Case,
    number: int,
    event: Event,
    changes: list[tuple[int, Event]],
    boots: list[tuple[int, Event]],
) -> None:
    """The last boot before the next update, or of the whole run, runs the right version.

    Nor does it count any more once its slot has rotted and was refused. `changes` (updates begun
    and slots refused) and `boots` are those of the appliance that ended the update with `event`.
    """
    committed = event.values["outcome"] == "committed"
    expected = event.values["version_to" if committed else "version_from"]
    until = next((other for other, _ in changes if other > number), math.inf)
    last = next(((n, boot) for n, boot in reversed(boots) if n < until), None)
    name, outcome = name_of(event.source), event.values["outcome"]
    if last is None:
        case.doubt(f"{name} never booted, so nobody knows what it runs", number)
    elif last[1].values["version"] != expected:
        running = last[1].values["version"]
        case.fail(
            f"{name}: update {outcome}, should run {expected}, runs {running}", number, last[0]
        )
    else:
        case.seen(number, last[0])


def _by_source(history: History, *wanted: str) -> dict[str, list[tuple[int, Event]]]:
    found: dict[str, list[tuple[int, Event]]] = defaultdict(list)
    for number, event in history.of(*wanted):
        found[event.source].append((number, event))
    return found


def _check_reported(
    case: Case, job: str, number: int, event: Event, reported: tuple[int, str] | None
) -> None:
    expected = "COMPLETED" if event.values["outcome"] == "committed" else "FAILED"
    if reported is None:
        case.doubt(f"the cloud never heard of job {job}", number)
    elif reported[1] != expected:
        outcome = event.values["outcome"]
        case.fail(
            f"job {job} ended {outcome}, the cloud says {reported[1]}, not {expected}",
            number,
            reported[0],
        )
    else:
        case.seen(reported[0])


def _check_not_too_early(
    history: History, case: Case, ended: Mapping[str, tuple[int, Event]]
) -> None:
    """A job is done when the appliance says so of an image that it has booted, not before."""
    for number, event in history.of(kind.CLOUD_JOB):
        job = event.values["job"]
        if event.values["status"] == "COMPLETED" and job in ended and number < ended[job][0]:
            case.fail(f"job {job} was COMPLETED before it was", number, ended[job][0])


def _check_every_update_ended(
    history: History, case: Case, ended: Mapping[str, tuple[int, Event]]
) -> None:
    begun: dict[str, int] = {}
    for number, event in history.of(kind.OTA_PHASE):
        begun.setdefault(event.values["job"], number)
    for job, number in begun.items():
        if job not in ended:
            case.fail(f"update {job} began and never ended", number)


def _check_nothing_made_up(
    history: History,
    case: Case,
    ended: Mapping[str, tuple[int, Event]],
    statuses: Mapping[str, tuple[int, str]],
) -> None:
    """A job is COMPLETED only by a committed update, or by a reboot that took place."""
    first = {event.values["job"]: number for number, event in reversed(history.of(kind.CLOUD_JOB))}
    devices = devices_by_name(history)
    of_job = {
        event.values["job"]: event.values["device"] for _, event in history.of(kind.CLOUD_JOB)
    }
    for job, (number, status) in statuses.items():
        if status != "COMPLETED" or job in ended:
            continue
        appliance = devices.get(str(of_job[job]))
        # Power may have been cut on the way down: the appliance was restarted all the same.
        rebooted = any(
            first[job] <= stop_number <= number
            and event.values.get("reason") in ("reboot", "power-cut")
            for stop_number, event in history.of(kind.STOPPED)
            if appliance is None or name_of(event.source) == appliance
        )
        if rebooted:
            case.proof.append(number)
        else:
            case.fail(f"job {job} is COMPLETED, but nothing was committed or rebooted", number)


def _job_statuses(history: History) -> dict[str, tuple[int, str]]:
    return {
        event.values["job"]: (number, event.values["status"])
        for number, event in history.of(kind.CLOUD_JOB)
    }


def check_applications_return(history: History, parameters: Mapping[str, Any]) -> Finding:
    """After every boot each installed application starts again and gets frames again.

    One that was removed never does. One that has to be installed again was not there any more;
    only a reset to the factory state or files that rotted may do that.

    A boot that was cut off by a stop within `within_s` (default 120 s) proves nothing and
    is passed over; the boot after it counts.
    """
    within_s = float(parameters.get("within_s", RETURN_WITHIN_S))
    case = Case()
    timelines: dict[str, list[tuple[int, Event]]] = defaultdict(list)
    for number, event in history.of(
        *(kind.BOOTED, kind.STOPPED, kind.RESTORED),
        *(kind.INSTALLED, kind.REMOVED, kind.DAMAGED, kind.NODE_STARTED),
    ):
        timelines[event.source].append((number, event))
    delivered: dict[str, list[int]] = defaultdict(list)
    for number, event in history.of(kind.FRAMES):
        if event.values["delivered"] > 0:
            delivered[event.values["instance"]].append(number)
    for source, timeline in timelines.items():
        _check_returns(case, name_of(source), timeline, delivered, within_s)
    return case.finding(
        f"applications came back after {case.looked_at} boots",
        empty="no appliance booted with an application installed",
    )


def _check_returns(
    case: Case,
    name: str,
    timeline: list[tuple[int, Event]],
    delivered: Mapping[str, list[int]],
    within_s: float,
) -> None:
    installed: set[str] = set()
    removed: set[str] = set()
    for index, (number, event) in enumerate(timeline):
        if event.kind == kind.INSTALLED:
            instance = event.values["instance"]
            if instance in installed:
                case.fail(f"{name} had forgotten {instance} and installed it again", number)
            installed.add(instance)
            removed.discard(instance)
        elif event.kind in (kind.REMOVED, kind.DAMAGED):
            installed.discard(event.values["instance"])
            if event.kind == kind.REMOVED:
                removed.add(event.values["instance"])
        elif event.kind == kind.NODE_STARTED and event.values["instance"] in removed:
            case.fail(f"{event.values['instance']} started on {name} after its removal", number)
        elif event.kind == kind.RESTORED and event.values["what"] == "factory":
            installed.clear()
        elif event.kind == kind.BOOTED and installed:
            life = _life(timeline[index + 1 :])
            stop = next(((n, e) for n, e in life if e.kind == kind.STOPPED), None)
            if stop and stop[1].t_s - event.t_s < within_s:
                continue
            until = stop[0] if stop else math.inf
            for instance in sorted(installed):
                _check_return(case, name, number, instance, life, delivered[instance], until)


def _life(timeline: list[tuple[int, Event]]) -> list[tuple[int, Event]]:
    """What follows a boot up to and including the stop, or up to the next boot."""
    life: list[tuple[int, Event]] = []
    for number, event in timeline:
        if event.kind == kind.BOOTED:
            break
        life.append((number, event))
        if event.kind == kind.STOPPED:
            break
    return life


def _check_return(
    case: Case,
    name: str,
    boot: int,
    instance: str,
    life: list[tuple[int, Event]],
    delivered: list[int],
    until: float,
) -> None:
    mine = [(number, event) for number, event in life if event.values.get("instance") == instance]
    if any(event.kind == kind.REMOVED for _, event in mine):
        return
    started = next((number for number, event in mine if event.kind == kind.NODE_STARTED), None)
    if started is None:
        case.fail(f"{instance} did not start after {name} booted", boot)
        return
    frames = next((number for number in delivered if started < number < until), None)
    if frames is None:
        case.fail(f"{instance} started after {name} booted, but gets no frames", boot, started)
    else:
        case.seen(boot, started, frames)
