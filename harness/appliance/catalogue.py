"""What images are on offer, as far as it can be trusted: the client's side of the metadata.

The workflow is The Update Framework's (specification 1.0, 5.3 to 5.6): root by its chain of
versions, then timestamp, snapshot and targets, each held against the one before, against what
was trusted before, and against the device's clock. Versions that were trusted are in the journal,
key `catalogue`, so that no power cut makes an older catalogue look new:

  {"root": text of a root newer than the factory's, "timestamp": n, "snapshot": n, "targets": n}

A factory reset forgets them with all else; then the fuses are what stops an old release.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.appliance import metadata, transfer
from harness.appliance.effect import Clock
from harness.errors import Corrupt, NotFound, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.effect import JSON, Program
    from harness.appliance.firmware import Firmware
    from harness.appliance.metadata import Listed, Release, Target, Targets

ROTATIONS_MAX = 32  # roots that may follow in one refresh
ROOT_BYTES_MAX = 64 * 1024
TIMESTAMP_BYTES_MAX = 16 * 1024  # the only other file whose length nobody vouches for
METADATA_BYTES_MAX = 1 << 20  # of what a length is signed for


@dataclass(frozen=True, slots=True)
class Offer:
    """One image on offer: its manifest and payload among the targets."""

    manifest: Target
    payload: Target
    release: Release


def refresh(firmware: Firmware, url: str) -> Program[Targets]:
    """The targets that the vendor signs now. `url` is where the metadata lies, without a slash.

    Raises `Corrupt` for what cannot be trusted, naming role and reason; `PeerError` of a link.
    """
    now_s = yield Clock()
    root = yield from _root(firmware, url, now_s)
    data = yield from transfer.get(f"{url}/timestamp.json", TIMESTAMP_BYTES_MAX)
    stamp = metadata.timestamp(data, root)
    _not_older("timestamp", stamp.version, _kept(firmware))
    _not_older("snapshot", stamp.following.version, _kept(firmware))
    _not_expired("timestamp", stamp.expires_s, now_s)
    yield from _trust(firmware, {"timestamp": stamp.version})

    data = yield from _listed(url, "snapshot", stamp.following, "timestamp")
    shot = metadata.snapshot(data, root)
    _as_listed("snapshot", shot.version, stamp.following, "timestamp")
    _not_older("targets", shot.following.version, _kept(firmware))
    _not_expired("snapshot", shot.expires_s, now_s)
    yield from _trust(firmware, {"snapshot": shot.version})

    data = yield from _listed(url, "targets", shot.following, "snapshot")
    found = metadata.targets(data, root)
    _as_listed("targets", found.version, shot.following, "snapshot")
    _not_expired("targets", found.expires_s, now_s)
    yield from _trust(firmware, {"targets": found.version})
    return found


def offer(targets: Targets, version: str) -> Offer:
    """Raises `PeerRefused` when the vendor offers no such image."""
    path = metadata.payload_path(version)
    manifest = targets.files.get(metadata.manifest_path(version))
    payload = targets.files.get(path)
    if manifest is None or payload is None or payload.release is None:
        raise PeerRefused(f"image {version} is not among the signed targets")
    if payload.release.version != version:
        raise Corrupt(f"targets metadata: {path}: is image {payload.release.version}")
    return Offer(manifest, payload, payload.release)


def _root(firmware: Firmware, url: str, now_s: float) -> Program[bytes]:
    """Follow the chain of roots to its end, one version at a time (5.3)."""
    trusted = _trusted_root(firmware)
    for _ in range(ROTATIONS_MAX):
        number = metadata.root_version(trusted) + 1
        try:
            data = yield from transfer.get(f"{url}/{number}.root.json", ROOT_BYTES_MAX)
        except NotFound:
            break
        metadata.check_root(data, trusted)
        # New keys of timestamp or snapshot take back versions that a thief of the old ones may
        # have run ahead to (5.3.11).
        forgotten = ("timestamp", "snapshot", "targets")
        ahead = dict.fromkeys(forgotten if metadata.keys_differ(trusted, data) else ())
        yield from _trust(firmware, {**ahead, "root": data.decode()})
        trusted = data
    else:
        raise Corrupt(f"root metadata: more than {ROTATIONS_MAX} new versions at once")
    _not_expired("root", metadata.root_expires_s(trusted), now_s)
    return trusted


def _trusted_root(firmware: Firmware) -> bytes:
    """The newer of what the factory and the journal hold."""
    factory = firmware.board.update_root
    kept = str(_kept(firmware).get("root") or "").encode()
    if kept and metadata.root_version(kept) > metadata.root_version(factory):
        return kept
    return factory


def _listed(url: str, role: str, listed: Listed, by: str) -> Program[bytes]:
    """Metadata whose length and hash another role has signed."""
    if listed.size_bytes > METADATA_BYTES_MAX:
        raise Corrupt(f"{role} metadata: {listed.size_bytes} bytes, more than is ever read")
    data = yield from transfer.get(f"{url}/{listed.version}.{role}.json", listed.size_bytes)
    metadata.check_listed(data, listed, role, by)
    return bytes(data)


def _as_listed(role: str, version: int, listed: Listed, by: str) -> None:
    if version != listed.version:
        raise Corrupt(f"{role} metadata: version {version}, {by} says {listed.version}")


def _not_older(role: str, version: int, kept: Mapping[str, JSON]) -> None:
    before = int(kept.get(role) or 0)
    if version < before:
        raise Corrupt(
            f"{role} metadata: version {version} is older than {before}, which was trusted before"
        )


def _not_expired(role: str, expires_s: float, now_s: float) -> None:
    if now_s >= expires_s:
        when, now = (datetime.fromtimestamp(int(at_s), UTC) for at_s in (expires_s, now_s))
        raise Corrupt(f"{role} metadata: expired at {when:%FT%TZ}, it is {now:%FT%TZ} here")


def _kept(firmware: Firmware) -> Mapping[str, JSON]:
    kept: Mapping[str, JSON] = firmware.journal.values.get("catalogue", {})
    return kept


def _trust(firmware: Firmware, changes: Mapping[str, JSON]) -> Program[None]:
    before = _kept(firmware)
    after = {key: value for key, value in {**before, **changes}.items() if value is not None}
    if after != before:
        yield from firmware.journal.put({"catalogue": after})
