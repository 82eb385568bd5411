"""Mutants of the appliance: small mistakes in its programs, each of which something must notice.

A mutant is a patch in `mutants/`. Its first lines say what is wrong and which command notices:
a crash sweep, whose invariants are asked after every cut, or a scenario with its checkers.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted(Path(__file__).with_name("mutants").glob("*.patch"))
FAILED = 1  # exit code of a sweep that found something broken, of a run with the verdict FAIL
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Mutant:
    patch: Path
    what: str
    noticed_by: list[str]

    @classmethod
    def read(cls, patch: Path) -> Mutant:
        head = dict(line.split(": ", 1) for line in patch.read_text().splitlines()[:2])
        return cls(patch, head["what"], shlex.split(head["noticed by"]))


def harness(root: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """`harness` of the tree in `root`, whatever is installed."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The project with a copy of the appliance that may be changed; all else are links."""
    for name in ("scenarios", "fixtures", "device_profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    package = tmp_path / "harness"
    package.mkdir()
    for path in (ROOT / "harness").iterdir():
        if path.name == "appliance":
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, package / path.name, ignore=ignored)
        elif path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    return tmp_path


def test_there_are_enough_of_them_and_all_are_different() -> None:
    assert len(PATCHES) >= 30
    bodies = {patch.read_text().split("--- a/", 1)[1] for patch in PATCHES}
    assert len(bodies) == len(PATCHES)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_mutant_is_noticed(patch: Path, tree: Path) -> None:
    mutant = Mutant.read(patch)
    subprocess.run(["git", "apply", str(patch)], cwd=tree, check=True, capture_output=True)
    done = harness(tree, mutant.noticed_by)
    assert done.returncode == FAILED, f"{mutant.what}: {done.stdout[-400:]}{done.stderr[-2000:]}"


@pytest.mark.parametrize(
    "command", sorted({tuple(Mutant.read(patch).noticed_by) for patch in PATCHES})
)
def test_the_appliance_as_it_is_passes(command: tuple[str, ...], tree: Path) -> None:
    done = harness(tree, list(command))
    assert done.returncode == 0, done.stdout[-400:] + done.stderr[-2000:]
