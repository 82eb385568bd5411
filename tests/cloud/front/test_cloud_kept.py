"""Nothing leaves the served plane before what it says is on disk, over HTTP or MQTT."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest

from harness.appliance.topic import ACCEPTED, job_notify, shadow_update
from harness.cloud.api import ApiError
from harness.cloud.front.client import ApiClient
from harness.cloud.front.server import CloudServer
from harness.cloud.storage.database import Database
from harness.errors import InputError, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 5.0
MOMENT_S = 0.1  # what would come at once would have come by then


class SlowDisk:
    """Holds back, or refuses, what is written from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._write = Database.write
        self.open = threading.Event()
        self.open.set()
        self.full = False
        monkeypatch.setattr(Database, "write", lambda *given: self.write(*given))

    def write(self, database: Database, changes: Any) -> None:
        assert self.open.wait(WAIT_S)
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        self._write(database, changes)

    @contextmanager
    def held(self) -> Iterator[None]:
        self.open.clear()
        try:
            yield
        finally:
            self.open.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(monkeypatch)


def server(directory: Path, seed: int = 1) -> CloudServer:
    return CloudServer(state_dir=directory, draw=random.Random(seed), record=lambda *_: None)


async def still_waiting(task: asyncio.Task[Any]) -> bool:
    done, _ = await asyncio.wait({task}, timeout=MOMENT_S)
    return not done


async def test_an_answer_waits_for_the_disk(disk: SlowDisk, cloud: Any) -> None:
    async with (
        ApiClient(cloud.server.api_url, key=cloud.server.root_key) as client,
        asyncio.TaskGroup() as group,
    ):
        with disk.held():
            made = group.create_task(client.call("CreatePackage", {"PackageName": "counter"}))
            assert await still_waiting(made)
            # Whoever reads what is not kept yet must not learn of it either.
            read = group.create_task(
                client.call("DescribePackage", {"PackageId": "packageName/counter"})
            )
            assert await still_waiting(read)
        assert (await made)["PackageId"] == (await read)["PackageId"]


async def test_a_refusal_waits_for_what_it_follows_from(disk: SlowDisk, cloud: Any) -> None:
    async with (
        ApiClient(cloud.server.api_url, key=cloud.server.root_key) as client,
        asyncio.TaskGroup() as group,
    ):
        with disk.held():
            made = group.create_task(client.call("CreatePackage", {"PackageName": "counter"}))
            assert await still_waiting(made)
            again = group.create_task(conflict(client))
            assert await still_waiting(again)
        await made
        assert await again == "ConflictException"


async def conflict(client: ApiClient) -> str:
    with pytest.raises(ApiError) as raised:
        await client.call("CreatePackage", {"PackageName": "counter"})
    return raised.value.code


@pytest.mark.parametrize("size", [10, 100_000])
async def test_an_upload_is_acknowledged_when_it_is_kept(
    disk: SlowDisk, cloud: Any, size: int
) -> None:
    async with (
        ApiClient(cloud.server.api_url, key=cloud.server.root_key) as client,
        asyncio.TaskGroup() as group,
    ):
        with disk.held():
            put = group.create_task(client.put_object("bucket", "key", b"x" * size))
            assert await still_waiting(put)
        await put
    content = cloud.server.plane.objects.get("bucket", "key")
    assert content.size_bytes == size


async def test_a_message_is_acknowledged_when_it_is_kept(disk: SlowDisk, cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    topic = shadow_update(device, "device")
    report = json.dumps({"state": {"reported": {"software": "6.2.1"}}})
    async with cloud.mqtt(device, credentials) as client, asyncio.TaskGroup() as group:
        await client.subscribe(topic + ACCEPTED, qos=1)
        with disk.held():
            told = [group.create_task(client.publish(topic, report, qos=1)) for _ in range(3)]
            answer = group.create_task(anext(aiter(client.messages)))
            assert await still_waiting(told[0])
            assert await still_waiting(answer), "the answer would tell of it too"
            reported = cloud.server.plane.call("DescribeDevice", {"DeviceId": device})
            assert reported["CurrentSoftware"] == "6.2.1", "it was taken all the same"
        await asyncio.gather(*told)
        await answer


async def test_a_device_learns_of_a_job_that_is_kept(disk: SlowDisk, cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client, asyncio.TaskGroup() as group:
        await client.subscribe(job_notify(device), qos=1)
        with disk.held():
            cloud.server.plane.call(
                "CreateJobForDevices", {"DeviceIds": [device], "JobType": "REBOOT"}
            )
            notified = group.create_task(anext(aiter(client.messages)))
            assert await still_waiting(notified)
        await notified


async def test_a_full_disk_ends_acknowledgements(disk: SlowDisk, cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    topic = shadow_update(device, "device")
    report = json.dumps({"state": {"reported": {"slot": "a"}}})
    async with ApiClient(cloud.server.api_url, key=cloud.server.root_key) as client:
        async with cloud.mqtt(device, credentials) as link:
            disk.full = True
            with pytest.raises(aiomqtt.MqttError):
                await link.publish(topic, report, qos=1, timeout=1.0)
        with pytest.raises(ApiError) as raised:
            await client.call("CreatePackage", {"PackageName": "counter"})
        assert raised.value.status == 500
        with pytest.raises(PeerRefused):
            await client.put_object("bucket", "key", b"data")
        failure = await asyncio.wait_for(cloud.server.failed(), WAIT_S)
    assert "disk is full" in str(failure)


async def test_a_restart_knows_everything_and_everybody(tmp_path: Path, cloud: Any) -> None:
    """Devices connect with the certificates they have: the authority is the same."""
    directory = tmp_path / "again"
    async with server(directory) as first:
        cloud.server, before = first, cloud.server
        device, credentials = await cloud.register("north")
        first.plane.buckets.make("bucket")
        async with ApiClient(first.api_url, key=first.root_key) as client:
            await client.put_object("bucket", "key", b"x" * 100_000)
    async with server(directory, seed=2) as second:
        cloud.server = second
        async with cloud.mqtt(device, credentials):
            assert second.clients == (device,)
        content = second.plane.objects.get("bucket", "key")
        assert content is not None
        assert content.size_bytes == 100_000
    cloud.server = before


async def test_a_damaged_authority_is_an_error(tmp_path: Path) -> None:
    async with server(tmp_path):
        pass
    path = tmp_path / "tls" / "authority.pem"
    path.write_text("-----BEGIN NOTHING-----", encoding="ascii")
    with pytest.raises(InputError, match="no certificate authority"):
        async with server(tmp_path):
            pass
