"""Credentials of an application's role, where an AWS SDK in a container looks for them.

The SDK asks a loopback address with a token of its own (`AWS_CONTAINER_CREDENTIALS_FULL_URI`);
the appliance fetches them from the service with its certificate. So the application gets the
credentials of its role, never the appliance's, renewed as often as it likes.
"""

from __future__ import annotations

import hmac
import json
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from harness.errors import PeerError, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from harness.engine.process.uplink import Uplink

ANSWER_BYTES_MAX = 1 << 14
SHUTDOWN_S = 0.5


class RoleEndpoint:
    """For one application; `close` leaves nothing listening."""

    def __init__(self, uplink: Uplink, url: str) -> None:
        self._uplink = uplink
        self._url = url
        self._token = secrets.token_urlsafe(32)
        self._stack = AsyncExitStack()

    async def start(
        self, endpoint: str, reach: Callable[[int], Awaitable[int]]
    ) -> Mapping[str, str]:
        """The environment that tells an SDK where everything is.

        `reach` says as which port the application reaches a local one.

        `endpoint` is the service's; the application reaches it by way of the appliance's link.
        """
        parts = urlsplit(endpoint)
        local = await self._uplink.link.port(parts.hostname or "", parts.port or 443)
        seen = await reach(local)
        served = web.Application()
        served.router.add_get("/credentials", self._answer)
        runner = web.AppRunner(served, access_log=None, shutdown_timeout=SHUTDOWN_S)
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = await reach(runner.addresses[0][1])
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self._token,
            "AWS_ENDPOINT_URL": parts._replace(netloc=f"{self._uplink.link.host}:{seen}").geturl(),
        }

    async def close(self) -> None:
        await self._stack.aclose()

    async def _answer(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), self._token):
            return web.json_response({"code": "Unauthorized", "message": "no"}, status=401)
        try:
            document = json.loads(await self._uplink.get(self._url, ANSWER_BYTES_MAX))
        except (PeerError, ValueError) as error:
            status = 403 if isinstance(error, PeerRefused) else 503
            return web.json_response({"code": "Unavailable", "message": str(error)}, status=status)
        return web.json_response(document)
