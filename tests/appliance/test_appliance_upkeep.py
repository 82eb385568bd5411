"""Storage that rots, fills up, turns read-only or slow: noticed, told, waited out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import effect as fx
from harness.appliance import journal
from harness.appliance.journal import HALF_BYTES, RECORDS_MAX
from harness.appliance.storage import DATA, Disk
from harness.engine.rot import rot_application, rot_part
from harness.engine.sweep.cloud import ROOT_KEY
from harness.engine.sweep.stand import complete, online_box, provisioned_box
from harness.engine.sweep.truth import settings, settle, violations
from harness.errors import HarnessError, InputError, StorageFull, StorageReadOnly

if TYPE_CHECKING:
    from harness.engine.sweep.box import Box


def put(kept: journal.Journal, changes: dict[str, Any], disk: Disk) -> None:
    """As `complete`, with what the disk says thrown into the program."""
    program = kept.put(changes)
    request = next(program)
    while True:
        try:
            match request:
                case fx.Write(partition, offset, data):
                    disk[partition].write(offset, data)
                case fx.Sync(partition):
                    disk[partition].sync()
        except HarnessError as problem:
            program.throw(problem)
        try:
            request = program.send(None)
        except StopIteration:
            return


def loaded(disk: Disk) -> journal.Journal:
    found: journal.Journal = complete(journal.load(), disk)
    return found


def wrong(box: Box, device: Any, *versions: str) -> list[str]:
    """What does not hold once it has had rest, a power cut, and rest again."""
    settle(box)
    found = [one for one in violations(box, device, *versions) if "never came up" not in one]
    assert found == [], "before it is booted again"
    box.cut_power()
    settle(box)
    return list(violations(box, device, *versions))


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [0, 1, RECORDS_MAX - 1, RECORDS_MAX, RECORDS_MAX + 1])
@pytest.mark.parametrize("failures", [1, 2, 3])
@pytest.mark.parametrize("flag", ["read_only", "full"])
def test_what_could_not_be_kept_is_not_there_and_nothing_else_is_lost(
    records: int, failures: int, flag: str
) -> None:
    disk = Disk({DATA: 2 * HALF_BYTES})
    kept = loaded(disk)
    for number in range(records):
        complete(kept.put({f"k{number}": number}), disk)
    before = dict(kept.values)
    setattr(disk[DATA], flag, True)
    for _ in range(failures):
        with pytest.raises((StorageReadOnly, StorageFull)):
            put(kept, {"lost": 1, "k0": "changed"}, disk)
        assert kept.values == before
        assert loaded(disk.after_cut(lambda _name, _index: 1)).values == before
    setattr(disk[DATA], flag, False)
    complete(kept.put({"new": 2}), disk)
    assert kept.values == loaded(disk).values == {**before, "new": 2}
    for number in range(2 * RECORDS_MAX):
        complete(kept.put({"count": number}), disk)
        assert loaded(disk).values == kept.values


def test_a_record_behind_a_hole_is_written_once_more() -> None:
    """Two programs put at once; the write of the first fails, that of the second does not."""
    disk = Disk({DATA: 2 * HALF_BYTES})
    kept = loaded(disk)
    complete(kept.put({"first": 1}), disk)
    lost, found = kept.put({"lost": 1}), kept.put({"found": 1})
    write_lost, write_found = next(lost), next(found)
    assert write_lost != write_found
    with pytest.raises(StorageReadOnly):
        lost.throw(StorageReadOnly("no"))
    disk[DATA].write(write_found.offset, write_found.data)  # type: ignore[attr-defined]
    found.send(None)
    disk[DATA].sync()

    def rest() -> Any:
        yield from found

    complete(rest(), disk)
    assert loaded(disk).values == kept.values == {"first": 1, "found": 1}


# --- a partition in trouble ----------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "named"), [("read_only", "read-only"), ("full", "full")])
def test_trouble_is_told_and_its_end_too(flag: str, named: str) -> None:
    box = online_box("door")
    before = settings(box)
    box.spoil(flag)
    box.run(for_s=60.0)
    assert [v["trouble"] for v in box.noted("storage.trouble")] == [named]
    assert "door" in box.nodes, "what runs goes on"
    box.mend()
    box.run(for_s=60.0)
    (clear,) = box.noted("storage.clear")
    assert clear["trouble"] == named
    assert 50.0 <= clear["lasted_s"] <= 80.0
    assert settings(box) == before


def test_trouble_that_is_there_at_power_on_is_told() -> None:
    box = provisioned_box("door")
    box.disk[DATA].read_only = True
    box.power_up()
    assert box.run(lambda: box.online and set(box.nodes) == {"door"})
    box.run(for_s=60.0)
    assert [v["trouble"] for v in box.noted("storage.trouble")] == ["read-only"]


@pytest.mark.parametrize("flag", ["read_only", "full"])
@pytest.mark.parametrize("what", ["ota", "reboot", "deploy", "remove", "pause"])
def test_work_that_comes_meanwhile_is_done_or_failed_in_the_end(flag: str, what: str) -> None:
    box = online_box("door")
    device = settings(box)["device"]
    box.spoil(flag)
    box.run(for_s=5.0)
    match what:
        case "ota":
            box.cloud.order(box.cloud.offer("6.2.1", fuse_level=1))
        case "reboot":
            box.cloud.order({"operation": "REBOOT"})
        case "deploy":
            box.cloud.deploy("hall", {"code": b"code of hall"})
        case "remove":
            box.cloud.remove("door")
        case "pause":
            box.cloud.pause("door", "front")
    box.run(for_s=300.0)
    assert box.powered
    assert not box.halted
    box.mend()
    if what == "deploy":  # it was refused, and nobody asks for it again but the operator
        assert box.cloud.reported["hall"]["status"] == "INSTALL_ERROR"
        box.cloud.remove("hall")
    assert wrong(box, device, "6.2.1", "6.0.8") == []


# --- rot -----------------------------------------------------------------------------------------


def test_a_rotten_application_is_brought_anew() -> None:
    box = online_box("door")
    before = settings(box)
    assert rot_application(box.disk, "door", 0.3)
    box.crash("door")
    assert box.run(lambda: "door" in box.nodes, for_s=600.0)
    (damaged,) = box.noted("app.damaged")
    assert damaged["instance"] == "door"
    assert settings(box) == before
    assert wrong(box, before["device"]) == []


def test_a_file_that_two_applications_use_is_brought_for_both() -> None:
    box = online_box("door", "hall")  # both have the same model
    device = settings(box)["device"]
    shared = set.intersection(*({*e["uses"]} for e in settings(box)["applications"].values()))
    (sha256,) = shared
    offset, _ = settings(box)["assets"][sha256]
    box.disk[DATA].rot(offset, 0)
    box.crash("door")
    assert wrong(box, device) == []
    assert set(box.nodes) == {"door", "hall"}


def test_without_a_link_a_rotten_application_waits_for_one() -> None:
    box = provisioned_box("door")
    device = settings(box)["device"]
    rot_application(box.disk, "door", 0.9)
    box.break_link()
    box.power_up()
    box.run(for_s=300.0)
    assert box.nodes == {}
    assert box.noted("app.damaged")
    assert wrong(box, device) == []


def test_only_what_is_there_can_rot() -> None:
    box = online_box("door")
    assert not rot_application(box.disk, "hall", 0.5)
    with pytest.raises(InputError, match="has no boot logo"):
        rot_part(box.disk, ROOT_KEY, "boot logo", 0.5)
