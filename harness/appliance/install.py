"""One image from the catalogue into the slot that does not run.

In this order, so that a refusal leaves the slots as they were: what the versions forbid, the
signed catalogue, what it says of the image, the slots, the endpoints, the manifest; then the
spare slot is closed, the payload fetched and verified, the header written and the slot armed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance import boot_control, catalogue, fitness, image, topic, transfer
from harness.appliance.boot_control import other
from harness.appliance.effect import Digest, MessageArrived, Note, Program, ReceiveAll
from harness.appliance.firmware import Online
from harness.appliance.metadata import check_file
from harness.appliance.storage import SLOT_PARTITION
from harness.errors import Corrupt, PeerError, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.appliance.catalogue import Offer
    from harness.appliance.firmware import Firmware

# A download is looked up from after each of so many segments: what power may cost of it, and how
# long a cancellation may wait. Few, since every one is a request and an entry in the journal.
SEGMENTS = 8
SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX = 16 << 20, 256 << 20


class Withdrawn(PeerError):
    """The control plane wants this job no longer: it was cancelled, or another took its place."""


def install(
    firmware: Firmware,
    job: dict[str, Any],
    document: Mapping[str, Any],
    phase: Callable[[str, str], Program[None]],
) -> Program[None]:
    """Until the slot is armed. `phase` tells of progress. Raises `PeerError` when it cannot."""
    target, current = job["target"], firmware.manifest.version
    allow_major = bool(document.get("allowMajorVersionUpdate"))
    fitness.refuse_version(current, target, allow_major=allow_major)
    yield from phase("downloading", "DOWNLOADING")
    if "metadataUrl" not in document:
        raise PeerRefused("the job names no signed metadata of images")
    targets = yield from catalogue.refresh(firmware, document["metadataUrl"])
    offer = catalogue.offer(targets, target)
    fitness.refuse(offer, firmware.board, firmware.fuses, current)
    yield from fitness.refuse_unready(firmware, job["id"])
    yield from fitness.refuse_unreachable(target, offer.release.endpoints)
    signed = yield from transfer.get(document["manifestUrl"], offer.manifest.size_bytes)
    _refuse_manifest(firmware, signed, offer, target)

    slot = other(firmware.slot)
    if firmware.control.slot(slot).bootable:
        firmware.control = yield from boot_control.save(firmware.control.unbootable(slot))
    yield from _payload(firmware, job, document["imageUrl"], offer, phase)
    yield from phase("writing", "IN_PROGRESS")
    yield from _still_wanted(firmware, job)
    yield from image.write_header(SLOT_PARTITION[slot], signed)
    firmware.control = yield from boot_control.save(firmware.control.armed(slot))
    yield from fitness.refuse_unarmed(slot)
    yield Note("boot.control", firmware.control.describe(firmware.fuses))


def _refuse_manifest(firmware: Firmware, signed: bytes, offer: Offer, target: str) -> None:
    """What verified boot will ask of the slot, asked before it is filled."""
    check_file(signed, offer.manifest, f"image {target}: manifest")
    manifest = image.verify(signed, firmware.board.root_key)
    if manifest.version != target:
        raise Corrupt(f"image manifest says {manifest.version}, the job says {target}")
    image.refuse_unfit(manifest, firmware.board.name, firmware.fuses)
    if (manifest.size_bytes, manifest.sha256) != (offer.payload.size_bytes, offer.payload.sha256):
        raise Corrupt(f"image {target}: manifest and targets speak of different payloads")


def _payload(
    firmware: Firmware,
    job: dict[str, Any],
    url: str,
    offer: Offer,
    phase: Callable[[str, str], Program[None]],
) -> Program[None]:
    """The payload in its place and verified, with what an earlier life left of it.

    Every step was synced before it was counted, so that it should be there; should the hash of
    the whole say otherwise, the whole is fetched again, once.
    """
    start = _in_place(firmware, job, offer)
    if start:
        line = f"INFO download goes on at {start} of {offer.payload.size_bytes} bytes"
        yield Note("log.line", {"stream": "syslog", "line": line})
    digest = yield from _fetch(firmware, job, url, offer, start, phase)
    if start and digest != offer.payload.sha256:
        line = "WARN what was in place before the power was lost is damaged: all of it again"
        yield Note("log.line", {"stream": "syslog", "line": line})
        digest = yield from _fetch(firmware, job, url, offer, 0, phase)
    if digest != offer.payload.sha256:
        raise Corrupt(
            f"image {job['target']}: hash {digest[:12]}… is not the manifest's "
            f"{offer.payload.sha256[:12]}…"
        )


def _fetch(
    firmware: Firmware,
    job: dict[str, Any],
    url: str,
    offer: Offer,
    start: int,
    phase: Callable[[str, str], Program[None]],
) -> Program[str]:
    """Outcome: the hash of what is in place now."""
    partition, size = SLOT_PARTITION[other(firmware.slot)], offer.payload.size_bytes
    place = {"slot": other(firmware.slot), "sha256": offer.payload.sha256}

    def reached(done: int) -> Program[None]:
        yield from _still_wanted(firmware, job)
        known = firmware.journal.values["job"]
        progress = {**place, "bytes": done}
        if done < size and known.get("progress", {"bytes": 0})["bytes"] != done:
            yield from firmware.journal.put({"job": {**known, "progress": progress}})

    segment = min(max(size // SEGMENTS, SEGMENT_BYTES_MIN), SEGMENT_BYTES_MAX)
    segment -= segment % SEGMENT_BYTES_MIN
    yield from transfer.download(
        url, partition, image.PAYLOAD_AT, size, start=start, segment=segment, reached=reached
    )
    yield from phase("verifying", "VERIFYING")
    return str((yield Digest(partition, image.PAYLOAD_AT, size)))


def _in_place(firmware: Firmware, job: Mapping[str, Any], offer: Offer) -> int:
    """How much of this very payload an earlier life left in this very slot."""
    progress = job.get("progress", {})
    slot, digest = progress.get("slot"), progress.get("sha256")
    if (slot, digest) != (other(firmware.slot), offer.payload.sha256):
        return 0
    return int(progress["bytes"])


def _still_wanted(firmware: Firmware, job: Mapping[str, Any]) -> Program[None]:
    """Hear what the control plane said meanwhile. Raises `Withdrawn`.

    A job in progress is the next one, whatever else waits; when it is not, it is no longer wanted.
    """
    for message in (yield ReceiveAll()):
        if isinstance(message, Online):
            yield from transfer.publish(topic.job_next(firmware.thing), {})
        elif isinstance(message, MessageArrived):
            refuse_withdrawn(job, message.payload.get("execution"))


def refuse_withdrawn(job: Mapping[str, Any], execution: Mapping[str, Any] | None) -> None:
    """`execution` is what the control plane says is next."""
    if not execution:
        raise Withdrawn("the job was cancelled")
    if execution["jobId"] != job["id"]:
        raise Withdrawn(f"the job was superseded by {execution['jobId']}")
