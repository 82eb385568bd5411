"""Checkers of the nemesis: every fault bit, was healed and recovered from; the site came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.judge.checker import Case
from harness.judge.reading import installed_instances, name_of, states
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.checker import Finding
    from harness.record.history import History


def check_faults_bite(history: History, parameters: Mapping[str, Any]) -> Finding:
    """A fault without effect proves nothing (UNKNOWN); one that was never healed is a failure.

    `planned` holds the ids of the plan's faults: one that was never injected proves nothing.
    """
    case = Case()
    observed = _by_fault(history, kind.FAULT_OBSERVED)
    healed = _by_fault(history, kind.FAULT_HEALED)
    injected = _by_fault(history, kind.FAULT_INJECTED)
    labels = _labels(history)
    for fault, number in injected.items():
        if fault not in healed:
            case.fail(f"{labels[fault]} was never healed", number)
        elif fault not in observed:
            case.doubt(f"{labels[fault]} is an inert fault: no effect was observed", number)
        else:
            case.seen(number, observed[fault], healed[fault])
    for fault in parameters.get("planned", ()):
        if fault not in injected:
            case.doubt(f"the planned fault {fault} was never injected")
    return case.finding(
        f"{len(injected)} faults injected, each with an observed effect, each healed",
        empty="no fault was injected",
    )


def check_recovers(history: History, parameters: Mapping[str, Any]) -> Finding:
    """After every heal the site recovers from the fault."""
    case = Case()
    recovered = _by_fault(history, kind.FAULT_RECOVERED)
    observed = _by_fault(history, kind.FAULT_OBSERVED)
    labels = _labels(history)
    for fault, number in _by_fault(history, kind.FAULT_HEALED).items():
        if fault in recovered:
            case.seen(number, recovered[fault])
        elif fault not in observed:
            case.doubt(f"{labels.get(fault, fault)} was never seen to act", number)
        else:
            case.fail(f"no recovery from {labels.get(fault, fault)} after its heal", number)
    return case.finding(f"recovered from {case.looked_at} faults", empty="no fault was healed")


def check_converges(history: History, parameters: Mapping[str, Any]) -> Finding:
    """After the last heal, in the convergence phase, the whole site works again."""
    start = _convergence_start(history)
    if start is None:
        return Case().finding("", empty="there was no convergence phase and no heal")
    case = Case()
    for appliance, passed in states(history).items():
        number, _, state = passed[-1]
        if state == "online":
            case.seen(number)
        else:
            case.fail(f"{appliance} ended {state}", number)
    for device, (number, status) in _last_statuses(history).items():
        if status == "ONLINE":
            case.seen(number)
        else:
            case.fail(f"the cloud sees {device} as {status}", number)
    _check_frames_flow(history, start, case)
    return case.finding(
        f"{case.looked_at} appliances, cloud devices and camera streams work after event {start}",
        empty="no appliance ever said what state it is in",
    )


def _check_frames_flow(history: History, start: int, case: Case) -> None:
    """Every stream that an installed instance ever read delivers frames again."""
    wanted: dict[tuple[str, str], int] = {}
    delivers: dict[tuple[str, str], int] = {}
    installed = installed_instances(history)
    for number, event in history.of(kind.FRAMES):
        values = event.values
        stream = (values["instance"], values["camera"])
        installed_at = installed.get(stream[0])
        if installed_at is None or not values["delivered"] or number < installed_at:
            continue
        wanted.setdefault(stream, number)
        if number > start:
            delivers[stream] = number
    for stream, number in wanted.items():
        if stream in delivers:
            case.seen(delivers[stream])
        else:
            case.fail(f"{stream[0]} gets no frames of {stream[1]} any more", number)
    for instance in installed.keys() - {stream[0] for stream in wanted}:
        case.fail(f"{instance} is installed and never got a frame", installed[instance])


def _convergence_start(history: History) -> int | None:
    phases = [
        number
        for number, event in history.of(kind.PHASE_STARTED)
        if event.values.get("phase") == "convergence"
    ]
    heals = [number for number, _ in history.of(kind.FAULT_HEALED)]
    return max(phases + heals, default=None)


def _last_statuses(history: History) -> dict[str, tuple[int, str]]:
    statuses: dict[str, tuple[int, str]] = {}
    for number, event in history.of(kind.CLOUD_DEVICE):
        statuses[event.values["device"]] = (number, event.values["status"])
    return statuses


def _by_fault(history: History, wanted: str) -> dict[str, int]:
    """The number of the first event of this kind for each fault id."""
    numbers: dict[str, int] = {}
    for number, event in history.of(wanted):
        numbers.setdefault(event.values["fault"], number)
    return numbers


def _labels(history: History) -> dict[str, str]:
    return {
        event.values["fault"]: (
            f"{event.values['fault']} ({event.values.get('fault_kind', 'fault')} on"
            f" {name_of(str(event.values.get('target', '?')))})"
        )
        for _, event in history.of(kind.FAULT_INJECTED)
    }
