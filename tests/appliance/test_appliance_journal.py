"""Settings that survive: atomic transactions, compaction, two programs writing, power cuts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from harness.appliance import journal
from harness.appliance.effect import Program, Read, Write
from harness.appliance.storage import DATA, Disk
from harness.engine.sweep.box import Box
from harness.engine.sweep.cloud import Cloud
from harness.engine.sweep.stand import complete, empty_disk
from harness.errors import StorageFull

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Changes = dict[str, Any]


def _load(disk: Disk, life: int = 0) -> journal.Journal:
    loaded: journal.Journal = complete(journal.load(), disk, seed=life)
    return loaded


def _put(disk: Disk, kept: journal.Journal, **changes: Any) -> None:
    complete(kept.put(changes), disk)


def _merged(transactions: Sequence[Mapping[str, Any]]) -> Changes:
    values: Changes = {}
    for changes in transactions:
        values.update(changes)
    return {key: value for key, value in values.items() if value is not None}


def _writes(program: Program[None]) -> list[Write]:
    return [effect for effect in program if isinstance(effect, Write)]


def test_an_empty_partition_is_an_empty_journal() -> None:
    assert _load(empty_disk()).values == {}


def test_what_was_put_is_found_again_and_none_deletes() -> None:
    disk = empty_disk()
    kept = _load(disk)
    _put(disk, kept, device={"thing": "one"}, job={"id": "j"})
    _put(disk, kept, job=None, gone=None)
    assert kept.values == {"device": {"thing": "one"}}
    disk.cut(lambda _partition, _index: False)
    assert _load(disk).values == {"device": {"thing": "one"}}


def test_a_torn_record_is_as_if_never_written() -> None:
    disk = empty_disk()
    kept = _load(disk)
    _put(disk, kept, a=1)
    (write,) = _writes(kept.put({"a": 2, "b": 3}))
    for length in range(len(write.data)):
        torn = disk.fork()
        torn[DATA].write(write.offset, write.data[:length])
        assert _load(torn).values == {"a": 1}, f"after {length} of {len(write.data)} bytes"
    disk[DATA].write(write.offset, write.data)
    assert _load(disk).values == {"a": 2, "b": 3}


def test_a_flipped_bit_ends_the_replay_there() -> None:
    disk = empty_disk()
    kept = _load(disk)
    _put(disk, kept, a=1)
    (write,) = _writes(kept.put({"a": 2}))
    for position in range(len(write.data)):
        bad = bytearray(write.data)
        bad[position] ^= 0x10
        damaged = disk.fork()
        damaged[DATA].write(write.offset, bytes(bad))
        assert _load(damaged).values == {"a": 1}, f"byte {position} flipped"


def test_the_newer_half_wins_and_the_stale_one_is_written_over() -> None:
    disk = empty_disk()
    kept = _load(disk)
    used = set()
    for number in range(5 * journal.RECORDS_MAX):
        program = kept.put({"n": number})
        for effect in program:
            if isinstance(effect, Write):
                used.add(effect.offset // journal.HALF_BYTES)
                disk[DATA].write(effect.offset, effect.data)
        disk[DATA].sync()
        assert _load(disk).values == {"n": number}
    assert used == {0, 1}


def test_a_boot_replays_no_more_than_the_bound() -> None:
    disk = empty_disk()
    kept = _load(disk)
    for number in range(20 * journal.RECORDS_MAX):
        _put(disk, kept, n=number, text="x" * 100)
    values, read_bytes = _replayed(disk)
    assert values["n"] == number
    record_bytes, chunks_bytes = 200, 16 * 1024
    assert read_bytes < 2 * (journal.RECORDS_MAX * record_bytes + chunks_bytes)


def _replayed(disk: Disk) -> tuple[Changes, int]:
    """What a boot finds, and how many bytes it reads for that."""
    read_bytes = 0

    def counting() -> Program[journal.Journal]:
        nonlocal read_bytes
        program, outcome = journal.load(), None
        while True:
            try:
                effect = program.send(outcome)
            except StopIteration as stop:
                loaded: journal.Journal = stop.value
                return loaded
            read_bytes += effect.length if isinstance(effect, Read) else 0
            outcome = yield effect

    values: Changes = complete(counting(), disk).values
    return values, read_bytes


def test_settings_that_do_not_fit_are_refused_and_nothing_changes() -> None:
    disk = empty_disk()
    kept = _load(disk)
    _put(disk, kept, device="mine")
    with pytest.raises(StorageFull, match="settings need"):
        _put(disk, kept, big="x" * journal.HALF_BYTES)
    assert kept.values == {"device": "mine"}
    _put(disk, kept, job="next")
    assert kept.values == _load(disk).values == {"device": "mine", "job": "next"}


def test_what_would_not_fit_a_snapshot_is_refused_before_one_is_due() -> None:
    """Else the transaction after it, however small, could not be kept."""
    disk = empty_disk()
    kept = _load(disk)
    sixth = "x" * (journal.HALF_BYTES // 6)
    for number in range(5):
        _put(disk, kept, **{f"k{number}": sixth})
    with pytest.raises(StorageFull):
        _put(disk, kept, k5=sixth)
    for number in range(2 * journal.RECORDS_MAX):
        _put(disk, kept, n=number)
    assert _load(disk).values["n"] == number


# --- two programs, any cut, any survivors ---------------------------------------------------------

TRANSACTIONS = st.lists(
    st.dictionaries(
        st.sampled_from(["device", "job", "applications"]),
        st.none() | st.integers(0, 9) | st.text("ab", max_size=300),
        min_size=1,
        max_size=2,
    ),
    max_size=4,
)
LIVES = st.lists(
    st.tuples(TRANSACTIONS, TRANSACTIONS, st.integers(0, 24), st.integers(0, 255)),
    min_size=1,
    max_size=5,
)
SAME, OTHER = [{"job": 1}], [{"device": 2}]


class _Writers:
    """Two programs that put into one journal; `begun` is in the order of the sequence."""

    def __init__(self, disk: Disk, life: int) -> None:
        self.journal = _load(disk, life)
        self.begun: list[Changes] = []
        self.acknowledged = 0

    def writer(self, transactions: Sequence[Changes]) -> Program[None]:
        for changes in transactions:
            self.begun.append(changes)
            number = len(self.begun)
            yield from self.journal.put(changes)
            self.acknowledged = max(self.acknowledged, number)

    def live(self, disk: Disk, first: list[Changes], second: list[Changes], cut: int) -> Box:
        box = Box(disk, Cloud())
        box.cut_at = cut
        box._launch("updater", self.writer(first))
        box._launch("applications", self.writer(second))
        box.powered = True
        return box


@limits(max_examples=300, deadline=None)
@given(LIVES)
@example([(SAME, OTHER, 2, 2), ([{"job": 3}], [], 99, 0)])
@example([(SAME, OTHER, 2, 2), (SAME, [], 99, 0)])
def test_any_cut_leaves_the_last_acknowledged_state_or_a_later_one(
    lives: list[tuple[list[Changes], list[Changes], int, int]],
) -> None:
    disk = empty_disk()
    before: Changes = {}
    with patch.object(journal, "RECORDS_MAX", 3), patch.object(journal, "HALF_BYTES", 2048):
        for life, (first, second, cut, survivors) in enumerate(lives):
            writers = _Writers(disk, life)
            box = writers.live(disk, first, second, cut)
            box.keeps = lambda _partition, index, bits=survivors: bool(bits >> index % 8 & 1)  # type: ignore[misc]
            box.run()
            if box.powered:
                box.cut_power()
            found = _load(disk).values
            possible = [
                _merged([before, *writers.begun[:n]])
                for n in range(writers.acknowledged, len(writers.begun) + 1)
            ]
            assert found in possible
            before = found


def test_transactions_take_their_places_in_the_order_they_began() -> None:
    """The first write of the second program may come before the sync of the first."""
    kept = _load(empty_disk())
    first, second = kept.put({"a": 1}), kept.put({"b": 2})
    writes = [next(first), next(second)]
    assert all(isinstance(write, Write) for write in writes)
    for one, next_one in pairwise(writes):
        assert isinstance(one, Write)
        assert isinstance(next_one, Write)
        assert one.offset + len(one.data) == next_one.offset
    first.close()
    second.close()
