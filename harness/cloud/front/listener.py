"""What every HTTP listener has: one route, one line a request in the log, bounded bodies."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import web

from harness.cloud.api import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

BODY_BYTES_MAX = 1 << 20  # of an API request
OPERATION = web.RequestKey("operation", str)
CLIENT = web.RequestKey("client", str)
REQUEST_ID = web.RequestKey("request_id", str)
Log: TypeAlias = "Callable[[Mapping[str, Any]], None]"  # one request: never a secret
Handler: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"


class Traffic:
    """The requests that are being answered; a context around each of them."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        self._count += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def end(self, within_s: float) -> None:
        """Wait until there is none, but no longer than that."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within_s)


TRAFFIC = web.AppKey("traffic", Traffic)


def application(handler: Handler, listener: str, log: Log) -> web.Application:
    """Everything goes to `handler`, and what became of it to `log`."""

    async def logged(request: web.Request) -> web.StreamResponse:
        began_s = time.perf_counter()
        request[REQUEST_ID] = str(uuid.uuid4())
        status = 0  # stays, when the client leaves before it is answered
        try:
            with request.app[TRAFFIC]:
                response = await handler(request)
            status = response.status
        finally:
            duration_ms = (time.perf_counter() - began_s) * 1000.0
            log({"listener": listener, **_entry(request), "status": status,
                 "duration_ms": round(duration_ms, 3)})  # fmt: skip
        return response

    served = web.Application()
    served[TRAFFIC] = Traffic()
    served.router.add_route("*", r"/{path:[\s\S]*}", logged)  # keys and ids may hold line breaks
    served.on_response_prepare.append(_identify)
    return served


def _entry(request: web.Request) -> dict[str, Any]:
    """What is told of a request: nothing from its query, headers or body."""
    client = request.get(CLIENT, "")
    return {
        "request_id": request[REQUEST_ID],
        "method": request.method,
        "path": request.rel_url.raw_path,
        "operation": request.get(OPERATION, ""),
        "client": client,
        "account": client.split(":")[4] if client.startswith("arn:") else "",
    }


async def _identify(request: web.Request, response: web.StreamResponse) -> None:
    """Answers carry the id of their request, by the names that SDKs look for."""
    if REQUEST_ID in request:
        of_s3 = request.get(OPERATION, "").startswith("s3:")
        name = "x-amz-request-id" if of_s3 else "x-amzn-RequestId"
        response.headers[name] = request[REQUEST_ID]


async def read_body(request: web.Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body, if it is of a size that any operation could need. Raises `ApiError`."""
    chunks = []
    size = 0
    async for chunk in request.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > bytes_max:
            message = f"The request body is larger than {bytes_max} bytes."
            raise ApiError("RequestEntityTooLargeException", 413, {"Message": message})
        chunks.append(chunk)
    return b"".join(chunks)
