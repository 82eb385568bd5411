"""Admits requests to the API endpoint: who signed them, and whether they may."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from multidict import CIMultiDict

from harness.cloud.access import query_v2
from harness.cloud.access.scope import read_claim
from harness.cloud.access.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web
    from multidict import CIMultiDictProxy

    from harness.cloud.access.keyring import AccessKey, Keyring
    from harness.cloud.neighbour.directory import Directory
from harness.cloud.access.scope import Claim

_READS = frozenset({"GET", "HEAD"})


class Admission:
    """Keys that the keyring does not have are looked for in the `directory`, as are roles."""

    def __init__(self, keyring: Keyring, clock: Callable[[], float], directory: Directory) -> None:
        self._keyring = keyring
        self._clock = clock
        self._verifier = Verifier(clock)
        self._directory = directory

    @staticmethod
    def claim(request: web.Request) -> Claim:
        """What the request says of its signature. Raises `Refused`."""
        return read_claim(request.headers, split_target(request)[1])

    async def admit(
        self, request: web.Request, claim: Claim, payload_sha256: str, *, reads: bool = False
    ) -> AccessKey:
        """The key that signed the request. Raises `Refused`.

        `payload_sha256` is the hash that was signed for the body; comparing it with the body
        is the caller's part. `reads`: the request changes nothing although its method could.
        """
        path, query = split_target(request)
        key = await self._find(claim.scope.access_key)
        headers = _joined(request.headers)
        key = self._verifier.verify(
            key, claim, request.method, path, query, headers, payload_sha256
        )
        if not reads and request.method not in _READS:
            self._verifier.once(claim, headers)
        return await self._current(key)

    async def admit_v2(self, request: web.Request) -> AccessKey:
        """The key of a presigned URL in Signature Version 2. Raises `Refused`."""
        path, query = split_target(request)
        key = await self._find(query_v2.key_id(query))
        headers = _joined(request.headers)
        key = query_v2.verify(key, request.method, path, query, headers, self._clock())
        return await self._current(key)

    async def _find(self, key_id: str) -> AccessKey | None:
        return self._keyring.find(key_id) or await self._directory.key(key_id)

    async def _current(self, key: AccessKey) -> AccessKey:
        """The key with what its principal may do now."""
        if not key.principal.role:
            return key
        return replace(key, principal=await self._directory.current(key.principal))


def split_target(request: web.Request) -> tuple[str, str]:
    """Path and query as on the wire, which is what was signed."""
    path, _, query = request.raw_path.partition("?")
    return path, query


def _joined(headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
    """Headers that occur more than once as one line each, as they are signed."""
    names = {name.lower() for name in headers}
    if len(names) == len(headers):
        return headers
    return CIMultiDict((name, ",".join(headers.getall(name))) for name in names)
