"""The running firmware: what is in RAM between one boot and the next.

Every step of its life is a program in `Steps`; a firmware defect is a replacement of one of
them. Programs share this object and talk through mailboxes named in `Mailbox`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from harness.appliance import network, stick, upkeep
from harness.appliance.effect import (
    Heated,
    Note,
    Panel,
    Post,
    Pressed,
    Program,
    Receive,
    Shutdown,
    Sleep,
    Spawn,
)
from harness.appliance.egress import egress
from harness.errors import StorageFull, StorageReadOnly

if TYPE_CHECKING:
    from harness.appliance.boot_control import BootControl
    from harness.appliance.effect import PortState
    from harness.appliance.image import Manifest
    from harness.appliance.journal import Journal


class Mailbox:
    """Names of the programs of one appliance, and so of their mailboxes."""

    MAIN = "main"
    UPDATER = "updater"
    APPLICATIONS = "applications"
    WATCHDOG = "watchdog"
    PANEL = "panel"
    TELEMETRY = "telemetry"
    MONITOR = "monitor"
    RENEWAL = "renewal"
    STICK = "stick"
    NETWORK = network.MAILBOX
    STORAGE = upkeep.MAILBOX


@dataclass(frozen=True, slots=True)
class Board:
    """What is fixed in hardware: read-only for firmware.

    `root_key` is the boot ROM's, of images; `update_root` the first root metadata of updates.
    """

    name: str
    root_key: bytes
    update_root: bytes
    serial: str
    slot_bytes: int
    data_bytes: int
    log_key: bytes = b""  # public: what log images are sealed for
    brand: str = ""
    device_type: str = ""


class Online(msgspec.Struct, frozen=True, gc=False):
    """Posted to the updater, the applications and the logs agent when the link has come up."""


BEGIN_AGAIN_S = 30.0  # how long a program waits that storage let down

Step: TypeAlias = Callable[..., Program[Any]]


@dataclass(frozen=True, slots=True)
class Steps:
    """The programs a firmware release is made of; a defect replaces one.

    All take the firmware alone, but for `remove`, which takes the instance as well, and
    `unmet`, which takes what an application demands and what those beside it do.
    """

    provision: Step
    agent: Step
    update: Step
    health_check: Step
    supervise: Step
    unmet: Step
    remove: Step
    ship: Step
    monitor: Step
    panel: Step
    renew: Step


@dataclass(slots=True)
class Firmware:
    board: Board
    slot: str
    manifest: Manifest
    control: BootControl
    fuses: int
    steps: Steps
    journal: Journal
    online: bool = False
    ports: tuple[PortState, ...] = ()
    told: object = None  # ports and NTP server as the control plane was last told
    ntp: str = ""  # the server that the clock was last set by, while it answers
    running: set[str] = field(default_factory=set)

    @property
    def committed(self) -> bool:
        return self.control.slot(self.slot).successful

    @property
    def data_bytes(self) -> int:
        return self.board.data_bytes

    @property
    def thing(self) -> str:
        return str(self.journal.values["device"]["thing"])


def panel(_firmware: Firmware) -> Program[None]:
    """A press of the power button shuts down in good order; others mean nothing while it runs.

    The status LED tells of heat that takes clocks away, for as long as it does.
    """
    while True:
        message = yield Receive()
        if isinstance(message, Pressed) and message.buttons == {"power"}:
            yield Shutdown("power-button")
        elif isinstance(message, Heated):
            yield Panel("status", *(("red", "fast") if message.hot else ("green", "steady")))


def _kept_up(firmware: Firmware, name: str, step: Step) -> Program[None]:
    """`step`, and from its beginning again whenever it could not keep something on storage."""
    while True:
        try:
            yield from step(firmware)
            return
        except (StorageFull, StorageReadOnly) as problem:
            line = f"ERROR {name}: {problem}"
            yield Note("log.line", {"stream": "syslog", "line": line})
        yield Sleep(BEGIN_AGAIN_S)
        if firmware.online:
            yield Post(name, Online())


def run(firmware: Firmware) -> Program[None]:
    """The main program from the moment the kernel is up. Never returns."""
    yield Spawn(Mailbox.PANEL, firmware.steps.panel(firmware))
    yield from egress(firmware)
    yield Spawn(Mailbox.NETWORK, network.watch(firmware))
    yield Spawn(Mailbox.STORAGE, upkeep.watch(firmware))
    device = firmware.journal.values.get("device", {})
    yield from network.bring_up(firmware, device.get("configuration", {}))
    if not device:
        yield Note("appliance.state", {"state": "provisioning"})
        yield from firmware.steps.provision(firmware)
    yield Spawn(Mailbox.STICK, stick.refuse_archives(firmware))
    yield Panel("status", "green", "steady")
    yield Note("appliance.state", {"state": "connecting"})
    yield Spawn(Mailbox.TELEMETRY, firmware.steps.ship(firmware))
    yield Spawn(Mailbox.UPDATER, _kept_up(firmware, Mailbox.UPDATER, firmware.steps.update))
    supervise = firmware.steps.supervise
    yield Spawn(Mailbox.APPLICATIONS, _kept_up(firmware, Mailbox.APPLICATIONS, supervise))
    yield Spawn(Mailbox.MONITOR, firmware.steps.monitor(firmware))
    if "expires_s" in firmware.journal.values["device"]:
        yield Spawn(Mailbox.RENEWAL, firmware.steps.renew(firmware))
    yield from firmware.steps.agent(firmware)
