"""What a firmware defect is: one step of a release replaced by what a faulty release does.

Most defects change single effects that the sound step asks for: `altering` makes such a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.appliance.effect import Effect, Program
    from harness.appliance.firmware import Firmware, Step, Steps

    Change: TypeAlias = Callable[[Effect], Program[Any]]
    Wrap: TypeAlias = Callable[[Step], Step]


@dataclass(frozen=True, slots=True)
class Defect:
    """`wrap` gets the sound step and gives the faulty one; `seen` says where it was met.

    `caught_by` is the checker that tells its consequences from anything else.
    """

    name: str
    step: str
    summary: str
    seen: str
    caught_by: str
    wrap: Wrap

    def apply(self, steps: Steps) -> Steps:
        return replace(steps, **{self.step: self.wrap(getattr(steps, self.step))})


def altering(make: Callable[[Firmware], Change]) -> Wrap:
    """A step whose every effect goes through a change, made anew for each run of the step.

    A change is a program: it asks for the effect it is given, for another one or for none, and
    its outcome is what the sound program is resumed with.
    """

    def wrap(sound: Step) -> Step:
        def step(firmware: Firmware, *arguments: Any) -> Program[Any]:
            return (yield from _altered(sound(firmware, *arguments), make(firmware)))

        return step

    return wrap


def _altered(program: Program[Any], change: Change) -> Program[Any]:
    value: Any = None
    problem: HarnessError | None = None
    while True:
        try:
            effect = program.send(value) if problem is None else program.throw(problem)
        except StopIteration as end:
            return end.value
        value, problem = None, None
        try:
            value = yield from change(effect)
        except HarnessError as error:
            problem = error
