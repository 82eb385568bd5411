"""HTTPS for devices: objects, telemetry and role credentials, with an active certificate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from aiohttp import web

from harness.cloud.access.keyring import session_of
from harness.cloud.access.policy import Query, permits
from harness.cloud.api import ApiError
from harness.cloud.front.http_object import send, split_path
from harness.cloud.front.listener import CLIENT, application, read_body
from harness.cloud.front.refusal import object_error
from harness.cloud.front.s3.document import iso
from harness.cloud.front.tls import peer_of
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.cloud.access.keyring import Keyring
    from harness.cloud.front.listener import Log
    from harness.cloud.front.planes import Planes
    from harness.cloud.neighbour.directory import Directory
    from harness.cloud.service.plane import ControlPlane


TELEMETRY = "/telemetry"
Feed: TypeAlias = "Callable[[str, str], None]"  # hands telemetry of an account and region on
CREDENTIALS = "/credentials/"  # of an application instance
SERVICE = "panorama.amazonaws.com"


class DeviceFront:
    """Every request is answered by the plane that the device belongs to."""

    def __init__(
        self,
        planes: Planes,
        keyring: Keyring,
        directory: Directory,
        log: Log,
        feed: Feed,
        kept: Callable[[], Awaitable[None]],
    ) -> None:
        self._feed = feed
        self._kept = kept
        self._planes = planes
        self._keyring = keyring
        self._directory = directory
        self.application = application(self._handle, "device", log)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        peer = peer_of(transport.get_extra_info("ssl_object") if transport else None)
        if peer is None:
            return object_error(request.method, 403, "AccessDenied", "No client certificate.")
        request[CLIENT] = peer.name
        reason = self._planes.refusal(peer.name, peer.certificate_id)
        plane = self._planes.of_device(peer.name)
        if reason or plane is None:
            return object_error(request.method, 403, "AccessDenied", reason)
        if request.method == "POST" and request.path == TELEMETRY and plane.knows(peer.name):
            return await self._telemetry(request, plane, peer.name)
        if request.method not in ("GET", "HEAD"):
            status = 405 if plane.knows(peer.name) else 403  # a claim is no device yet
            return object_error(request.method, status, "MethodNotAllowed", "Devices read.")
        if request.path.startswith(CREDENTIALS):
            return await self._credentials(plane, peer.name, request.path)
        bucket, key = split_path(request.rel_url.raw_path)
        if not plane.may_read(peer.name, bucket, key):
            message = f"{peer.name} may not read {key}."
            return object_error(request.method, 403, "AccessDenied", message)
        content = plane.objects.get(bucket, key)
        if content is None:
            message = "The specified key does not exist."
            return object_error(request.method, 404, "NoSuchKey", message)
        return await send(request, content)

    async def _telemetry(
        self, request: web.Request, plane: ControlPlane, thing: str
    ) -> web.Response:
        """Acknowledged once it is on disk."""
        try:
            plane.told(thing, json.loads(await read_body(request)))
        except ApiError as error:
            return web.json_response({"message": error.message}, status=error.status)
        except (Corrupt, ValueError, RecursionError) as error:
            return web.json_response({"message": str(error)}, status=400)
        self._feed(plane.account, plane.region)
        await self._kept()
        return web.json_response({})

    async def _credentials(self, plane: ControlPlane, thing: str, path: str) -> web.StreamResponse:
        """Temporary credentials of the role that an application was deployed with.

        As AWS containers get them. The role's trust policy may bind them to the account and the
        device; a role that IAM does not know permits nothing.
        """
        instance = path.removeprefix(CREDENTIALS)
        arn = plane.role_of(thing, instance)
        if arn.count(":") < 5:
            return web.json_response({"message": "The application has no role."}, status=404)
        context = {
            "aws:sourceaccount": plane.account,
            "aws:sourcearn": f"arn:aws:panorama:{plane.region}:{plane.account}:device/{thing}",
        }
        role = await self._directory.role(arn)
        asked = Query("sts:AssumeRole", arn, context, SERVICE)
        if role is not None and not permits((role.trust,), asked):
            message = f"{SERVICE} is not authorized to perform: sts:AssumeRole on resource: {arn}"
            return web.json_response({"message": message}, status=403)
        identifier = role.id if role is not None else "AROA"
        session = self._keyring.add_session(session_of(arn, identifier, instance[:64]))
        assert session.expires_s is not None
        return web.json_response(
            {
                "AccessKeyId": session.id,
                "SecretAccessKey": session.secret,
                "Token": session.token,
                "Expiration": iso(session.expires_s),
                "RoleArn": arn,
            }
        )
