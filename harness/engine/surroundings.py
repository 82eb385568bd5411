"""What an appliance of any rung is plugged into: its networks, and a USB stick."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from harness.appliance.effect import PortsChanged, PortState, StickPlugged
from harness.appliance.firmware import Mailbox
from harness.errors import LinkDown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.engine.stick import Stick
    from harness.engine.wiring import Wiring


class Surroundings(ABC):
    """A part of the machines of all rungs, which say what a change of wiring means."""

    wiring: Wiring
    stick: Stick | None = None

    @abstractmethod
    def deliver(self, mailbox: str, message: object) -> None:
        """To a program of the appliance, if it runs."""

    @abstractmethod
    def rewired(self, cloud: str, cameras: str, reason: str) -> None:
        """The ports that lead there may be others than `cloud` and `cameras`, for that reason."""

    # --- from outside ------------------------------------------------------------------------

    def plug(self, stick: Stick) -> None:
        self.stick = stick.copy()
        for mailbox in (Mailbox.MAIN, Mailbox.STICK):
            self.deliver(mailbox, StickPlugged())

    def pull(self) -> None:
        self.stick = None

    def set_cable(self, port: str, *, connected: bool) -> None:
        was = (self.wiring.cloud, self.wiring.cameras)
        self.wiring.cable(port, connected=connected)
        self.rewired(*was, f"{port}: no cable")
        self.deliver(Mailbox.NETWORK, PortsChanged(self.wiring.ports))

    # --- by the appliance's programs ---------------------------------------------------------

    def configure(self, configuration: Mapping[str, Any]) -> tuple[PortState, ...]:
        was = (self.wiring.cloud, self.wiring.cameras)
        self.wiring.configure(configuration)
        self.rewired(*was, "configured anew")
        return self.wiring.ports

    def read_stick(self) -> Mapping[str, bytes] | None:
        """Raises `Corrupt` when the stick cannot be used."""
        return None if self.stick is None else self.stick.look()

    def write_stick(self, name: str, data: bytes) -> None:
        """Raises `LinkDown` without a stick, and what `Stick.write` does."""
        if self.stick is None:
            raise LinkDown("USB stick: none is plugged in")
        self.stick.write(name, data)
