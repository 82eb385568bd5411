"""What stands behind `panoramasdk` in one application process: feeds, models, display, telemetry.

There is one `World` a process, made by the first `node`, whichever thread makes it, and shared
by all later ones: an application may throw its node away and make another.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.errors import CapabilityMissing
from harness.runtime.display import Display
from harness.runtime.emitter import Emitter
from harness.runtime.feed import Feed
from harness.runtime.inference import Model, Pace
from harness.runtime.reader import CLOSE_WAIT_S, CameraReader
from harness.runtime.spec import FILES_VARIABLE, ApplicationSpec, read_inherited
from harness.runtime.telemetry import Frame, Started

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from harness.runtime.control import Login
    from harness.runtime.feed import Arrival
    from harness.runtime.telemetry import Detection

_CONFIDENCE = re.compile(r"[\s:(]*([-+]?[0-9]*\.?[0-9]+)\s*(%?)\s*\)?$")


class World:
    """Everything the SDK's classes use. `spec` says which ports and nodes exist."""

    def __init__(
        self, spec: ApplicationSpec, telemetry_fd: int, control_fd: int, display_fd: int
    ) -> None:
        self.spec = spec
        self.display = Display(display_fd, spec.displays, tiled=spec.tiled)
        self.emitter = Emitter(
            telemetry_fd,
            control_fd,
            settle=self._emit_counts,
            close_sources=self._close_cameras,
            pause=self._pause,
            login=self._login,
            show=self.display.want,
            pace=self._pace,
            on_orphaned=_die,
        )
        self.feeds = {
            port: Feed([camera for camera in spec.cameras if camera.port == port])
            for port in spec.media_ports
        }
        emit = self.emitter.emit
        self._readers = [
            CameraReader(feed, slot, emit) for feed in self.feeds.values() for slot in feed.slots
        ]
        self._pause(frozenset(spec.paused))
        emit(Started(os.getpid(), time.monotonic()))
        self.models = {file.node: Model(file, emit) for file in spec.models}
        self._pace(spec.paces)
        for reader in self._readers:
            reader.start()
        self.emitter.start()
        atexit.register(self.emitter.end, "exit")

    def _emit_counts(self) -> None:
        for feed in self.feeds.values():
            for counts in feed.changed():
                self.emitter.emit(counts)

    def _pause(self, nodes: Set[str]) -> None:
        for reader in self._readers:
            reader.pause(paused=reader.node in nodes)

    def _pace(self, paces: Mapping[str, tuple[float, float]]) -> None:
        for node, (call_ms, first_more_ms) in paces.items():
            if node in self.models:
                self.models[node].pace = Pace(call_ms / 1e3, first_more_ms / 1e3)

    def _login(self, who: Login) -> None:
        for reader in self._readers:
            if reader.node == who.node:
                reader.login(who)

    def _close_cameras(self) -> None:
        """Cameras that deliver are gone at once; one that hangs is left to the process's end."""
        for reader in self._readers:
            reader.close()
        deadline_s = time.monotonic() + CLOSE_WAIT_S
        for reader in self._readers:
            reader.join(max(0.0, deadline_s - time.monotonic()))


_lock = threading.Lock()
_worlds: list[World] = []


def world() -> World:
    """This process's world, made on first use from the files that the harness left open."""
    with _lock:
        if not _worlds:
            numbers = os.environ.get(FILES_VARIABLE, "").split(":")
            if len(numbers) != 4:
                raise CapabilityMissing(
                    "panoramasdk: this process was not started by the harness",
                    hint="deploy the application; its cameras and models come from there",
                )
            spec_fd, *pipes = map(int, numbers)
            _worlds.append(World(read_inherited(spec_fd), *pipes))
        return _worlds[0]


def _die() -> None:
    """The harness is gone without a word: nobody would ever stop this application."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(slots=True)
class Sighting:
    """A frame in the application's hands; told to the harness once: on `put` or when dropped."""

    arrival: Arrival
    got_s: float
    rects: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[tuple[str, float, float]] = field(default_factory=list)
    emitter: Emitter | None = None

    def tell(self, put_s: float | None) -> None:
        emitter, self.emitter = self.emitter, None
        if emitter is None:
            return
        code = self.arrival.code
        emitter.emit(
            Frame(
                self.arrival.camera.name,
                self.arrival.account.connection,
                code.clip_id if code else None,
                code.index if code else None,
                code.time_us if code else None,
                self.arrival.arrived_s,
                self.got_s,
                put_s,
                pair(self.rects, self.labels),
                () if self.rects else tuple(_read(label[0]) for label in self.labels),
            )
        )

    def __del__(self) -> None:
        self.tell(None)


def pair(
    rects: list[tuple[float, float, float, float]], labels: list[tuple[str, float, float]]
) -> tuple[Detection, ...]:
    """Rectangles with their class, taken from the labels.

    Each rectangle, in the order drawn, takes the label not yet taken that is anchored nearest to
    its top left corner (the first of equals). The class is the label without a confidence at its
    end ("person 0.87" -> "person"), which is 1 where none is said; the class is empty when labels
    run out.
    """
    free = list(labels)
    paired = []
    for left, top, right, bottom in rects:
        text, confidence = "", 1.0
        if free:
            nearest = min(free, key=lambda label: (label[1] - left) ** 2 + (label[2] - top) ** 2)
            free.remove(nearest)
            text, confidence = _read(nearest[0])
        paired.append((text, left, top, right, bottom, confidence))
    return tuple(paired)


def _read(label: str) -> tuple[str, float]:
    """Class and confidence, 0 to 1: percent with its sign, or where the number is above 1."""
    said = _CONFIDENCE.search(label)
    if said is None:
        return label.strip(), 1.0
    value = float(said[1])
    value = value / 100 if said[2] or value > 1 else value
    return label[: said.start()].strip(), min(max(value, 0.0), 1.0)
