"""The situation: what the history so far says about the site, folded event by event.

Workloads wait on it and the end of a run is decided by it; it knows nothing that is not in the
history.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.fault import FAULTS
from harness.record import kind
from harness.record.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.scenario.plan import FaultPlan


@dataclass(slots=True)
class FaultState:
    """Where one injected fault stands."""

    fault: FaultPlan
    injected_s: float
    observed: bool = False
    healed_s: float | None = None
    recovered: bool = False


@dataclass(slots=True)
class Situation:
    """`states` and `versions` by appliance, `flowing` (instance, camera) -> time of last frames.

    `images`: by appliance, when it last wrote a log image, and what kept it from that.
    """

    states: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    clouds: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict)
    instances: dict[str, tuple[str, str]] = field(default_factory=dict)
    flowing: dict[tuple[str, str], float] = field(default_factory=dict)
    images: dict[str, tuple[float, str]] = field(default_factory=dict)
    faults: dict[str, FaultState] = field(default_factory=dict)
    phase_s: float = 0.0

    def fold(self, event: Event) -> None:
        handler = _FOLDS.get(event.kind)
        if handler is not None:
            handler(self, event, event.source.partition("/")[2])

    def watch(self, event: Event) -> list[Event]:
        """Events of the nemesis that `event` gives rise to: faults observed, recovered."""
        found = []
        for state in self.faults.values():
            fault_kind = FAULTS[state.fault.kind]
            if not state.observed and fault_kind.shows.matches(event, state.fault.target):
                state.observed = True
                found.append(_sign(event, kind.FAULT_OBSERVED, state, state.injected_s))
                continue
            since_s = state.healed_s if fault_kind.lasting else state.injected_s
            if (
                state.observed
                and since_s is not None
                and not state.recovered
                and fault_kind.recovers.matches(event, state.fault.target)
            ):
                state.recovered = True
                found.append(_sign(event, kind.FAULT_RECOVERED, state, since_s))
        return found


def _sign(event: Event, name: str, state: FaultState, since_s: float) -> Event:
    values = {
        "fault": state.fault.id,
        "by": event.kind,
        "after_s": round(event.t_s - since_s, 6),
    }
    return Event(event.t_s, "nemesis", name, values)


def _state(now: Situation, event: Event, name: str) -> None:
    now.states[name] = event.values["state"]


def _booted(now: Situation, event: Event, name: str) -> None:
    now.versions[name] = event.values["version"]


def _stopped(now: Situation, _event: Event, name: str) -> None:
    now.states[name] = "off"


def _cloud(now: Situation, event: Event, _name: str) -> None:
    now.clouds[event.values["device"]] = event.values["status"]


def _ota(now: Situation, event: Event, _name: str) -> None:
    now.outcomes[event.values["job"]] = (event.values["outcome"], event.values.get("reason", ""))


def _instance(now: Situation, event: Event, _name: str) -> None:
    values = event.values
    now.instances[values["instance"]] = (values["status"], values.get("description", ""))


def _frames(now: Situation, event: Event, _name: str) -> None:
    if event.values["delivered"]:
        now.flowing[event.values["instance"], event.values["camera"]] = event.t_s


def _egress(now: Situation, event: Event, name: str) -> None:
    now.images[name] = (event.t_s, event.values["reason"])


def _phase(now: Situation, event: Event, _name: str) -> None:
    now.phase_s = event.t_s


_FOLDS: dict[str, Callable[[Situation, Event, str], Any]] = {
    kind.STATE: _state,
    kind.BOOTED: _booted,
    kind.STOPPED: _stopped,
    kind.CLOUD_DEVICE: _cloud,
    kind.OTA_ENDED: _ota,
    kind.CLOUD_INSTANCE: _instance,
    kind.FRAMES: _frames,
    kind.EGRESS: _egress,
    kind.PHASE_STARTED: _phase,
}
