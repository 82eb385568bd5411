"""Firmware images: a signed manifest and a payload known by its hash.

The manifest is a JSON object signed with Ed25519 by the release key whose public half sits in
the boot ROM. In a slot it stands before the payload:

    offset 0        4 bytes big-endian length, then the signed manifest
    PAYLOAD_AT      the payload, `size_bytes` long, SHA-256 `sha256`
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harness.appliance import chain
from harness.appliance.effect import Copy, Digest, Erase, Program, Read, Sync, Write
from harness.appliance.storage import SLOT_PARTITION
from harness.errors import Corrupt

if TYPE_CHECKING:
    from harness.appliance.metadata import Release

PAYLOAD_AT = 16 * 1024
_LENGTH = struct.Struct(">I")
VERSION = re.compile(r"\d+(\.\d+){1,3}")
_SIGNATURE_HEX = 128


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an image is. `boards` it runs on; `fuse_level`: how many fuses committing it blows.

    `required` marks what the vendor calls a mandatory release: recovery never goes below it.
    """

    version: str
    boards: tuple[str, ...]
    size_bytes: int
    sha256: str
    fuse_level: int
    defects: tuple[str, ...] = ()
    required: bool = False
    parts: tuple[chain.Part, ...] = ()

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        body = json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()
        return key.sign(body).hex().encode() + body


@lru_cache(maxsize=256)
def verify(signed: bytes, root_key: bytes) -> Manifest:
    """The manifest, if the release key signed it. Raises `Corrupt` naming what is wrong."""
    try:
        signature = bytes.fromhex(signed[:_SIGNATURE_HEX].decode("ascii"))
        Ed25519PublicKey.from_public_bytes(root_key).verify(signature, signed[_SIGNATURE_HEX:])
    except (InvalidSignature, ValueError):
        raise Corrupt(
            "image manifest: signature does not match", hint="sign it with the release key"
        ) from None
    try:
        fields = json.loads(signed[_SIGNATURE_HEX:])
        if not isinstance(fields, dict):
            raise TypeError("not a JSON object")
        lists: dict[str, tuple[Any, ...]] = {
            name: tuple(fields.get(name, ())) for name in ("boards", "defects")
        }
        lists["parts"] = tuple(chain.Part(**part) for part in fields.get("parts", ()))
        manifest = Manifest(**{**fields, **lists})
    except (ValueError, TypeError) as error:
        raise Corrupt(f"image manifest: {error}") from None
    if not VERSION.fullmatch(manifest.version):
        raise Corrupt(f"image manifest: version {manifest.version!r} is not like 6.2.1")
    if sum(part.size_bytes for part in manifest.parts) not in (0, manifest.size_bytes):
        raise Corrupt("image manifest: its parts are not the whole payload")
    return manifest


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def write_header(partition: str, signed: bytes) -> Program[None]:
    yield Write(partition, 0, _LENGTH.pack(len(signed)) + signed)
    yield Sync(partition)


def header(signed: bytes) -> bytes:
    """The bytes before the payload, as a factory writes them."""
    return _LENGTH.pack(len(signed)) + signed


def read_slot(slot: str, root_key: bytes, board: str, fuses: int) -> Program[Manifest]:
    """Verified boot of one slot: signature, board, fuses, then part by part. Raises `Corrupt`."""
    partition = SLOT_PARTITION[slot]
    _, manifest = yield from read_header(partition, root_key)
    refuse_unfit(manifest, board, fuses)
    if manifest.parts:
        yield from chain.check(partition, manifest.parts, PAYLOAD_AT)
    else:
        yield from check_payload(partition, manifest)
    return manifest


def read_header(partition: str, root_key: bytes) -> Program[tuple[bytes, Manifest]]:
    """The signed manifest of a partition and what it says. Raises `Corrupt`."""
    (length,) = _LENGTH.unpack((yield Read(partition, 0, _LENGTH.size)))
    if not _SIGNATURE_HEX < length <= PAYLOAD_AT - _LENGTH.size:
        raise Corrupt(f"{partition}: no image")
    signed = yield Read(partition, _LENGTH.size, length)
    return signed, verify(signed, root_key)


def check_payload(partition: str, manifest: Manifest) -> Program[None]:
    """Raises `Corrupt` where the payload is not the manifest's."""
    digest = yield Digest(partition, PAYLOAD_AT, manifest.size_bytes)
    if digest != manifest.sha256:
        raise Corrupt(f"{partition}: payload hash {digest[:12]}… is not {manifest.sha256[:12]}…")


def copy(signed: bytes, manifest: Manifest, source: str, target: str) -> Program[None]:
    """An image from one partition to another: the payload first, so that a torn copy is none."""
    yield Erase(target)
    yield Copy(source, PAYLOAD_AT, target, PAYLOAD_AT, manifest.size_bytes)
    yield from check_payload(target, manifest)
    yield from write_header(target, signed)


def refuse_unfit(manifest: Manifest | Release, board: str, fuses: int) -> None:
    """Raise `Corrupt` for an image of another board or older than the fuses allow."""
    if board not in manifest.boards:
        boards = ", ".join(manifest.boards)
        raise Corrupt(f"image {manifest.version} is for {boards}; this board is {board}")
    if manifest.fuse_level < fuses:
        raise Corrupt(
            f"image {manifest.version} has fuse level {manifest.fuse_level}, below the {fuses} "
            "fuses blown here"
        )
