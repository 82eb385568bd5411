"""Cameras alone: a fleet of them, in this process or spread over several.

    async with serve([profile], count=3) as fleet:
        print([row.url for row in await fleet.rows()])
        await fleet.set("generic-720p30-1", "offline")

Nothing is left running when the block ends.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.camera.fleet.post import LOOPBACK, Placing, posts, shares
from harness.camera.fleet.verb import Heal, action
from harness.camera.picture.clip import load_clip
from harness.camera.serve.capacity import raise_file_limit
from harness.camera.serve.server import CameraServer
from harness.errors import InputError
from harness.fault.camera import Offline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from harness.camera.fleet.post import Post
    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from harness.fault.camera import CameraFault
    from harness.scenario.camera import CameraProfile, StreamProfile

    Tell = Callable[[str], None]

ONLINE, OFFLINE, STALLED = "online", "offline", "stalled"


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one camera now. `streams` are the URLs beside its own, by name.

    Frames of all its sessions: sent, dropped at the sender, taken by `faults`, which act now.
    """

    name: str
    profile: str
    url: str
    streams: dict[str, str]
    state: str
    readers: int
    sessions: int
    frames_sent: int
    frames_dropped: int
    frames_lost: int
    faults: list[str]
    onvif: str = ""


class Keeper(Protocol):
    """What serves cameras, wherever they run."""

    async def rows(self) -> tuple[Row, ...]:
        """All cameras, in the order they were asked for."""

    async def set(self, name: str, do: str, parameters: Mapping[str, Any] | None = None) -> Row:
        """Do something to a camera. Raises `InputError` for an unknown camera or verb."""


class Fleet:
    """Cameras of this process. Made by `open_fleet`."""

    def __init__(self, cameras: Mapping[str, tuple[Post, tuple[Camera, ...]]]) -> None:
        self._cameras = dict(cameras)
        self.onvif: dict[str, str] = {}  # camera -> address of its device service

    @property
    def cameras(self) -> Mapping[str, tuple[Post, tuple[Camera, ...]]]:
        """By name: what was asked for, and the streams that run, the camera's own first."""
        return self._cameras

    async def rows(self) -> tuple[Row, ...]:
        return tuple(self._row(name) for name in self._cameras)

    async def set(self, name: str, do: str, parameters: Mapping[str, Any] | None = None) -> Row:
        what = action(do, parameters or {})
        if isinstance(what, Heal):
            self.heal(name, what.kind)
        else:
            await self.inject(name, what)
        return self._row(name)

    async def inject(self, name: str, fault: CameraFault) -> None:
        """Let `fault` act on all streams of a camera; those of its port on its port alone.

        Pictures that it needs are made first. Raises `InputError` before anything is done.
        """
        streams = self._streams(name)
        if fault.port and not isinstance(fault, Offline):
            streams = streams[:1]
        for stream in streams:
            await stream.prepare_fault(fault)
        for stream in streams:
            stream.trouble.check(fault)
        for stream in streams:
            stream.inject(fault)

    def heal(self, name: str, kind: type[CameraFault] | None = None) -> None:
        """End the fault of `kind`, or all of them. Raises `InputError` for an unknown camera."""
        for stream in self._streams(name):
            stream.heal(kind)

    def _streams(self, name: str) -> tuple[Camera, ...]:
        if name not in self._cameras:
            raise InputError(f"no camera {name!r}", hint="`harness camera list` names them")
        return self._cameras[name][1]

    def _row(self, name: str) -> Row:
        post, streams = self._cameras[name]
        main = streams[0]
        accounts = [account for stream in streams for account in stream.sessions]
        return Row(
            name=name,
            profile=post.profile.name,
            url=main.url,
            streams={stream.name.rpartition("/")[2]: stream.url for stream in streams[1:]},
            state=OFFLINE if not main.online else STALLED if main.stalled else ONLINE,
            readers=sum(stream.watched for stream in streams),
            sessions=len(accounts),
            frames_sent=sum(account.frames_sent for account in accounts),
            frames_dropped=sum(account.frames_dropped_at_sender for account in accounts),
            frames_lost=sum(sum(account.frames_lost.values()) for account in accounts),
            faults=[fault.verb for fault in main.faults],
            onvif=self.onvif.get(name, ""),
        )


