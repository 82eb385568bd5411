"""HTTPS for devices: objects, to who holds an active certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cloud.front.http_object import send, split_path
from harness.cloud.front.listener import CLIENT, application
from harness.cloud.front.refusal import object_error
from harness.cloud.front.tls import peer_of

if TYPE_CHECKING:
    from aiohttp import web

    from harness.cloud.front.listener import Log
    from harness.cloud.front.planes import Planes


class DeviceFront:
    """Every request is answered by the plane that the device belongs to."""

    def __init__(self, planes: Planes, log: Log) -> None:
        self._planes = planes
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
        if request.method not in ("GET", "HEAD"):
            return object_error(request.method, 405, "MethodNotAllowed", "Devices read.")
        bucket, key = split_path(request.rel_url.raw_path)
        if not plane.may_read(peer.name, bucket, key):
            message = f"{peer.name} may not read {key}."
            return object_error(request.method, 403, "AccessDenied", message)
        content = plane.objects.get(bucket, key)
        if content is None:
            message = "The specified key does not exist."
            return object_error(request.method, 404, "NoSuchKey", message)
        return await send(request, content)
