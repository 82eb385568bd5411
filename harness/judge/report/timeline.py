"""The timeline of a run as geometry: lanes, segments, areas and bands, ready to be drawn.

Everything is in the units of the SVG's view box. Long runs and large fleets are bounded: areas
have at most `BINS_MAX` points, slivers are merged, appliances beyond `APPLIANCES_MAX` counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.judge.measure import windows
from harness.judge.reading import hosts, name_of, states
from harness.judge.report.geometry import Band, Group, Lane, Mark, Segment, Tick, Timeline
from harness.judge.report.story import read_faults
from harness.judge.report.text import clock, duration, shortened
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.record.history import History

WIDTH = 1120.0
LEFT = 168.0
RIGHT = 62.0
PLOT = WIDTH - LEFT - RIGHT
BINS_MAX = 480
BIN_S_MIN = 1.0
APPLIANCES_MAX = 24
STREAMS_MAX = 8
FAULTS_MAX = 60
SLIVER = 0.4
TICKS_MAX = 9

PHASE_HEIGHT = 18.0
FAULT_HEIGHT = 17.0
STATE_HEIGHT = 20.0
OTA_HEIGHT = 14.0
STREAM_HEIGHT = 34.0
GAP = 6.0
GROUP_GAP = 18.0

_TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
_LABEL_WIDTH = 6.2  # an average character of the labels, in view box units
_CHARACTERS_MAX = 24


def timeline(history: History, plan: Mapping[str, Any]) -> Timeline:
    """Lay out the whole run from t = 0 to its last event."""
    return _Layout(history, plan).build()


@dataclass(slots=True)
class _Layout:
    history: History
    plan: Mapping[str, Any]
    end_s: float = 0.0
    omitted: list[str] = field(default_factory=list)

    def build(self) -> Timeline:
        self.end_s = max(self.history.duration_s, 1e-3)
        phases = self._phases()
        bands_y = PHASE_HEIGHT + GAP if phases else 0.0
        bands, rows = self._bands(bands_y)
        top = bands_y + rows * FAULT_HEIGHT + GAP
        groups, bottom = self._groups(top)
        looks = {s.look for g in groups for lane in g.lanes for s in lane.segments}
        return Timeline(
            width=WIDTH,
            height=round(bottom + 26, 1),
            top=top,
            bottom=bottom,
            left=LEFT,
            right=WIDTH - RIGHT,
            phases=phases,
            bands=bands,
            groups=groups,
            ticks=self._ticks(),
            omitted=tuple(self.omitted),
            looks=tuple(look for look in STATE_LOOKS if look in looks),
            has_ota=any(lane.role == "ota" for group in groups for lane in group.lanes),
        )

    def x(self, t_s: float) -> float:
        return round(LEFT + PLOT * min(max(t_s / self.end_s, 0.0), 1.0), 2)

    def _phases(self) -> tuple[Segment, ...]:
        starts = [
            (event.t_s, str(event.values.get("phase", "")))
            for _, event in self.history.of(kind.PHASE_STARTED)
        ]
        return self._segments(starts, lambda phase: ("phase", phase))

    def _segments(
        self, starts: Sequence[tuple[float, str]], style: Any, end_s: float | None = None
    ) -> tuple[Segment, ...]:
        """Bars from each start to the next; a bar too thin to be seen joins the one before it."""
        segments: list[Segment] = []
        last_s = self.end_s if end_s is None else end_s
        for index, (start_s, value) in enumerate(starts):
            stop_s = starts[index + 1][0] if index + 1 < len(starts) else last_s
            x, width = self.x(start_s), round(self.x(stop_s) - self.x(start_s), 2)
            if width < SLIVER and segments:
                continue
            look, text = style(value)
            fits = len(text) * _LABEL_WIDTH + 8 <= width
            title = f"{text}, {clock(start_s)} to {clock(stop_s)} ({duration(stop_s - start_s)})"
            segments.append(Segment(x, max(width, SLIVER), look, text if fits else "", title))
        return tuple(segments)

    def _bands(self, y: float) -> tuple[tuple[Band, ...], int]:
        """Faults in as few rows as keep their labels apart."""
        faults = read_faults(self.history)
        if len(faults) > FAULTS_MAX:
            self.omitted.append(f"{len(faults) - FAULTS_MAX} more faults")
        rows_end: list[float] = []
        bands: list[Band] = []
        for fault in faults[:FAULTS_MAX]:
            healed_s = self.end_s if fault.healed_s is None else fault.healed_s
            until_s = max(healed_s, fault.recovered_s or 0.0)
            x, healed_x, until_x = self.x(fault.injected_s), self.x(healed_s), self.x(until_s)
            label = f"{fault.kind} · {fault.target}"
            room = len(label) * _LABEL_WIDTH
            fits_right = until_x + 6 + room <= WIDTH
            left, right = (x, until_x + room + 14) if fits_right else (x - room - 14, until_x)
            row = next((i for i, end in enumerate(rows_end) if end <= left), len(rows_end))
            rows_end[row : row + 1] = [right]
            bands.append(
                Band(
                    x=x,
                    width=round(max(healed_x - x, 1.5), 2),
                    tail=round(max(until_x - healed_x, 0.0), 2),
                    y=y + row * FAULT_HEIGHT,
                    label=label,
                    label_x=until_x + 6 if fits_right else x - 6,
                    anchor="start" if fits_right else "end",
                    title=fault.title,
                )
            )
        return tuple(bands), len(rows_end)

    def _groups(self, y: float) -> tuple[tuple[Group, ...], float]:
        rates = windows(event for _, event in self.history.of(kind.FRAMES))
        host_of = hosts(self.history)
        passed = states(self.history)
        names = list(dict.fromkeys([*passed, *(host_of.get(one, "") for one, _ in rates)]))
        if len(names) > APPLIANCES_MAX:
            self.omitted.append(f"{len(names) - APPLIANCES_MAX} more appliances")
        groups: list[Group] = []
        for name in names[:APPLIANCES_MAX]:
            lanes: list[Lane] = []
            bottom = y + 16
            if name in passed:
                lanes.append(self._state_lane(name, passed[name], bottom))
                bottom += STATE_HEIGHT + GAP
            ota = self._ota_segments(name)
            if ota:
                lanes.append(Lane("ota", "update", bottom, OTA_HEIGHT, segments=ota))
                bottom += OTA_HEIGHT + GAP
            mine = [stream for stream in rates if host_of.get(stream[0], "") == name]
            if len(mine) > STREAMS_MAX:
                self.omitted.append(f"{len(mine) - STREAMS_MAX} more streams of {name}")
            for stream in mine[:STREAMS_MAX]:
                lanes.append(self._stream_lane(stream, rates[stream], bottom))
                bottom += STREAM_HEIGHT + GAP
            groups.append(Group(name or "applications", y, tuple(lanes)))
            y = bottom + GROUP_GAP
        return tuple(groups), y - GROUP_GAP + GAP

    def _state_lane(self, name: str, passed: list[tuple[int, float, str]], y: float) -> Lane:
        segments = self._segments([(t_s, state) for _, t_s, state in passed], _state_style)
        marks = tuple(
            Mark(
                self.x(event.t_s),
                f"booted {event.values.get('version')} from slot {event.values.get('slot')}"
                f" at {clock(event.t_s)}",
            )
            for _, event in self.history.of(kind.BOOTED)
            if name_of(event.source) == name
        )
        return Lane("state", "state", y, STATE_HEIGHT, segments=segments, marks=marks)

    def _ota_segments(self, name: str) -> tuple[Segment, ...]:
        segments: list[Segment] = []
        starts: list[tuple[float, str]] = []
        for _, event in self.history.of(kind.OTA_PHASE, kind.OTA_ENDED):
            if name_of(event.source) != name:
                continue
            if event.kind == kind.OTA_PHASE:
                starts.append((event.t_s, str(event.values["phase"])))
                continue
            outcome = str(event.values["outcome"])
            if starts:
                segments += self._segments(starts, _phase_style, event.t_s)
            segments.append(self._outcome(event.t_s, outcome, event.values))
            starts = []
        if starts:
            segments += self._segments(starts, _phase_style)
        return tuple(segments)

    def _outcome(self, t_s: float, outcome: str, values: Mapping[str, Any]) -> Segment:
        text = f"{outcome} {values.get('version_to', '')}".strip()
        title = f"update from {values.get('version_from')}: {text} at {clock(t_s)}"
        look = "committed" if outcome == "committed" else "rolled-back"
        return Segment(self.x(t_s), 0.0, look, text, title)

    def _stream_lane(
        self, stream: tuple[str, str], rates: list[tuple[float, float, float]], y: float
    ) -> Lane:
        instance, camera = stream
        nominal_fps = next(
            (c["rate_fps"] for c in self.plan.get("cameras", ()) if c["name"] == camera), None
        )
        heights = binned(rates, self.end_s)
        top_fps = max([*heights, nominal_fps or 0.0, 1.0]) * 1.08
        area, line = self._path(heights, top_fps, y)
        frames = sum((to_s - from_s) * fps for from_s, to_s, fps in rates)
        mean_fps = frames / max(sum(to_s - from_s for from_s, to_s, _ in rates), 1e-9)
        nominal_y = None
        if nominal_fps is not None:
            nominal_y = round(y + STREAM_HEIGHT * (1 - nominal_fps / top_fps), 2)
        return Lane(
            "stream",
            shortened(camera, _CHARACTERS_MAX),
            y,
            STREAM_HEIGHT,
            sublabel=shortened(instance, _CHARACTERS_MAX),
            area=area,
            line=line,
            nominal_y=nominal_y,
            note=f"{mean_fps:.1f} fps",
            title=f"{instance} reading {camera}: {mean_fps:.2f} frames/s on average",
        )

    def _path(self, heights: list[float], top_fps: float, y: float) -> tuple[str, str]:
        step = PLOT / len(heights)
        base = y + STREAM_HEIGHT
        points = []
        for index, fps in enumerate(heights):
            level = round(base - STREAM_HEIGHT * fps / top_fps, 2)
            points.append(
                f"{LEFT + step * index:.2f},{level} {LEFT + step * (index + 1):.2f},{level}"
            )
        line = "M" + " L".join(" ".join(points).split(" "))
        return f"{line} L{LEFT + PLOT:.2f},{base} L{LEFT:.2f},{base} Z", line

    def _ticks(self) -> tuple[Tick, ...]:
        step_s = next((s for s in _TICK_STEPS_S if self.end_s / s <= TICKS_MAX), None)
        if step_s is None:
            step_s = 86400 * math.ceil(self.end_s / 86400 / TICKS_MAX)
        count = int(self.end_s / step_s)
        return tuple(Tick(self.x(i * step_s), clock(i * step_s)) for i in range(count + 1))


def binned(rates: Sequence[tuple[float, float, float]], end_s: float) -> list[float]:
    """Frames per second in equal bins from 0 to `end_s`; where no window lies it is 0."""
    count = max(1, min(BINS_MAX, math.ceil(end_s / BIN_S_MIN)))
    width_s = end_s / count
    frames = [0.0] * count
    for from_s, to_s, fps in rates:
        first = min(max(int(from_s / width_s), 0), count - 1)
        last = min(max(int(to_s / width_s), 0), count - 1)
        for index in range(first, last + 1):
            overlap_s = min(to_s, (index + 1) * width_s) - max(from_s, index * width_s)
            frames[index] += max(overlap_s, 0.0) * fps
    return [one / width_s for one in frames]


STATE_LOOKS = (
    "off",
    "booting",
    "restoring",
    "provisioning",
    "connecting",
    "online",
    "offline",
    "failed",
)


def _state_style(state: str) -> tuple[str, str]:
    return (state if state in STATE_LOOKS else "failed", state)


def _phase_style(phase: str) -> tuple[str, str]:
    return ("ota", phase)
