"""Site commands that mean the same on every rung."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from harness.engine import site
from harness.errors import EngineError
from harness.fault import FAULTS, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.engine.recorder import Recorder
    from harness.engine.stick import Stick


class Box(Protocol):
    """An appliance as an operator can touch it."""

    def power_up(self) -> None: ...

    def press(self, buttons: frozenset[str], held_s: float) -> None: ...

    def plug(self, stick: Stick) -> None: ...

    def pull(self) -> None: ...


class Place(World, Protocol):
    """A site of any rung: what faults act on, its appliances and its recorder."""

    @property
    def recorder(self) -> Recorder: ...

    @property
    def machines(self) -> Mapping[str, Box]: ...


def perform(place: Place, command: site.Command) -> Any:
    """Carry out a command that takes no time. Raises `EngineError` for one of another kind."""
    recorder = place.recorder
    match command:
        case site.Elapsed():
            return recorder.elapsed()
        case site.PowerOn(appliance):
            place.machines[appliance].power_up()
        case site.Press(appliance, buttons, held_s):
            place.machines[appliance].press(buttons, held_s)
        case site.Plug(appliance, stick):
            place.machines[appliance].plug(stick)
        case site.Pull(appliance):
            place.machines[appliance].pull()
        case site.Strike(fault):
            recorder.injected(fault)
            FAULTS[fault.kind].inject(place, fault.target, fault.parameters)
        case site.Heal(fault):
            recorder.healed(fault)
            FAULTS[fault.kind].heal(place, fault.target)
        case site.Tell(event_kind, values):
            recorder.note("scenario", event_kind, values)
        case site.Ask(question):
            return question(recorder.situation)
        case _:
            raise EngineError(f"no interpretation of {command!r}")
    return None
