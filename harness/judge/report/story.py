"""What became of each fault: injection, effect, heal and recovery, told together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.judge.reading import name_of
from harness.judge.report.text import clock
from harness.record import kind

if TYPE_CHECKING:
    from harness.record.history import History


@dataclass(frozen=True, slots=True)
class FaultStory:
    """What became of one fault. Times in seconds of the run, None where it never happened."""

    id: str
    kind: str
    target: str
    label: str
    injected_s: float
    observed: str
    observed_after_s: float | None
    healed_s: float | None
    recovered: str
    recovered_s: float | None

    @property
    def title(self) -> str:
        end = "never healed" if self.healed_s is None else f"healed {clock(self.healed_s)}"
        return f"{self.id}: {self.label or self.kind} on {self.target}, {end}"


def read_faults(history: History) -> list[FaultStory]:
    """The faults of a run in the order of their injection."""
    later: dict[tuple[str, str], Any] = {}
    for _, event in history.of(kind.FAULT_OBSERVED, kind.FAULT_HEALED, kind.FAULT_RECOVERED):
        later.setdefault((event.kind, str(event.values["fault"])), event)
    stories = []
    for _, event in history.of(kind.FAULT_INJECTED):
        fault = str(event.values["fault"])
        observed = later.get((kind.FAULT_OBSERVED, fault))
        healed = later.get((kind.FAULT_HEALED, fault))
        recovered = later.get((kind.FAULT_RECOVERED, fault))
        stories.append(
            FaultStory(
                id=fault,
                kind=str(event.values.get("fault_kind", "fault")),
                target=name_of(str(event.values.get("target", ""))),
                label=str(event.values.get("label") or ""),
                injected_s=event.t_s,
                observed=str(observed.values.get("by", "")) if observed else "",
                observed_after_s=observed.values.get("after_s") if observed else None,
                healed_s=healed.t_s if healed else None,
                recovered=str(recovered.values.get("by", "")) if recovered else "",
                recovered_s=recovered.t_s if recovered else None,
            )
        )
    return stories
