"""What the documents say exists: links, files, commands, events, checks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from harness.appliance.defects import OURS
from harness.cli.app import app
from harness.judge import CHECKERS
from harness.record import kind

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PATH = re.compile(r"`((?:harness|tests|docs|scenarios|fixtures|device_profiles|reports)/[\w./-]*)`")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands() -> list[tuple[str, str]]:
    """Every shell line of every document, without its comment."""
    return [
        (name(document), line.split("  #")[0].strip())
        for document in DOCUMENTS
        for block in FENCE.findall(document.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line.strip()
    ]


OTHERS = ("", "aws", "curl")  # what a reader has; "" is the shell's own dot


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_paths_in_the_text_exist(document: Path) -> None:
    paths = PATH.findall(document.read_text(encoding="utf-8"))
    assert [path for path in paths if "<" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize(("document", "line"), commands())
def test_commands_are_real(document: str, line: str) -> None:
    words = shlex.split(line)
    program, arguments = Path(words[0]).name, words[1:]
    if program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert arguments[0] in targets
    elif program == "harness":
        parse(arguments)
    elif program not in OTHERS:
        assert program in ("python", "pytest")
        options = [word for word in arguments if word.startswith("--hil-")]
        plugin = (ROOT / "harness/pytest_plugin.py").read_text(encoding="utf-8")
        assert [option for option in options if f'"{option}"' not in plugin] == []


def parse(arguments: list[str]) -> None:
    """Raises UsageError when `harness` would not accept them."""
    command = app.commands[arguments[0]]
    with command.make_context(arguments[0], arguments[1:], resilient_parsing=False) as context:
        assert isinstance(context, click.Context)


def test_every_room_is_on_the_house_plan() -> None:
    plan = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = [path.name for path in (ROOT / "harness").iterdir() if (path / "__init__.py").exists()]
    assert [room for room in rooms if f"{room}/" not in plan] == []


def test_kinds_of_events_are_named_once() -> None:
    kinds = [value for key, value in vars(kind).items() if key.isupper()]
    assert len(kinds) == len(set(kinds))


def test_every_check_is_explained() -> None:
    text = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    assert [check for check in CHECKERS if f"`{check}`" not in text] == []


def test_the_table_of_defects_is_the_bank() -> None:
    text = (ROOT / "docs/release-gate.md").read_text(encoding="utf-8")
    for one in OURS.values():
        row = f"| `{one.name}` | {one.summary} | {one.seen} | `{one.caught_by}` |"
        assert row in text.splitlines(), one.name


def test_every_scenario_of_the_gate_is_explained() -> None:
    text = (ROOT / "docs/release-gate.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "scenarios/release-gate").glob("*.yaml"))
    assert [file.name for file in files if f"| `{file.name}` |" not in text] == []
