"""How a camera of a scenario looks and encodes: its profile, and what the scenario changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.scenario.camera import CameraProfile
    from harness.scenario.coding import Coding
    from harness.scenario.look import Look
    from harness.scenario.site_file import CameraFile


def look_of(profile: CameraProfile, made: CameraFile) -> Look:
    """Raises `InputError` where a value cannot be shown."""
    values = made.look.model_dump(exclude_none=True)
    if "labels" in values:
        values["labels"] = tuple(values["labels"])
    return replace(profile.scene, **values)


def coding_of(profile: CameraProfile, made: CameraFile) -> Coding:
    """Raises `InputError` where two choices, or one and the size of the picture, do not agree."""
    coding = replace(profile.coding, **made.coding.model_dump(exclude_none=True))
    size = (profile.width_px, profile.height_px)
    coding.check([size], slows_down=profile.slow_rate_fps > 0)
    return coding
