"""Checkers of the pictures: every frame accounted for, and what was detected in them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.judge.checker import Case
from harness.judge.reading import streams
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.checker import Finding
    from harness.record.history import History

ACCOUNT_PARTS = (
    "delivered",
    "lost_network",
    "dropped_decoder",
    "skipped_application",
    "in_flight",
)


def check_frames_account(history: History, parameters: Mapping[str, Any]) -> Finding:
    """Every frame a camera sent is somewhere; the sums agree, for every reader of every camera."""
    case = Case()
    accounted: dict[tuple[str, str], int] = defaultdict(int)
    total = 0
    for number, event in history.of(kind.FRAME_ACCOUNT):
        values = event.values
        parts = {part: values[part] for part in ACCOUNT_PARTS}
        stream = f"{values['camera']} to {values['instance']}"
        negative = [part for part, count in parts.items() if count < 0]
        if negative or values["sent"] < 0:
            case.fail(f"{stream}: {', '.join(negative) or 'sent'} is negative", number)
        elif sum(parts.values()) != values["sent"]:
            case.fail(
                f"{stream}: {values['sent']} sent, but {sum(parts.values())} accounted for", number
            )
        else:
            case.seen(number)
        accounted[(values["instance"], values["camera"])] += values["delivered"]
        total += values["sent"]
    _check_windows_agree(history, case, accounted)
    return case.finding(
        f"all {total} frames of {len(accounted)} streams are accounted for",
        empty="no frame account was recorded",
    )


def _check_windows_agree(
    history: History, case: Case, accounted: Mapping[tuple[str, str], int]
) -> None:
    """Applications cannot have been handed more frames than the account says."""
    handed: dict[tuple[str, str], int] = defaultdict(int)
    for _, event in history.of(kind.FRAMES):
        handed[(event.values["instance"], event.values["camera"])] += event.values["delivered"]
    for stream in streams(history):
        if stream not in accounted:
            case.fail(f"{stream[1]} to {stream[0]} was read and never accounted for")
        elif handed[stream] > accounted[stream]:
            case.fail(
                f"{stream[1]} to {stream[0]}: {handed[stream]} frames handed over,"
                f" the account has {accounted[stream]}"
            )


@dataclass(slots=True)
class Counts:
    """Detections of one instance against the ground truth of its cameras' scenes."""

    hit: int = 0
    missed: int = 0
    false: int = 0

    @property
    def precision_ratio(self) -> float | None:
        claimed = self.hit + self.false
        return self.hit / claimed if claimed else None

    @property
    def recall_ratio(self) -> float | None:
        present = self.hit + self.missed
        return self.hit / present if present else None


def detection_counts(history: History) -> dict[str, Counts]:
    """Counts of each instance over all windows of all cameras (micro-average)."""
    counts: dict[str, Counts] = defaultdict(Counts)
    for _, event in history.of(kind.FRAMES):
        values, count = event.values, counts[event.values["instance"]]
        count.hit += values.get("detected", 0)
        count.missed += values.get("missed", 0)
        count.false += values.get("false", 0)
    return counts


def check_detections(history: History, parameters: Mapping[str, Any]) -> Finding:
    """Each instance's precision and recall reach `precision_min` and `recall_min`."""
    case = Case()
    said: list[str] = []
    for instance, counts in sorted(detection_counts(history).items()):
        for name, value in (
            ("precision", counts.precision_ratio),
            ("recall", counts.recall_ratio),
        ):
            bound = parameters.get(f"{name}_min")
            if bound is None:
                continue
            if value is None:
                case.doubt(f"{instance} has no {name}: nothing was detected, missed or made up")
            elif value < bound:
                case.fail(f"{instance}: {name} {value:.4f} is below {bound}")
            else:
                case.seen()
                said.append(f"{instance} {name} {value:.4f}")
    return case.finding(
        ", ".join(said),
        empty="no precision_min or recall_min was given, or no frames were recorded",
    )
