"""The other end of the link of a box on the bench: topics answered, documents served.

Only what `harness.appliance.topic` promises of a control plane, in plain data, so that a box can
be forked together with it a thousand times a second. `content` is what the URLs give; attacks
change it. `tests/engine/sweep` holds it to what the real control plane answers.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from harness.appliance import chain, topic
from harness.appliance.image import Manifest
from harness.appliance.storage import Blob
from harness.engine.repository import Repository
from harness.engine.stick import with_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from harness.appliance.demand import Demand
    from harness.engine.stick import Stick

EPOCH_S = 1_700_000_000.0
THING = "device-1"
BOARD = "jetson-agx-xavier"
RELEASE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ROOT_KEY = RELEASE_KEY.public_key().public_bytes_raw()
REPOSITORY = Repository("bench", EPOCH_S)
UPDATE_ROOT = REPOSITORY.roots()[0]
SUPPORT_KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG_KEY = SUPPORT_KEY.public_key().public_bytes_raw()
IMAGE_BYTES = 3 << 20  # three steps of a download
ARCHIVE = {
    "config.json": json.dumps({"Endpoint": "mqtt.test:8883", "DeviceId": THING}).encode(),
    "claim.cert.pem": b"claim certificate",
    "claim.key.pem": b"claim key",
    "ca.pem": b"authority",
}


def packed(files: Mapping[str, bytes]) -> Stick:
    """A stick with a provisioning archive that holds these files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name, data in files.items():
            opened.writestr(zipfile.ZipInfo(name, (2021, 10, 20, 0, 0, 0)), data)
    return with_archive(THING, archive.getvalue())


STICK = packed(ARCHIVE)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def payload(version: str, size_bytes: int = IMAGE_BYTES) -> Blob:
    """Bulk content known by its digest only: nobody has to carry the bytes."""
    return Blob(sha256(version.encode()), size_bytes, size_bytes)


def manifest(version: str, **changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "version": version,
        "boards": (BOARD,),
        "size_bytes": IMAGE_BYTES,
        "sha256": payload(version).digest,
        "fuse_level": 1,
        **changes,
    }
    size = fields["size_bytes"]
    whole = Blob(fields["sha256"], size, size)
    fields.setdefault("parts", chain.divide(size, whole.section))
    return Manifest(**fields)


def _nobody(_topic: str, _payload: Mapping[str, Any]) -> None:
    pass


