"""The bench's control plane says to an appliance what the real one says: the same life on both."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from harness.cloud.service.authority import SymbolicAuthority
from harness.cloud.service.content import BytesContent, MemoryObjects
from harness.cloud.service.core import Endpoints
from harness.cloud.service.plane import ControlPlane
from harness.engine.stick import with_archive
from harness.engine.sweep.box import Box
from harness.engine.sweep.cloud import (
    RELEASE_KEY,
    REPOSITORY,
    STICK,
    THING,
    Cloud,
    manifest,
    payload,
)
from harness.engine.sweep.stand import factory_box

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NEW = "6.2.1"


def _nobody(_topic: str, _payload: Mapping[str, Any]) -> None:
    pass


@dataclass
class RealCloud:
    """The real control plane behind what a `Box` needs of one."""

    box_draw: random.Random = field(default_factory=lambda: random.Random(1))
    changes: int = 0
    client: str = ""

    def __post_init__(self) -> None:
        self.authority, self.objects = SymbolicAuthority(), MemoryObjects()
        self._asking = ""
        self._say: Callable[[str, Mapping[str, Any]], None] = _nobody
        self.plane = ControlPlane(
            clock=lambda: 1_700_000_000.0,
            draw=self.box_draw,
            authority=self.authority,
            objects=self.objects,
            publish=lambda client, topic, message: (
                self._say(topic, message) if client == self.client else None
            ),
            record=lambda _kind, _values: None,
            endpoints=Endpoints("http://api.test", "mqtt.test", 8883, "https://cloud.test"),
        )
        answer = self.plane.call("ProvisionDevice", {"Name": "box"})
        self.device = answer["DeviceId"]
        self.stick = with_archive("box", answer["Certificates"])

    def refusal(self, client_id: str) -> str:
        self._asking = client_id
        return ""

    @property
    def say(self) -> Callable[[str, Mapping[str, Any]], None]:
        return self._say

    @say.setter
    def say(self, say: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._say, self.client = say, self._asking
        self.plane.connected(self.client)

    def receive(self, topic: str, message: Mapping[str, Any]) -> None:
        # As JSON, since that is what a wire would leave of it.
        self.plane.receive(self.client, topic, json.loads(json.dumps(message)))

    def hang_up(self) -> None:
        self._say = _nobody
        if self.client:
            self.plane.disconnected(self.client)
            self.client = ""

    @property
    def content(self) -> _Objects:
        return _Objects(self.objects)

    def offer_and_order(self, defects: tuple[str, ...]) -> str:
        made = manifest(NEW, fuse_level=2, defects=defects)
        body = BytesContent(bytes(made.size_bytes))
        signed = made.sign(RELEASE_KEY)
        self.plane.publish_image(NEW, signed, body)
        self.plane.publish_metadata(REPOSITORY.offering(made, signed).files())
        answer = self.plane.call(
            "CreateJobForDevices",
            {
                "DeviceIds": [self.device],
                "JobType": "OTA",
                "DeviceJobConfig": {"OTAJobConfig": {"ImageVersion": NEW}},
            },
        )
        return str(answer["Jobs"][0]["JobId"])

    def order_reboot(self) -> str:
        request = {"DeviceIds": [self.device], "JobType": "REBOOT"}
        return str(self.plane.call("CreateJobForDevices", request)["Jobs"][0]["JobId"])

    def status(self, job: str) -> str:
        return str(self.plane.call("DescribeDeviceJob", {"JobId": job})["Status"])


class _Objects:
    """Objects by URL; a firmware payload as the blob it stands for."""

    def __init__(self, objects: MemoryObjects) -> None:
        self.objects = objects

    def _find(self, url: str) -> Any:
        bucket, _, key = urlsplit(url).path.removeprefix("/").partition("/")
        return self.objects.get(bucket, key)

    def __contains__(self, url: str) -> bool:
        return self._find(url) is not None

    def __getitem__(self, url: str) -> Any:
        if url.endswith("payload"):
            return payload(NEW)
        found = self._find(url)
        return found.read(0, found.size_bytes)


def _kinds(box: Box) -> list[tuple[str, Any]]:
    """What the appliance told, without the names that a control plane draws."""
    telling = ("version", "phase", "status", "outcome", "state", "reason", "slot", "committed")
    return [
        (kind, {key: values[key] for key in telling if key in values}) for kind, values in box.notes
    ]


def _on_the_bench(defects: tuple[str, ...]) -> tuple[Box, list[str]]:
    box = factory_box()
    box.stick = STICK.copy()
    box.power_up()
    assert box.run(lambda: box.online and box.idle)
    cloud = box.cloud
    statuses = []
    orders: list[Callable[[], str]] = [
        lambda: cloud.order(cloud.offer(NEW, fuse_level=2, defects=defects)),
        lambda: cloud.order({"operation": "REBOOT"}),
    ]
    for order in orders:
        job = order()
        assert box.run(lambda: cloud.jobs[job]["status"] in ("SUCCEEDED", "FAILED"))  # noqa: B023
        assert box.run(lambda: box.idle)
        statuses.append(cloud.jobs[job]["progress"])
    return box, statuses


def _on_the_real_one(defects: tuple[str, ...]) -> tuple[Box, list[str]]:
    cloud: Any = RealCloud()
    box = Box(factory_box().disk, cloud)
    box.stick = cloud.stick
    box.power_up()
    assert box.run(lambda: box.online and box.idle)
    statuses = []
    orders: list[Callable[[], str]] = [
        lambda: cloud.offer_and_order(defects),
        cloud.order_reboot,
    ]
    for order in orders:
        job = order()
        assert box.run(lambda: cloud.status(job) in ("COMPLETED", "FAILED"))  # noqa: B023
        assert box.run(lambda: box.idle)
        statuses.append(cloud.status(job))
    return box, statuses


@pytest.mark.parametrize("defects", [(), ("health-check-fails",)], ids=["good", "bad"])
def test_an_appliance_lives_the_same_life_on_the_bench_and_on_the_control_plane(
    defects: tuple[str, ...],
) -> None:
    bench, told = _on_the_bench(defects)
    real, truth = _on_the_real_one(defects)
    assert told == truth
    assert _kinds(bench) == _kinds(real)


def test_a_twin_goes_its_own_way() -> None:
    cloud = Cloud()
    cloud.deploy("door", {"code": b"x"})
    job = cloud.order({"operation": "REBOOT"})
    twin = cloud.twin()
    assert twin.key() == cloud.key()
    twin.receive(
        f"$aws/things/{THING}/jobs/{job}/update",
        {"status": "SUCCEEDED", "statusDetails": {"progress": "COMPLETED", "reason": ""}},
    )
    twin.remove("door")
    assert cloud.jobs[job]["status"] == "QUEUED"
    assert cloud.desired["door"]["state"] == "RUNNING"
    assert twin.key() != cloud.key()


def test_a_job_that_ends_twice_is_a_lie() -> None:
    cloud = Cloud()
    job = cloud.order({"operation": "REBOOT"})
    for status in ("SUCCEEDED", "FAILED"):
        cloud.receive(
            f"$aws/things/{THING}/jobs/{job}/update",
            {"status": status, "statusDetails": {"progress": "COMPLETED", "reason": ""}},
        )
    assert cloud.lies == ["job-0 ended as SUCCEEDED, then as FAILED"]
