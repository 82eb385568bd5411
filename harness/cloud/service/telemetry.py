"""What devices tell of themselves beside their shadows: lines of logs, and metrics.

They wait here until somebody who serves CloudWatch collects them. What waits is bounded: the
oldest give way. Names are those of the vendor's developer guide, "Monitoring resources".

A device sends `{"sent_s": t, "logs": [...], "metrics": [...]}` by its own clock; here it is
stamped by the plane's, each line as old as the device says it was when it sent it:
  logs     {"application": instance id or "", "stream": name, "lines": [[t, text], ...]}
  metrics  {"name": DeviceActive | ApplicationErrors, "application": ..., "value": number}
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import Corrupt
from harness.record.kind import CLOUD_LOG_SKEWED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.cloud.service.core import Core
    from harness.cloud.service.state import Device

NAMESPACE = "PanoramaDeviceMetrics"
GROUPS = "/aws/panorama/devices"
BATCHES_MAX = 2000
LINES_MAX = 10_000  # of one message
LINE_BYTES_MAX = 16 * 1024
SKEW_MAX_S = 60.0
SKEW_EVERY_S = 300.0
METRICS = ("DeviceActive", "ApplicationErrors")
_STREAM = re.compile(r"[\w.-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Lines of one stream; times are milliseconds since the epoch, by the plane's clock."""

    group: str
    stream: str
    lines: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    dimensions: tuple[tuple[str, str], ...]
    value: float
    time_s: float


class Telemetry:
    """Of all devices of one account and region."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._logs: deque[LogBatch] = deque(maxlen=BATCHES_MAX)
        self._metrics: deque[Metric] = deque(maxlen=BATCHES_MAX)
        self._skewed: dict[tuple[str, str], float] = {}  # device and stream: when it was told
        self.lines = 0  # taken so far
        self.points = 0

    def receive(self, device: Device, told: Any) -> None:
        """Take what a device sent, all of it or nothing. Raises `Corrupt`."""
        try:
            sent_s = float(told["sent_s"])
            logs = [self._batch(device, sent_s, one) for one in told.get("logs", ())]
            metrics = [self._metric(device, one) for one in told.get("metrics", ())]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Corrupt(f"telemetry of {device.id}: {error!r}") from None
        self._logs.extend(logs)
        self._metrics.extend(metrics)
        self.lines += sum(len(batch.lines) for batch in logs)
        self.points += len(metrics)

    def collect(self) -> tuple[list[LogBatch], list[Metric]]:
        """Everything that waits, which then waits no more."""
        logs, metrics = list(self._logs), list(self._metrics)
        self._logs.clear()
        self._metrics.clear()
        return logs, metrics

    def _batch(self, device: Device, sent_s: float, told: Mapping[str, Any]) -> LogBatch:
        stream, lines = str(told["stream"]), told["lines"]
        if not _STREAM.fullmatch(stream) or len(lines) > LINES_MAX:
            raise ValueError(f"stream {stream[:64]!r} of {len(lines)} lines")
        group = f"{GROUPS}/{device.id}"
        if told.get("application"):
            group += f"/applications/{self._instance(device, told)}"
        now_s = self._core.clock()
        ages_s = [sent_s - float(at) for at, _ in lines]
        self._judge_times(device, stream, now_s, ages_s)
        stamped = (
            (int((now_s - max(0.0, age_s)) * 1000), str(text)[:LINE_BYTES_MAX])
            for age_s, (_, text) in zip(ages_s, lines, strict=True)
        )
        return LogBatch(group, stream, tuple(sorted(stamped, key=lambda line: line[0])))

    def _judge_times(
        self, device: Device, stream: str, now_s: float, ages_s: Sequence[float]
    ) -> None:
        """Record lines of a device's stream whose time cannot be right, now and then."""
        ahead_s = -min(ages_s, default=0.0)
        behind_s = max(ages_s, default=0.0) - (now_s - device.created_s)
        if max(ahead_s, behind_s) <= SKEW_MAX_S:
            return
        told_s = self._skewed.get((device.id, stream))
        if told_s is not None and now_s - told_s < SKEW_EVERY_S:
            return
        self._skewed[device.id, stream] = now_s
        by = {"ahead_s": round(ahead_s, 3)} if ahead_s > 0 else {"behind_s": round(behind_s, 3)}
        self._core.record(CLOUD_LOG_SKEWED, {"device": device.name, "stream": stream, **by})

    def _metric(self, device: Device, told: Mapping[str, Any]) -> Metric:
        name = str(told["name"])
        if name not in METRICS:
            raise ValueError(f"metric {name[:64]!r}")
        if name == "DeviceActive":
            dimensions = (("DeviceId", device.id), ("DeviceName", device.name))
        else:
            identifier = self._instance(device, told)
            request = self._core.store.instances[identifier].request
            dimensions = (
                ("ApplicationInstanceName", str(request.get("Name", identifier))),
                ("ApplicationInstanceId", identifier),
            )
        return Metric(name, dimensions, float(told["value"]), self._core.clock())

    def _instance(self, device: Device, told: Mapping[str, Any]) -> str:
        """An instance of this device: others are none of its business."""
        identifier = str(told["application"])
        instance = self._core.store.instances.get(identifier)
        if instance is None or instance.device != device.id:
            raise ValueError(f"application instance {identifier[:64]!r}")
        return identifier
