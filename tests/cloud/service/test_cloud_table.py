"""Tables know what a call changed, whatever it did; and what they hold can always be read again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harness.cloud.service.state import Image, KeptStore, Secret, Store, record_types
from harness.cloud.service.table import Table, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cloud.service.table import Change

KEYS = st.sampled_from("abcdef")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@dataclass(slots=True)
class Record:
    id: str
    notes: dict[str, Any] = field(default_factory=dict)
    log: list[int] = field(default_factory=list)


def apply(rows: dict[str, bytes], changes: Sequence[Change]) -> None:
    """As the database does: a row that is written again stays in its place."""
    for _, key, data in changes:
        if data is None:
            del rows[key]
        else:
            rows[key] = data


class TableOverRows(RuleBasedStateMachine):
    """Any mutations with commits in between: rows and records are the same after each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, bytes] = {}
        self.table = Table("records", Record)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.table[key] = Record(key)

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        self.table.pop(key, None)

    @rule(key=KEYS, name=st.text(max_size=3), value=JSON)
    def change(self, key: str, name: str, value: Any) -> None:
        record = self.table.get(key)
        if record is not None:
            record.notes[name] = value

    @rule(number=st.integers())
    def change_all(self, number: int) -> None:
        for record in self.table.values():
            record.log.append(number)

    @rule(key=KEYS)
    def drop_and_add(self, key: str) -> None:
        if key in self.table:
            del self.table[key]
            self.table[key] = Record(key, {"again": True})

    @rule()
    def start_again(self) -> None:
        self.commit()
        self.table = Table("records", Record, self.rows.items())

    @invariant()
    def commit(self) -> None:
        apply(self.rows, self.table.changes())
        again = Table("records", Record, self.rows.items())
        assert list(again.items()) == list(self.table.items())
        assert not self.table.changes(), "what was read did not change"


test_table_over_rows = TableOverRows.TestCase


def test_reading_writes_nothing() -> None:
    table = Table("records", Record)
    table["a"] = Record("a")
    assert len(table.changes()) == 1
    assert table["a"] == table.get("a")
    assert [record.id for record in table.values()] == ["a"]
    assert table.changes() == []


def test_what_was_only_read_is_not_encoded() -> None:
    table = Table("records", Record)
    table["a"] = Record("a")
    table.changes()
    table["a"].log.append(1)
    table.forget()
    assert table.changes() == []


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": ["x\ud800"]}, float("nan"), 2**80])
def test_whatever_python_reads_as_json_can_be_kept(value: Any) -> None:
    """A table never holds what it cannot read again: one bad report must not stop a service."""
    table = Table("records", Record)
    table["a"] = Record("a", {"given": value})
    ((_, _, data),) = table.changes()
    assert data is not None
    Table("records", Record, [("a", data)])


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    kept = Table("records", Record, [("a", encode(Record("a", {"given": value})))])
    assert kept["a"].notes["given"] == value


# --- a whole store -------------------------------------------------------------------------


class Sink:
    def __init__(self) -> None:
        self.changes: list[Change] = []

    def append(self, changes: Sequence[Change]) -> None:
        self.changes += changes


def test_every_table_of_a_store_is_kept() -> None:
    sink = Sink()
    store = KeptStore(sink, {})
    assert record_types().keys() == {
        name for name in Store.__slots__ if not name.endswith("_names")
    }
    store.images["7.0.1"] = Image("7.0.1", b"\x00manifest", required=True)
    store.secrets["camera"] = Secret({"Password": "hidden"})
    store.commit()
    assert [(table, key) for table, key, _ in sink.changes] == [
        ("images", "7.0.1"),
        ("secrets", "camera"),
    ]
    rows = {table: [(key, data)] for table, key, data in sink.changes if data is not None}
    again = KeptStore(sink, rows)
    assert again.images["7.0.1"].manifest == b"\x00manifest"
    assert again.secrets["camera"].values == {"Password": "hidden"}
    assert "hidden" not in repr(again)


def test_a_store_without_changes_says_nothing() -> None:
    sink = Sink()
    KeptStore(sink, {}).commit()
    assert sink.changes == []


@pytest.mark.parametrize(
    "rows", [{"gadgets": []}, {"images": [("7.0.1", b"{}")]}, {"images": [("7.0.1", b"{")]}]
)
def test_rows_that_are_no_records_are_refused(rows: Any) -> None:
    with pytest.raises(ValueError, match=r"gadgets|images|JSON|missing|truncated"):
        KeptStore(Sink(), rows)
