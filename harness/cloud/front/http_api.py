"""The endpoint for administrators: routed by the credential scope, every request verified."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.cloud.access.permission import authorize, needed
from harness.cloud.access.query_v2 import is_presigned_v2
from harness.cloud.access.refusal import Refused
from harness.cloud.access.signature import EMPTY_SHA256
from harness.cloud.api import ApiError, load
from harness.cloud.api.error import internal, validation
from harness.cloud.api.wire import Router, read_request, write_answer, write_error
from harness.cloud.front.admission import split_target
from harness.cloud.front.http_iot import IotJobs
from harness.cloud.front.listener import CLIENT, OPERATION, application, read_body
from harness.cloud.front.refusal import (
    neighbour_refusal,
    object_refusal,
    rest_refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.cloud.access.scope import Claim
    from harness.cloud.front.admission import Admission
    from harness.cloud.front.http_neighbour import NeighbourFront
    from harness.cloud.front.http_sts import Sts
    from harness.cloud.front.listener import Log
    from harness.cloud.front.planes import Planes
    from harness.cloud.front.s3.dispatch import S3
    from harness.cloud.storage.storage import Storage

HEALTH = "/health"  # asked for without a signature; no operation and no bucket is called so

_logger = logging.getLogger(__name__)


class ApiFront:
    """One listener for the service and its neighbours."""

    def __init__(
        self,
        planes: Planes,
        admission: Admission,
        storage: Storage,
        s3: S3,
        sts: Sts,
        neighbours: NeighbourFront,
        health: Callable[[], Mapping[str, Any]],
        log: Log,
    ) -> None:
        self._health = health
        self._planes = planes
        self._admission = admission
        self._storage = storage
        self._service = load()
        self._router = Router(self._service)
        self._s3 = s3
        self._sts = sts
        self._neighbours = neighbours
        self._iot = IotJobs(planes, admission, storage)
        self.application = application(self._handle, "api", log)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.raw_path == HEALTH and "Authorization" not in request.headers:
            request[OPERATION] = "health"
            health = self._health()
            return web.json_response(health, status=200 if health["status"] == "ok" else 503)
        if is_presigned_v2(split_target(request)[1]):
            return await self._s3.handle(request, None)
        try:
            claim = self._admission.claim(request)
        except Refused as refused:
            return _refuse_unread(refused, request)
        match claim.scope.service:
            case "panorama":
                return await self._own(request, claim)
            case "s3":
                return await self._s3.handle(request, claim)
            case "iot" if self._iot.serves(request):
                return await self._iot.handle(request, claim)
            case "sts":
                return await self._sts.handle(request, claim)
            case _:
                return await self._neighbours.handle(request, claim)

    async def _own(self, request: web.Request, claim: Claim) -> web.Response:
        try:
            return await self._call(request, claim)
        except Refused as refused:
            return rest_refusal(refused)
        except ApiError as error:
            return self._refuse(error)
        except Exception:
            _logger.exception("control plane: %s failed", request.get(OPERATION, "a request"))
            return self._refuse(internal("An internal error occurred."))

    def _refuse(self, error: ApiError) -> web.Response:
        answer = write_error(self._service, error)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _call(self, request: web.Request, claim: Claim) -> web.Response:
        body = await read_body(request)
        digest = hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256
        key = await self._admission.admit(request, claim, digest)
        request[CLIENT] = key.principal.arn
        path, query = split_target(request)
        found = self._router.match(request.method, path)
        if found is None:
            message = f"No operation at {request.method} {path}."
            raise validation(message, reason="UNKNOWN_OPERATION")
        operation, uri = found
        request[OPERATION] = operation.name
        parameters = read_request(self._service, operation, uri, query, body)
        plane = self._planes.get(key.principal.account, claim.scope.region)
        if key.principal.policies is not None:
            named = plane.identified(parameters)
            for asked in needed(operation.name, named, plane.account, plane.region):
                authorize(key.principal, asked)
        try:
            answer = write_answer(plane.call(operation.name, parameters))
        finally:  # whatever the answer says, or follows from, is on disk before it leaves
            await self._storage.kept()
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)


def _refuse_unread(refused: Refused, request: web.Request) -> web.Response:
    """Whom it was meant for is not known for sure: what it looks like decides on the form."""
    header = request.headers.get("Authorization", "")
    if "/s3/" in header or "s3%2Faws4_request" in request.raw_path:
        return object_refusal(refused, request.method)
    if "X-Amz-Target" in request.headers or request.content_type.endswith("www-form-urlencoded"):
        return neighbour_refusal(refused, request)
    return rest_refusal(refused)
