"""The USB stick: what it can hold, which archives are unpacked, logs and log images on it."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.appliance.stick import ENTRIES_MAX, FILE_BYTES_MAX, archive, unpack
from harness.engine.seal import seal, unseal
from harness.engine.stick import FILE_BYTES_MAX as FAT_FILE_BYTES_MAX
from harness.engine.stick import GB, Stick
from harness.engine.sweep.cloud import ARCHIVE, LOG_KEY, ROOT_KEY, STICK, SUPPORT_KEY, packed
from harness.engine.sweep.stand import factory_box, online_box
from harness.engine.sweep.truth import settings
from harness.errors import Corrupt, StorageFull, StorageReadOnly

if TYPE_CHECKING:
    from harness.engine.sweep.box import Box

NAME = next(iter(STICK.files))
LOGS = ["panorama/kern.log", "panorama/occ.log", "panorama/ota_agent.log", "panorama/syslog.log"]
MANAGED = "panorama/managed_logs/"


def lights(box: Box) -> list[tuple[str, str]]:
    return [(colour, pattern) for led, colour, pattern in box.leds if led == "status"]


def asked(stick: Stick, version: str = "6.0.8") -> Box:
    """A factory-fresh box that came up with this stick in it."""
    box = factory_box(version)
    box.stick = stick
    box.power_up()
    box.run(for_s=600.0)
    return box


# --- the stick itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"port": "2.0"}, "in the 2.0 port"),
        ({"format": "exFAT"}, "formatted exFAT"),
        ({"format": "NTFS"}, "formatted NTFS"),
        ({"size_bytes": GB - 1}, "USB stick of 1 GB"),
        ({"size_bytes": 64 * GB}, "USB stick of 64 GB"),
    ],
)
def test_a_stick_that_cannot_be_used_is_said_to_be_so(changes: dict[str, Any], says: str) -> None:
    stick = Stick(dict(STICK.files), **changes)
    with pytest.raises(Corrupt, match=says):
        stick.look()
    with pytest.raises(Corrupt, match=says):
        stick.write("occ.log", b"")
    box = asked(stick)
    assert settings(box) == {}
    assert lights(box)[-1] == ("red", "fast")
    assert says in box.noted("log.line")[0]["line"]
    box.plug(STICK)
    assert box.run(lambda: box.online)


@pytest.mark.parametrize("size_bytes", [GB, 32 * GB])
def test_sizes_at_the_borders_are_fine(size_bytes: int) -> None:
    box = asked(Stick(dict(STICK.files), size_bytes=size_bytes))
    assert box.online


@pytest.mark.parametrize("name", ["a:b", "a\\b", "what?", "a*", "end.", "end ", "a//b", "x" * 256])
def test_fat32_refuses_names_that_it_cannot_hold(name: str) -> None:
    with pytest.raises(Corrupt, match="no file named"):
        Stick().write(name, b"")


def test_names_differ_in_more_than_case() -> None:
    stick = Stick({"PANORAMA/OCC.LOG": b"old"})
    stick.write("panorama/occ.log", b"new")
    assert stick.files == {"panorama/occ.log": b"new"}


def test_a_file_takes_whole_clusters_and_a_full_stick_keeps_what_it_has() -> None:
    stick = Stick(size_bytes=GB)
    stick.used_bytes = stick.capacity_bytes - 2 * stick.cluster_bytes
    stick.write("a", b"1")  # with the root folder that is all
    with pytest.raises(StorageFull, match="no room for b, 1 bytes"):
        stick.write("b", b"1")
    stick.write("a", bytes(stick.cluster_bytes))
    assert list(stick.files) == ["a"]


def test_no_file_reaches_four_gibibytes() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return FAT_FILE_BYTES_MAX + 1

    with pytest.raises(StorageFull):
        Stick(size_bytes=32 * GB).write("film", Huge())


@given(st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=9000), max_size=6))
def test_what_was_written_is_there(files: dict[str, bytes]) -> None:
    stick = Stick()
    for name, data in files.items():
        stick.write(name, data)
    assert stick.look() == files


# --- the archive ---------------------------------------------------------------------------------


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in entries:
            opened.writestr(name, data)
    return made.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a zip file"),
        (b"PK\x03\x04 and no more", "not a zip file"),
        (bytes(2 << 20), "more than"),
        (zipped(("../config.json", b"{}")), "'../config.json' is no plain file name"),
        (zipped(("/etc/shadow", b"")), "'/etc/shadow' is no plain file name"),
        (zipped(("a/config.json", b"")), "'a/config.json' is no plain file name"),
        (zipped(("c:config.json", b"")), "is no plain file name"),
        (zipped((link("config.json"), b"/etc/passwd")), "'config.json' is a link"),
        (zipped(("ca.pem", b""), ("ca.pem", b"x")), "'ca.pem' twice"),
        (zipped(*((f"{n}", b"") for n in range(ENTRIES_MAX + 1))), "17 entries"),
        (zipped(("config.json", bytes(FILE_BYTES_MAX + 1))), "'config.json' has over"),
        (zipped(), "config.json, claim.cert.pem, claim.key.pem, ca.pem missing"),
    ],
)
def test_an_archive_that_would_do_harm_is_not_unpacked(data: bytes, says: str) -> None:
    with pytest.raises(Corrupt, match=says):
        unpack(data)
    box = asked(Stick({NAME: data}))
    assert settings(box) == {}
    assert box.stick is not None
    assert says in box.stick.files["panorama/occ.log"].decode()


def test_a_damaged_archive_says_which_file() -> None:
    data = bytearray(STICK.files[NAME])
    at = data.index(ARCHIVE["ca.pem"])
    data[at] ^= 1
    with pytest.raises(Corrupt, match=r"Bad CRC-32 for file 'ca\.pem'"):
        unpack(bytes(data))


@given(st.binary(max_size=600), st.integers(0, 700), st.integers(0, 255))
def test_whatever_is_on_the_stick_is_unpacked_or_refused(
    noise: bytes, place: int, byte: int
) -> None:
    whole = bytearray(STICK.files[NAME])
    whole[place % len(whole)] = byte
    for data in (noise, bytes(whole), bytes(whole[:place])):
        try:
            assert set(unpack(data)) >= set(ARCHIVE)
        except Corrupt:
            continue


def test_two_archives_are_one_too_many() -> None:
    with pytest.raises(Corrupt, match="2 on the stick"):
        archive({NAME: b"", "Certificates-Omni_other.ZIP": b""})
    assert archive({"certificates-omni.zip": b"", "x/certificates-omni_a.zip": b""}) == ""


# --- logs ----------------------------------------------------------------------------------------


def test_provisioning_logs_are_written_to_the_stick() -> None:
    box = asked(STICK.copy())
    assert box.stick is not None
    assert sorted(name for name in box.stick.files if name != NAME) == LOGS
    assert b"slot a verified" in box.stick.files["panorama/kern.log"]


def test_releases_before_4_3_23_wrote_none() -> None:
    box = asked(STICK.copy(), "4.3.4")
    assert box.online
    assert box.stick == STICK


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"read_only": True}, "write-protected"), ({"used_bytes": 8 * GB}, "no room")],
)
def test_a_stick_that_takes_no_logs_provisions_all_the_same(
    changes: dict[str, Any], says: str
) -> None:
    box = asked(Stick(dict(STICK.files), **changes))
    assert box.online
    warnings = [v["line"] for v in box.noted("log.line")]
    assert any(says in line for line in warnings), warnings


def test_a_registered_appliance_takes_no_other_identity() -> None:
    box = online_box()
    before = settings(box)
    box.plug(packed({**ARCHIVE, "config.json": b'{"Endpoint": "other:1", "DeviceId": "other"}'}))
    box.run(for_s=600.0)
    assert settings(box) == before
    assert box.stick is not None
    assert b"registered already" in box.stick.files["panorama/occ.log"]


# --- log egress ----------------------------------------------------------------------------------


def test_a_log_image_is_for_support_alone() -> None:
    box = online_box("door")
    box.cut_power()
    box.plug(Stick({MANAGED: b""}))
    box.power_up()
    box.run(for_s=200.0)
    (ended,) = box.noted("egress.ended")
    assert ended["ok"]
    assert box.stick is not None
    image = box.stick.files[ended["file"]]
    assert ended["file"].startswith(f"{MANAGED}panorama_device_log_v1_")
    assert len(image) == ended["bytes"]
    assert ("blue", "fast") in lights(box)
    assert lights(box)[-1] == ("green", "steady")
    told = json.loads(unseal(image, SUPPORT_KEY))
    assert told["software"] == "6.0.8"
    assert set(told["settings"]["applications"]) == {"door"}
    device = settings(box)["device"]
    for secret in (device["key"], device["certificate"]):
        assert secret.encode() not in image
        assert secret not in json.dumps(told)


def test_a_box_that_never_was_registered_gives_its_logs_too() -> None:
    box = asked(Stick({"Panorama/Managed_Logs/old.img": b""}))
    assert [v["ok"] for v in box.noted("egress.ended")] == [True]


def test_releases_before_4_3_93_know_no_log_image() -> None:
    assert asked(Stick({MANAGED: b""}), "4.3.72").noted("egress.ended") == []


@pytest.mark.parametrize("changes", [{"read_only": True}, {"used_bytes": 8 * GB}])
def test_an_image_that_does_not_fit_is_an_error_and_the_box_goes_on(
    changes: dict[str, Any],
) -> None:
    box = online_box()
    box.cut_power()
    box.stick = Stick({MANAGED: b""}, **changes)
    box.power_up()
    assert box.run(lambda: box.online)
    assert [v["ok"] for v in box.noted("egress.ended")] == [False]
    assert ("red", "fast") in lights(box)
    assert lights(box)[-1] == ("green", "steady")
    assert box.stick.files == {MANAGED: b""}


@given(st.binary(max_size=500), st.binary(min_size=32, max_size=32), st.data())
def test_what_is_sealed_is_opened_by_its_key_and_by_no_change(
    text: bytes, entropy: bytes, data: st.DataObject
) -> None:
    image = seal(text, LOG_KEY, entropy)
    assert unseal(image, SUPPORT_KEY) == text
    place, bit = data.draw(st.integers(0, len(image) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(image)
    changed[place] ^= 1 << bit
    # Also of a bit of the key that X25519 ignores (RFC 7748, section 5): it is authenticated.
    with pytest.raises(Corrupt):
        unseal(bytes(changed), SUPPORT_KEY)
    with pytest.raises(Corrupt):
        unseal(seal(text, ROOT_KEY, entropy), SUPPORT_KEY)
    with pytest.raises(Corrupt):
        unseal(image[:place], SUPPORT_KEY)


def test_a_write_protected_stick_says_so() -> None:
    with pytest.raises(StorageReadOnly):
        Stick(read_only=True).write("a", b"")
