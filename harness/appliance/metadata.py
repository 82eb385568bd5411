"""Signed metadata of the images on offer, as The Update Framework has it (specification 1.0).

Four roles sign: root names the keys of all, timestamp the newest snapshot, snapshot the newest
targets, and targets the images, by length and hash. Here bytes become frozen values, or are
refused with `Corrupt`; the order of the client workflow is in `catalogue`. Signatures and
formats are python-tuf's. Everything is a function of bytes alone and remembered, so that a
fleet pays for a signature once.

The `custom` object of an image's payload among the targets:
  {"version": v, "boards": [board, ...], "kind": "required"|"optional"|"recalled",
   "fuse_level": n, "minimum_version": v or "", "endpoints": ["host:port", ...]}
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from tuf.api import metadata as tuf
from tuf.api.exceptions import RepositoryError
from tuf.api.serialization import DeserializationError

from harness.appliance.image import VERSION
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

Endpoint = Annotated[str, msgspec.Meta(pattern=r"^[^:/]+:\d{1,5}$")]
S = TypeVar("S", tuf.Root, tuf.Timestamp, tuf.Snapshot, tuf.Targets)


@dataclass(frozen=True, slots=True)
class Listed:
    """What one role says of the metadata of another: its version, length and SHA-256 (hex)."""

    version: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Role:
    """Timestamp or snapshot metadata: what it is, and what it says of the `following` role."""

    version: int
    expires_s: float
    following: Listed


@dataclass(frozen=True, slots=True)
class Release:
    """What the vendor says of an image besides its bytes; see the module for the members."""

    version: str
    boards: tuple[str, ...]
    kind: Literal["required", "optional", "recalled"]
    fuse_level: int
    minimum_version: str = ""
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A file on offer. `release` is None for what is no payload."""

    size_bytes: int
    sha256: str
    release: Release | None


@dataclass(frozen=True, slots=True)
class Targets:
    version: int
    expires_s: float
    files: Mapping[str, Target]


def manifest_path(version: str) -> str:
    return f"images/{version}/manifest"


def payload_path(version: str) -> str:
    return f"images/{version}/payload"


@lru_cache(maxsize=64)
def root_version(root: bytes) -> int:
    return _root(root).version


@lru_cache(maxsize=64)
def root_expires_s(root: bytes) -> float:
    return _root(root).expires.timestamp()


@lru_cache(maxsize=64)
def check_root(data: bytes, trusted: bytes) -> None:
    """Whether `data` may follow the `trusted` root: the next version, signed by both.

    Raises `Corrupt` (specification, 5.3.4 and 5.3.5).
    """
    before = _root(trusted)
    signed = _parsed(tuf.Root, data)
    following = signed.signed
    if following.version != before.version + 1:
        raise Corrupt(
            f"root metadata: version {following.version} does not follow {before.version}; "
            "a root was skipped"
        )
    for signer, name in ((before, "the trusted"), (following, "its own")):
        _check_signatures(signer, signed, f"root metadata: by {name} root")


@lru_cache(maxsize=64)
def keys_differ(before: bytes, after: bytes) -> bool:
    """Whether the keys of timestamp or snapshot changed from one root to another."""
    old, new = _root(before).roles, _root(after).roles
    return any(set(old[role].keyids) != set(new[role].keyids) for role in ("timestamp", "snapshot"))


@lru_cache(maxsize=256)
def timestamp(data: bytes, root: bytes) -> Role:
    made = _verified(tuf.Timestamp, data, root)
    return Role(made.version, made.expires.timestamp(), _listed(made.snapshot_meta, "timestamp"))


@lru_cache(maxsize=256)
def snapshot(data: bytes, root: bytes) -> Role:
    made = _verified(tuf.Snapshot, data, root)
    if "targets.json" not in made.meta:
        raise Corrupt("snapshot metadata: does not list targets.json")
    listed = _listed(made.meta["targets.json"], "snapshot")
    return Role(made.version, made.expires.timestamp(), listed)


@lru_cache(maxsize=256)
def targets(data: bytes, root: bytes) -> Targets:
    made = _verified(tuf.Targets, data, root)
    files = {path: _target(path, file) for path, file in made.targets.items()}
    return Targets(made.version, made.expires.timestamp(), files)


def check_listed(data: bytes, listed: Listed, role: str, by: str) -> None:
    """Raises `Corrupt` for bytes that are not those that the role before speaks of."""
    if len(data) != listed.size_bytes:
        raise Corrupt(f"{role} metadata: {len(data)} bytes, {by} says {listed.size_bytes}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != listed.sha256:
        raise Corrupt(
            f"{role} metadata: hash {digest[:12]}… is not the one {by} names, "
            f"{listed.sha256[:12]}…: they do not belong together"
        )


def check_file(data: bytes, target: Target, what: str) -> None:
    """Raises `Corrupt` for bytes that are not the target's."""
    digest = hashlib.sha256(data).hexdigest()
    if (len(data), digest) != (target.size_bytes, target.sha256):
        raise Corrupt(
            f"{what}: {len(data)} bytes with hash {digest[:12]}…, the signed targets say "
            f"{target.size_bytes} with {target.sha256[:12]}…"
        )


@lru_cache(maxsize=64)
def _root(data: bytes) -> tuf.Root:
    return _parsed(tuf.Root, data).signed


def _parsed(kind: type[S], data: bytes) -> tuf.Metadata[S]:
    try:
        made: tuf.Metadata[Any] = tuf.Metadata.from_bytes(data)
    except DeserializationError as error:
        raise Corrupt(f"{kind.type} metadata: cannot be read: {error}") from None
    if not isinstance(made.signed, kind):
        raise Corrupt(f"{kind.type} metadata: is {made.signed.type} metadata")
    return made


def _verified(kind: type[S], data: bytes, root: bytes) -> S:
    made = _parsed(kind, data)
    _check_signatures(_root(root), made, f"{kind.type} metadata:")
    return made.signed


def _check_signatures(signer: tuf.Root, made: tuf.Metadata[Any], what: str) -> None:
    try:
        role = signer.get_delegated_role(made.signed.type)
        found = signer.get_verification_result(made.signed.type, made.signed_bytes, made.signatures)
    except (RepositoryError, ValueError) as error:
        raise Corrupt(f"{what} {error}") from None
    if not found.verified:
        raise Corrupt(
            f"{what} signed by {len(found.signed)} of the {found.threshold} keys needed, "
            f"of {len(role.keyids)} that may"
        )


def _listed(meta: tuf.MetaFile, role: str) -> Listed:
    hashes = meta.hashes or {}
    if meta.length is None or "sha256" not in hashes:
        raise Corrupt(f"{role} metadata: lists without length and sha256")
    return Listed(meta.version, meta.length, hashes["sha256"])


def _target(path: str, file: tuf.TargetFile) -> Target:
    if "sha256" not in file.hashes:
        raise Corrupt(f"targets metadata: {path}: no sha256")
    release = None if file.custom is None else _release(path, file.custom)
    return Target(file.length, file.hashes["sha256"], release)


def _release(path: str, custom: Any) -> Release:
    try:
        release = msgspec.convert(custom, Release)
    except msgspec.ValidationError as error:
        raise Corrupt(f"targets metadata: {path}: custom: {error}") from None
    versions = (release.version, release.minimum_version or release.version)
    if not all(VERSION.fullmatch(version) for version in versions):
        raise Corrupt(f"targets metadata: {path}: custom: a version is not like 6.2.1")
    return release
