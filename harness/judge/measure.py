"""Measurements: everything a history says in numbers, as distributions with a unit.

Names end in their unit. Quantiles are nearest-rank: exact for durations and rates, within 0.4 %
for the latencies, which come as histograms. Durations are those of the engine's clock.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.judge.check.frames import ACCOUNT_PARTS, detection_counts
from harness.judge.reading import name_of, paced
from harness.judge.sight import Sight, by_stream, under_faults
from harness.record import kind
from harness.record.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.record.event import Event
    from harness.record.history import History

QUANTILES = (0.5, 0.9, 0.99)
WINDOW_S_MIN = 0.5  # the rate of a shorter window says more about its edges than about the stream

_UNITS = {
    "fps": "frames/s",
    "ms": "ms",
    "s": "s",
    "ratio": "ratio",
    "total": "frames",
    "w": "W",
    "c": "°C",
}
_STEP_MEASUREMENT = {"deploy": "deployment_s", "reboot": "reboot_s", "remove": "removal_s"}
_OTA_MEASUREMENT = {"committed": "ota_s", "rolled-back": "rollback_s"}

Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One series: `labels` say of what (instance, camera, appliance, fault_kind)."""

    name: str
    unit: str
    labels: Mapping[str, str]
    count: int
    mean: float
    min: float
    p50: float
    p90: float
    p99: float
    max: float

    @property
    def value(self) -> float:
        """The figure itself where there is only one (ratios, totals): the mean."""
        return self.mean

    @property
    def title(self) -> str:
        said = ", ".join(f"{key}={value}" for key, value in self.labels.items())
        return f"{self.name}{{{said}}}" if said else self.name

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "labels": dict(self.labels),
            "count": self.count,
            "mean": self.mean,
            "min": self.min,
            "p50": self.p50,
            "p90": self.p90,
            "p99": self.p99,
            "max": self.max,
        }


@dataclass(slots=True)
class _Table:
    values: dict[tuple[str, Labels], list[float]] = field(default_factory=lambda: defaultdict(list))
    histograms: dict[tuple[str, Labels], Histogram] = field(
        default_factory=lambda: defaultdict(Histogram)
    )

    def add(self, name: str, value: float, **labels: str) -> None:
        self.values[(name, tuple(labels.items()))].append(float(value))

    def merge(self, name: str, histogram: Mapping[str, Any] | None, **labels: str) -> None:
        if histogram is not None and histogram.get("count"):
            self.histograms[(name, tuple(labels.items()))].merge(Histogram.from_json(histogram))

    def measurements(self) -> tuple[Measurement, ...]:
        found = [_exact(name, labels, values) for (name, labels), values in self.values.items()]
        found += [_merged(name, labels, one) for (name, labels), one in self.histograms.items()]
        return tuple(sorted(found, key=lambda one: (one.name, tuple(one.labels.items()))))


def measure(history: History) -> tuple[Measurement, ...]:
    """Every measurement that the history has data for, sorted by name and labels."""
    table = _Table()
    _measure_frames(history, table)
    _measure_durations(history, table)
    _measure_links(history, table)
    _measure_faults(history, table)
    _measure_detections(history, table)
    _measure_boards(history, table)
    _measure_epochs(history, table)
    return table.measurements()


def _measure_frames(history: History, table: _Table) -> None:
    """Of host-bound applications nothing that depends on how fast they were is claimed."""
    calls = paced(history)
    for instance, one in calls.items():
        table.add("host_bound_ratio", one.late / one.calls, instance=instance)
    bound = {instance for instance, one in calls.items() if one.host_bound}
    for _, event in history.of(kind.FRAMES):
        values = event.values
        if values["instance"] in bound:
            continue
        labels = {"instance": values["instance"], "camera": values["camera"]}
        length_s = values["to_s"] - values["from_s"]
        if length_s >= WINDOW_S_MIN:
            table.add("frame_rate_fps", values["delivered"] / length_s, **labels)
        table.merge("frame_latency_ms", values.get("latency_ms"), **labels)
        table.merge("inference_ms", values.get("inference_ms"), **labels)
    totals: dict[tuple[str, str, str], int] = defaultdict(int)
    for _, event in history.of(kind.FRAME_ACCOUNT):
        values = event.values
        for part in ("sent", *ACCOUNT_PARTS):
            totals[(part, values["instance"], values["camera"])] += values[part]
    for (part, instance, camera), count in totals.items():
        table.add(f"frames_{part}_total", count, instance=instance, camera=camera)


def _measure_durations(history: History, table: _Table) -> None:
    for _, event in history.of(kind.STEP_ENDED):
        name = _STEP_MEASUREMENT.get(str(event.values.get("action")))
        if name and event.values.get("ok") is True:
            table.add(name, event.values["duration_s"])
    for _, event in history.of(kind.OTA_ENDED):
        name = _OTA_MEASUREMENT.get(event.values["outcome"])
        if name:
            table.add(name, event.values["duration_s"], appliance=name_of(event.source))
    for wanted, name in ((kind.BOOTED, "boot_s"), (kind.PROVISIONED, "provision_s")):
        for _, event in history.of(wanted):
            table.add(name, event.values["duration_s"], appliance=name_of(event.source))
    for _, event in history.of(kind.INSTALLED):
        table.add("app_install_s", event.values["duration_s"], instance=event.values["instance"])
    for _, event in history.of(kind.APP_FIRST_FRAME):
        table.add("app_first_frame_s", event.values["duration_s"], instance=name_of(event.source))


