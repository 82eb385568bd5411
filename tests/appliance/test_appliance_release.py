"""Releases and their defects, and the words an appliance may put into the history."""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest

import harness.appliance
from harness.appliance.defects import OURS, lookup
from harness.appliance.defects.kind import Defect
from harness.appliance.effect import Charge, Program
from harness.appliance.firmware import Firmware, Step, Steps
from harness.appliance.release import SOUND, release
from harness.engine.sweep.cloud import manifest
from harness.errors import InputError
from harness.judge import CHECKERS
from harness.record import kind

PROGRAMS = sorted(Path(harness.appliance.__file__).parent.glob("*.py"))
STEPS = tuple(field.name for field in fields(Steps))


def test_a_release_without_defects_is_the_sound_one() -> None:
    assert release(manifest("6.2.1")) == SOUND


def test_a_defect_replaces_its_step_and_no_other() -> None:
    faulty = release(manifest("6.2.1", defects=("health-check-fails",)))
    assert faulty.health_check is not SOUND.health_check
    assert replace(faulty, health_check=SOUND.health_check) == SOUND


def test_the_failing_self_test_takes_its_time_and_says_so() -> None:
    faulty = lookup("health-check-fails").apply(SOUND)
    program = faulty.health_check(None)
    assert next(program) == Charge("self-test")
    with pytest.raises(StopIteration) as stop:
        program.send(None)
    assert stop.value.value == "self-test failed"


def test_an_unknown_defect_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown defect 'gremlins'") as caught:
        release(manifest("6.2.1", defects=("gremlins",)))
    assert "harness defects" in caught.value.hint


@pytest.mark.parametrize("name", OURS)
def test_every_defect_is_described_and_changes_a_step_that_exists(name: str) -> None:
    defect = lookup(name)
    assert defect.name == name
    assert defect.summary
    assert defect.seen
    assert defect.caught_by in CHECKERS
    assert defect.step in STEPS
    assert defect.apply(SOUND) != SOUND


def test_a_defect_from_outside_wraps_the_sound_step() -> None:
    def late(sound: Step) -> Step:
        def health_check(firmware: Firmware) -> Program[str]:
            yield Charge("self-test", 3.0)
            return str((yield from sound(firmware)))

        return health_check

    mine = Defect("late", "health_check", "takes longer", "nowhere yet", "steps", late)
    program = mine.apply(SOUND).health_check(None)
    assert next(program) == Charge("self-test", 3.0)
    program.close()


def _noted(module: Path) -> set[str]:
    """The kinds of the events that a module's programs put into the history."""
    called = [
        node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)
    ]
    found = set()
    for call in called:
        if isinstance(call.func, ast.Name) and call.func.id == "Note":
            assert isinstance(call.args[0], ast.Constant), f"{module.name}:{call.lineno}"
            found.add(str(call.args[0].value))
    return found


def test_the_history_knows_every_word_the_appliance_uses() -> None:
    vocabulary = {value for name, value in vars(kind).items() if name.isupper()}
    noted = {module.name: _noted(module) for module in PROGRAMS}
    assert len(set().union(*noted.values())) > 10
    unknown = {name: kinds - vocabulary for name, kinds in noted.items() if kinds - vocabulary}
    assert unknown == {}
