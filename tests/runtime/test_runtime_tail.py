"""Log files followed: whole lines, rotation, bounds, and nothing that is not the application's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from harness.runtime.console import Console
from harness.runtime.tail import FILES_MAX, LINE_BYTES_MAX, PIECE_BYTES_MAX, Tail

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    directory = tmp_path / "code"
    directory.mkdir()
    return directory


@pytest.fixture
def console(tmp_path: Path) -> Path:
    return tmp_path / "console_output.log"


def follow(console: Path, code: Path) -> Tail:
    return Tail({"console": console}, "code_node", code)


def test_lines_are_told_once_and_whole(console: Path, code: Path) -> None:
    console.write_text("before the start\n")
    tail = follow(console, code)
    assert tail.look() == {}
    with console.open("a") as file:
        file.write("one\r\ntwo\nthr")
    (code / "app.log").write_text("mine\n")
    assert tail.look() == {"console": ["one", "two"], "code_node": ["mine"]}
    with console.open("a") as file:
        file.write("ee\n")
    assert tail.look() == {"console": ["three"]}
    assert tail.look() == {}


def test_rotation_loses_nothing(console: Path, code: Path) -> None:
    written = Console(console, bytes_max=64)
    tail = follow(console, code)
    found: list[str] = []
    for number in range(20):
        written.write(f"line {number}\n".encode())
        found += tail.look().get("console", [])
    written.close()
    assert found == [f"line {number}" for number in range(20)]


def test_a_file_that_was_emptied_begins_anew(console: Path, code: Path) -> None:
    tail = follow(console, code)
    console.write_text("a long first line\n")
    assert tail.look().get("console", []) == ["a long first line"]
    console.write_text("short\n")
    assert tail.look().get("console", []) == ["short"]


def test_only_regular_files_are_read(tmp_path: Path, console: Path, code: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not yours\n")
    (code / "link").symlink_to(secret)
    console.symlink_to(secret)
    os.mkfifo(code / "pipe")
    (code / "folder").mkdir()
    tail = follow(console, code)
    secret.write_text("not yours\nnor this\n")
    assert tail.look() == {}


def test_a_look_is_bounded(console: Path, code: Path) -> None:
    tail = follow(console, code)
    console.write_bytes(b"x" * (3 * PIECE_BYTES_MAX))
    (line,) = tail.look().get("console", [])
    assert len(line) == LINE_BYTES_MAX
    for number in range(FILES_MAX + 10):
        (code / f"{number:03}").write_text("line\n")
    assert len(tail.look()["code_node"]) == FILES_MAX


def test_without_a_directory_there_is_nothing(tmp_path: Path, console: Path) -> None:
    assert follow(console, tmp_path / "none").look() == {}
