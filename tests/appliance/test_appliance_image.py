"""Signed images: what a slot must hold to be run."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.appliance import image
from harness.appliance.storage import Blob, Disk
from harness.engine.sweep.cloud import BOARD, RELEASE_KEY, ROOT_KEY, manifest, payload, sha256
from harness.engine.sweep.stand import complete, empty_disk, flash
from harness.errors import Corrupt

SIGNED = manifest("6.2.1", fuse_level=2, defects=("health-check-fails",)).sign(RELEASE_KEY)


def _read(disk: Disk, fuses: int = 1, board: str = BOARD) -> image.Manifest:
    read: image.Manifest = complete(image.read_slot("a", ROOT_KEY, board, fuses), disk)
    return read


def test_a_signed_manifest_reads_back_as_it_was() -> None:
    made = manifest("6.2.1", fuse_level=2, defects=("health-check-fails",))
    assert image.verify(SIGNED, ROOT_KEY) == made


@pytest.mark.parametrize("position", [0, 60, 127, 128, 200, len(SIGNED) - 1])
def test_any_changed_byte_breaks_the_signature(position: int) -> None:
    tampered = bytearray(SIGNED)
    tampered[position] = ord("0") if tampered[position] != ord("0") else ord("1")
    with pytest.raises(Corrupt, match="signature does not match") as caught:
        image.verify(bytes(tampered), ROOT_KEY)
    assert "release key" in caught.value.hint


@pytest.mark.parametrize("text", [b"", b"zz", b"\xff" * 200, SIGNED[:128], SIGNED[:100]])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(Corrupt):
        image.verify(text, ROOT_KEY)


def test_another_key_does_not_sign_for_the_release_key() -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
    with pytest.raises(Corrupt, match="signature"):
        image.verify(manifest("6.2.1").sign(stranger), ROOT_KEY)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[]", "manifest"),
        (b"{}", "missing"),
        (b'{"version": "6.2.1", "surprise": 1}', "surprise"),
        (b"not json", "manifest"),
        (json.dumps({"boards": 5}).encode(), "manifest"),
    ],
)
def test_a_signed_manifest_of_the_wrong_form_is_refused(body: bytes, problem: str) -> None:
    signed = RELEASE_KEY.sign(body).hex().encode() + body
    with pytest.raises(Corrupt, match=problem):
        image.verify(signed, ROOT_KEY)


@pytest.mark.parametrize("version", ["six", "6", "6.2.1.0.1", "6.2.1-rc", ""])
def test_a_version_is_numbers_and_dots(version: str) -> None:
    with pytest.raises(Corrupt, match="is not like"):
        image.verify(manifest(version).sign(RELEASE_KEY), ROOT_KEY)


def test_versions_are_ordered_as_numbers() -> None:
    versions = ["8.0.29", "4.3.4", "10.0.1", "4.3.23", "4.3.4.1"]
    ordered = sorted(versions, key=image.version_key)
    assert ordered == ["4.3.4", "4.3.4.1", "4.3.23", "8.0.29", "10.0.1"]


def test_a_whole_slot_is_read() -> None:
    disk = empty_disk()
    flash(disk, "slot-a", manifest("6.2.1"))
    assert _read(disk) == manifest("6.2.1")
    assert _read(disk, fuses=0).version == "6.2.1"


def test_an_empty_slot_holds_no_image() -> None:
    with pytest.raises(Corrupt, match="slot-a: no image"):
        _read(empty_disk())


def test_another_board_is_refused_by_name() -> None:
    disk = empty_disk()
    flash(disk, "slot-a", manifest("6.2.1", boards=("orin", "xavier-nx")))
    with pytest.raises(Corrupt, match=f"is for orin, xavier-nx; this board is {BOARD}"):
        _read(disk)


def test_below_the_fuses_nothing_runs() -> None:
    disk = empty_disk()
    flash(disk, "slot-a", manifest("6.2.1", fuse_level=2))
    assert _read(disk, fuses=2).fuse_level == 2
    with pytest.raises(Corrupt, match="fuse level 2, below the 3"):
        _read(disk, fuses=3)


@pytest.mark.parametrize(
    "content",
    [payload("other"), Blob(payload("6.2.1").digest, 3 << 20, 2 << 20)],
    ids=["other-content", "a-part-only"],
)
def test_a_payload_that_is_not_the_manifests_is_refused(content: Blob) -> None:
    disk = empty_disk()
    flash(disk, "slot-a", manifest("6.2.1"))
    disk["slot-a"].write(image.PAYLOAD_AT, content)
    with pytest.raises(Corrupt, match=" hash "):
        _read(disk)


def test_the_payload_may_be_plain_bytes() -> None:
    disk, text = empty_disk(), b"kernel and root file system"
    made = manifest("6.2.1", size_bytes=len(text), sha256=sha256(text))
    disk["slot-a"].write(image.PAYLOAD_AT, text)
    complete(image.write_header("slot-a", made.sign(RELEASE_KEY)), disk)
    disk.cut(lambda _name, _index: False)
    disk["slot-a"].write(image.PAYLOAD_AT, text)
    assert _read(disk) == made
    disk["slot-a"].write(image.PAYLOAD_AT + 3, b"X")
    with pytest.raises(Corrupt, match=" hash "):
        _read(disk)
