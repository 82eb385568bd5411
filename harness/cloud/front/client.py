"""An administrator's client of the control plane, built from the same table as the service."""

from __future__ import annotations

import hashlib
import io
import ssl
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from harness.cloud.access.signer import signed_headers
from harness.cloud.api import load
from harness.cloud.api.error import validation
from harness.cloud.api.wire import read_answer, read_error, write_request
from harness.errors import Corrupt, LinkDown, PeerRefused, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from harness.cloud.access.keyring import AccessKey

TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 8 << 20


class ApiClient:
    """Calls operations over HTTP; an async context manager.

    Every request is signed with `key`. `ca_pem` is the authority of an endpoint with TLS. Raises
    `ApiError` for the service's errors, `LinkDown` or `PeerTimeout` when it does not answer.
    """

    def __init__(
        self,
        api_url: str,
        *,
        key: AccessKey,
        region: str = "us-east-1",
        ca_pem: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = api_url.rstrip("/")
        self._host = self._url.partition("://")[2]
        self._key = key
        self._tls = ssl.create_default_context(cadata=ca_pem) if ca_pem else True
        self._region = region
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._service = load()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls)
        self._session = aiohttp.ClientSession(timeout=self._timeout, connector=connector)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self, operation: str, parameters: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Carry out an operation: parameters and answer as the service model names them."""
        declared = self._service.operations.get(operation)
        if declared is None:
            raise validation(f"Operation {operation} is not known.", reason="UNKNOWN_OPERATION")
        given = {key: value for key, value in (parameters or {}).items() if value is not None}
        request = write_request(self._service, declared, given)
        headers = {"Content-Type": "application/json"}
        status, answered, body = await self._send(
            request.method, request.target, "panorama", headers, request.body
        )
        if status >= 400:
            raise read_error(status, answered, body)
        try:
            return read_answer(self._service, declared, body)
        except ValueError as error:
            raise Corrupt(f"{operation}: the answer cannot be read: {error}") from None

    async def put_object(self, bucket: str, key: str, data: bytes) -> None:
        """Upload an object. Raises `PeerRefused` when the store does not take it."""
        target = f"/{quote(bucket)}/{quote(key)}"
        status, _, body = await self._send("PUT", target, "s3", {}, data)
        if status >= 400:
            text = body[:200].decode(errors="replace")
            raise PeerRefused(f"PUT {target}: HTTP {status}: {text}")

    async def _send(
        self, method: str, target: str, service: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        assert self._session is not None, "enter the client first"
        digest = hashlib.sha256(body).hexdigest()
        sent = signed_headers(
            self._key, self._region, service, method, target,
            {**headers, "Host": self._host}, digest, time.time(),
        )  # fmt: skip
        url = URL(self._url + target, encoded=True)
        try:
            async with self._session.request(
                method,
                url,
                data=io.BytesIO(body) if body else None,  # bytes would be copied
                headers=sent,
            ) as response:
                data = await _read(response)
                return response.status, response.headers, data
        except TimeoutError:
            raise PeerTimeout(f"{method} {target}: no answer from {self._url}") from None
        except aiohttp.ClientError as error:
            raise LinkDown(f"{method} {target}: {error}", hint=f"is {self._url} up?") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > ANSWER_BYTES_MAX:
            raise Corrupt(f"answer is larger than {ANSWER_BYTES_MAX} bytes")
    return bytes(data)
