"""What a camera node notices of a stream that flows, and when it is over again.

A trouble is told when it is first seen, and once more when it was not seen for `CLEAR_S` while
frames came. It belongs to the camera, not to one connection.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import deque
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from harness.record import trouble
from harness.runtime.rtp import CLOCK_HZ, ticks_between
from harness.runtime.telemetry import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.runtime.assembler import Unit
    from harness.runtime.decoder import Picture
    from harness.runtime.reorder import Disorder
    from harness.runtime.stream import Stream
    from harness.runtime.telemetry import Message

CLEAR_S = 1.5
FROZEN_S = 1.0  # longer than cameras repeat a picture that they could not encode in time
JUMP_S = 1.0  # a clock that is off by so much at once was set
SECONDS_KEPT = 5  # of the clock: slower drift than `DRIFT_S` in them is not noticed
DRIFT_S = 0.1
UNEVEN_S = 0.05  # how differently neighbouring frames travel; a busy machine makes half of it
SPREADS_KEPT = 30  # frames that this is the mean of: one that is very late says nothing
DISTANCES_KEPT = 16  # of key frames; more than a loop of a camera that slows down has
RARE = 1.5  # so many times the longest of them without a key frame
_KEY = 5  # nal_unit_type of a key frame's slice (ITU-T H.264, table 7-1)


@dataclass(slots=True)
class _Open:
    """A trouble that is told and not over."""

    since_s: float
    last_s: float
    count: int


class Watch:
    """Of one camera. `emit` is called from the thread that reads it."""

    def __init__(self, camera: str, emit: Callable[[Message], None]) -> None:
        self._camera = camera
        self._emit = emit
        self._open: dict[str, _Open] = {}

    def see(self, name: str, count: int, now_s: float) -> None:
        """`count` more of a trouble; 0 of it is none."""
        if count <= 0:
            return
        count = int(count)
        known = self._open.get(name)
        if known is not None:
            known.last_s, known.count = now_s, known.count + count
            return
        self._open[name] = _Open(now_s, now_s, count)
        self._emit(Trouble(self._camera, name, now_s, count, over=False, lasted_s=0.0))

    def turn(self, now_s: float) -> None:
        """A frame came: what was not seen for a while is over."""
        for name, known in list(self._open.items()):
            if now_s - known.last_s >= CLEAR_S:
                del self._open[name]
                lasted_s = round(known.last_s - known.since_s, 6)
                told = Trouble(self._camera, name, now_s, known.count, over=True, lasted_s=lasted_s)
                self._emit(told)


class Inspector:
    """Looks at every frame of one connection and tells `watch` what is wrong with it."""

    def __init__(self, watch: Watch, stream: Stream) -> None:
        self._watch = watch
        self._stream = stream
        self._told = dataclasses.replace(stream.disorder)
        self._clock = Clock()
        self._keys = Keys()
        self._scene: object = None
        self._scene_s = 0.0
        self._size: tuple[int, int] | None = None  # of its first picture
        self._readable = False

    def unit(self, unit: Unit, now_s: float) -> None:
        """A frame as it came."""
        for name, count in self._on_the_way(unit):
            self._watch.see(name, count, now_s)
        if unit.restarted:
            self._clock = Clock()
        for name in self._clock.wrong(unit.timestamp, now_s):
            self._watch.see(name, 1, now_s)
        self._watch.see(trouble.KEYS_RARE, self._keys.rare(unit), now_s)
        self._watch.turn(now_s)

    def undecodable(self, now_s: float) -> None:
        self._watch.see(trouble.FRAMES_DAMAGED, 1, now_s)

    def picture(self, picture: Picture) -> None:
        """A frame as it is seen."""
        now_s = picture.arrived_s
        dark = picture.dark
        if not dark and picture.seen is not None:
            self._readable = True
        unreadable = self._readable and picture.seen is None and not dark
        self._watch.see(trouble.FRAMES_DAMAGED, picture.damaged or unreadable, now_s)
        self._watch.see(trouble.DARK, dark, now_s)
        self._watch.see(trouble.MISTAKEN, picture.mistaken, now_s)
        size = (picture.frame.width, picture.frame.height)
        self._size = self._size or size
        self._watch.see(trouble.RESIZED, self._size != size, now_s)
        self._watch.see(trouble.FROZEN, self._stands_still(picture) and not dark, now_s)

    def _on_the_way(self, unit: Unit) -> Iterator[tuple[str, int]]:
        yield trouble.FRAMES_LOST, unit.lost
        seen, before = self._stream.disorder, self._told
        self._told = dataclasses.replace(seen)
        yield trouble.OUT_OF_ORDER, _late(seen) - _late(before)
        yield trouble.DUPLICATED, seen.duplicated - before.duplicated
        yield trouble.RESTARTED, seen.restarts - before.restarts

    def _stands_still(self, picture: Picture) -> bool:
        scene = picture.scene
        if scene != self._scene:
            self._scene, self._scene_s = scene, picture.arrived_s
        return picture.arrived_s - self._scene_s >= FROZEN_S


class Keys:
    """How far apart key frames are, in frames; where some were lost nothing is known."""

    def __init__(self) -> None:
        self._distances: deque[int] = deque(maxlen=DISTANCES_KEPT)  # as they use to be
        self._since: int | None = None  # the last key frame, if every frame since came
        self._rare = False

    def rare(self, unit: Unit) -> bool:
        """Whether a key frame was overdue, and none has come since that was not."""
        since = self._since
        since = None if since is None or unit.lost else since + 1
        most = RARE * max(self._distances, default=math.inf)
        if any(nal[0] & 0x1F == _KEY for nal in unit.nals):
            if since is not None and since <= most:
                self._distances.append(since)
                self._rare = False
            since = 0
        elif since is not None and since > most:
            self._rare = True
        self._since = since
        return self._rare


class Clock:
    """The stream's time stamps against the time that passes here.

    A frame's *transit* is its arrival less its time stamp, so only changes of it mean anything.
    """

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._ticks = 0
        self._transit_s = 0.0
        self._spread_s: deque[float] = deque(maxlen=SPREADS_KEPT)
        self._second_s = 0.0
        self._least_s: deque[float] = deque(maxlen=SECONDS_KEPT)  # transit of each second

    def wrong(self, timestamp: int, now_s: float) -> Iterator[str]:
        """What is wrong with the time stamp of a frame that came just now."""
        if self._last is None:
            self._begin(timestamp, now_s)
            return
        step = ticks_between(self._last[0], timestamp)
        passed_s, step_s = now_s - self._last[1], step / CLOCK_HZ
        if abs(step_s) >= JUMP_S and abs(step_s - passed_s) >= JUMP_S:  # else frames were held
            self._begin(timestamp, now_s)
            yield trouble.CLOCK_JUMPED
            return
        if step <= 0:  # a B-frame: captured before one that came before it
            return
        self._ticks += step
        self._last = (timestamp, now_s)
        transit_s = now_s - self._ticks / CLOCK_HZ
        self._spread_s.append(abs(transit_s - self._transit_s))
        self._transit_s = transit_s
        if len(self._spread_s) == SPREADS_KEPT and fmean(self._spread_s) > UNEVEN_S:
            yield trouble.UNEVEN
        if self._drifts(transit_s, now_s):
            yield trouble.CLOCK_DRIFTS

    def _begin(self, timestamp: int, now_s: float) -> None:
        self._last, self._ticks = (timestamp, now_s), 0
        self._transit_s, self._second_s = now_s, now_s
        self._least_s.clear()
        self._least_s.append(now_s)

    def _drifts(self, transit_s: float, now_s: float) -> bool:
        """Queues on the way only ever add to it: the least of a second is what the clock does.

        It drifts when it goes one way second after second, and far enough.
        """
        if now_s - self._second_s < 1.0:
            self._least_s[-1] = min(self._least_s[-1], transit_s)
            return False
        least = tuple(self._least_s)
        steps = [later - earlier for earlier, later in itertools.pairwise(least)]
        one_way = all(step > 0 for step in steps) or all(step < 0 for step in steps)
        self._second_s = now_s
        self._least_s.append(transit_s)
        return len(least) == SECONDS_KEPT and one_way and abs(sum(steps)) >= DRIFT_S


def _late(seen: Disorder) -> int:
    return seen.overtaken + seen.late
