"""Where every probe of a run writes: history, situation and nemesis in one place.

Instances are known to the site by the ids that the control plane drew; the history speaks of
them by the names the scenario gave. The control plane's own event ties the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.engine.situation import FaultState, Situation
from harness.fault import FAULTS
from harness.record import kind
from harness.record.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.record.history import HistoryWriter
    from harness.scenario.plan import FaultPlan


class Recorder:
    """`elapsed` is engine time in seconds since the run started.

    `problem` is why an event could not be written, if one could not: whoever noted it may be a
    server's task that shields its own from errors, and a run without a history is over.
    """

    def __init__(self, history: HistoryWriter, elapsed: Callable[[], float]) -> None:
        self.history = history
        self.elapsed = elapsed
        self.situation = Situation()
        self.ended = False
        self.problem: Exception | None = None
        self._names: dict[str, str] = {}

    def name(self, instance: str) -> str:
        """The scenario's name of an application instance id."""
        return self._names.get(instance, instance)

    def instance(self, name: str) -> str:
        """The id of the instance that the scenario calls `name`."""
        return next((i for i, n in self._names.items() if n == name), name)

    def note(self, source: str, event_kind: str, values: Mapping[str, Any]) -> None:
        """Write an event. What still happens while the site is taken down is not of the run."""
        if self.ended:
            return
        self.ended = event_kind == kind.RUN_ENDED
        if event_kind == kind.CLOUD_INSTANCE and values.get("name"):
            self._names[values["instance"]] = values["name"]
        named = self._names.get(values.get("instance", ""))
        if named is not None:
            values = {**values, "instance": named}
        event = Event(self.elapsed(), source, event_kind, values)
        self._append(event)
        if self.situation.faults:
            for found in self.situation.watch(event):
                self._append(found)

    def _append(self, event: Event) -> None:
        try:
            self.history.append(event)
        except Exception as problem:
            self.problem = self.problem or problem
            raise
        self.situation.fold(event)

    def injected(self, fault: FaultPlan) -> None:
        """Register the fault before it strikes, so that its first sign is not missed."""
        self.situation.faults[fault.id] = FaultState(fault, self.elapsed())
        values = {
            "fault": fault.id,
            "fault_kind": fault.kind,
            "target": fault.target,
            "label": FAULTS[fault.kind].label,
            "parameters": dict(fault.parameters),
        }
        self.note("nemesis", kind.FAULT_INJECTED, values)

    def healed(self, fault: FaultPlan) -> None:
        self.situation.faults[fault.id].healed_s = self.elapsed()
        self.note("nemesis", kind.FAULT_HEALED, {"fault": fault.id})
