"""STS: who am I, and temporary credentials. Sessions live in the keyring, so they are ours."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from aiohttp import web

from harness.cloud.access.keyring import SESSION_S, session_of
from harness.cloud.access.permission import authorize
from harness.cloud.access.policy import Query, permits, read_policy
from harness.cloud.access.refusal import Reason, Refused
from harness.cloud.api import ApiError
from harness.cloud.front.admission import split_target
from harness.cloud.front.listener import CLIENT, OPERATION, read_body
from harness.cloud.front.refusal import neighbour_refusal, query_error
from harness.cloud.front.s3.document import iso
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.access.keyring import AccessKey, Keyring, Principal
    from harness.cloud.access.policy import Policy
    from harness.cloud.access.scope import Claim
    from harness.cloud.front.admission import Admission
    from harness.cloud.neighbour.directory import Directory

SESSION_MIN_S, SESSION_MAX_S = 900, 12 * 3600
_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


class Sts:
    """GetCallerIdentity, AssumeRole and GetSessionToken."""

    def __init__(self, admission: Admission, keyring: Keyring, directory: Directory) -> None:
        self._admission = admission
        self._keyring = keyring
        self._directory = directory

    async def handle(self, request: web.Request, claim: Claim) -> web.Response:
        try:
            body = await read_body(request)
        except ApiError as error:
            return query_error(error.status, error.code, error.message)
        text = body.decode("latin-1") or split_target(request)[1]
        form = dict(parse_qsl(text, keep_blank_values=True))
        action = form.get("Action", "")
        request[OPERATION] = f"sts:{action}"
        try:
            digest = hashlib.sha256(body).hexdigest()
            reads = action == "GetCallerIdentity"
            key = await self._admission.admit(request, claim, digest, reads=reads)
            request[CLIENT] = key.principal.arn
            if action == "GetCallerIdentity":
                return _answer(action, _identity(key.principal))
            if action == "AssumeRole":
                return _answer(action, await self._assume_role(key.principal, form))
            if action == "GetSessionToken":
                return _answer(action, self._session_token(key, form))
        except Refused as refused:
            return neighbour_refusal(refused, request)
        except ApiError as error:
            return query_error(error.status, error.code, error.message)
        served = "GetCallerIdentity, AssumeRole and GetSessionToken are served."
        return query_error(400, "InvalidAction", served)

    async def _assume_role(self, caller: Principal, form: Mapping[str, str]) -> str:
        arn, name = form.get("RoleArn", ""), form.get("RoleSessionName", "")
        if not _NAME.fullmatch(name):
            raise _invalid("RoleSessionName must be 2 to 64 letters, digits and =,.@+-_")
        authorize(caller, Query("sts:AssumeRole", arn))
        role = await self._directory.role(arn)
        external = {"sts:externalid": form["ExternalId"]} if "ExternalId" in form else {}
        asked = Query("sts:AssumeRole", arn, external, caller.arn)
        if role is None or not permits((role.trust,), asked):
            message = (
                f"User: {caller.arn} is not authorized to perform: sts:AssumeRole "
                f"on resource: {arn}"
            )
            raise Refused(Reason.DENIED, message)
        limit = _limit(form.get("Policy"))
        who = replace(session_of(arn, role.id, name), limit=limit)
        session = self._keyring.add_session(who, _duration_s(form))
        return (
            _credentials(session) + "<AssumedRoleUser>"
            f"<AssumedRoleId>{escape(who.user_id)}</AssumedRoleId>"
            f"<Arn>{escape(who.arn)}</Arn></AssumedRoleUser>"
        )

    def _session_token(self, key: AccessKey, form: Mapping[str, str]) -> str:
        """The same principal for a while; what it may, its user's policies of today say."""
        if key.token is not None:
            raise Refused(Reason.DENIED, "Cannot call GetSessionToken with session credentials")
        return _credentials(self._keyring.add_session(key.principal, _duration_s(form)))


def _limit(document: str | None) -> Policy | None:
    """The policy that a session asked to be held to."""
    try:
        return read_policy(document) if document else None
    except Corrupt as error:
        raise ApiError("MalformedPolicyDocument", 400, {"Message": str(error)}) from None


def _duration_s(form: Mapping[str, str]) -> float:
    text = form.get("DurationSeconds", str(int(SESSION_S)))
    if not text.isdigit() or not SESSION_MIN_S <= int(text[:9]) <= SESSION_MAX_S:
        raise _invalid(f"DurationSeconds must be {SESSION_MIN_S} to {SESSION_MAX_S}")
    return float(text)


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationError", 400, {"Message": message})


def _identity(who: Principal) -> str:
    return (
        f"<Arn>{escape(who.arn)}</Arn><UserId>{escape(who.user_id)}</UserId>"
        f"<Account>{who.account}</Account>"
    )


def _credentials(session: AccessKey) -> str:
    assert session.token is not None
    assert session.expires_s is not None
    return (
        f"<Credentials><AccessKeyId>{session.id}</AccessKeyId>"
        f"<SecretAccessKey>{session.secret}</SecretAccessKey>"
        f"<SessionToken>{session.token}</SessionToken>"
        f"<Expiration>{iso(session.expires_s)}</Expiration></Credentials>"
    )


def _answer(action: str, result: str) -> web.Response:
    text = (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<{action}Result>{result}</{action}Result>"
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        f"</{action}Response>"
    )
    return web.Response(text=text, content_type="text/xml")
