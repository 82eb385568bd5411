"""A firmware release: the sound programs, with the defects its manifest names applied."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from harness.appliance.agent import agent
from harness.appliance.applications import remove, supervise, unmet
from harness.appliance.defects import lookup
from harness.appliance.firmware import Steps, panel
from harness.appliance.monitor import monitor
from harness.appliance.provision import provision
from harness.appliance.renewal import renew
from harness.appliance.telemetry import ship
from harness.appliance.update import health_check, update

if TYPE_CHECKING:
    from harness.appliance.image import Manifest

SOUND = Steps(
    provision=provision,
    agent=agent,
    update=update,
    health_check=health_check,
    supervise=supervise,
    unmet=unmet,
    remove=remove,
    ship=ship,
    monitor=monitor,
    panel=panel,
    renew=renew,
)


@lru_cache(maxsize=64)
def release(manifest: Manifest) -> Steps:
    """The programs of one image."""
    steps = SOUND
    for name in manifest.defects:
        steps = lookup(name).apply(steps)
    return steps
