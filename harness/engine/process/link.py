"""An appliance's links: relays on loopback that can be broken, silenced and restored.

Every connection of an appliance to the control plane or to a camera goes through one of these,
without privileges and without looking inside: TLS ends where it ends. Breaking a link resets
its connections and closes its ports; silencing it keeps everything open and passes nothing. On
the way to cameras a `gateway` takes the datagrams along that belong to a connection: they are
gone with it, and lost while the link is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

from harness.engine.process.gateway import Gateway
from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from harness.runtime.sandbox import Sockets

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, zero seconds, so that close() sends RST
FAULT = "fault"  # who breaks a link, unless it is said
BACKLOG = 128
BUFFER_BYTES = 1 << 18
INSIDE_FIRST_PORT = 20_000  # in a network where nothing else listens
REFUSED_LOOK_S = 0.2  # how often a target that refused is tried


class _Half(asyncio.Protocol):
    """One side of a relayed connection; hands everything to the other side, with back-pressure."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.transport: asyncio.Transport | None = None
        self.peer: _Half | None = None
        self.full = False  # takes no more until it has passed something on
        self.reads: Callable[[bytes], bytes] = bytes  # what is handed on of what comes
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        self.link.halves.add(self)

    def attach(self, peer: _Half) -> None:
        self.peer = peer
        if self._early and peer.transport is not None:
            peer.transport.write(self.reads(bytes(self._early)))
            self._early.clear()
        self.listen()

    def listen(self) -> None:
        """Read on, if there is somebody to hand it to and nothing against it."""
        takes = self.peer is not None and not self.peer.full
        if self.transport is not None and takes and not self.link.hushed:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.peer is None or self.peer.transport is None:
            self._early += data
            if self.transport is not None:
                self.transport.pause_reading()
        else:
            self.peer.transport.write(self.reads(data))

    def pause_writing(self) -> None:
        self.full = True
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        self.full = False
        if self.peer is not None:
            self.peer.listen()

    def connection_lost(self, _error: Exception | None) -> None:
        self.link.halves.discard(self)
        peer, self.peer = self.peer, None
        if peer is not None and peer.transport is not None:
            peer.peer = None
            peer.transport.close()

    def reset(self) -> None:
        if self.transport is None:
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


class _Inner(_Half):
    """The appliance's side: connects to the target as soon as it is there."""

    def __init__(self, link: Link, target: tuple[str, int]) -> None:
        super().__init__(link)
        self.target = target
        self.gateway: Gateway | None = None
        self.dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # It may have been accepted in the moment of the cut.
        self.dialling = None if self.link.broken else self.link.dial(self._dial)
        if self.dialling is None:
            self.reset()

    async def _dial(self) -> None:
        outer = _Half(self.link)
        try:
            await self.link.audible.wait()
            await self.link.connect(lambda: outer, self.target)
            await self.link.audible.wait()  # silence may have fallen meanwhile
        except OSError as error:
            self.reset()
            if isinstance(error, ConnectionRefusedError):
                self.link.refused_by(self.target)
            return
        except asyncio.CancelledError:
            outer.reset()
            raise
        if self.transport is None or self.transport.is_closing():
            outer.reset()
            return
        assert outer.transport is not None
        if self.link.media:
            self.gateway = self.link.gateway(self.target[0])
            self.reads, outer.reads = self.gateway.request, self.gateway.answer
        self.link.opened(self.target, outer.transport.get_extra_info("sockname"))
        outer.attach(self)
        self.attach(outer)

    def connection_lost(self, error: Exception | None) -> None:
        if self.gateway is not None:
            self.gateway.close()
        if self.dialling is not None:
            self.dialling.cancel()  # who asked is gone; a target may be silent for minutes
        super().connection_lost(error)


