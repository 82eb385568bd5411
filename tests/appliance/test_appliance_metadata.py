"""Signed metadata as values: whatever the bytes are, they are what was signed or `Corrupt`."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.appliance import metadata
from harness.engine.model.bench import Fleet
from harness.engine.repository import Repository, first_root
from harness.engine.sweep.cloud import RELEASE_KEY, manifest
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Callable

NEW = "6.2.1"
MADE = manifest(NEW, fuse_level=2, required=True)
REPOSITORY = Repository("seed", 1_700_000_000.0).offering(
    MADE, MADE.sign(RELEASE_KEY), minimum_version="6.0.8", endpoints=["ecr.test:443"]
)
FILES, ROOT = REPOSITORY.files(), first_root("seed")
READERS: dict[str, Callable[[bytes], Any]] = {
    "timestamp.json": lambda data: metadata.timestamp(data, ROOT),
    "2.snapshot.json": lambda data: metadata.snapshot(data, ROOT),
    "2.targets.json": lambda data: metadata.targets(data, ROOT),
    "2.root.json": lambda data: metadata.check_root(data, ROOT),
}
ROTATED = {**FILES, "2.root.json": REPOSITORY.rotated("root").files()["2.root.json"]}


def test_what_the_vendor_says_is_what_the_device_reads() -> None:
    found = metadata.targets(FILES["2.targets.json"], ROOT)
    payload = found.files[metadata.payload_path(NEW)]
    assert (payload.size_bytes, payload.sha256) == (MADE.size_bytes, MADE.sha256)
    assert payload.release == metadata.Release(
        NEW, MADE.boards, "required", 2, "6.0.8", ("ecr.test:443",)
    )
    assert found.files[metadata.manifest_path(NEW)].release is None
    stamp = metadata.timestamp(FILES["timestamp.json"], ROOT)
    assert (stamp.version, stamp.following.size_bytes) == (2, len(FILES["2.snapshot.json"]))
    assert stamp.expires_s == 1_700_000_000.0 + 366 * 86400.0


@given(
    name=st.sampled_from(sorted(READERS)),
    at=st.integers(0, 4000),
    change=st.one_of(
        st.integers(1, 255), st.sampled_from([b"", b"{", b"\xff", b"1e999", b"[" * 99999])
    ),
)
@settings(max_examples=400, deadline=None)
def test_bytes_that_nobody_signed_are_corrupt(name: str, at: int, change: int | bytes) -> None:
    sound = ROTATED[name]
    at %= len(sound)
    if isinstance(change, int):
        altered = sound[:at] + bytes([sound[at] ^ change]) + sound[at + 1 :]
    else:
        altered = sound[:at] + change + sound[at + 1 :]
    assert _as_signed_or_corrupt(name, altered)


def _as_signed_or_corrupt(name: str, altered: bytes) -> bool:
    """A change may lie outside of what is signed; then it changes nothing."""
    try:
        return bool(READERS[name](altered) == READERS[name](ROTATED[name]))
    except Corrupt as problem:
        return "metadata" in str(problem)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("field", ["version", "expires", "spec_version", "_type", "keys", "meta"])
@pytest.mark.parametrize("value", [None, -1, 1.5, "", [], {}, "9" * 5000])
def test_fields_that_hold_nonsense_are_corrupt(name: str, field: str, value: Any) -> None:
    made = json.loads(ROTATED[name])
    made["signed"][field] = value
    assert _as_signed_or_corrupt(name, json.dumps(made).encode())


def test_keys_are_replaced_along_the_chain_of_roots() -> None:
    repository = REPOSITORY
    for role in ("timestamp", "root", "targets", "root", "snapshot"):
        repository = repository.rotated(role)
    roots = repository.roots()
    assert [metadata.root_version(root) for root in roots] == [1, 2, 3, 4, 5, 6]
    for before, after in itertools.pairwise(roots):
        metadata.check_root(after, before)
    assert [metadata.keys_differ(a, b) for a, b in itertools.pairwise(roots)] == [
        True, False, False, False, True,
    ]  # fmt: skip
    files = repository.files()
    assert metadata.timestamp(files["timestamp.json"], roots[-1]).version == 7
    with pytest.raises(Corrupt, match="signed by 0 of the 1 keys needed"):
        metadata.timestamp(files["timestamp.json"], roots[0])


def test_a_fleet_pays_for_a_signature_once() -> None:
    readers = (metadata.timestamp, metadata.snapshot, metadata.targets)
    for reader in readers:
        reader.cache_clear()
    fleet = Fleet(20)
    config = {"OTAJobConfig": {"ImageVersion": "6.2.2"}}
    for number in range(20):
        fleet.call_at(60.0 * number, number, {"JobType": "OTA", "DeviceJobConfig": config})
    fleet.env.run(until=fleet.env.now + 7200.0)
    told = [fleet.cloud.plane.call("DescribeDevice", {"DeviceId": d}) for d in fleet.devices]
    assert {one["CurrentSoftware"] for one in told} == {"6.2.2"}
    assert [reader.cache_info().misses for reader in readers] == [1, 1, 1]
    assert [reader.cache_info().hits for reader in readers] == [19, 19, 19]