@dataclass
class Cloud:
    """A control plane for one device. `say` is how it reaches the device while it is connected.

    Values in these collections are replaced, never changed, so that a twin may share them.
    `lies` is what the device told that cannot be true.
    """

    content: dict[str, bytes | Blob] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    desired: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    claims_spent: set[str] = field(default_factory=set)
    progress: list[tuple[str, str]] = field(default_factory=list)  # (job, progress) as told
    statuses: list[tuple[str, str]] = field(default_factory=list)  # (instance, status) as told
    reject: dict[str, str] = field(default_factory=dict)  # request topic -> message
    mute: set[str] = field(default_factory=set)  # request topics that get no answer
    lies: list[str] = field(default_factory=list)
    repository: Repository = REPOSITORY
    changes: int = 0  # grows with everything that is said or done here
    say: Callable[[str, Mapping[str, Any]], None] = _nobody

    def twin(self) -> Cloud:
        """A copy that goes its own way, with nobody connected to it."""
        return Cloud(
            dict(self.content),
            dict(self.jobs),
            dict(self.desired),
            dict(self.reported),
            self.device,
            set(self.claims_spent),
            list(self.progress),
            list(self.statuses),
            self.reject,
            self.mute,
            list(self.lies),
            self.repository,
        )

    def key(self) -> Hashable:
        """Equal for clouds that go on alike."""
        jobs = tuple((job, entry["status"], entry["progress"]) for job, entry in self.jobs.items())
        told = tuple(
            (name, status["status"], *status.get("nodes", {}).items())
            for name, status in self.reported.items()
        )
        return jobs, tuple(self.desired), told, self.device.get("software"), len(self.claims_spent)

    def hang_up(self) -> None:
        self.say = _nobody

    # --- what happens here -------------------------------------------------------------------

    def offer(
        self, version: str, custom: Mapping[str, Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Publish a firmware image. Outcome: the job document that orders it.

        `custom` is what the signed targets say of it beyond the manifest, or otherwise.
        """
        made = manifest(version, **changes)
        signed = made.sign(RELEASE_KEY)
        self.content[f"manifest/{version}"] = signed
        self.content[f"image/{version}"] = Blob(made.sha256, made.size_bytes, made.size_bytes)
        self.repository = self.repository.offering(made, signed, **(custom or {}))
        self.publish(self.repository.files())
        return {
            "operation": "OTA",
            "imageVersion": version,
            "allowMajorVersionUpdate": False,
            "metadataUrl": "metadata",
            "manifestUrl": f"manifest/{version}",
            "imageUrl": f"image/{version}",
        }

    def publish(self, metadata: Mapping[str, bytes]) -> None:
        """The signed metadata of images, by file name."""
        self.content.update({f"metadata/{name}": data for name, data in metadata.items()})

    def cancel(self, job: str) -> None:
        """The job is wanted no longer; the device hears what is left."""
        entry = self.jobs[job]
        self.jobs[job] = {**entry, "status": "CANCELED", "progress": "FAILED"}
        self.changes += 1
        self.say(topic.job_notify(THING), self._next())

    def order(self, document: Mapping[str, Any]) -> str:
        job = f"job-{len(self.jobs)}"
        self.jobs[job] = {"status": "QUEUED", "progress": "PENDING", "reason": "", "doc": document}
        self.changes += 1
        self.say(topic.job_notify(THING), self._next())
        return job

    def deploy(
        self, instance: str, assets: Mapping[str, bytes], demand: Demand | None = None
    ) -> dict[str, Any]:
        """Desire an application; its document is also what `content` now holds."""
        listed = [self._asset(instance, name, data) for name, data in assets.items()]
        document: dict[str, Any] = {"instance": instance}
        document["packages"] = [{"name": "code", "assets": listed}]
        if demand is not None:
            document["demands"] = demand.to_json()
        self.publish_document(instance, json.dumps(document).encode())
        return document

    def publish_document(self, instance: str, text: bytes) -> None:
        url = f"document/{instance}"
        self.content[url] = text
        self.desire(instance, {"state": "RUNNING", "url": url, "sha256": sha256(text)})

    def _asset(self, instance: str, name: str, data: bytes) -> dict[str, Any]:
        url = f"asset/{instance}/{name}"
        self.content[url] = data
        return {"name": name, "sha256": sha256(data), "size": len(data), "url": url}

    def desire(self, instance: str, wanted: Mapping[str, Any]) -> None:
        self.desired[instance] = wanted
        self.changes += 1
        self.say(topic.shadow_delta(THING, "applications"), self._desired_state())

    def pause(self, instance: str, *cameras: str) -> None:
        self.desire(instance, {**self.desired[instance], "paused": list(cameras)})

    def remove(self, instance: str) -> None:
        self.desire(instance, {"state": "REMOVED"})

    # --- what the device says ------------------------------------------------------------------

    def refusal(self, client_id: str) -> str:
        return "claim is spent" if client_id in self.claims_spent else ""

    def receive(self, at: str, message: Mapping[str, Any]) -> None:
        self.changes += 1
        if at in self.mute:
            return
        if at in self.reject:
            self.say(at + topic.REJECTED, {"message": self.reject[at]})
        elif at == topic.CREATE_CERTIFICATE:
            token = {"certificateOwnershipToken": "token", "certificatePem": "certificate"}
            self.say(at + topic.ACCEPTED, {"certificateId": "id", **token})
        elif at == topic.REGISTER_THING:
            self.claims_spent.add(f"claim-{message['parameters']['DeviceId']}")
            registered = {"thingName": THING, "deviceConfiguration": {"ntp": ["ntp.test"]}}
            self.say(at + topic.ACCEPTED, registered)
        elif at == topic.job_next(THING):
            self.say(at + topic.ACCEPTED, self._next())
        elif at.startswith(f"$aws/things/{THING}/jobs/"):
            self._update(at.split("/")[-2], message)
        elif at == topic.shadow_get(THING, "applications"):
            self.say(at + topic.ACCEPTED, {"state": {"desired": self._desired_state()["state"]}})
        elif at == topic.shadow_update(THING, "applications"):
            self._applications(message["state"]["reported"]["instances"])
        elif at == topic.shadow_update(THING, "device"):
            self.device = {**self.device, **message["state"]["reported"]}

    def _next(self) -> dict[str, Any]:
        """A job in progress comes before queued ones."""
        waiting = [j for j, job in self.jobs.items() if job["status"] in ("QUEUED", "IN_PROGRESS")]
        if not waiting:
            return {}
        job = min(waiting, key=lambda name: self.jobs[name]["status"] != "IN_PROGRESS")
        return {"execution": {"jobId": job, "jobDocument": dict(self.jobs[job]["doc"])}}

    def _update(self, job: str, message: Mapping[str, Any]) -> None:
        entry, details = self.jobs[job], message["statusDetails"]
        ended = entry["status"] not in ("QUEUED", "IN_PROGRESS")
        if message["status"] not in ("IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"):
            self.lies.append(f"{job} is {message['status']}, which no device can report")
        if entry["status"] == "CANCELED":
            return  # the device may not have heard yet
        if ended and entry["status"] != message["status"]:
            self.lies.append(f"{job} ended as {entry['status']}, then as {message['status']}")
        self.jobs[job] = {**entry, "status": message["status"], **details}
        self.progress.append((job, details["progress"]))

    def _applications(self, instances: Mapping[str, Any]) -> None:
        for instance, told in instances.items():
            self.statuses.append((instance, "GONE" if told is None else told["status"]))
            if told is None:
                self.reported.pop(instance, None)
            else:
                self.reported[instance] = told

    def _desired_state(self) -> dict[str, Any]:
        return {"state": {"instances": dict(self.desired)}}