@asynccontextmanager
async def open_fleet(
    placed: Sequence[Post],
    clips: Mapping[str, Clip],
    shared_port: int = 0,
    *,
    cache_dir: Path | None = None,
) -> AsyncIterator[Fleet]:
    """Cameras at their posts, in this process; those without a port share `shared_port`.

    `clips` is what `load_clips` gave for them. The process may then have all the files that the
    system allows it: each reader is one, or three.
    """
    raise_file_limit()
    shared_host = next((post.host for post in placed if post.port is None), LOOPBACK)
    async with AsyncExitStack() as stack:
        server = CameraServer(shared_host, shared_port, cache_dir=cache_dir)
        await stack.enter_async_context(server)
        cameras = {}
        for number, post in enumerate(placed):
            cameras[post.name] = post, _set_up(server, post, clips, number / len(placed))
        fleet = Fleet(cameras)
        if any(post.onvif_port is not None for post in placed):
            from harness.camera.fleet.onvif.site import (
                OnvifSite,  # aiohttp only where it is asked for
            )

            await stack.enter_async_context(OnvifSite(fleet))
        yield fleet


def load_clips(
    placed: Sequence[Post],
    tell: Tell | None = None,
    *,
    cache_dir: Path | None = None,
    stop: threading.Event | None = None,
) -> dict[str, Clip]:
    """What all cameras show, by the key of the clip; encoded where it is not cached. Blocks.

    Ends early, after the clip that is under way, once `stop` is set.
    """
    clips: dict[str, Clip] = {}
    for post, stream in ((one, item) for one in placed for item in one.streams.values()):
        key = _clip_key(post, stream)
        if key in clips or (stop is not None and stop.is_set()):
            continue
        if tell is not None:
            tell(f"{post.profile.name}: {stream.width_px}x{stream.height_px} pictures")
        clips[key] = _load(post, stream, cache_dir)
    return clips


async def _loaded(
    placed: Sequence[Post], tell: Tell | None, cache_dir: Path | None
) -> dict[str, Clip]:
    """`load_clips` in a thread, which does not go on for long when this is cancelled."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(load_clips, placed, tell, cache_dir=cache_dir, stop=stop)
    finally:
        stop.set()


def _clip_key(post: Post, stream: StreamProfile) -> str:
    return post.video or post.clip(stream).key


def _load(post: Post, stream: StreamProfile, cache_dir: Path | None) -> Clip:
    if post.video:
        from harness.camera.picture.video import load_video

        return load_video(Path(post.video), cache_dir)
    return load_clip(post.clip(stream), cache_dir)


def _set_up(
    server: CameraServer, post: Post, clips: Mapping[str, Clip], ahead: float
) -> tuple[Camera, ...]:
    """The streams of one camera, which is `ahead` of others (`Camera.run_ahead`)."""
    streams: list[Camera] = []
    for name, stream in post.streams.items():
        first = streams[0] if streams else None
        camera = server.add(
            name,
            clips[_clip_key(post, stream)],
            post.path(stream),
            post.username,
            post.password,
            scheme=post.profile.scheme,
            quirks=post.profile.quirks,
            address=None if post.port is None or first else (post.host, post.port),
            beside=first if post.port is not None else None,
        )
        camera.run_ahead(ahead)
        streams.append(camera)
    return tuple(streams)


@asynccontextmanager
async def serve(
    profiles: Sequence[CameraProfile],
    *,
    count: int = 1,
    workers: int = 1,
    placing: Placing | None = None,
    cache_dir: Path | None = None,
    tell: Tell | None = None,
) -> AsyncIterator[Keeper]:
    """`count` cameras of every profile until the block ends.

    With several `workers` each has its share of the cameras, in a process of its own, and on a
    shared port of its own: the first one `placing.port`, the next the one above. `tell` hears
    what takes long. Raises `InputError` and `EngineError` before anything is left running.
    """
    placing = placing or Placing()
    placed = posts(profiles, count, placing)
    parts = shares(placed, workers)
    clips = await _loaded(placed, tell, cache_dir)
    ports = [placing.port + number if placing.port else 0 for number in range(len(parts))]
    if placing.own_ports or placing.addresses:
        ports = [0] * len(parts)
    if len(parts) == 1:
        async with open_fleet(placed, clips, ports[0], cache_dir=cache_dir) as fleet:
            yield fleet
        return
    del clips  # encoded and cached: the workers read them there
    from harness.camera.fleet.herd import open_herd

    async with open_herd(parts, ports, cache_dir=cache_dir) as herd:
        yield herd
