from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Corrupt, EngineError
from harness.record.event import Event
from harness.record.head import Head
from harness.record.history import History, HistoryWriter, first_difference

if TYPE_CHECKING:
    from pathlib import Path

HEAD = Head(
    scenario="first-light",
    seed=7,
    engine="model",
    grade="V",
    plan="ab" * 32,
    started=datetime(2026, 1, 1, 23, 59, 59, 250_000, tzinfo=UTC),
    versions={"harness": "0.1.0"},
)
EVENTS = [
    Event(0.0, "scenario", "run.started", {"plan": "ab" * 32}),
    Event(0.5, "appliance/north", "appliance.booted", {"slot": "a", "version": "6.2.1"}),
    Event(1.123456789, "camera/tür", "camera.lost", {"line": 'quote " and \n newline'}),
    Event(2.0, "scenario", "run.ended", {"outcome": "completed", "error": None}),
]


def write(path: Path, events: list[Event] | None = None, head: Head = HEAD) -> Path:
    with HistoryWriter(path, head) as writer:
        for event in EVENTS if events is None else events:
            writer.append(event)
    return path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    history = History.load(write(tmp_path / "history.jsonl"))
    assert history.head == HEAD
    assert history.complete
    assert [event.t_s for event in history.events] == [0.0, 0.5, 1.123457, 2.0]
    assert [event.values for event in history.events] == [event.values for event in EVENTS]
    assert history.of("camera.lost") == [(3, history.events[2])]
    assert [n for n, _ in history.of("run.ended", "run.started")] == [1, 4]
    assert history.of("nothing.such") == []


def test_wall_time_is_the_start_plus_t(tmp_path: Path) -> None:
    lines = write(tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["wall"] for line in lines[1:]] == [
        "2026-01-01T23:59:59.250000Z",
        "2026-01-01T23:59:59.750000Z",
        "2026-01-02T00:00:00.373457Z",
        "2026-01-02T00:00:01.250000Z",
    ]


def test_same_events_give_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    assert first_difference(one, two) is None


def test_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [Event(0, "s", "k", {"a": 1, "b": {"x": 1, "y": 2}})])
    two = write(tmp_path / "two", [Event(0, "s", "k", {"b": {"y": 2, "x": 1}, "a": 1})])
    assert one.read_bytes() == two.read_bytes()


def test_first_difference_names_line_and_key(tmp_path: Path) -> None:
    other = [*EVENTS[:2], Event(1.5, "camera/door", "camera.lost", EVENTS[2].values), EVENTS[3]]
    difference = first_difference(write(tmp_path / "one"), write(tmp_path / "two", other))
    assert difference is not None
    assert difference.line == 3
    assert "t: 1.123457 against 1.5" in str(difference)
    assert "source: 'camera/tür' against 'camera/door'" in str(difference)
    assert "hash" not in str(difference)


def test_first_difference_of_a_shorter_history(tmp_path: Path) -> None:
    difference = first_difference(write(tmp_path / "one"), write(tmp_path / "two", EVENTS[:3]))
    assert str(difference) == "line 4: the second history has ended, the other goes on"


@pytest.mark.parametrize("line", range(5))
def test_an_edited_line_is_found(tmp_path: Path, line: int) -> None:
    path = write(tmp_path / "history.jsonl")
    lines = path.read_bytes().split(b"\n")
    lines[line] = lines[line].replace(b"s", b"z", 1).replace(b'"haz', b'"has').replace(b"e", b"i")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(Corrupt, match=rf"history\.jsonl: line {line}: ") as caught:
        History.load(path)
    assert caught.value.hint


@pytest.mark.parametrize("line", range(1, 4))
def test_a_dropped_line_is_found(tmp_path: Path, line: int) -> None:
    path = write(tmp_path / "history.jsonl")
    lines = path.read_bytes().split(b"\n")
    del lines[line]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(Corrupt, match=f"line {line}: the hash is"):
        History.load(path)


def test_a_cut_line_is_refused_or_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "history.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Corrupt, match="line 4: the line is cut off"):
        History.load(path)
    history = History.load(path, accept_truncated=True)
    assert len(history.events) == 3
    assert not history.complete


def test_accepting_a_cut_line_accepts_no_edit(tmp_path: Path) -> None:
    path = write(tmp_path / "history.jsonl")
    path.write_bytes(path.read_bytes().replace(b"6.2.1", b"6.2.2"))
    with pytest.raises(Corrupt, match="line 2"):
        History.load(path, accept_truncated=True)


def test_a_history_without_its_end_is_not_complete(tmp_path: Path) -> None:
    assert not History.load(write(tmp_path / "history.jsonl", EVENTS[:3])).complete


def test_an_empty_file_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").touch()
    with pytest.raises(Corrupt, match="line 0: the head is missing"):
        History.load(tmp_path / "history.jsonl")


def test_another_schema_is_refused(tmp_path: Path) -> None:
    head = Head("s", 1, "model", "V", "", HEAD.started, schema=2)
    with pytest.raises(Corrupt, match="schema 2, this harness reads 1"):
        History.load(write(tmp_path / "history.jsonl", head=head))


def test_every_event_is_in_the_file_before_close(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path, HEAD) as writer:
        for number, event in enumerate(EVENTS, start=1):
            assert writer.append(event) == number
            assert len(History.load(path).events) == number
    assert writer.count == len(EVENTS)


def test_a_history_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "history.jsonl")
    with pytest.raises(FileExistsError):
        HistoryWriter(tmp_path / "history.jsonl", HEAD)


def test_listeners_see_each_event_after_it_was_written(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path, HEAD) as writer:
        writer.listen(lambda event: seen.append((event.kind, path.read_bytes().count(b"\n"))))
        for event in EVENTS[:2]:
            writer.append(event)
    assert seen == [("run.started", 2), ("appliance.booted", 3)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_is_not_json_is_refused_and_leaves_no_trace(tmp_path: Path, value: object) -> None:
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path, HEAD) as writer:
        with pytest.raises(EngineError, match="event 1"):
            writer.append(Event(0, "s", "k", {"value": value}))
        writer.append(EVENTS[0])
    assert len(History.load(path).events) == 1


def test_a_line_has_a_limit(tmp_path: Path) -> None:
    with (
        HistoryWriter(tmp_path / "history.jsonl", HEAD) as writer,
        pytest.raises(EngineError, match=r"line 1 of .* would be"),
    ):
        writer.append(Event(0, "s", "k", {"value": "x" * (1 << 20)}))


def test_a_naive_start_is_refused(tmp_path: Path) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    with pytest.raises(EngineError, match="naive"):
        HistoryWriter(tmp_path / "h", Head("s", 1, "model", "V", "", naive))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    t_s=st.floats(0, 1e7),
    source=st.text(max_size=30),
    values=st.dictionaries(st.text(), json_values, max_size=5),
)
def test_any_event_survives(
    tmp_path_factory: pytest.TempPathFactory, t_s: float, source: str, values: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("history") / "h"
    write(path, [Event(t_s, source, "any.kind", values)])
    (event,) = History.load(path).events
    assert event == Event(round(t_s * 1e6) / 1e6, source, "any.kind", values)
