"""The RTSP server: many cameras, one event loop, one timer.

async with CameraServer() as server:
    door = server.add("door", load_clip(spec), path="/door")
    ...  # rtsp://127.0.0.1:<port>/door
"""

from __future__ import annotations

import asyncio
import errno
import functools
import heapq
import itertools
import math
import socket
import time
from typing import TYPE_CHECKING, Self

from harness.camera.serve.connection import Connection
from harness.camera.serve.live import Camera
from harness.camera.serve.packed import PackedClip
from harness.camera.serve.playback import Recording
from harness.camera.serve.udp import segmentation_offload
from harness.camera.wire.auth import DIGEST, SCHEMES, Credentials
from harness.camera.wire.tls import TlsSocket
from harness.camera.wire.transport import TRANSPORTS
from harness.camera.wire.uri import normal_path
from harness.errors import EngineError, InputError
from harness.scenario.quirk import NONE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Mapping

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Timed
    from harness.scenario.quirk import Quirks

SESSION_TIMEOUT_S = 60.0
SWEEP_EVERY_S = 1.0
CONNECTIONS_MAX = 8192
LISTEN_BACKLOG = 512
ACCEPTS_A_TURN = 64
ACCEPT_RETRY_S = 0.5  # when the process has no file descriptor left
TURN_S_MAX = 0.005  # then the event loop gets a turn for requests


class _Listener:
    """A listening port; makes a `Connection` of what comes, for the cameras `find` knows."""

    def __init__(
        self, server: CameraServer, host: str, port: int, find: Callable[[str], Camera | None]
    ) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self.find = find
        self.session_timeout_s = server.session_timeout_s
        self.segment = server.segment
        self.tls = server.tls is not None
        self.tunnels: dict[str, Connection] | None = {} if server.http_tunnel else None
        self.connections: set[Connection] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setblocking(False)
            self._socket.bind((host, port))
            self._socket.listen(LISTEN_BACKLOG)
        except OSError as error:
            self._socket.close()
            raise EngineError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                hint="another process holds the port; port 0 takes a free one",
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket, self._accept)

    def gone(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def close(self) -> None:
        """Stop listening; connections stay until they are closed or aborted."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def abort_all(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._loop.remove_reader(self._socket)
                self._retry = self._loop.call_later(ACCEPT_RETRY_S, self._accept_again)
                return
            if self._server.connections >= CONNECTIONS_MAX:
                sock.close()
                continue
            sock.setblocking(False)
            peer = (str(address[0]), int(address[1]))
            context = self._server.tls
            link = sock if context is None else TlsSocket(sock, context)
            self.connections.add(Connection(self, self._loop, link, peer))

    def _accept_again(self) -> None:
        self._loop.add_reader(self._socket, self._accept)


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
    ) -> None:
        """With `tls` (a server's context, not owned) all its ports speak RTSP over TLS.

        `http_tunnel` lets readers wrap RTSP in HTTP, on the same ports. `segment` tells whether
        UDP uses segmentation offload; None: where the kernel has it.
        """
        self.host = host
        self.tls = tls
        self.http_tunnel = http_tunnel
        self.segment = segmentation_offload() if segment is None else segment
        self.session_timeout_s = session_timeout_s
        self._wanted_port = port
        self._listeners: dict[Camera | None, _Listener] = {}  # None: the shared port
        self._shared: dict[str, Camera] = {}
        self._cameras: dict[str, Camera] = {}
        self._addresses: dict[Camera, tuple[str, int]] = {}  # of those with a port of their own
        self._beside: dict[Camera, list[Camera]] = {}  # streams on the port of another one
        self._packed: dict[tuple[str, str], PackedClip] = {}
        self._due: list[tuple[float, int, Timed]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._timer_s = math.inf
        self._sweeper: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._listeners[None] = _Listener(self, self.host, self._wanted_port, self._find_shared)
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
            self._addresses[camera] = address or (self.host, 0)
            self.open_port(camera)
        else:
            self._shared[path] = camera
        self._cameras[name] = camera
        host, port = self._addresses.get(beside or camera, (self.host, self.port))
        scheme = "rtsp" if self.tls is None else "rtsps"
        camera.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}"
        return camera

    def _pack(self, clip: Clip, quirks: Quirks) -> PackedClip:
        """Cameras that put the same into their packets share them."""
        key = (clip.spec.key, quirks.parameter_sets)
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

    def _listener(self, camera: Camera | None) -> _Listener:
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

    def open_port(self, camera: Camera) -> None:
        self._listener(None)
        address = self._addresses.get(camera)
        if address is None or camera in self._listeners:
            return
        listener = _Listener(self, *address, functools.partial(self._find_own, camera))
        self._listeners[camera] = listener
        self._addresses[camera] = (address[0], listener.port)

    def close_port(self, camera: Camera) -> None:
        listener = self._listeners.pop(camera, None)
        if listener is not None:
            listener.close()
            listener.abort_all()
            return
        for listener in tuple(self._listeners.values()):
            for connection in tuple(listener.connections):
                if connection.session is not None and connection.session.camera is camera:
                    connection.abort()

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
        now_s = time.monotonic()
        for listener in tuple(self._listeners.values()):
            for connection in tuple(listener.connections):
                connection.sweep(now_s)
        self._sweeper = self._loop.call_later(SWEEP_EVERY_S, self._sweep)
