"""The slot record: ping-pong copies, torn copies, and what each transition means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from harness.appliance.boot_control import (
    COPY_BYTES,
    FACTORY,
    TRIES,
    BootControl,
    SlotState,
    decode,
    other,
    save,
)
from harness.appliance.effect import Sync, Write
from harness.appliance.storage import BOOT_CONTROL
from harness.engine.sweep.stand import complete, empty_disk, read_control

GOOD = SlotState(bootable=True, successful=True, tries=0)
TRIAL = SlotState(bootable=True, successful=False, tries=TRIES)
SPENT = SlotState(bootable=True, successful=False, tries=0)
CLOSED = SlotState(bootable=False, successful=False, tries=0)

SLOT_STATES = st.builds(SlotState, st.booleans(), st.booleans(), st.integers(0, 255))
CONTROLS = st.builds(
    BootControl, st.integers(0, 2**32 - 1), st.sampled_from("ab"), SLOT_STATES, SLOT_STATES
)


@given(CONTROLS)
def test_a_record_reads_back_as_written(control: BootControl) -> None:
    assert decode(control.encode()) == control


@given(CONTROLS, st.data())
def test_a_damaged_record_is_none(control: BootControl, data: st.DataObject) -> None:
    text = bytearray(control.encode())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(text)) is None


@pytest.mark.parametrize(
    ("a", "b", "active", "chosen"),
    [
        (GOOD, CLOSED, "a", "a"),
        (GOOD, TRIAL, "b", "b"),
        (GOOD, SPENT, "b", "a"),
        (GOOD, GOOD, "b", "b"),
        (CLOSED, GOOD, "a", "b"),
        (SPENT, CLOSED, "a", None),
        (CLOSED, CLOSED, "b", None),
    ],
)
def test_the_active_slot_boots_if_it_may_else_the_other(
    a: SlotState, b: SlotState, active: str, chosen: str | None
) -> None:
    assert BootControl(1, active, a, b).choose() == chosen


def test_an_update_from_arming_to_commit() -> None:
    armed = FACTORY.armed("b")
    assert (armed.active, armed.a, armed.b) == ("b", GOOD, TRIAL)
    tried = armed.tried("b")
    assert tried.b == SlotState(bootable=True, successful=False, tries=TRIES - 1)
    assert tried.committed("b").slot("b") == GOOD


def test_tries_run_out_and_the_way_back_closes_the_slot() -> None:
    control = FACTORY.armed("b")
    boots = []
    while (slot := control.choose()) == "b":
        boots.append(slot)
        control = control.tried(slot)
    assert len(boots) == TRIES
    back = control.fell_back("a")
    assert (back.active, back.a, back.b) == ("a", GOOD, CLOSED)


def test_closing_the_active_slot_makes_the_other_active() -> None:
    control = FACTORY.armed("b")
    assert control.unbootable("b").active == "a"
    assert control.unbootable("a").active == "b"
    assert control.unbootable("a").a == CLOSED


def test_the_event_says_it_all() -> None:
    values = FACTORY.armed("b").describe(fuse_level=3)
    trial = {"bootable": True, "successful": False, "tries": TRIES}
    assert values["active"] == "b"
    assert values["slots"]["b"] == trial
    assert values["fuse_level"] == 3
    assert other("a") == "b"
    assert other("b") == "a"


def test_nothing_readable_is_the_factory_record() -> None:
    assert read_control(empty_disk()) == FACTORY


def test_saving_syncs_last_and_never_touches_the_newer_copy() -> None:
    disk = empty_disk()
    control = FACTORY
    places = set()
    for _ in range(4):
        program = save(control)
        write = next(program)
        assert isinstance(write, Write)
        newest = (control.sequence % 2) * COPY_BYTES
        assert write.offset != newest
        places.add(write.offset)
        assert next(program) == Sync(BOOT_CONTROL)
        control = complete(save(control), disk)
    assert places == {0, COPY_BYTES}


CHANGES = st.lists(
    st.tuples(st.sampled_from(["tried", "armed", "committed"]), st.sampled_from("ab"))
)


@limits(deadline=None, max_examples=60)
@given(CHANGES, st.integers(0, 1), st.integers(0, 18), st.integers(1, 255))
def test_with_one_copy_torn_one_of_the_last_two_states_is_left(
    changes: list[tuple[str, str]], copy: int, position: int, flip: int
) -> None:
    disk = empty_disk()
    states = [complete(save(FACTORY), disk)]
    states.append(complete(save(states[-1]), disk))
    for change, slot in changes:
        if change != "tried" or states[-1].slot(slot).tries > 0:
            states.append(complete(save(getattr(states[-1], change)(slot)), disk))
    at = copy * COPY_BYTES + position
    (byte,) = disk[BOOT_CONTROL].read(at, 1)
    disk[BOOT_CONTROL].write(at, bytes([byte ^ flip]))
    newest_torn = states[-1].sequence % 2 == copy
    assert read_control(disk) == states[-2 if newest_torn else -1]


@limits(deadline=None, max_examples=60)
@given(CHANGES, st.booleans())
def test_a_cut_before_the_sync_leaves_the_old_state_or_the_new(
    changes: list[tuple[str, str]], kept: bool
) -> None:
    disk = empty_disk()
    state = complete(save(FACTORY), disk)
    for change, slot in changes:
        if change == "tried" and state.slot(slot).tries == 0:
            continue
        program = save(getattr(state, change)(slot))
        write = next(program)
        assert isinstance(write, Write)
        disk[BOOT_CONTROL].write(write.offset, write.data)
        program.close()
        disk.cut(lambda _name, _index: kept)
        found = read_control(disk)
        new = decode(write.data)
        assert found == (new if kept else state)
        state = found