def _measure_links(history: History, table: _Table) -> None:
    """A connection after a loss is a reconnection; the first one after a boot is not."""
    lost: set[str] = set()
    for _, event in history.of(kind.BOOTED, kind.LINK_LOST, kind.LINK_CONNECTED):
        if event.kind == kind.LINK_LOST:
            lost.add(event.source)
        elif event.kind == kind.BOOTED:
            lost.discard(event.source)
        else:
            name = "reconnect_s" if event.source in lost else "connect_s"
            table.add(name, event.values["duration_s"], appliance=name_of(event.source))
            lost.discard(event.source)


def _measure_faults(history: History, table: _Table) -> None:
    kinds = {
        event.values["fault"]: str(event.values.get("fault_kind", "fault"))
        for _, event in history.of(kind.FAULT_INJECTED)
    }
    for wanted, name in (
        (kind.FAULT_OBSERVED, "fault_effect_s"),
        (kind.FAULT_RECOVERED, "fault_recovery_s"),
    ):
        for _, event in history.of(wanted):
            fault_kind = kinds.get(event.values["fault"], "unknown")
            table.add(name, event.values["after_s"], fault_kind=fault_kind)


def _measure_boards(history: History, table: _Table) -> None:
    for _, event in history.of(kind.BOARD):
        appliance = name_of(event.source)
        table.add("board_power_w", event.values["power_w"], appliance=appliance)
        table.add("board_temperature_c", event.values["temperature_c"], appliance=appliance)
        table.add("board_clock_ratio", event.values["clock_share"], appliance=appliance)


def _measure_epochs(history: History, table: _Table) -> None:
    """The first epoch of an application holds its warm-up; the later ones are alike."""
    for _, event in history.of(kind.APP_EPOCH):
        values = event.values
        which = "first_epoch" if values["number"] == 1 else "later_epoch"
        instance = values["instance"]
        table.add(f"{which}_s", values["duration_s"], instance=instance)
        table.add(f"{which}_fps", values["frames"] / values["duration_s"], instance=instance)
        table.add(f"{which}_inference_ms", values["inference_mean_ms"], instance=instance)
        table.add(f"{which}_frame_ms", values["frame_mean_ms"], instance=instance)
        table.add(f"{which}_inference_max_ms", values["inference_max_ms"], instance=instance)


def _measure_detections(history: History, table: _Table) -> None:
    for instance, counts in detection_counts(history).items():
        for name in ("precision_ratio", "recall_ratio"):
            value = getattr(counts, name)
            if value is not None:
                table.add(name, value, instance=instance)
    for (instance, camera), sight in by_stream(history).items():
        _measure_sight(table, "camera", sight, instance=instance, camera=camera)
    for one in under_faults(history):
        labels = {"fault": one.fault, "instance": one.instance, "camera": one.camera}
        _measure_sight(table, "fault", one.under, **labels)


def _measure_sight(table: _Table, of: str, sight: Sight, **labels: str) -> None:
    for name, value in (
        ("precision", sight.precision),
        ("recall", sight.recall),
        ("map", sight.mean_average_precision),
        ("continuity", sight.continuity),
    ):
        if value is not None:
            table.add(f"{of}_{name}_ratio", value, **labels)


def windows(events: Iterable[Event]) -> dict[tuple[str, str], list[tuple[float, float, float]]]:
    """For each (instance, camera) its windows as `(from_s, to_s, frames per second)`."""
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for event in events:
        values = event.values
        length_s = values["to_s"] - values["from_s"]
        if length_s >= WINDOW_S_MIN:
            rate_fps = values["delivered"] / length_s
            stream = (values["instance"], values["camera"])
            found[stream].append((values["from_s"], values["to_s"], rate_fps))
    return found


def _exact(name: str, labels: Labels, values: list[float]) -> Measurement:
    ordered = sorted(values)
    count = len(ordered)

    def quantile(q: float) -> float:
        return ordered[max(1, math.ceil(q * count)) - 1]

    mean = math.fsum(ordered) / count
    return _measurement(name, labels, count, mean, (ordered[0], ordered[-1]), quantile)


def _merged(name: str, labels: Labels, histogram: Histogram) -> Measurement:
    extremes = (histogram.min, histogram.max)
    return _measurement(name, labels, histogram.count, histogram.mean, extremes, histogram.quantile)


def _measurement(
    name: str,
    labels: Labels,
    count: int,
    mean: float,
    extremes: tuple[float, float],
    quantile: Callable[[float], float],
) -> Measurement:
    p50, p90, p99 = map(quantile, QUANTILES)
    return Measurement(
        name=name,
        unit=_unit(name),
        labels=dict(labels),
        count=count,
        mean=mean,
        min=extremes[0],
        p50=p50,
        p90=p90,
        p99=p99,
        max=extremes[1],
    )


def _unit(name: str) -> str:
    return _UNITS[name.rpartition("_")[2]]
