"""Killed at any moment under load, a plane that starts again knows all that it acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest

from harness.cloud.front.client import ApiClient
from harness.cloud.front.server import CloudServer
from harness.cloud.service.content import BytesContent, sha256
from harness.cloud.service.core import DEPLOYMENT_BUCKET, PACKAGE_BUCKET
from harness.cloud.storage.storage import Storage
from harness.errors import LinkDown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from harness.cloud.access.keyring import AccessKey
    from harness.cloud.service.state import KeptStore
    from harness.cloud.storage.files import FileObjects

SERVER = Path(__file__).with_name("kill_server.py")
KILLS = 20  # in each of five runs
WORKERS = 5
ANSWERS = (1, 25)  # least and most that a plane gives before it is killed
AFTERWARDS_S = 0.01  # how much later at most
WAIT_S = 30.0
RECHECKED = 8  # of what earlier planes acknowledged, in every round
BUCKET = "uploads"


@dataclass
class Ledger:
    """What was acknowledged, by whichever of the planes."""

    devices: dict[str, str] = field(default_factory=dict)  # id -> name
    deleted: set[str] = field(default_factory=set)
    packages: dict[str, str] = field(default_factory=dict)  # id -> name
    cameras: list[str] = field(default_factory=list)  # ids of template jobs
    objects: dict[str, str] = field(default_factory=dict)  # key -> SHA-256
    instances: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)  # id -> status that the device reported
    report: int = 0  # the newest that was acknowledged over MQTT

    def count(self) -> int:
        """Of the kind there is least of."""
        kinds = (
            self.devices, self.deleted, self.packages, self.cameras, self.objects,
            self.instances, self.removed, self.jobs,
        )  # fmt: skip
        return min(map(len, kinds))


class Load:
    """What clients ask of a plane until it is gone; only answers make it into the ledger."""

    def __init__(self, draw: random.Random, site: Site) -> None:
        self.ledger = Ledger()
        self.draw = draw
        self.site = site
        self.number = 0
        self.answers = asyncio.Semaphore(0)  # one for each that came

    def name(self, what: str) -> str:
        self.number += 1
        return f"{what}-{os.getpid()}-{self.draw.getrandbits(32):08x}-{self.number}"

    async def work(self, client: ApiClient) -> None:
        actions = (
            self.provision, self.provision, self.provision, self.delete, self.package,
            self.camera, self.upload, self.upload, self.deploy, self.deploy, self.remove,
        )  # fmt: skip
        with contextlib.suppress(LinkDown):  # killed
            while True:
                await self.draw.choice(actions)(client)
                self.answers.release()

    async def provision(self, client: ApiClient) -> None:
        name = self.name("device")
        answer = await client.call("ProvisionDevice", {"Name": name})
        self.ledger.devices[answer["DeviceId"]] = name

    async def delete(self, client: ApiClient) -> None:
        if not self.ledger.devices:
            return
        device = self.draw.choice(list(self.ledger.devices))
        del self.ledger.devices[device]  # whether it is there is open until an answer comes
        await client.call("DeleteDevice", {"DeviceId": device})
        self.ledger.deleted.add(device)

    async def package(self, client: ApiClient) -> None:
        name = self.name("package")
        answer = await client.call("CreatePackage", {"PackageName": name})
        self.ledger.packages[answer["PackageId"]] = name

    async def camera(self, client: ApiClient) -> None:
        name = self.name("camera")
        answer = await client.call("CreateNodeFromTemplateJob", camera(name))
        self.ledger.cameras.append(answer["JobId"])

    async def upload(self, client: ApiClient) -> None:
        key, size = self.name("key"), self.draw.choice((10, 5_000, 20_000, 200_000))
        data = self.draw.randbytes(size)
        await client.put_object(BUCKET, key, data)
        self.ledger.objects[key] = hashlib.sha256(data).hexdigest()

    async def deploy(self, client: ApiClient) -> None:
        answer = await client.call("CreateApplicationInstance", self.site.request)
        self.ledger.instances.append(answer["ApplicationInstanceId"])

    async def remove(self, client: ApiClient) -> None:
        if not self.ledger.instances:
            return
        instance = self.ledger.instances.pop(self.draw.randrange(len(self.ledger.instances)))
        await client.call("RemoveApplicationInstance", {"ApplicationInstanceId": instance})
        self.ledger.removed.append(instance)

    async def run_device(self, mqtt: aiomqtt.Client, client: ApiClient, job: str) -> None:
        """Counts in its shadow, is given jobs and ends them."""
        number = self.ledger.report
        with contextlib.suppress(LinkDown, aiomqtt.MqttError):
            while True:
                if job:
                    await self.carry_out(mqtt, job)
                number += 1
                await self.publish(mqtt, "shadow/name/device/update", reported(number))
                self.ledger.report = number
                asked = {"DeviceIds": [self.site.device], "JobType": "REBOOT"}
                job = (await client.call("CreateJobForDevices", asked))["Jobs"][0]["JobId"]
                self.ledger.jobs.setdefault(job, "QUEUED")

    async def unfinished(self, mqtt: aiomqtt.Client) -> str:
        """The job that an earlier plane was asked for, whether it could say so or not."""
        await mqtt.subscribe(f"$aws/things/{self.site.device}/jobs/$next/get/accepted", qos=1)
        await self.publish(mqtt, "jobs/$next/get", {})
        answer = await anext(aiter(mqtt.messages))
        return str(json.loads(bytes(answer.payload)).get("execution", {}).get("jobId", ""))

    async def carry_out(self, mqtt: aiomqtt.Client, job: str) -> None:
        for status in ("IN_PROGRESS", "SUCCEEDED"):
            await self.publish(mqtt, f"jobs/{job}/update", {"status": status})
            self.ledger.jobs[job] = status

    async def publish(self, mqtt: aiomqtt.Client, rest: str, payload: Any) -> None:
        topic = f"$aws/things/{self.site.device}/{rest}"
        await mqtt.publish(topic, json.dumps(payload), qos=1, timeout=WAIT_S)
        self.answers.release()


def reported(count: int) -> dict[str, Any]:
    return {"state": {"reported": {"count": count}}}


@contextlib.asynccontextmanager
async def planes(directory: Path) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Starts one plane after the other, each a process on the same state."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), str(directory), stdin=PIPE, stdout=PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    stdin, stdout = parent.stdin, parent.stdout

    async def start() -> Any:
        stdin.write(b"start\n")
        async with asyncio.timeout(WAIT_S):
            place = SimpleNamespace(**json.loads(await stdout.readline()))
        started.append(place.pid)
        return place

    started: list[int] = []
    try:
        yield start
    finally:
        with contextlib.suppress(ProcessLookupError):
            for process in started[-1:]:
                os.kill(process, signal.SIGKILL)
        stdin.close()
        await asyncio.wait_for(parent.communicate(), WAIT_S)


@dataclass(frozen=True)
class Site:
    """A state with a registered device, and what it takes to go on with it."""

    device: str
    credentials: Any
    key: AccessKey
    request: Any  # to deploy to the device


async def prepare(directory: Path, cloud: Any, application: Any) -> Site:
    server = CloudServer(state_dir=directory, draw=random.Random(1), record=lambda *_: None)
    async with server:
        cloud.server = server
        device, credentials = await cloud.register("north")
        plane = server.plane
        made = plane.call("CreatePackage", {"PackageName": application.package})
        for key, data in application.uploads(made["StorageLocation"]).items():
            plane.buckets.put(PACKAGE_BUCKET, key, BytesContent(data))
        version = {"PackageVersion": "1.0", "PatchVersion": application.patch}
        plane.call("RegisterPackageVersion", {"PackageId": made["PackageId"], **version})
        plane.call("CreateNodeFromTemplateJob", camera("door"))
        plane.buckets.make(BUCKET)
    return Site(device, credentials, server.root_key, application.request(device, "door"))


def camera(name: str) -> dict[str, Any]:
    return {
        "TemplateType": "RTSP_CAMERA_STREAM",
        "NodeName": name,
        "OutputPackageName": name,
        "OutputPackageVersion": "1.0",
        "TemplateParameters": {"StreamUrl": "rtsp://127.0.0.1/a", "Password": name},
    }


async def recheck(ledger: Ledger, client: ApiClient, draw: random.Random) -> None:
    """Some of what earlier planes acknowledged, as a client sees it."""
    facts = [
        *(("DescribeDevice", {"DeviceId": device}) for device in ledger.devices),
        *(("DescribePackage", {"PackageId": package}) for package in ledger.packages),
        *(("DescribeNodeFromTemplateJob", {"JobId": job}) for job in ledger.cameras),
        *(
            ("DescribeApplicationInstance", {"ApplicationInstanceId": instance})
            for instance in (*ledger.instances, *ledger.removed)
        ),
        *(("DescribeDeviceJob", {"JobId": job}) for job in ledger.jobs),
    ]
    for operation, parameters in draw.sample(facts, min(RECHECKED, len(facts))):
        await client.call(operation, parameters)  # raises when it is not known


async def load_and_kill(place: Any, load: Load, mqtt: aiomqtt.Client) -> None:
    async with (
        ApiClient(place.api_url, key=load.site.key) as client,
        asyncio.TaskGroup() as group,
    ):
        await recheck(load.ledger, client, load.draw)
        with contextlib.suppress(aiomqtt.MqttError):
            async with mqtt:
                job = await load.unfinished(mqtt)
                workers = [group.create_task(load.work(client)) for _ in range(WORKERS)]
                device = group.create_task(load.run_device(mqtt, client, job))
                for _ in range(load.draw.randint(*ANSWERS)):
                    await load.answers.acquire()
                await asyncio.sleep(load.draw.uniform(0.0, AFTERWARDS_S))
                os.kill(place.pid, signal.SIGKILL)
                await asyncio.wait(workers)
                device.cancel()


@pytest.mark.parametrize("seed", range(5))
async def test_killed_at_any_moment_it_knows_what_it_acknowledged(
    seed: int, cloud: Any, application: Any, tmp_path: Path
) -> None:
    directory = tmp_path / "killed"
    site = await prepare(directory, cloud, application)
    load = Load(random.Random(seed), site)
    async with planes(directory) as start:
        for _ in range(KILLS):
            place = await start()
            cloud.server = place
            await load_and_kill(place, load, cloud.mqtt(site.device, site.credentials))
    assert load.ledger.count(), "there was load of every kind"
    assert load.ledger.report
    async with Storage(directory) as storage:
        store = storage.store("123456789012/us-east-1")
        objects = storage.objects(store)
        everything_is_there(load.ledger, store, objects, site.device)
        nothing_is_half_there(store, objects, site.device)


def everything_is_there(
    ledger: Ledger, store: KeptStore, objects: FileObjects, device: str
) -> None:
    assert ledger.devices.items() <= {d.id: d.name for d in store.devices.values()}.items()
    assert not ledger.deleted & store.devices.keys()
    assert ledger.packages.items() <= {p.id: p.name for p in store.packages.values()}.items()
    assert set(ledger.cameras) <= store.template_jobs.keys()
    assert {store.instances[instance].desired for instance in ledger.instances} <= {"RUNNING"}
    assert {store.instances[instance].desired for instance in ledger.removed} <= {"REMOVED"}
    for key, digest in ledger.objects.items():
        content = objects.get(BUCKET, key)
        assert content is not None, key
        assert sha256(content) == digest, key
    order = ("QUEUED", "IN_PROGRESS", "SUCCEEDED")
    for job, status in ledger.jobs.items():
        assert order.index(store.jobs[job].status) >= order.index(status), job
    assert store.devices[device].reported.get("count", 0) >= ledger.report


def nothing_is_half_there(store: KeptStore, objects: FileObjects, device: str) -> None:
    """What one call changes in several records is there in all of them, acknowledged or not."""
    for name in store.objects:
        bucket, _, key = name.partition("/")
        content = objects.get(bucket, key)
        assert content is not None
        assert sha256(content) == store.objects[name].sha256
    for instance in store.instances.values():
        assert f"{DEPLOYMENT_BUCKET}/{device}/{instance.id}.json" in store.objects
    assert store.devices[device].instances == list(store.instances)
    assert store.devices[device].jobs == len(store.jobs)
    for job in store.template_jobs.values():
        package = store.packages[store.package_names[job.package]]
        found = package.find(job.version)
        assert found is not None
        assert store.secrets[str(found.secret)].values["Password"] == job.node
