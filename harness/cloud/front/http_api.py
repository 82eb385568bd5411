"""The HTTP front: one endpoint for API, STS and objects; another, over mutual TLS, for devices."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs

from aiohttp import web

from harness.cloud.api import ApiError, load
from harness.cloud.api.error import internal, validation
from harness.cloud.api.wire import Router, read_request, write_answer, write_error
from harness.cloud.front.http_object import S3, s3_error, send, split_path
from harness.cloud.front.scope import Scope, read_scope
from harness.cloud.front.tls import peer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from harness.cloud.service.plane import ControlPlane
    from harness.cloud.storage.storage import Storage

_logger = logging.getLogger(__name__)

BODY_BYTES_MAX = 1 << 20  # of an API request
OPERATION = web.RequestKey("operation", str)
CLIENT = web.RequestKey("client", str)
Log: TypeAlias = "Callable[[Mapping[str, Any]], None]"  # one request: never a secret
Handler: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"


def _application(handler: Handler, listener: str, log: Log) -> web.Application:
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

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", logged)
    return application


class ApiFront:
    """Plain HTTP on loopback, for administrators: routed by the service in the scope."""

    def __init__(self, plane: ControlPlane, storage: Storage, log: Log) -> None:
        self._plane = plane
        self._service = load()
        self._router = Router(self._service)
        self._storage = storage
        self._s3 = S3(plane, storage)
        self.application = _application(self._handle, "api", log)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        scope = read_scope(request.headers, request.query)
        if scope is not None and scope.service == "s3":
            request[OPERATION] = f"s3:{request.method}"
            return await self._s3.handle(request)
        if scope is not None and scope.service == "sts":
            return await self._sts(request)
        try:
            return await self._call(request, scope)
        except ApiError as error:
            return self._refuse(error)
        except Exception:
            _logger.exception("control plane: %s failed", request.get(OPERATION, "a request"))
            return self._refuse(internal("An internal error occurred."))

    def _refuse(self, error: ApiError) -> web.Response:
        answer = write_error(self._service, error)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _call(self, request: web.Request, scope: Scope | None) -> web.Response:
        if scope is None:
            raise _denied("MissingAuthenticationTokenException", "The request is not signed.")
        if scope.service != "panorama":
            message = f"Service {scope.service} is not served here: panorama, s3 and sts are."
            raise _denied("AccessDeniedException", message)
        if scope.account not in (None, self._plane.account):
            message = f"Account {scope.account} does not exist; this is {self._plane.account}."
            raise _denied("AccessDeniedException", message)
        found = self._router.match(request.method, request.rel_url.raw_path)
        if found is None:
            message = f"No operation at {request.method} {request.rel_url.raw_path}."
            raise validation(message, reason="UNKNOWN_OPERATION")
        operation, uri = found
        request[OPERATION] = operation.name
        body = await _body(request)
        query = request.rel_url.raw_query_string
        parameters = read_request(self._service, operation, uri, query, body)
        try:
            answer = write_answer(self._plane.call(operation.name, parameters))
        finally:  # whatever the answer says, or follows from, is on disk before it leaves
            await self._storage.kept()
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _sts(self, request: web.Request) -> web.StreamResponse:
        """GetCallerIdentity, the one operation of STS that packaging needs."""
        try:
            form = parse_qs((await _body(request)).decode("ascii"))
        except (ApiError, ValueError):
            form = {}
        if form.get("Action") != ["GetCallerIdentity"]:
            return s3_error(request, 400, "InvalidAction", "Only GetCallerIdentity is served.")
        request[OPERATION] = "sts:GetCallerIdentity"
        account = self._plane.account
        text = (
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<GetCallerIdentityResult><Arn>arn:aws:iam::{account}:root</Arn>"
            f"<UserId>{account}</UserId><Account>{account}</Account></GetCallerIdentityResult>"
            "<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata>"
            "</GetCallerIdentityResponse>"
        )
        return web.Response(text=text, content_type="text/xml")


class DeviceFront:
    """HTTPS for devices: objects, to who holds an active certificate."""

    def __init__(self, plane: ControlPlane, log: Log) -> None:
        self._plane = plane
        self.application = _application(self._handle, "device", log)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        peer = peer_of(transport.get_extra_info("ssl_object") if transport else None)
        if peer is None:
            return s3_error(request, 403, "AccessDenied", "No client certificate.")
        request[CLIENT] = peer.name
        reason = self._plane.refusal(peer.name, peer.certificate_id)
        if reason:
            return s3_error(request, 403, "AccessDenied", reason)
        if request.method not in ("GET", "HEAD"):
            return s3_error(request, 405, "MethodNotAllowed", "Devices read.")
        bucket, key = split_path(request.rel_url.raw_path)
        if not self._plane.may_read(peer.name, bucket, key):
            return s3_error(request, 403, "AccessDenied", f"{peer.name} may not read {key}.")
        content = self._plane.objects.get(bucket, key)
        if content is None:
            return s3_error(request, 404, "NoSuchKey", "The specified key does not exist.")
        return await send(request, content)


def _denied(code: str, message: str) -> ApiError:
    return ApiError(code, 403, {"Message": message})


async def _body(request: web.Request) -> bytes:
    """The whole body, if it is of a size that any operation could need."""
    chunks = []
    size = 0
    async for chunk in request.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            message = f"The request body is larger than {BODY_BYTES_MAX} bytes."
            raise ApiError("RequestEntityTooLargeException", 413, {"Message": message})
        chunks.append(chunk)
    return b"".join(chunks)
