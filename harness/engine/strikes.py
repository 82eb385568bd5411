"""Faults of single appliances that mean the same on every rung: one method of its machine each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from harness.engine.wiring import PORTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.engine.timekeeping import Timekeeper
    from harness.engine.wiring import Wiring


class Struck(Protocol):
    """An appliance that faults can strike."""

    wiring: Wiring
    time: Timekeeper

    def set_cable(self, port: str, *, connected: bool) -> None: ...


class Strikes:
    """A part of the `World`; `machines` are the appliances by name."""

    machines: Mapping[str, Struck]

    def pull_cable(self, appliance: str, port: str) -> None:
        self.machines[appliance].set_cable(port, connected=False)

    def plug_cables(self, appliance: str) -> None:
        struck = self.machines[appliance]
        for port in PORTS:
            if not struck.wiring.cables[port]:
                struck.set_cable(port, connected=True)

    def silence_ntp(self, appliance: str) -> None:
        self._answering(appliance, answers=False)

    def answer_ntp(self, appliance: str) -> None:
        self._answering(appliance, answers=True)

    def _answering(self, appliance: str, *, answers: bool) -> None:
        time = self.machines[appliance].time
        time.answers = answers
        time.look()

    def step_clock(self, appliance: str, by_s: float) -> None:
        self.machines[appliance].time.step(by_s)

    def empty_clock(self, appliance: str) -> None:
        self.machines[appliance].time.rtc_empty = True
