"""What the factory does: release keys, firmware images, and a disk with firmware in slot a."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from harness.appliance import boot_control, chain, image
from harness.appliance.firmware import Board
from harness.appliance.storage import (
    BOOT_CONTROL,
    RECOVERY_LATEST,
    RECOVERY_REQUIRED,
    SLOT_PARTITION,
    Blob,
    partition_sizes,
)
from harness.cloud.service.content import sha256
from harness.engine.repository import Repository, first_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.appliance.storage import Disk
    from harness.jetson.profile import Profile
    from harness.scenario.plan import AppliancePlan, ImagePlan

BLOCK_BYTES = 1 << 16
FACTORY_IMAGE_BYTES = 4 << 20
REAL_BYTES_MAX = 1 << 20  # payloads up to this size are read byte by byte on every rung


@dataclass(frozen=True, slots=True)
class Payload:
    """A firmware payload: `size_bytes` of incompressible bytes drawn from a seed.

    Readable in ranges without ever being whole in memory; `digest` is its SHA-256. A `virtual`
    payload is never read, and its digest stands for bytes that are nowhere.
    """

    seed: int
    size_bytes: int
    virtual: bool = False

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size_bytes)
        if end <= offset:
            return b""
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        data = b"".join(_block(self.seed, number) for number in range(first, last + 1))
        return data[offset - first * BLOCK_BYTES : end - first * BLOCK_BYTES]

    def section(self, offset: int, length: int) -> str:
        """The digest of a part of it."""
        if self.virtual:
            return Blob(self.digest, self.size_bytes, self.size_bytes).section(offset, length)
        return _section(self.seed, self.size_bytes, offset, length)

    @property
    def digest(self) -> str:
        if self.virtual:
            return hashlib.sha256(f"virtual:{self.seed}:{self.size_bytes}".encode()).hexdigest()
        return _digest(self.seed, self.size_bytes)


@lru_cache(maxsize=64)
def _block(seed: int, number: int) -> bytes:
    return hashlib.shake_256(f"{seed}:{number}".encode()).digest(BLOCK_BYTES)


@lru_cache(maxsize=64)
def _digest(seed: int, size_bytes: int) -> str:
    return sha256(Payload(seed, size_bytes))


@lru_cache(maxsize=256)
def _section(seed: int, size_bytes: int, offset: int, length: int) -> str:
    payload, digest = Payload(seed, size_bytes), hashlib.sha256()
    for start in range(offset, offset + length, BLOCK_BYTES):
        digest.update(payload.read(start, min(BLOCK_BYTES, offset + length - start)))
    return digest.hexdigest()


@lru_cache(maxsize=16)
def release_key(seed: int) -> Ed25519PrivateKey:
    """The key this run's firmware is signed with; drawn from the seed, worth nothing outside."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"release:{seed}".encode()).digest())


def root_key(seed: int) -> bytes:
    return release_key(seed).public_key().public_bytes_raw()


def board(profile: Profile, seed: int, name: str) -> Board:
    serial = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:6], "big")
    return Board(
        name=profile.board,
        root_key=root_key(seed),
        update_root=first_root(str(seed)),
        serial=str(serial),
        slot_bytes=profile.slot_bytes,
        data_bytes=profile.data_bytes,
        log_key=log_key(seed).public_key().public_bytes_raw(),
        brand=profile.brand,
        device_type=profile.device_type,
    )


@lru_cache(maxsize=16)
def log_key(seed: int) -> X25519PrivateKey:
    """The key of this run's support, who reads log images; worth nothing outside."""
    return X25519PrivateKey.from_private_bytes(hashlib.sha256(f"logs:{seed}".encode()).digest())


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Images on offer as (version, signed manifest, payload), and the metadata that vouches."""

    images: tuple[tuple[str, bytes, Payload], ...]
    metadata: Mapping[str, bytes]


def catalogue(
    plans: Iterable[ImagePlan], boards: Iterable[str], seed: int, issued_s: float, *, virtual: bool
) -> Catalogue:
    """The images of a run, built for `boards` and signed at `issued_s`, since the epoch."""
    repository = Repository(str(seed), issued_s)
    images = []
    for plan in plans:
        signed, payload = signed_image(plan, boards, seed, virtual=virtual)
        made = image.verify(signed, root_key(seed))
        repository = repository.offering(made, signed, **_said_of(plan))
        images.append((plan.version, signed, payload))
    return Catalogue(tuple(images), repository.files())


def _said_of(plan: ImagePlan) -> dict[str, Any]:
    """What the signed targets say of an image beyond its manifest."""
    recalled = {"kind": "recalled"} if plan.recalled else {}
    minimum = {"minimum_version": plan.minimum_version} if plan.minimum_version else {}
    endpoints = {"endpoints": list(plan.endpoints)} if plan.endpoints else {}
    return {**recalled, **minimum, **endpoints}


def signed_image(
    plan: ImagePlan, boards: Iterable[str], seed: int, *, virtual: bool
) -> tuple[bytes, Payload]:
    """The signed manifest and the payload of an image offered for updates."""
    payload = Payload(plan.seed, plan.size_bytes, virtual and plan.size_bytes > REAL_BYTES_MAX)
    manifest = image.Manifest(
        version=plan.version,
        boards=tuple(sorted(set(boards))),
        size_bytes=payload.size_bytes,
        sha256=payload.digest,
        fuse_level=plan.fuse_level,
        defects=plan.defects,
        required=plan.required,
        parts=chain.divide(payload.size_bytes, payload.section),
    )
    return manifest.sign(release_key(seed)), payload


def sizes(profile: Profile) -> dict[str, int]:
    return partition_sizes(profile.slot_bytes, profile.data_bytes)


def flash(disk: Disk, appliance: AppliancePlan, seed: int, *, virtual: bool) -> None:
    """Put the factory's firmware into slot a and recovery. `virtual` keeps payloads as `Blob`s."""
    profile = appliance.profile
    payload = Payload(seed, FACTORY_IMAGE_BYTES, virtual)
    manifest = image.Manifest(
        version=appliance.firmware,
        boards=(profile.board,),
        size_bytes=payload.size_bytes,
        sha256=payload.digest,
        fuse_level=profile.fuse_level,
        defects=appliance.defects,
        parts=chain.divide(payload.size_bytes, payload.section),
    )
    for name in (SLOT_PARTITION["a"], RECOVERY_LATEST, RECOVERY_REQUIRED):
        partition = disk[name]
        partition.write(0, image.header(manifest.sign(release_key(seed))))
        if virtual:
            whole = Blob(payload.digest, payload.size_bytes, payload.size_bytes)
            partition.write(image.PAYLOAD_AT, whole)
        else:
            for offset in range(0, payload.size_bytes, BLOCK_BYTES):
                partition.write(image.PAYLOAD_AT + offset, payload.read(offset, BLOCK_BYTES))
    first = boot_control.FACTORY
    disk[BOOT_CONTROL].write((first.sequence % 2) * boot_control.COPY_BYTES, first.encode())
    disk.sync_all()
    disk.blow(profile.fuse_level)
