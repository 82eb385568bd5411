from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scenario.document import DEPTH_MAX, FILE_BYTES_MAX, Mark, parse, read
from harness.scenario.problem import EXCERPT_COLUMNS, FileInvalid, Problem

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[
            (text, text)
            for text in ("no", "yes", "on", "off", "NO", "1:30", "010", "0x1F", "1_000")
        ],
        *[
            (text, text)
            for text in ("2024-10-01", "6.2.1", ".inf", ".nan", "-x", "<<", "1e", "0o17")
        ],
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("150.0e+6", 150e6),
        ('"12"', "12"),
        ("'true'", "true"),
    ],
)
def test_scalars_are_read_as_written(written: str, value: Any) -> None:
    read_back = parse(f"key: {written}\n", file="f").data["key"]
    assert read_back == value
    assert type(read_back) is type(value)


def test_keys_are_text_as_written() -> None:
    assert parse("{no: 1, 010: 2, 7.0: 3, true: 4}", file="f").data == {
        "no": 1,
        "010": 2,
        "7.0": 3,
        "true": 4,
    }


def test_every_key_and_value_has_its_mark() -> None:
    document = parse("a:\n  - b: x\n    c: [1, two]\n", file="f")
    assert document.keys[("a", 0, "c")] == Mark(3, 5)
    assert document.values[("a", 0, "c", 1)] == Mark(3, 12)
    assert document.values[("a", 0)] == Mark(2, 5)
    assert document.at(("a", 0, "c", 1)) == "two"
    assert document.at(("a", 3, "c")) is None


def test_a_duplicate_key_is_named_with_both_lines() -> None:
    (problem,) = parse("a: 1\nb: 2\na: 3\n", file="f").problems
    assert (problem.line, problem.column) == (3, 1)
    assert problem.message == "key `a` is given twice"
    assert "line 1" in problem.hint


def test_duplicates_in_flow_style_are_seen() -> None:
    (problem,) = parse("x: {a: 1, a: 2}\n", file="f").problems
    assert (problem.line, problem.column) == (1, 11)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a: &x 1\n", "anchors and aliases are not allowed", 1, 4),
        ("a: [*x]\n", "anchors and aliases are not allowed", 1, 5),
        ("a: !!python/object:os.system x\n", "tags are not allowed", 1, 4),
        ("a: ! x\n", "tags are not allowed", 1, 4),
        ("a: 1\n---\nb: 2\n", "but found another document", 2, 1),
        ("a: [1, 2\n", "expected ',' or ']', but got", 2, 1),
        ("a:\n\tb: 1\n", "that cannot start any token", 2, 1),
        ("a: \x07\n", "character U+0007 is not allowed", 1, 1),
        ("", "the file is empty", 1, 1),
        ("# nothing\n", "the file is empty", 1, 1),
    ],
)
def test_what_is_refused_has_a_place(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(FileInvalid) as caught:
        parse(text, file="f.yaml")
    (problem,) = caught.value.problems
    assert message in problem.message
    assert (problem.file, problem.line, problem.column) == ("f.yaml", line, column)


def test_a_number_out_of_range_is_a_problem() -> None:
    document = parse("a: 1e999\nb: " + "9" * 5000 + "\n", file="f")
    assert [problem.line for problem in document.problems] == [1, 2]


def test_a_key_that_is_a_list_is_a_problem() -> None:
    (problem,) = parse("? [a, b]\n: 1\n", file="f").problems
    assert problem.message == "a key must be plain text"


def test_depth_is_bounded() -> None:
    parse("[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1), file="f")
    with pytest.raises(FileInvalid, match=f"nested more than {DEPTH_MAX} deep"):
        parse("[" * 5000 + "]" * 5000, file="f")


def test_size_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"a: 1\n" + b"#" * FILE_BYTES_MAX)
    with pytest.raises(FileInvalid, match="too large"):
        read(path)


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(FileInvalid, match="cannot read the file: No such file"):
        read(tmp_path / "none.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(FileInvalid, match=r"latin\.yaml:2:1: not UTF-8"):
        read(path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path).data == {"a": 1}


def test_the_caret_stands_under_the_column() -> None:
    problem = Problem("f", 1, 8, "m", "h", "key:\t  value")
    _, source, caret, hint = str(problem).splitlines()
    assert source[caret.index("^")] == "v"
    assert hint == "    hint: h"


def test_a_long_line_is_cut_around_the_column() -> None:
    line = "x" * 500 + "HERE" + "y" * 500
    _, source, caret = str(Problem("f", 1, 501, "m", source=line)).splitlines()
    assert len(source) < EXCERPT_COLUMNS + 10
    assert source[caret.index("^") :].startswith("HERE")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = parse(text, file="f")
    except FileInvalid:
        return
    assert () in document.values


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cn", "Cs", "Zl", "Zp"]), max_size=12)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=20,
    )
)
def test_what_json_writes_is_read_back(data: Any) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=False)
    assert parse(text, file="f").data == data
