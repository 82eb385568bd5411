"""What every HTTP listener has: one route, one line a request in the log, bounded bodies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import web

from harness.cloud.api import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

BODY_BYTES_MAX = 1 << 20  # of an API request
OPERATION = web.RequestKey("operation", str)
CLIENT = web.RequestKey("client", str)
Log: TypeAlias = "Callable[[Mapping[str, Any]], None]"  # one request: never a secret
Handler: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"


def application(handler: Handler, listener: str, log: Log) -> web.Application:
    """Everything goes to `handler`, and what became of it to `log`."""

    async def logged(request: web.Request) -> web.StreamResponse:
        began_s = time.perf_counter()
        response = await handler(request)
        log(
            {
                "listener": listener,
                "method": request.method,
                "path": request.rel_url.raw_path,
                "status": response.status,
                "operation": request.get(OPERATION, ""),
                "client": request.get(CLIENT, ""),
                "duration_ms": round((time.perf_counter() - began_s) * 1000.0, 3),
            }
        )
        return response

    served = web.Application()
    served.router.add_route("*", r"/{path:[\s\S]*}", logged)  # keys and ids may hold line breaks
    return served


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