class Link:
    """All relays of one path of one appliance. Its tasks belong to `group`.

    With `media` its connections are RTSP, and datagrams that they arrange for go with them. A
    relay has to accept before it knows whether its target would: once a target has refused, it
    refuses as well, until the target accepts again.

    With `inside` the one who uses the link has a network of its own: ports are given out at once
    and opened there by `enter`, which brings what makes sockets in it. With `reach` the targets
    are in such a network.

    `opened` is called with (target, local address) of every connection made to a target, which
    is how a server's peer address can be told to belong to this link.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        host: str = "127.0.0.1",
        opened: Callable[[tuple[str, int], tuple[str, int]], None] = lambda _t, _a: None,
        *,
        media: bool = False,
        inside: bool = False,
        reach: Sockets | None = None,
    ) -> None:
        self.group = group
        self.host = host
        self.opened = opened
        self.media = media
        self.halves: set[_Half] = set()
        self._silencers: set[str] = set()
        self._breakers: set[str] = set()
        self._beyond = reach
        self._inside = inside
        self._sockets: Sockets | None = None
        self.audible = asyncio.Event()
        self.audible.set()
        self._ports: dict[tuple[str, int], int] = {}
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._dialling: set[asyncio.Task[None]] = set()

    async def port(self, host: str, port: int, at: int = 0) -> int:
        """The local port that leads to host:port; opened at its first use, as `at` if given."""
        target = (host, port)
        if target not in self._ports and self._inside and self._sockets is None:
            self._ports[target] = at or INSIDE_FIRST_PORT + len(self._ports)
        elif target not in self._ports:
            sock = self._socket(at)
            self._ports[target] = sock.getsockname()[1]
            if self.broken:
                sock.close()  # `restore` opens it
            else:
                await self._listen(target, sock)
        return self._ports[target]

    async def reach(self, host: str, port: int) -> None:
        """Connect to host:port and hang up; waits while the link is silent. Raises `OSError`.

        Not through a relay, which accepts before it knows whether its target would.
        """
        if self.broken:
            raise ConnectionRefusedError("the link is broken")
        await self.audible.wait()
        _, writer = await asyncio.open_connection(host, port)
        writer.transport.abort()

    async def enter(self, sockets: Sockets) -> None:
        """The user's network is there: open what was given out. Raises `EngineError`."""
        self._sockets = sockets
        for target, port in self._ports.items():
            if not self.broken:
                await self._listen(target, self._socket(port))

    @property
    def hushed(self) -> bool:
        return bool(self._silencers)

    @property
    def broken(self) -> bool:
        return bool(self._breakers)

    def cut(self, by: str = FAULT) -> None:
        """Reset every connection; refuse new ones. `by` is who has to `restore` it."""
        self._breakers.add(by)
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        self.reset_all()

    def reset_all(self) -> None:
        """Reset every connection; new ones may come."""
        for half in tuple(self.halves):
            half.reset()

    def hush(self, by: str = FAULT) -> None:
        """Pass nothing more; connections stay as they are, new ones are accepted and wait."""
        self._silencers.add(by)
        self.audible.clear()
        for half in tuple(self.halves):
            if half.transport is not None:
                half.transport.pause_reading()

    async def restore(self, by: str = FAULT) -> None:
        """Take back what `by` did; what others did goes on."""
        hushed, broken = self.hushed, self.broken
        self._silencers.discard(by)
        self._breakers.discard(by)
        if hushed and not self.hushed:
            self.audible.set()
            for half in tuple(self.halves):
                half.listen()
        if broken and not self.broken:
            for target, port in tuple(self._ports.items()):
                if not self.broken and target not in self._servers:
                    await self._listen(target, self._socket(port))

    async def close(self) -> None:
        self.cut()
        self.audible.set()
        for task in self._dialling:
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)

    def gateway(self, camera: str) -> Gateway:
        """For a connection to `camera`."""
        loop = asyncio.get_running_loop()
        pair = self._sockets.datagrams if self._sockets is not None else None
        return Gateway(loop, self.host, camera, lambda: not self.hushed, pair)

    def refused_by(self, target: tuple[str, int]) -> None:
        """`target` refuses connections, so its port here does too."""
        server = self._servers.pop(target, None)
        if server is not None:
            server.close()
            self.dial(lambda: self._accept_when(target))

    async def _accept_when(self, target: tuple[str, int]) -> None:
        """Look now and then whether `target` accepts again; `restore` of a cut does the same."""
        while not self.broken and target not in self._servers:
            await asyncio.sleep(REFUSED_LOOK_S)
            await self.audible.wait()
            try:
                transport = await self.connect(asyncio.Protocol, target)
            except OSError:
                continue
            transport.abort()
            if not self.broken and target not in self._servers:
                await self._listen(target, self._socket(self._ports[target]))

    def dial(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None] | None:
        """Start to connect. None when the group is ending, and so this link."""
        dialling = work()
        try:
            task = self.group.create_task(dialling)
        except RuntimeError:
            dialling.close()
            return None
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return task

    async def connect(
        self, protocol: Callable[[], asyncio.Protocol], target: tuple[str, int]
    ) -> asyncio.Transport:
        """Raises `OSError`."""
        loop = asyncio.get_running_loop()
        if self._beyond is None:
            return (await loop.create_connection(protocol, *target))[0]
        sock = self._beyond.stream()
        try:
            await loop.sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        return (await loop.create_connection(protocol, sock=sock))[0]

    def _socket(self, port: int) -> socket.socket:
        try:
            return self._sockets.listen(port) if self._sockets is not None else self._own(port)
        except OSError as error:
            raise EngineError(f"link: port {port} cannot be opened: {error}") from None

    def _own(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self.host, port))
        except OSError:
            sock.close()
            raise
        return sock

    async def _listen(self, target: tuple[str, int], sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Inner(self, target), sock=sock, backlog=BACKLOG, start_serving=False
        )
        if target in self._servers:
            server.close()
            return
        self._servers[target] = server  # before anything is waited for: a cut closes it
        await server.start_serving()
