"""The control planes of a server: one for each account and region, made when first asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.cloud.access.refusal import Reason, Refused
from harness.cloud.service.devices import CLAIM_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.cloud.service.plane import ControlPlane

PLANES_MAX = 32
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d", re.ASCII)

Make: TypeAlias = "Callable[[str, str], ControlPlane]"  # account, region


class Planes:
    """They share nothing but the listeners. Devices are found by their id, which is unique."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._planes: dict[tuple[str, str], ControlPlane] = {}
        self._homes: dict[str, ControlPlane] = {}  # device -> plane, as found before

    def get(self, account: str, region: str) -> ControlPlane:
        """Raises `Refused` for a region that cannot be, or when there are too many planes."""
        plane = self._planes.get((account, region))
        if plane is None:
            if not REGION.fullmatch(region):
                message = f"Credential should be scoped to a valid region, not '{region}'."
                raise Refused(Reason.MALFORMED, message)
            if len(self._planes) >= PLANES_MAX:
                message = f"No more than {PLANES_MAX} accounts and regions are served at a time."
                raise Refused(Reason.DENIED, message)
            plane = self._planes[account, region] = self._make(account, region)
        return plane

    def find(self, account: str, region: str) -> ControlPlane | None:
        """Without making it."""
        return self._planes.get((account, region))

    def __iter__(self) -> Iterator[ControlPlane]:
        return iter(self._planes.values())

    def of_device(self, client_id: str) -> ControlPlane | None:
        """The plane that provisioned a device; `client_id` may be that of its claim."""
        device = client_id.removeprefix(CLAIM_PREFIX)
        plane = self._homes.get(device)
        if plane is None or not plane.knows(device):
            self._homes.pop(device, None)
            plane = next((one for one in self if one.knows(device)), None)
            if plane is not None:
                self._homes[device] = plane
        return plane

    def of_bucket(self, name: str) -> ControlPlane | None:
        """Where a client made a bucket of this name."""
        return next((one for one in self if one.buckets.get(name) is not None), None)

    # --- what devices say, handed to the plane they belong to ---------------------------

    def refusal(self, client_id: str, certificate_id: str | None) -> str:
        plane = self.of_device(client_id)
        if plane is None:
            return "no such thing: never provisioned, or deleted"
        return plane.refusal(client_id, certificate_id)

    def connected(self, client_id: str) -> None:
        plane = self.of_device(client_id)
        if plane is not None:
            plane.connected(client_id)

    def disconnected(self, client_id: str) -> None:
        plane = self.of_device(client_id)
        if plane is not None:
            plane.disconnected(client_id)

    def receive(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        plane = self.of_device(client_id)
        if plane is not None:
            plane.receive(client_id, topic, payload)

    def garbled(self, client_id: str, topic: str) -> None:
        plane = self.of_device(client_id)
        if plane is not None:
            plane.garbled(client_id, topic)

    def expire(self) -> None:
        for plane in self:
            plane.expire()
