"""Checkers of the run itself: did it end, did its steps succeed, was everything reached."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from harness.judge.checker import Case
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.checker import Finding
    from harness.record.history import History


def check_run(history: History, parameters: Mapping[str, Any]) -> Finding:
    """The history ends with `run.ended`, outcome completed; anything less proves nothing."""
    case = Case()
    ends = history.of(kind.RUN_ENDED)
    if not history.complete or not ends:
        case.doubt("the history stops before the run ended")
    for number, event in ends:
        outcome, error = event.values.get("outcome"), event.values.get("error") or ""
        if outcome == "completed":
            case.seen(number)
        elif outcome == "failed":
            case.fail(f"the run failed: {error}" if error else "the run failed", number)
        else:
            case.doubt(f"the run was {outcome}" + (f": {error}" if error else ""), number)
    return case.finding(
        f"completed after {history.duration_s:.1f} s, {len(history.events)} events",
        empty="the history holds no end",
    )


def check_steps(history: History, parameters: Mapping[str, Any]) -> Finding:
    """Every step that started has ended well. A step cut off by an interruption is unknown."""
    case = Case()
    open_steps: dict[tuple[Any, Any], deque[int]] = defaultdict(deque)
    for number, event in history.of(kind.STEP_STARTED, kind.STEP_ENDED):
        key = (event.values.get("index"), event.values.get("step"))
        if event.kind == kind.STEP_STARTED:
            open_steps[key].append(number)
            continue
        started = [open_steps[key].popleft()] if open_steps[key] else []
        if event.values.get("ok") is True:
            case.seen(*started, number)
        else:
            reason = event.values.get("error") or "no reason given"
            case.fail(f"step {key[0]} ({key[1]}): {reason}", *started, number)
    completed = _completed(history)
    for (index, step), numbers in open_steps.items():
        for number in numbers:
            say = case.fail if completed else case.doubt
            say(f"step {index} ({step}) never ended", number)
    return case.finding(
        f"{case.looked_at} steps ended well", empty="no step was recorded in this history"
    )


def check_reached(history: History, parameters: Mapping[str, Any]) -> Finding:
    """Each of `kinds` happened at least once: the scenario went where it was meant to go."""
    case = Case()
    kinds = parameters.get("kinds", [])
    if isinstance(kinds, str):
        kinds = [kinds]
    for wanted in kinds:
        found = history.of(wanted)
        if found:
            case.seen(found[0][0])
        else:
            case.fail(f"{wanted} never happened")
    return case.finding(
        "reached " + ", ".join(str(wanted) for wanted in kinds), empty="no kinds were asked for"
    )


def _completed(history: History) -> bool:
    return any(
        event.values.get("outcome") == "completed" for _, event in history.of(kind.RUN_ENDED)
    )
