"""Credentials of cameras as Secrets Manager has them: `panorama-<job id>`, JSON by parameter name.

The vendor's managed policies (AWSPanoramaFullAccess) let users read and change secrets whose names
begin so; the rest of the name is ours. They are told to the process before anything else, so what
users change or delete of them, which is kept like every change, comes after.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.cloud.service.plane import ControlPlane

PREFIX = "panorama-"


class CameraSecrets:
    """Which of them the process has not been told. Secrets are only ever added."""

    def __init__(self, planes: Iterable[ControlPlane]) -> None:
        self._planes = planes
        self._told: dict[tuple[str, str], int] = {}

    def forget(self) -> None:
        """A new process knows none."""
        self._told.clear()

    def untold(self) -> list[dict[str, Any]]:
        """Counts as told from now on."""
        found = []
        for plane in self._planes:
            place = plane.account, plane.region
            for name, values, made_s in plane.camera_secrets(self._told.get(place, 0)):
                self._told[place] = self._told.get(place, 0) + 1
                found.append(
                    {
                        "account": plane.account,
                        "region": plane.region,
                        "name": PREFIX + name,
                        "text": json.dumps(dict(values)),
                        "made_s": made_s,
                    }
                )
        return found
