"""One running code node of an application, and what it holds outside its process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.appliance.effect import NodeOutput
from harness.appliance.firmware import Mailbox
from harness.runtime.process import Application

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.engine.process.link import Link
    from harness.engine.process.machine import Machine
    from harness.engine.process.pacing import Cost
    from harness.engine.process.role import RoleEndpoint
    from harness.engine.process.tally import Tally
    from harness.runtime.console import Console
    from harness.runtime.spec import CameraInput
    from harness.runtime.tail import Tail


@dataclass(eq=False)
class Node:
    """A running code node: an application has one, and before firmware 5.0.7 perhaps more."""

    instance: str
    code: str
    machine: Machine
    mailbox: str
    link: Link  # to cameras
    cloud: Link  # to its role's credentials and the service, by way of the appliance's uplink
    directory: Path
    doors: Link | None = None  # its inbound ports
    has_display: bool = False
    tiled: bool = True  # does the firmware show every stream of it
    cost: Cost | None = None  # of its calls on the appliance, where they are paced
    application: Application = field(default_factory=Application)
    role: RoleEndpoint | None = None
    tail: Tail | None = None
    tally: Tally | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    cameras: tuple[CameraInput, ...] = ()
    logs: dict[str, Console] = field(default_factory=dict)  # of its camera and model nodes
    unfetched: set[str] = field(default_factory=set)  # cameras whose lack of credentials is told
    watch: asyncio.Task[None] | None = None
    stopping: bool = False

    @property
    def streams(self) -> int:
        """How many there are to be shown."""
        return len(self.cameras)

    def show(self, rate_fps: float) -> None:
        """Pictures for the screen from now on (`harness.runtime.screen.Owner`)."""
        self.application.show(rate_fps)

    def pace(self, paces: Mapping[str, tuple[float, float]]) -> None:
        self.application.pace(paces)

    async def leave(self) -> None:
        """Give back what it holds outside its process."""
        for log in self.logs.values():
            log.close()
        for link in (self.link, self.cloud, self.doors):
            if link is not None:
                await link.close()
        if self.role is not None:
            await self.role.close()

    async def ship(self) -> None:
        """What the application said since the last time, to the appliance's logs agent."""
        assert self.tail is not None
        for stream, lines in (await asyncio.to_thread(self.tail.look)).items():
            output = NodeOutput(self.machine.wall_s(), self.instance, stream, tuple(lines))
            self.machine.deliver(Mailbox.TELEMETRY, output)
