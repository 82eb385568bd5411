"""AWS IoT Jobs as an operator uses them on the service's jobs: to take one back.

The service's own API cannot cancel a job; IoT's can (`CancelJob`, `CancelJobExecution` of the AWS
IoT API reference), and the service's jobs are IoT jobs of one thing each. Everything else of IoT
is answered by the neighbouring services.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from aiohttp import web

from harness.cloud.access.permission import authorize
from harness.cloud.access.policy import Query
from harness.cloud.access.refusal import Refused
from harness.cloud.api import ApiError
from harness.cloud.api.wire import ERROR_HEADER
from harness.cloud.front.admission import split_target
from harness.cloud.front.listener import CLIENT, OPERATION, read_body
from harness.cloud.front.refusal import rest_refusal

if TYPE_CHECKING:
    from harness.cloud.access.scope import Claim
    from harness.cloud.front.admission import Admission
    from harness.cloud.front.planes import Planes
    from harness.cloud.storage.storage import Storage

_CANCEL = re.compile(r"(?:/things/([\w-]{1,128}))?/jobs/([\w-]{1,128})/cancel")


class IotJobs:
    def __init__(self, planes: Planes, admission: Admission, storage: Storage) -> None:
        self._planes = planes
        self._admission = admission
        self._storage = storage

    @staticmethod
    def serves(request: web.Request) -> bool:
        path, _ = split_target(request)
        return request.method == "PUT" and _CANCEL.fullmatch(path) is not None

    async def handle(self, request: web.Request, claim: Claim) -> web.Response:
        try:
            return await self._cancel(request, claim)
        except Refused as refused:
            return rest_refusal(refused)
        except ApiError as error:
            conflict = error.code == "ConflictException"
            code = "InvalidStateTransitionException" if conflict else error.code
            return web.json_response(
                {"message": error.message}, status=error.status, headers={ERROR_HEADER: code}
            )

    async def _cancel(self, request: web.Request, claim: Claim) -> web.Response:
        path, query = split_target(request)
        match = _CANCEL.fullmatch(path)
        assert match is not None
        thing, job = match.groups()
        action = "CancelJobExecution" if thing else "CancelJob"
        request[OPERATION] = f"iot:{action}"
        digest = hashlib.sha256(await read_body(request)).hexdigest()
        key = await self._admission.admit(request, claim, digest)
        request[CLIENT] = key.principal.arn
        account, region = key.principal.account, claim.scope.region
        arn = f"arn:aws:iot:{region}:{account}:"
        named = [f"{arn}job/{job}", *([f"{arn}thing/{thing}"] if thing else [])]
        for resource in named:
            asked = Query(f"iot:{action}", resource, {"aws:requestedregion": region})
            authorize(key.principal, asked)
        force = parse_qs(query).get("force") == ["true"]
        try:
            self._planes.get(account, region).cancel_job(job, thing=thing, force=force)
        finally:  # whatever the answer says is on disk before it leaves
            await self._storage.kept()
        return web.json_response({} if thing else {"jobArn": named[0], "jobId": job})
