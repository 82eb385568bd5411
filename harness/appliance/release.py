"""A firmware release: the sound programs, with the defects its manifest names applied."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from harness.appliance.agent import agent
from harness.appliance.applications import supervise
from harness.appliance.defect import lookup
from harness.appliance.firmware import Steps
from harness.appliance.provision import provision
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
    ship=ship,
)


@lru_cache(maxsize=64)
def release(manifest: Manifest) -> Steps:
    """The programs of one image."""
    steps = SOUND
    for name in manifest.defects:
        steps = lookup(name).apply(steps)
    return steps
