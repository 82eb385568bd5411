"""The RTSP server: many cameras, one event loop, one timer.

async with CameraServer() as server:
    door = server.add("door", load_clip(spec), path="/door")
    ...  # rtsp://127.0.0.1:<port>/door
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import math
import threading
import time
from typing import TYPE_CHECKING, Self

from harness.camera.picture.variant import load_variant
from harness.camera.serve.listener import Listener
from harness.camera.serve.live import Camera
from harness.camera.serve.packed import PackedClip
from harness.camera.serve.playback import Recording
from harness.camera.serve.udp import segmentation_offload
from harness.camera.wire.auth import DIGEST, SCHEMES, Credentials
from harness.camera.wire.transport import TRANSPORTS
from harness.camera.wire.uri import normal_path
from harness.errors import EngineError, InputError
from harness.scenario.quirk import NONE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from harness.camera.picture.clip import Clip
    from harness.camera.picture.variant import Change
    from harness.camera.serve.clockwork import Timed
    from harness.camera.serve.connection import Connection
    from harness.camera.serve.trouble import Port
    from harness.scenario.quirk import Quirks

SESSION_TIMEOUT_S = 60.0
SWEEP_EVERY_S = 1.0
SWEEP_PARTS = 20  # of all connections, one after another: no frame waits long for it
VARIANTS_MAX = 256  # clips that faults show, in memory
TURN_S_MAX = 0.005  # then the event loop gets a turn for requests


class CameraServer:
    """An asynchronous context manager; nothing listens before it is entered."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        session_timeout_s: float = SESSION_TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        http_tunnel: bool = False,
        segment: bool | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """With `tls` (a server's context, not owned) all its ports speak RTSP over TLS.

        `http_tunnel` lets readers wrap RTSP in HTTP, on the same ports. `segment` tells whether
        UDP uses segmentation offload; None: where the kernel has it. `cache_dir` keeps the clips
        that faults show; None: where all clips are.
        """
        self.host = host
        self.tls = tls
        self.http_tunnel = http_tunnel
        self.segment = segmentation_offload() if segment is None else segment
        self.session_timeout_s = session_timeout_s
        self._cache_dir = cache_dir
        self._wanted_port = port
        self._listeners: dict[Camera | None, Listener] = {}  # None: the shared port
        self._shared: dict[str, Camera] = {}
        self._cameras: dict[str, Camera] = {}
        self._addresses: dict[Camera, tuple[str, int]] = {}  # of those with a port of their own
        self._beside: dict[Camera, list[Camera]] = {}  # streams on the port of another one
        self._packed: dict[tuple[str, str], PackedClip] = {}
        self._making = asyncio.Lock()  # what two cameras want is made once
        self._variants: dict[tuple[str, str, Change], PackedClip] = {}
        self._due: list[tuple[float, int, Timed]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._timer_s = math.inf
        self._sweeper: asyncio.TimerHandle | None = None
        self._unswept: list[Connection] = []
        self._swept_of = 0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._listeners[None] = Listener(self, self.host, self._wanted_port, self._find_shared)
        self._sweeper = self._loop.call_later(SWEEP_EVERY_S, self._sweep)
        return self

    async def __aexit__(self, *_: object) -> None:
        for handle in (self._timer, self._sweeper):
            if handle is not None:
                handle.cancel()
        self._sweeper = self._timer = None
        for listener in self._listeners.values():
            listener.close()
            for connection in tuple(listener.connections):
                connection.leave()
        self._listeners.clear()

    @property
    def port(self) -> int:
        """The shared port."""
        return self._listener(None).port

    @property
    def connections(self) -> int:
        """Open connections on all ports."""
        return sum(len(listener.connections) for listener in self._listeners.values())

    def add(
        self,
        name: str,
        clip: Clip,
        path: str,
        username: str = "",
        password: str = "",
        *,
        own_port: bool = False,
        fast_start: bool = False,
        scheme: str = DIGEST,
        quirks: Quirks = NONE,
        address: tuple[str, int] | None = None,
        beside: Camera | None = None,
        on_demand: bool = False,
        metadata: bool = False,
        transports: Collection[str] = TRANSPORTS,
        nonce_life_s: float = math.inf,
    ) -> Camera:
        """A new camera, online, whose clock starts now.

        With `own_port` it listens on a port of its own, which really closes when it goes
        offline; on the shared port connections are accepted and reset once they name it.
        `address` is that of its own port, by default any free port of the server's host.
        A stream `beside` a camera with a port of its own is on that port and goes with it.
        `fast_start` sends a new reader all frames since the last key frame at once.
        `on_demand` plays the clip to every reader from its beginning, and to its end.
        `metadata` adds a track with the true boxes of every frame, as ONVIF cameras have it.
        Digest nonces are good for `nonce_life_s`. Raises
        `InputError` for a name or a path that is taken or cannot be used.
        """
        path = normal_path(path)
        own = own_port or address is not None
        if beside in self._addresses:
            assert beside is not None
            taken = {stream.path: stream for stream in (beside, *self._beside[beside])}
        else:
            taken = {} if own else self._shared
        self._check(name, path, scheme, taken)
        packed = self._pack(clip, quirks)
        make = Recording if on_demand else Camera
        camera = make(
            self,
            name,
            packed,
            path,
            Credentials(username, password, scheme, nonce_life_s),
            fast_start=fast_start,
            quirks=quirks,
            transports=transports,
            metadata=metadata,
        )
        if beside is not None and beside in self._addresses:
            self._beside[beside].append(camera)
        elif own:
            self._beside[camera] = []
            host, port = address or (self.host, 0)
            find = functools.partial(self._find_own, camera)
            listener = self._listeners[camera] = Listener(self, host, port, find)
            self._addresses[camera] = (host, listener.port)
        else:
            self._shared[path] = camera
        self._cameras[name] = camera
        host, port = self._addresses.get(beside or camera, (self.host, self.port))
        scheme = "rtsp" if self.tls is None else "rtsps"
        camera.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"
        return camera

    def _pack(self, clip: Clip, quirks: Quirks) -> PackedClip:
        """Cameras that put the same into their packets share them."""
        key = (clip.key, quirks.parameter_sets)
        packed = self._packed.get(key)
        if packed is None:
            packed = self._packed[key] = PackedClip.pack(clip, quirks)
        return packed

    def _check(self, name: str, path: str, scheme: str, taken: Mapping[str, Camera]) -> None:
        self._listener(None)
        if name in self._cameras:
            raise InputError(f"there is a camera {name} already", hint="give it another name")
        if path in taken:
            raise InputError(
                f"camera {name}: {path} belongs to camera {taken[path].name}",
                hint="give it another path, or a port of its own",
            )
        if not name.isprintable() or not path.isascii() or not path.isprintable() or " " in path:
            raise InputError(
                f"camera {name!r} at {path!r}", hint="printable; the path ASCII without blanks"
            )
        if scheme not in SCHEMES:
            raise InputError(
                f"camera {name}: authentication {scheme!r}", hint=f"one of {', '.join(SCHEMES)}"
            )

    def _listener(self, camera: Camera | None) -> Listener:
        try:
            return self._listeners[camera]
        except KeyError:
            raise EngineError(
                "the camera server is not running", hint="async with CameraServer() as server: ..."
            ) from None

    def _find_shared(self, path: str) -> Camera | None:
        """By path and query; by the path alone where a reader added a query of its own."""
        return self._shared.get(path) or self._shared.get(normal_path(path.partition("?")[0]))

    def _find_own(self, camera: Camera, path: str) -> Camera | None:
        """Among the streams of one camera: by path and query, or by the path alone."""
        streams = (camera, *self._beside[camera])
        bare = path.partition("?")[0]
        exact = next((stream for stream in streams if stream.path == path), None)
        return exact or next((s for s in streams if s.path.partition("?")[0] == bare), None)

    # --- what cameras ask for ---------------------------------------------------------------

    def has_port(self, camera: Camera) -> bool:
        return camera in self._listeners

    def set_port(self, camera: Camera, state: Port) -> None:
        self._listener(camera).set(state)

    def reset(self, camera: Camera, *, hushed: bool = False) -> None:
        for connection in self._connections_to(camera):
            if not hushed or connection.hushed_for is camera:
                connection.abort()

    def dismiss(self, camera: Camera) -> None:
        for connection in self._connections_to(camera):
            if connection.session is not None and connection.session.camera is camera:
                connection.leave()

    def hush(self, camera: Camera) -> None:
        for connection in self._connections_to(camera):
            connection.hush(camera)

    def _connections_to(self, camera: Camera) -> Iterator[Connection]:
        """Those to its own port; on a port that it shares those that watch or are hushed."""
        own = self._listeners.get(camera)
        if own is not None:
            yield from tuple(own.connections)
            return
        for listener in tuple(self._listeners.values()):
            for connection in tuple(listener.connections):
                session = connection.session
                watches = session is not None and session.camera is camera
                if watches or connection.hushed_for is camera:
                    yield connection

    def has_pictures(self, camera: Camera, change: Change) -> bool:
        return self._variant_key(camera, change) in self._variants

    async def prepare_pictures(self, camera: Camera, change: Change) -> None:
        """All cameras of a kind share them. Raises `InputError` for what cannot be encoded."""
        async with self._making:
            if self.has_pictures(camera, change):
                return
            key = self._variant_key(camera, change)
            stop = threading.Event()
            try:
                made = await asyncio.to_thread(self._make, camera, change, stop)
            finally:
                stop.set()  # the thread does not go on for long when this is cancelled
            while len(self._variants) >= VARIANTS_MAX:
                del self._variants[next(iter(self._variants))]  # cameras that show it have it
            self._variants[key] = made

    def pictures(self, camera: Camera, change: Change | None) -> PackedClip:
        if change is None:
            return self._pack(camera.clip, camera.quirks)
        return self._variants[self._variant_key(camera, change)]

    def _make(self, camera: Camera, change: Change, stop: threading.Event) -> PackedClip:
        clip = load_variant(camera.clip, change, self._cache_dir, stop=stop)
        return PackedClip.pack(clip, camera.quirks)

    def _variant_key(self, camera: Camera, change: Change) -> tuple[str, str, Change]:
        return camera.clip.key, camera.quirks.parameter_sets, change

    def schedule(self, timed: Timed) -> None:
        heapq.heappush(self._due, (timed.due_s, next(self._numbers), timed))
        self._arm()

    # --- the clock --------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer, for the camera that is due next."""
        if not self._due or self._due[0][0] >= self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = self._due[0][0]
        self._timer = self._loop.call_at(self._timer_s, self._tick)

    def _tick(self) -> None:
        """Send what is due. Entries of cameras that were stopped or set anew are stale."""
        self._timer_s = math.inf
        due, number = self._due, self._numbers
        now_s = time.monotonic()
        until_s = now_s + TURN_S_MAX
        while due and due[0][0] <= now_s < until_s:
            due_s, _, camera = due[0]
            fresh = camera.due_s == due_s
            if fresh:
                camera.emit(now_s)
            if fresh and camera.due_s < math.inf:
                heapq.heapreplace(due, (camera.due_s, next(number), camera))
            else:
                heapq.heappop(due)
            now_s = time.monotonic()
        self._timer = None
        self._arm()

    def _sweep(self) -> None:
        """Look after a part of all connections; each has its turn once in `SWEEP_EVERY_S`."""
        if not self._unswept:
            self._unswept = [c for one in self._listeners.values() for c in one.connections]
            self._swept_of = len(self._unswept)
        part = self._unswept[: -(-self._swept_of // SWEEP_PARTS)]
        now_s = time.monotonic()
        for connection in part:
            connection.sweep(now_s)
        del self._unswept[: len(part)]
        pause_s = SWEEP_EVERY_S * len(part) / self._swept_of if part else SWEEP_EVERY_S
        self._sweeper = self._loop.call_later(pause_s, self._sweep)
