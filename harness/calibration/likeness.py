"""What two cases have in common, so that one says something about the other.

Each likeness splits cases into levels. The regression gives every level an unknown factor whose
spread it learns: a likeness that matters gets a wide spread, one that does not almost none
(partial pooling). A case of a level never seen takes the factor 1 and the spread as uncertainty.
"""

from __future__ import annotations

import re
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from harness.calibration.case import Case

    Likeness = Callable[[Case], Hashable]

# Longer beginnings first; what is left is a family of its own.
_FAMILIES = (
    ("efficientnet", "efficientnet"),
    ("mobilenet", "mobilenet"),
    ("mnasnet", "mnasnet"),
    ("shufflenet", "shufflenet"),
    ("densenet", "densenet"),
    ("3d_unet_kits", "3d_unet_kits"),
    ("3d_unet", "3d_unet"),
    ("resnet", "resnet"),
    ("vgg", "vgg"),
    ("yolo11", "yolo-ultralytics"),
    ("yolov8", "yolo-ultralytics"),
    ("yolo", "yolo"),
    ("inception", "inception"),
    ("squeezenet", "squeezenet"),
    ("fcn", "fcn"),
    ("retinanet", "retinanet"),
    ("bert", "bert"),
    ("rnnt", "rnnt"),
    ("unet", "unet"),
)
_WITH_PRUNED = re.compile("pruned")
_WITH_HEAD = re.compile("(_r50|_fpn)$")


def family(name: str) -> str:
    """Networks built alike: their layers err in the same direction."""
    if _WITH_PRUNED.search(name):
        return "pruned"
    if _WITH_HEAD.search(name):
        return "detector-r50"
    return next((value for part, value in _FAMILIES if part in name), name)


def _octave(case: Case) -> int:
    return round(log2(max(case.batch, 1)))


TIME: Mapping[str, Likeness] = {
    "software": lambda case: (case.software, case.precision, case.engine),
    "software kind": lambda case: (case.software, case.kind, case.engine),
    "variant": lambda case: (case.variant, case.engine),
    "family": lambda case: (family(case.network.name), case.precision, case.engine),
    "family software": lambda case: (
        family(case.network.name),
        case.software,
        case.engine,
    ),
    "family batch": lambda case: (family(case.network.name), case.engine, _octave(case)),
    "network": lambda case: (case.network.name, case.engine),
    "network software": lambda case: (case.network.name, case.software),
    "network device": lambda case: (case.network.name, case.device, case.engine),
    "size": lambda case: (case.network.key, case.engine),
    "device": lambda case: (case.device, case.engine, case.precision),
    "mode": lambda case: (case.device, clocks(case), case.engine),
    "release": lambda case: (
        case.software,
        case.release,
        case.engine,
        case.hardware.architecture,
    ),
    "release network": lambda case: (
        case.network.name,
        case.software,
        case.release,
        case.hardware.architecture,
        case.engine,
    ),
    "configuration": lambda case: case.configuration,
}
CPU_TIME: Mapping[str, Likeness] = {
    "software": lambda case: (case.software, case.precision),
    "variant": lambda case: case.variant,
    "family": lambda case: family(case.network.name),
    "family software": lambda case: (
        family(case.network.name),
        case.software,
        case.precision,
    ),
    "network": lambda case: case.network.name,
    "network software": lambda case: (case.network.name, case.software, case.precision),
    "size": lambda case: case.network.key,
    "device": lambda case: case.device,
    "mode": lambda case: (case.device, clocks(case)),
    "configuration": lambda case: case.configuration,
}


def clocks(case: Case) -> tuple[float, ...]:
    mode = case.mode
    return mode.gpu_mhz, mode.dla_mhz, mode.memory_mhz, mode.cpu_mhz, mode.cpu_cores, mode.gpu_sms
