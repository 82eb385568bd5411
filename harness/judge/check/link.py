"""Checkers of connections: a fleet that spreads its attempts, cameras that are not lost."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from harness.judge.checker import Case
from harness.judge.reading import name_of
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.checker import Finding
    from harness.record.history import History

FLEET_MIN = 6  # appliances; fewer may be together by chance
LATER_ATTEMPT = 5  # by then a back-off is so long that chance keeps a fleet apart
TOGETHER_S = 0.1
TOGETHER_MAX = 0.7  # the share of a fleet that may try within that time
CAUSE_WITHIN_S = 60.0  # of a fault, after which a lost camera is no wonder


def check_reconnects_spread(history: History, parameters: Mapping[str, Any]) -> Finding:
    """Appliances that lost their connection together do not try again together.

    Looked at is each attempt from the fifth on of six appliances or more: exponential back-off
    without jitter has all of them try within the same tenth of a second.
    """
    case = Case()
    attempts: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for number, event in history.of(kind.LINK_REFUSED):
        if event.values["attempt"] >= LATER_ATTEMPT:
            attempts[event.values["attempt"]].append((number, event.t_s))
    for attempt, tries in sorted(attempts.items()):
        if len(tries) < FLEET_MIN:
            continue
        most = max(Counter(round(at_s / TOGETHER_S) for _, at_s in tries).values())
        numbers = [number for number, _ in tries]
        if most / len(tries) > TOGETHER_MAX:
            case.fail(f"attempt {attempt}: {most} of {len(tries)} at the same time", *numbers)
        else:
            case.seen(*numbers)
    return case.finding(
        f"{case.looked_at} attempts of the fleet are spread",
        empty=f"no {FLEET_MIN} appliances were refused {LATER_ATTEMPT} times",
    )


def check_streams_steady(history: History, parameters: Mapping[str, Any]) -> Finding:
    """A camera is lost only while a fault acts on it or on its network, or soon after."""
    case = Case()
    acts: dict[str, list[tuple[float, float]]] = defaultdict(list)
    targets: dict[str, tuple[str, float]] = {}
    for _, event in history.of(kind.FAULT_INJECTED, kind.FAULT_HEALED):
        fault = event.values["fault"]
        if event.kind == kind.FAULT_INJECTED:
            targets[fault] = (event.values["target"], event.t_s)
        elif fault in targets:
            target, since_s = targets.pop(fault)
            acts[target].append((since_s, event.t_s + CAUSE_WITHIN_S))
    for target, since_s in targets.values():
        acts[target].append((since_s, history.duration_s))
    hosts = {
        event.values["instance"]: name_of(event.source)
        for _, event in history.of(kind.INSTALLED, kind.NODE_STARTED)
    }
    for number, event in history.of(kind.CAMERA_LOST, kind.CAMERA_CONNECTED):
        camera, instance = event.values["camera"], event.values["instance"]
        struck = [*acts[camera], *acts[instance], *acts[hosts.get(instance, "")]]
        if event.kind == kind.CAMERA_CONNECTED:
            case.seen(number)
        elif not any(since_s <= event.t_s <= until_s for since_s, until_s in struck):
            line = event.values.get("line")
            case.fail(f"{instance} lost {camera}, and nothing had happened: {line}", number)
    return case.finding("no camera was lost without a cause", empty="no camera was connected")
