"""An appliance's HDMI output as the harness sees it: who owns it, its last picture, its viewers.

The most recently started application owns the output; when it stops, the most recently started
one of those that still run gets it (developer guide, 2024 edition). Applications without a
display node never do. The picture stays when the application puts nothing more, as a screen
does, and is blank when nobody owns it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUIET_FPS = 1.0  # pictures a second while nobody watches: enough for snapshots
WATCHED_FPS = 10.0


class Owner(Protocol):
    """An application that can have the screen."""

    @property
    def instance(self) -> str: ...

    @property
    def streams(self) -> int: ...

    @property
    def tiled(self) -> bool: ...

    def show(self, rate_fps: float) -> None: ...


@dataclass(eq=False)
class Screen:
    """`changed` is called with the instance that owns the screen from now on, or None."""

    changed: Callable[[str | None], None] = lambda _instance: None
    jpeg: bytes | None = None
    _running: list[Owner] = field(default_factory=list)  # in the order they started
    _viewers: set[asyncio.Queue[bytes]] = field(default_factory=set)

    @property
    def owner(self) -> Owner | None:
        return self._running[-1] if self._running else None

    def started(self, application: Owner) -> None:
        before = self.owner
        self._running.append(application)
        self._passed(before)

    def stopped(self, application: Owner) -> None:
        """Also of an application that never had it."""
        before = self.owner
        if application in self._running:
            self._running.remove(application)
            self._passed(before)

    def picture(self, application: Owner, jpeg: bytes) -> bool:
        """Whether it is shown: what comes from an application that lost the screen is not."""
        if application is not self.owner:
            return False
        self.jpeg = jpeg
        for viewer in self._viewers:
            if viewer.full():  # it watches more slowly than that: the newest one wins
                viewer.get_nowait()
            viewer.put_nowait(jpeg)
        return True

    def watch(self) -> asyncio.Queue[bytes]:
        """The pictures from now on, at the rate for watching; end it with `leave`."""
        viewer: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
        if self.jpeg is not None:
            viewer.put_nowait(self.jpeg)
        self._viewers.add(viewer)
        self._pace()
        return viewer

    def leave(self, viewer: asyncio.Queue[bytes]) -> None:
        self._viewers.discard(viewer)
        self._pace()

    def _passed(self, before: Owner | None) -> None:
        owner = self.owner
        if owner is before:
            return
        self.jpeg = None
        if before is not None:
            before.show(0.0)
        self._pace()
        self.changed(owner.instance if owner is not None else None)

    def _pace(self) -> None:
        if self.owner is not None:
            self.owner.show(WATCHED_FPS if self._viewers else QUIET_FPS)


class PictureReader:
    """Takes pictures off the pipe of `harness.runtime.display`; its bytes are not trusted."""

    def __init__(self, bytes_max: int = 8 << 20) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self.broken = False  # what comes is no picture: nothing more is believed

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self.broken:
            return
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if not 0 < size <= self._bytes_max:
                self.broken = True
                self._buffer.clear()
                return
            if len(self._buffer) < 4 + size:
                return
            jpeg = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            if jpeg.startswith(b"\xff\xd8"):
                yield jpeg
