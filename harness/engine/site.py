"""What a run can do to a site: the commands that workload programs yield.

The same trick as in the appliance: a workload is a generator over these frozen values, so one
description of a run drives every rung. A command's outcome is sent back, a `PeerError` thrown.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from harness.cloud.api.error import ApiError

if TYPE_CHECKING:
    from harness.engine.situation import Situation
    from harness.engine.stick import Stick
    from harness.scenario.plan import FaultPlan

T = TypeVar("T")
THROTTLED_S_MAX = 300.0  # how long one call may be put off by the service's rates


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands."""


SiteProgram: TypeAlias = Generator[Command, Any, T]


@dataclass(frozen=True, slots=True)
class Call(Command):
    """An operation of the control plane's API. Outcome: its response members."""

    operation: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PutObject(Command):
    """Store an object as a deployment script does. Outcome: None."""

    bucket: str
    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Pause(Command):
    """Let `duration_s` engine seconds pass."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Poll(Command):
    """Wait one polling interval of the engine."""


@dataclass(frozen=True, slots=True)
class Elapsed(Command):
    """Outcome: engine seconds since the run started."""


@dataclass(frozen=True, slots=True)
class PowerOn(Command):
    appliance: str


@dataclass(frozen=True, slots=True)
class Press(Command):
    """Hold `buttons` (power, reset) for `held_s` and release them; powers on what is off."""

    appliance: str
    buttons: frozenset[str]
    held_s: float


@dataclass(frozen=True, slots=True)
class Plug(Command):
    """Put a USB stick into the appliance, in place of one that is in it."""

    appliance: str
    stick: Stick


@dataclass(frozen=True, slots=True)
class Pull(Command):
    """Take the USB stick out of the appliance."""

    appliance: str


@dataclass(frozen=True, slots=True)
class Strike(Command):
    fault: FaultPlan


@dataclass(frozen=True, slots=True)
class Heal(Command):
    fault: FaultPlan


@dataclass(frozen=True, slots=True)
class Tell(Command):
    """Write an event of the run itself into the history."""

    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ask(Command):
    """Outcome: `question(situation)`, what the history says at this moment."""

    question: Callable[[Situation], Any]


@dataclass(frozen=True, slots=True)
class Fork(Command):
    """Run branches side by side. Outcome: None when all ended; the first error is thrown."""

    branches: tuple[SiteProgram[None], ...]


@dataclass(frozen=True, slots=True)
class Account(Command):
    """Stop every application in good order and write the frame accounts."""


def call(operation: str, parameters: Mapping[str, Any]) -> SiteProgram[Any]:
    """`Call`, and again when the service says that it had too many requests, as clients do."""
    left_s = THROTTLED_S_MAX
    while True:
        try:
            return (yield Call(operation, parameters))
        except ApiError as error:
            if not 0.0 < error.retry_after_s <= left_s:
                raise
            wait_s = error.retry_after_s
        yield Pause(wait_s)
        left_s -= wait_s
