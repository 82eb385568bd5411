"""ONVIF for a fleet over HTTP: every camera at an address of its own, as readers expect."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from aiohttp import web

from harness.camera.fleet.onvif import soap
from harness.camera.fleet.onvif.discovery import PORT, Discovery
from harness.camera.fleet.onvif.service import (
    DEVICE_PATH,
    MEDIA_PATH,
    SNAPSHOT_PATH,
    Device,
    answer,
)
from harness.camera.fleet.onvif.snapshot import snapshot
from harness.camera.fleet.post import LOOPBACK, is_loopback
from harness.camera.wire.auth import Challenger
from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.camera.fleet.cameras import Fleet
    from harness.camera.fleet.post import Post
    from harness.camera.serve.live import Camera

CONTENT_TYPE = "application/soap+xml"
KEEP_ALIVE_S = 15.0
CLOSE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class _Stall:
    """Where one camera is to be found."""

    device: Device
    camera: Camera
    challenger: Challenger
    host: str
    port: int


class OnvifSite:
    """Device and Media service of every camera of `fleet`, and discovery.

    An asynchronous context manager. A camera that is offline is not discovered, and connections
    to its services are reset. `discovery_port` is for tests.
    """

    def __init__(self, fleet: Fleet, discovery_port: int = PORT) -> None:
        self._fleet = fleet
        self._discovery_port = discovery_port
        self._stalls: dict[tuple[str, int], _Stall] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            runner = await self._runner()
            stack.push_async_callback(runner.cleanup)
            for post, streams in self._fleet.cameras.values():
                if post.onvif_port is not None:
                    await self._open(runner, post, streams)
            discovery = Discovery(self._found, self._interfaces(), self._discovery_port)
            await stack.enter_async_context(discovery)
            self._closing = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    async def _runner(self) -> web.AppRunner:
        app = web.Application(client_max_size=soap.REQUEST_BYTES_MAX)
        app.router.add_post(DEVICE_PATH, self._serve)
        app.router.add_post(MEDIA_PATH, self._serve)
        app.router.add_get(SNAPSHOT_PATH, self._picture)
        runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            shutdown_timeout=CLOSE_TIMEOUT_S,
        )
        await runner.setup()
        return runner

    async def _open(self, runner: web.AppRunner, post: Post, streams: tuple[Camera, ...]) -> None:
        site = web.TCPSite(runner, post.host, post.onvif_port)
        try:
            await site.start()
        except OSError as error:
            raise EngineError(
                f"cannot listen on {post.host}:{post.onvif_port} for ONVIF: {error.strerror}",
                hint="another process holds the port: --onvif-port",
            ) from error
        port = _port_of(runner)
        camera = streams[0]
        stall = _Stall(_device(post, streams), camera, Challenger(), post.host, port)
        self._stalls[post.host, port] = stall
        self._fleet.onvif[post.name] = f"http://{_shown(post.host)}:{port}{DEVICE_PATH}"

    def _found(self) -> Iterator[tuple[Device, str, int]]:
        for stall in self._stalls.values():
            if stall.camera.online:
                yield stall.device, stall.host, stall.port

    def _interfaces(self) -> tuple[str, ...]:
        hosts = {stall.host for stall in self._stalls.values()}
        outside = sorted(host for host in hosts if not is_loopback(host))
        return (LOOPBACK, *outside)

    def _stall(self, request: web.Request) -> tuple[_Stall, str]:
        """The camera that the connection came to, and `http://host:port` as the reader sees it.

        The connection of one that is offline is reset.
        """
        transport = request.transport
        if transport is None:
            raise web.HTTPServiceUnavailable
        host, port = transport.get_extra_info("sockname")[:2]
        stall = self._stalls.get((host, port)) or next(
            stall for stall in self._stalls.values() if stall.port == port
        )
        if not stall.camera.online:
            transport.abort()
            raise web.HTTPServiceUnavailable
        return stall, f"http://{_shown(host)}:{port}"

    async def _serve(self, request: web.Request) -> web.Response:
        stall, base = self._stall(request)
        status, body = answer(stall.device, await request.read(), base, datetime.now(UTC))
        return web.Response(status=status, body=body, content_type=CONTENT_TYPE, charset="utf-8")

    async def _picture(self, request: web.Request) -> web.Response:
        stall, _ = self._stall(request)
        refusal = stall.challenger.refusal(
            stall.camera.credentials,
            request.headers.get("Authorization"),
            request.method,
            request.raw_path,
        )
        if refusal:
            raise web.HTTPUnauthorized(headers=[("WWW-Authenticate", line) for line in refusal])
        picture = await asyncio.to_thread(snapshot, stall.camera)
        return web.Response(body=picture, content_type="image/jpeg")


def _port_of(runner: web.AppRunner) -> int:
    """Of the site that was started last."""
    return int(runner.addresses[-1][1])


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _device(post: Post, streams: tuple[Camera, ...]) -> Device:
    urls = zip(streams, post.streams.values(), strict=True)
    return Device(
        name=post.name,
        maker=post.profile.maker or "edge-hil-harness",
        model=post.profile.model or post.profile.name,
        h264_profile=post.profile.h264_profile,
        streams={f"profile_{n}": (cam.url, kind) for n, (cam, kind) in enumerate(urls, 1)},
        check=soap.TokenCheck(post.username, post.password),
    )
