"""Requests to the neighbouring services: admitted here, answered by their process."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

from harness.cloud.access.neighbour_permission import needed_of, reads_only
from harness.cloud.access.permission import authorize
from harness.cloud.access.refusal import Refused
from harness.cloud.api import ApiError
from harness.cloud.front.admission import split_target
from harness.cloud.front.listener import CLIENT, OPERATION, read_body
from harness.cloud.front.refusal import json_error, neighbour_refusal, query_error
from harness.cloud.neighbour.export import OPERATIONS
from harness.cloud.neighbour.kept import DATA, has_messages, without_waiting
from harness.cloud.neighbour.process import Keep
from harness.cloud.service.telemetry import NAMESPACE
from harness.errors import CapabilityMissing, PeerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from harness.cloud.access.scope import Claim
    from harness.cloud.front.admission import Admission
    from harness.cloud.front.planes import Planes
    from harness.cloud.neighbour.directory import Directory
    from harness.cloud.neighbour.export import LogExport
    from harness.cloud.neighbour.process import Answer, Neighbours
    from harness.cloud.service.telemetry import LogBatch, Metric
    from harness.cloud.storage.storage import Storage

_logger = logging.getLogger(__name__)

BODY_BYTES_MAX = 16 << 20
WAIT_S_MAX = 20.0  # for messages: Amazon SQS Developer Guide, "Long polling"
LOOK_EVERY_S = 0.2
JSON = "application/x-amz-json-1.1"
_TELEMETRY = frozenset({"logs", "monitoring"})
_FULL = "No more can be kept of what changes the neighbouring services in this state directory."
_BROKE = "The service failed at this request, and nothing was changed; neighbours.log says why."
_IDENTITIES = frozenset({"iam", "cloudformation"})  # what they change may be users and roles


class NeighbourFront:
    def __init__(
        self,
        planes: Planes,
        admission: Admission,
        neighbours: Neighbours,
        directory: Directory,
        export: LogExport,
        storage: Storage,
    ) -> None:
        self._planes = planes
        self._admission = admission
        self._neighbours = neighbours
        self._directory = directory
        self._export = export
        self._storage = storage

    async def handle(self, request: web.Request, claim: Claim) -> web.Response:
        try:
            return await self._carry_out(request, claim)
        except Refused as refused:
            return neighbour_refusal(refused, request)
        except ApiError as error:
            return _error(request, error.status, error.code, error.message)
        except CapabilityMissing as missing:
            return _error(request, 501, "NotImplemented", f"{missing}: {missing.hint}")
        except PeerError as error:
            _logger.warning("control plane: %s", error)
            message = "The neighbouring services ended. They start anew when asked again."
            return _error(request, 503, "ServiceUnavailable", message)

    async def _carry_out(self, request: web.Request, claim: Claim) -> web.Response:
        body = await read_body(request, BODY_BYTES_MAX)
        action, given = asked_for(request, body)
        service, region = claim.scope.service, claim.scope.region
        request[OPERATION] = f"{service}:{action}"
        reads = reads_only(action)
        digest = hashlib.sha256(body).hexdigest()
        key = await self._admission.admit(request, claim, digest, reads=reads)
        request[CLIENT] = key.principal.arn
        account = key.principal.account
        authorize(key.principal, needed_of(service, action, given, account, region))
        keep = _kept_as(service, action, request.method) if not reads else Keep.NOTHING
        if keep is Keep.STATE and self._neighbours.full:
            raise ApiError("LimitExceeded", 400, {"Message": _FULL})
        _check_template(service, given)
        if service in _TELEMETRY:
            self.feed(account, region)
        if service == "logs" and action in OPERATIONS:
            document = await self._export.call(action, given, account, region)
            await self._storage.kept()
            return web.json_response(document, content_type=JSON)
        forward = functools.partial(
            self._neighbours.forward, request.method, request.raw_path, request.headers
        )
        if (service, action) == ("sqs", "ReceiveMessage"):
            answer = await _wait_for_messages(forward, body, account, keep)
        else:
            answer = await forward(body, account, keep)
        await self._storage.kept()
        if service in _IDENTITIES and not reads:
            self._directory.forget()
        if answer.status >= 500 and "html" in answer.headers.get("Content-Type", ""):
            return _error(request, 500, "InternalFailure", _BROKE)  # moto's own page is no answer
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    def feed(self, account: str, region: str) -> None:
        """What devices told is handed on, to be kept and known to who asks."""
        plane = self._planes.find(account, region)
        if plane is None:
            return
        logs, metrics = plane.telemetry.collect()
        if logs or metrics:
            self._neighbours.tell("put", **put_document(account, region, logs, metrics))


def _check_template(service: str, given: Mapping[str, Any]) -> None:
    """Raises `ApiError` for JSON that is none, as CloudFormation does; moto breaks at it."""
    text = str(given.get("TemplateBody", "")) if service == "cloudformation" else ""
    if not text.lstrip().startswith("{"):
        return
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        where = f"(line {error.lineno}, column {error.colno})"
        message = f"Template format error: JSON not well-formed. {where}"
        raise ApiError("ValidationError", 400, {"Message": message}) from None


async def _wait_for_messages(
    forward: Callable[[bytes, str, Keep], Awaitable[Answer]], body: bytes, account: str, keep: Keep
) -> Answer:
    """Asks again and again: whoever waits must not keep all others waiting, too."""
    body, wait_s = without_waiting(body)
    until_s = time.monotonic() + min(wait_s, WAIT_S_MAX)
    while True:
        answer = await forward(body, account, keep)
        if answer.status != 200 or has_messages(answer.body) or time.monotonic() >= until_s:
            return answer
        await asyncio.sleep(LOOK_EVERY_S)


def _kept_as(service: str, action: str, method: str) -> Keep:
    if not action and method in ("GET", "HEAD"):  # of a service that names no actions
        return Keep.NOTHING
    return Keep.DATA if (service, action) in DATA else Keep.STATE


def put_document(
    account: str, region: str, logs: Sequence[LogBatch], metrics: Sequence[Metric]
) -> dict[str, Any]:
    """Telemetry as the neighbours' process takes it."""
    data = [
        {
            "MetricName": metric.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
            "Value": metric.value,
            "Timestamp": metric.time_s,
        }
        for metric in metrics
    ]
    return {
        "account": account,
        "region": region,
        "logs": [
            {"group": batch.group, "stream": batch.stream, "events": batch.lines} for batch in logs
        ],
        "metrics": [{"namespace": NAMESPACE, "data": data}] if data else [],
    }


def asked_for(request: web.Request, body: bytes) -> tuple[str, Mapping[str, Any]]:
    """The action and its parameters, in whichever protocol; "" when it cannot be told."""
    target = request.headers.get("X-Amz-Target")
    if target is not None:
        return target.rpartition(".")[2], _document(body)
    path, query = split_target(request)
    if "/operation/" in path:  # Smithy RPC v2
        return path.rpartition("/")[2], {}
    form = dict(parse_qsl(body.decode("latin-1") or query, keep_blank_values=True))
    return form.get("Action", ""), form


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _error(request: web.Request, status: int, code: str, message: str) -> web.Response:
    if "X-Amz-Target" in request.headers:
        suffix = "" if code.endswith("Exception") else "Exception"
        return json_error(status, f"{code}{suffix}", message)
    return query_error(status, code, message)
