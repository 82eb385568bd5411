"""How a defect changes a step: effects, outcomes and errors on their way through it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import defects
from harness.appliance.defects.kind import Defect, altering
from harness.appliance.effect import Draw, Now, Sleep
from harness.errors import CapabilityMissing, LinkDown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.appliance.effect import Effect, Program
    from harness.appliance.firmware import Firmware, Step

FIRMWARE: Any = None


def sound(_firmware: Firmware) -> Program[str]:
    chance = yield Draw()
    try:
        yield Sleep(chance)
    except LinkDown as down:
        return str(down)
    return "slept"


def always_one(_firmware: Firmware) -> Any:
    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, Draw):
            yield Now()
            return 1.0
        return (yield effect)

    return change


def test_a_change_answers_in_the_place_of_the_world() -> None:
    program = altering(always_one)(sound)(FIRMWARE)
    assert next(program) == Now()
    assert program.send(77.0) == Sleep(1.0)
    with pytest.raises(StopIteration) as end:
        program.send(None)
    assert end.value.value == "slept"


def test_what_the_world_throws_reaches_the_sound_program() -> None:
    program = altering(always_one)(sound)(FIRMWARE)
    next(program)
    program.send(0.0)
    with pytest.raises(StopIteration) as end:
        program.throw(LinkDown("gone"))
    assert end.value.value == "gone"


def test_a_change_may_throw_itself() -> None:
    def make(_firmware: Firmware) -> Any:
        def change(effect: Effect) -> Program[Any]:
            if isinstance(effect, Sleep):
                raise LinkDown("cut")
            return (yield effect)

        return change

    program = altering(make)(sound)(FIRMWARE)
    next(program)
    with pytest.raises(StopIteration) as end:
        program.send(0.5)
    assert end.value.value == "cut"


def test_a_step_that_is_dropped_drops_the_sound_one() -> None:
    dropped: list[str] = []

    def guarded(_firmware: Firmware) -> Program[None]:
        try:
            yield Draw()
        finally:
            dropped.append("sound")

    program = altering(lambda _: _pass)(guarded)(FIRMWARE)
    next(program)
    program.close()
    del program
    assert dropped == ["sound"]


def _pass(effect: Effect) -> Program[Any]:
    return (yield effect)


def slow(sound: Step) -> Step:
    return sound


MINE = Defect("mine", "update", "does nothing", "nowhere", "steps", slow)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def install(name: str, value: str) -> None:
        points = [EntryPoint(name, value, defects.GROUP)]
        monkeypatch.setattr(defects, "entry_points", lambda group: points)
        defects.known.cache_clear()

    yield install
    defects.known.cache_clear()


def test_a_package_brings_its_own_defect(installed: Any) -> None:
    installed("mine", f"{__name__}:MINE")
    assert defects.lookup("mine") is MINE
    assert set(defects.OURS) < set(defects.known())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mine", "no_such_module:MINE", "cannot be loaded"),
        ("other", f"{__name__}:MINE", "is not a Defect of that name"),
        ("slow", f"{__name__}:slow", "is not a Defect of that name"),
        ("memory-leak", "harness.appliance.defects.box:DEFECTS", "is not a Defect of that name"),
    ],
)
def test_a_package_that_is_broken_is_named(
    installed: Any, name: str, value: str, message: str
) -> None:
    installed(name, value)
    with pytest.raises(CapabilityMissing, match=message) as caught:
        defects.known()
    assert repr(name) in str(caught.value)
    assert caught.value.hint


def test_a_package_may_not_take_the_name_of_another_defect(installed: Any) -> None:
    installed("memory-leak", f"{__name__}:AGAIN")
    with pytest.raises(CapabilityMissing, match="two defects called 'memory-leak'"):
        defects.known()


AGAIN = Defect("memory-leak", "monitor", "again", "nowhere", "steps", slow)
