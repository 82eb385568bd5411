"""The defects that a firmware image can carry, by name.

An image names its defects in its signed manifest; a boot into that image runs with them. Packages
outside add theirs through the entry point group `harness.defects`, a `Defect` each.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING

from harness.appliance.defects import applications, box, cameras, connection, updates
from harness.appliance.defects.kind import Defect
from harness.errors import CapabilityMissing, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "harness.defects"
OURS: Mapping[str, Defect] = MappingProxyType(
    {
        defect.name: defect
        for room in (updates, connection, applications, cameras, box)
        for defect in room.DEFECTS
    }
)


@cache
def known() -> Mapping[str, Defect]:
    """Ours and those of installed packages. Raises `CapabilityMissing` for one that cannot load."""
    found = dict(OURS)
    for point in entry_points(group=GROUP):
        try:
            defect = point.load()
        except Exception as error:
            raise CapabilityMissing(
                f"defect {point.name!r} of {point.value!r} cannot be loaded: {error}",
                hint=f"mend or uninstall the package with this entry point of {GROUP}",
            ) from error
        if not isinstance(defect, Defect) or defect.name != point.name:
            raise CapabilityMissing(
                f"entry point {point.name!r} of {GROUP} is not a Defect of that name",
                hint="let it name an instance of harness.appliance.defects.kind.Defect",
            )
        if defect.name in found:
            raise CapabilityMissing(
                f"there are two defects called {defect.name!r}", hint="rename the package's own"
            )
        found[defect.name] = defect
    return MappingProxyType(found)


def lookup(name: str) -> Defect:
    defects = known()
    try:
        return defects[name]
    except KeyError:
        raise InputError(
            f"unknown defect {name!r}", hint="`harness defects` lists those there are"
        ) from None
