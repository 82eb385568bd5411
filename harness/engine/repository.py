"""The vendor's side of updates: role keys, and the signed metadata of the images on offer.

A `Repository` is a value: another image or another key makes another one, and `files` are what
a control plane publishes. Keys are drawn from a seed and worth nothing outside a run. Root and
targets need two signatures of two keys, as roles that are kept off line do; snapshot and timestamp
one, as roles that a server signs with (The Update Framework, specification 1.0, 2.1 and 6.1).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api import metadata as tuf

from harness.appliance.metadata import manifest_path, payload_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.image import Manifest

ROLES = ("root", "timestamp", "snapshot", "targets")
KEYS: Mapping[str, int] = {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 2}
ROOT_EXPIRES = datetime(2050, 1, 1, tzinfo=UTC)
# A vendor's server signs a timestamp anew every day. A run's is signed once, as it begins, and has
# to last for it: virtual time passes faster than anybody would sign.
VALID = timedelta(days=366)


@lru_cache(maxsize=256)
def signer(seed: str, role: str, number: int, generation: int = 0) -> CryptoSigner:
    """A role's key, drawn from the seed; `generation` grows when it is replaced."""
    secret = hashlib.sha256(f"{role}:{number}:{generation}:{seed}".encode()).digest()
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(secret))


@dataclass(frozen=True, slots=True)
class Repository:
    """What is on offer. `issued_s`: when it was signed, seconds since the epoch.

    `roots` are all root metadata so far, `generations` how often a role's keys were replaced.
    """

    seed: str
    issued_s: float
    version: int = 1
    targets: Mapping[str, tuple[int, str, Mapping[str, Any] | None]] = field(default_factory=dict)
    generations: Mapping[str, int] = field(default_factory=dict)
    earlier_roots: tuple[bytes, ...] = ()

    def signers(self, role: str) -> list[CryptoSigner]:
        generation = self.generations.get(role, 0)
        return [signer(self.seed, role, number, generation) for number in range(KEYS[role])]

    def offering(self, manifest: Manifest, signed: bytes, **custom: Any) -> Repository:
        """The next version, with this image too; `custom` overrides what the manifest says."""
        said = {
            "version": manifest.version,
            "boards": list(manifest.boards),
            "kind": "required" if manifest.required else "optional",
            "fuse_level": manifest.fuse_level,
            **custom,
        }
        added: dict[str, tuple[int, str, Mapping[str, Any] | None]] = {
            manifest_path(manifest.version): (
                len(signed), hashlib.sha256(signed).hexdigest(), None,
            ),
            payload_path(manifest.version): (manifest.size_bytes, manifest.sha256, said),
        }  # fmt: skip
        return replace(self, version=self.version + 1, targets={**self.targets, **added})

    def rotated(self, role: str) -> Repository:
        """The next version, with new keys for a role and a root that says so."""
        generations = {**self.generations, role: self.generations.get(role, 0) + 1}
        return replace(
            self,
            version=self.version + 1,
            generations=generations,
            earlier_roots=self.roots(),
        )

    # --- files -------------------------------------------------------------------------------

    def files(self) -> dict[str, bytes]:
        """The metadata by file name, with consistent snapshots (specification, 6.2)."""
        targets = self.signed("targets", self.targets_role())
        snapshot = self.signed("snapshot", self.snapshot_role(targets))
        timestamp = self.signed("timestamp", self.timestamp_role(snapshot))
        return {
            **{f"{number}.root.json": data for number, data in enumerate(self.roots(), 1)},
            f"{self.version}.targets.json": targets,
            f"{self.version}.snapshot.json": snapshot,
            "timestamp.json": timestamp,
        }

    def signed(self, role: str, made: tuf.Signed, *signers: CryptoSigner) -> bytes:
        """Metadata signed with the role's keys, or with others."""
        metadata: tuf.Metadata[Any] = tuf.Metadata(made)
        for each in signers or self.signers(role):
            metadata.sign(each, append=True)
        return metadata.to_bytes()

    def roots(self) -> tuple[bytes, ...]:
        """All root metadata, oldest first; each is signed by its predecessor's keys too."""
        return (*self.earlier_roots, self._root())

    def _root(self) -> bytes:
        root = self.root_role(len(self.earlier_roots) + 1)
        signers = self.signers("root")
        if self.earlier_roots and self.generations.get("root"):
            generation = self.generations["root"] - 1
            signers += [signer(self.seed, "root", n, generation) for n in range(KEYS["root"])]
        return self.signed("root", root, *signers)

    def root_role(self, version: int) -> tuf.Root:
        root = tuf.Root(version=version, expires=ROOT_EXPIRES, consistent_snapshot=True)
        for role in ROLES:
            for each in self.signers(role):
                root.add_key(each.public_key, role)
            root.roles[role].threshold = KEYS[role]
        return root

    def targets_role(self) -> tuf.Targets:
        files = {
            path: tuf.TargetFile(
                size, {"sha256": digest}, path, {} if custom is None else {"custom": dict(custom)}
            )
            for path, (size, digest, custom) in self.targets.items()
        }
        return tuf.Targets(version=self.version, expires=self.expires, targets=files)

    def snapshot_role(self, targets: bytes) -> tuf.Snapshot:
        meta = {"targets.json": meta_file(self.version, targets)}
        return tuf.Snapshot(version=self.version, expires=self.expires, meta=meta)

    def timestamp_role(self, snapshot: bytes) -> tuf.Timestamp:
        listed = meta_file(self.version, snapshot)
        return tuf.Timestamp(version=self.version, expires=self.expires, snapshot_meta=listed)

    @property
    def expires(self) -> datetime:
        return datetime.fromtimestamp(int(self.issued_s), UTC) + VALID


def meta_file(version: int, data: bytes) -> tuf.MetaFile:
    """What one role says of another's metadata."""
    return tuf.MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


@lru_cache(maxsize=64)
def first_root(seed: str) -> bytes:
    """The root that the factory puts into a device: the first there is, whatever follows."""
    return Repository(seed, 0.0).roots()[0]
