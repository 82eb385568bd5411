"""Faults of single appliances that mean the same on every rung: one method of its machine each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from harness.appliance.effect import StorageTrouble
from harness.appliance.firmware import Mailbox
from harness.appliance.storage import DATA
from harness.engine import rot
from harness.engine.wiring import PORTS

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from harness.appliance.firmware import Board
    from harness.appliance.storage import Disk, Partition
    from harness.engine.recorder import Recorder
    from harness.engine.timekeeping import Timekeeper
    from harness.engine.wiring import Wiring


class Struck(Protocol):
    """An appliance that faults can strike."""

    wiring: Wiring
    time: Timekeeper

    board: Board
    draw: random.Random

    @property
    def disk(self) -> Disk: ...

    def cut_power(self, reason: str = ...) -> None: ...

    def power_up(self) -> None: ...

    def deliver(self, mailbox: str, message: object) -> None: ...

    def set_cable(self, port: str, *, connected: bool) -> None: ...


class Strikes:
    """A part of the `World`; `machines` are the appliances by name."""

    machines: Mapping[str, Struck]
    recorder: Recorder

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

    def rot_part(self, appliance: str, part: str) -> None:
        struck = self.machines[appliance]
        rot.rot_part(struck.disk, struck.board.root_key, part, struck.draw.random())

    def rot_application(self, instance: str) -> None:
        """On whichever appliance it is installed."""
        identifier = self.recorder.instance(instance)
        for struck in self.machines.values():
            if rot.rot_application(struck.disk, identifier, struck.draw.random()):
                return

    def make_read_only(self, appliance: str) -> None:
        self._data(appliance).read_only = True
        self._tell(appliance)

    def fill_storage(self, appliance: str) -> None:
        self._data(appliance).full = True
        self._tell(appliance)

    def slow_storage(self, appliance: str, by_s: float) -> None:
        self._data(appliance).slow_s = by_s
        self._tell(appliance)

    def mend_storage(self, appliance: str, trouble: str) -> None:
        data = self._data(appliance)
        match trouble:
            case "read-only":
                data.read_only = False
            case "full":
                data.full = False
            case "slow":
                data.slow_s = 0.0

    def _data(self, appliance: str) -> Partition:
        return self.machines[appliance].disk[DATA]

    def _tell(self, appliance: str) -> None:
        self.machines[appliance].deliver(Mailbox.STORAGE, StorageTrouble())

    def empty_clock(self, appliance: str) -> None:
        self.machines[appliance].time.rtc_empty = True
