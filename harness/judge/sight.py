"""What applications saw of what was there: precision, recall, mAP and continuity.

Of each camera over a run, and before, under and after each fault that touched it. An average
precision is the area under precision over recall at an overlap of 0.5, all points, confidences
in bins; mAP is its mean over the labels that there were. Continuity is the share of objects,
found in one frame and still there in the next, that were found there too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.judge.reading import hosts, name_of
from harness.record import kind
from harness.record.sight import BINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.record.event import Event
    from harness.record.history import History

Stream = tuple[str, str]  # instance, camera
BEFORE_S = 10.0  # of what was before a fault
AFTER_S = 10.0  # and after it
NOTICED_WITHIN_S = 2.0  # of its end: words come a little later than pictures
HARM = 0.1  # of recall or precision less than before: the picture is worse
_TELLING = (kind.CAMERA_TROUBLE, kind.CAMERA_LOST, kind.LOG_LINE, kind.APP_ERROR)


@dataclass(slots=True)
class Sight:
    """Counts that add up. `found[label][bin]` is [hits, false ones]."""

    windows: int = 0
    frames: int = 0
    delivered: int = 0
    kept: int = 0
    broken: int = 0
    by_label: bool = False  # an application without boxes: what it names is scored
    there: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    found: dict[str, list[list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: [[0, 0] for _ in range(BINS)])
    )

    def add(self, values: Mapping[str, Any]) -> None:
        """The `values` of a window."""
        self.windows += 1
        self.delivered += values["delivered"]
        seen = values.get("sight")
        if seen is None:
            return
        self.frames += seen["frames"]
        self.by_label = self.by_label or seen.get("by") == "labels"
        self.kept += seen["kept"]
        self.broken += seen["broken"]
        for label, counts in seen["labels"].items():
            self.there[label] += counts["there"]
            for number, hits, false in counts["found"]:
                one = self.found[label][min(max(number, 0), BINS - 1)]
                one[0] += hits
                one[1] += false

    @property
    def precision(self) -> float | None:
        hits, false = self._sums()
        return _share(hits, hits + false)

    @property
    def recall(self) -> float | None:
        return _share(self._sums()[0], sum(self.there.values()))

    @property
    def mean_average_precision(self) -> float | None:
        labels = [label for label, count in self.there.items() if count]
        return sum(map(self._average, labels)) / len(labels) if labels else None

    @property
    def continuity(self) -> float | None:
        return _share(self.kept, self.kept + self.broken)

    def _sums(self) -> tuple[int, int]:
        bins = [one for label in self.found.values() for one in label]
        return sum(hits for hits, _ in bins), sum(false for _, false in bins)

    def _average(self, label: str) -> float:
        """Precision is taken as the best that a recall at least as high still has."""
        points: list[tuple[float, float]] = []
        hits = claimed = 0
        for added, false in reversed(self.found[label]):
            hits, claimed = hits + added, claimed + added + false
            if claimed:
                points.append((hits / self.there[label], hits / claimed))
        area = best = 0.0
        for number in range(len(points) - 1, -1, -1):
            recall, precision = points[number]
            best = max(best, precision)
            area += (recall - (points[number - 1][0] if number else 0.0)) * best
        return area


@dataclass(frozen=True, slots=True)
class UnderFault:
    """What one fault did to what an application saw through one camera.

    `noticed` names what told of it, as far as anything did: troubles of the stream, its loss, the
    camera node's log, an error of the application.
    """

    fault: str
    fault_kind: str
    instance: str
    camera: str
    before: Sight
    under: Sight
    after: Sight
    noticed: tuple[str, ...]
    events: tuple[int, ...]

    @property
    def outcome(self) -> str:
        if self.under.windows and self.under.delivered == 0:
            return "no picture"
        if self.under.frames == 0 or self.before.frames == 0:
            return "not known"
        return "worse" if self._harmed else "as before"

    @property
    def unnoticed(self) -> bool:
        """The picture was worse, or gone, and nobody said a word."""
        return self.outcome in ("worse", "no picture") and not self.noticed

    @property
    def _harmed(self) -> bool:
        for name in ("precision", "recall", "continuity"):
            before, under = getattr(self.before, name), getattr(self.under, name)
            if before is not None and (0.0 if under is None else under) < before - HARM:
                return True
        return False


def by_stream(history: History) -> dict[Stream, Sight]:
    """Of every camera of every instance, over the whole run; without truth there is none."""
    found: dict[Stream, Sight] = defaultdict(Sight)
    for _, event in history.of(kind.FRAMES):
        if "sight" in event.values:
            found[event.values["instance"], event.values["camera"]].add(event.values)
    return dict(found)


def under_faults(history: History) -> list[UnderFault]:
    """For every fault in the order of injection, what it did to each stream that it touched."""
    windows: dict[Stream, list[Event]] = defaultdict(list)
    for _, event in history.of(kind.FRAMES):
        windows[event.values["instance"], event.values["camera"]].append(event)
    if not any("sight" in event.values for events in windows.values() for event in events):
        return []
    healed = {str(event.values["fault"]): event.t_s for _, event in history.of(kind.FAULT_HEALED)}
    homes = hosts(history)
    found = []
    for _, event in history.of(kind.FAULT_INJECTED):
        target = name_of(str(event.values.get("target", "")))
        for stream, events in windows.items():
            if target in (stream[1], stream[0], homes.get(stream[0])):
                end_s = healed.get(str(event.values["fault"]), history.duration_s)
                found.append(_touched(history, event, end_s, stream, events))
    return found


def _touched(
    history: History, fault: Event, end_s: float, stream: Stream, windows: Iterable[Event]
) -> UnderFault:
    parts = Sight(), Sight(), Sight()
    for window in windows:
        from_s, to_s = window.values["from_s"], window.values["to_s"]
        if fault.t_s - BEFORE_S <= from_s and to_s <= fault.t_s:
            parts[0].add(window.values)
        elif fault.t_s <= from_s and to_s <= end_s:
            parts[1].add(window.values)
        elif end_s <= from_s and to_s <= end_s + AFTER_S:
            parts[2].add(window.values)
    noticed, events = _noticed(history, fault.t_s, end_s + NOTICED_WITHIN_S, stream)
    values = fault.values
    return UnderFault(
        str(values["fault"]), str(values.get("fault_kind", "fault")), *stream, *parts,
        noticed, events,
    )  # fmt: skip


def _noticed(
    history: History, from_s: float, to_s: float, stream: Stream
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    words: dict[str, None] = {}
    numbers = []
    for number, event in history.of(*_TELLING):
        values = event.values
        own = values.get("instance") == stream[0] and values.get("camera") in (stream[1], None)
        if own and from_s <= event.t_s <= to_s:
            words[str(values.get("trouble") or values.get("line") or event.kind)] = None
            numbers.append(number)
    return tuple(words), tuple(numbers)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
