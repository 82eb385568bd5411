"""Credentials as an SDK inside an application finds them: its role's, renewed, never another's."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import boto3
import pytest
from botocore.config import Config
from botocore.credentials import ContainerProvider
from botocore.session import Session

from harness.engine.process.link import Link
from harness.engine.process.role import RoleEndpoint
from harness.errors import LinkDown, PeerRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GIVEN = {
    "AccessKeyId": "ASIAEXAMPLE00001",
    "SecretAccessKey": "not a secret",
    "Token": "a token",
    "Expiration": "2099-01-01T00:00:00.000Z",
}
URL = "https://cloud.test/credentials/app-1"


class Uplink:
    """What the endpoint needs of an appliance's uplink."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.link = Link(group)
        self.answer: bytes | Exception = json.dumps(GIVEN).encode()
        self.asked: list[str] = []

    async def get(self, url: str, _limit: int) -> bytes:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def uplink() -> AsyncIterator[Uplink]:
    async with asyncio.TaskGroup() as group:
        made = Uplink(group)
        yield made
        await made.link.close()


async def fetch(environment: Any, token: str | None = None) -> tuple[int, Any]:
    headers = {"Authorization": token or environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
    async with (
        aiohttp.ClientSession() as session,
        session.get(environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def as_it_is(port: int) -> int:
    return port


async def test_an_sdk_finds_the_credentials_by_itself(uplink: Uplink) -> None:
    endpoint = RoleEndpoint(uplink, URL)  # type: ignore[arg-type]
    environment = await endpoint.start("http://127.0.0.1:9", as_it_is)
    try:
        provider = ContainerProvider(dict(environment))
        found = await asyncio.to_thread(provider.load)
        frozen = await asyncio.to_thread(found.get_frozen_credentials)
        assert (frozen.access_key, frozen.secret_key, frozen.token) == (
            GIVEN["AccessKeyId"], GIVEN["SecretAccessKey"], GIVEN["Token"],
        )  # fmt: skip
        assert set(uplink.asked) == {URL}
        assert environment["AWS_ENDPOINT_URL"].startswith(f"http://{uplink.link.host}:")
    finally:
        await endpoint.close()


async def test_only_the_application_gets_them(uplink: Uplink) -> None:
    endpoint = RoleEndpoint(uplink, URL)  # type: ignore[arg-type]
    environment = await endpoint.start("http://127.0.0.1:9", as_it_is)
    assert (await fetch(environment, "another token"))[0] == 401
    assert uplink.asked == []
    for error, status in ((PeerRefused("403"), 403), (LinkDown("gone"), 503)):
        uplink.answer = error
        assert (await fetch(environment))[0] == status
    uplink.answer = b"no json"
    assert (await fetch(environment))[0] == 503
    await endpoint.close()
    with pytest.raises(aiohttp.ClientError):
        await fetch(environment)


def test_an_application_without_a_role_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the process is started: no variable of anybody's credentials, no metadata service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    session = boto3.Session(botocore_session=Session())
    client = session.client("s3", region_name="us-east-1", config=Config(retries={}))
    assert client._request_signer._credentials is None
    client.close()
