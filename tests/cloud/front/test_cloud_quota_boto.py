"""Rates as unmodified botocore meets them: what it sees, and that its retries get through."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import botocore.config
import botocore.session
import pytest
from botocore.exceptions import ClientError

from harness.cloud.front.server import CloudServer
from harness.cloud.service.core import Settings
from harness.scenario.quota import OFF

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[CloudServer]:
    """A control plane of one device, that lets two changes a second through."""
    settings = Settings(quotas=replace(OFF, devices=1, changes_per_s=2.0))
    async with CloudServer(
        state_dir=tmp_path, draw=random.Random(7), record=lambda *_: None, settings=settings
    ) as server:
        yield server


@pytest.fixture
def client(limited: CloudServer) -> Any:
    clients = []

    def make(**retries: Any) -> Any:
        made = botocore.session.Session().create_client(
            "panorama",
            region_name="us-east-1",
            endpoint_url=limited.api_url,
            aws_access_key_id=limited.root_key.id,
            aws_secret_access_key=limited.root_key.secret,
            config=botocore.config.Config(retries=retries, connect_timeout=5, read_timeout=5),
        )
        clients.append(made)
        return made

    yield make
    for made in clients:
        made.close()


def create(panorama: Any, count: int) -> list[int]:
    """Make packages one after the other; how often each was tried again."""
    answers = [panorama.create_package(PackageName=f"package_{n}") for n in range(count)]
    return [int(answer["ResponseMetadata"]["RetryAttempts"]) for answer in answers]


async def test_without_retries_a_client_is_told_in_the_words_of_aws(
    client: Callable[..., Any],
) -> None:
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(create, client(max_attempts=0), 5)
    response = caught.value.response
    assert response["Error"] == {
        "Code": "ThrottlingException",
        "Message": "Rate exceeded: 2 a second for requests that create or change resources.",
    }
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"


async def test_a_quota_is_the_error_that_the_model_declares(client: Callable[..., Any]) -> None:
    panorama = client(max_attempts=8)
    await asyncio.to_thread(panorama.provision_device, Name="first")
    with pytest.raises(panorama.exceptions.ServiceQuotaExceededException) as caught:
        await asyncio.to_thread(panorama.provision_device, Name="one-more")
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 402
    assert (response["ServiceCode"], response["QuotaCode"]) == ("panorama", "registered-devices")
    assert (response["ResourceType"], response["ResourceId"]) == ("DEVICE", "one-more")


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
async def test_the_retries_of_botocore_get_through(client: Callable[..., Any], mode: str) -> None:
    panorama = client(mode=mode, max_attempts=8)
    attempts = await asyncio.to_thread(create, panorama, 5)
    assert sum(attempts) > 0
    listed = await asyncio.to_thread(panorama.create_package, PackageName="last")
    assert listed["ResponseMetadata"]["HTTPStatusCode"] == 200
