"""What can be done to a running camera, by name: live control is this table.

Every fault is a verb (`harness.fault.camera`) and has its parameters; what is left out has its
default. Values come as text or numbers from the control socket and are checked to be in bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.fault.camera import (
    FAULTS,
    CameraFault,
    Offline,
    Parameter,
    Stall,
    fault,
    refuse_others,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAL = "heal"
EVERYTHING = "all"


@dataclass(frozen=True, slots=True)
class Heal:
    """End the fault of `kind`; None: all of them."""

    kind: type[CameraFault] | None = None


@dataclass(frozen=True, slots=True)
class Verb:
    """`does` says what it does; `heals` is set where it ends a fault and begins none."""

    does: str
    parameters: tuple[Parameter, ...] = ()
    heals: Heal | None = None

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        parameters = {
            one.name: {
                "says": one.says,
                "type": one.kind,
                "range": one.range_text,
                "default": one.default,
            }
            for one in self.parameters
        }
        return {"does": self.does, "parameters": parameters}


_WHICH = Parameter(
    "fault", EVERYTHING, "which one is healed", choices=(EVERYTHING, *sorted(FAULTS))
)
VERBS: Mapping[str, Verb] = {
    "online": Verb("plugged in: heals offline", heals=Heal(Offline)),
    "resume": Verb("frames again, from the next key frame on: heals stall", heals=Heal(Stall)),
    HEAL: Verb("heals one fault, or all of them", (_WHICH,), Heal()),
    **{name: Verb(kind.does, kind.parameters()) for name, kind in FAULTS.items()},
}


def action(name: str, values: Mapping[str, Any]) -> CameraFault | Heal:
    """What `name` does, with `values`. Raises `InputError`."""
    found = VERBS.get(name)
    if found is None:
        raise InputError(f"unknown verb {name!r}", hint=f"one of {', '.join(sorted(VERBS))}")
    if found.heals is None:
        return fault(name, values)
    refuse_others(name, values, found.parameters)
    which = values.get(_WHICH.name, EVERYTHING)
    if name != HEAL or which == EVERYTHING:
        return found.heals
    if which not in FAULTS:
        raise InputError(f"{HEAL}: {_WHICH.name} {which!r}", hint=_WHICH.range_text)
    return Heal(FAULTS[which])
