"""Firmware defects: one step of a release replaced by what a faulty release does.

An image names its defects in its manifest; a boot into that image runs with them. Packages
outside add theirs through the entry point group `harness.defects` (a `Defect` each).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.appliance.effect import Charge
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.appliance.effect import Program
    from harness.appliance.firmware import Firmware, Step, Steps


@dataclass(frozen=True, slots=True)
class Defect:
    """`wrap` gets the sound step and gives the faulty one; `seen` says where it was met."""

    name: str
    step: str
    summary: str
    seen: str
    wrap: Callable[[Step], Step]

    def apply(self, steps: Steps) -> Steps:
        return replace(steps, **{self.step: self.wrap(getattr(steps, self.step))})


def _self_test_fails(_sound: Step) -> Step:
    def health_check(_firmware: Firmware) -> Program[str]:
        yield Charge("self-test")
        return "self-test failed"

    return health_check


DEFECTS: Mapping[str, Defect] = {
    defect.name: defect
    for defect in (
        Defect(
            name="health-check-fails",
            step="health_check",
            summary="the self-test after the update reports a failure",
            seen="any release that does not work on this hardware",
            wrap=_self_test_fails,
        ),
    )
}


def lookup(name: str, known: Mapping[str, Defect] = DEFECTS) -> Defect:
    try:
        return known[name]
    except KeyError:
        raise InputError(f"unknown defect {name!r}", hint=f"known: {', '.join(known)}") from None
