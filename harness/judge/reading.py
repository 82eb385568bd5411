"""Readings of a history that several checkers, measurements and the report share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.record import kind

if TYPE_CHECKING:
    from harness.record.history import History


def name_of(source: str) -> str:
    """`appliance/north` -> `north`; a source without a slash is its own name."""
    return source.rpartition("/")[2]


def states(history: History) -> dict[str, list[tuple[int, float, str]]]:
    """For each appliance its states as `(event number, t_s, state)`; a stop is `off`."""
    found: dict[str, list[tuple[int, float, str]]] = {}
    for number, event in history.of(kind.STATE, kind.STOPPED):
        state = "off" if event.kind == kind.STOPPED else str(event.values["state"])
        found.setdefault(name_of(event.source), []).append((number, event.t_s, state))
    return found


def installed_instances(history: History) -> dict[str, int]:
    """The instances that are installed at the end, with the event that installed them last."""
    installed: dict[str, int] = {}
    for number, event in history.of(kind.INSTALLED, kind.REMOVED):
        if event.kind == kind.INSTALLED:
            installed[event.values["instance"]] = number
        else:
            installed.pop(event.values["instance"], None)
    return installed


def devices_by_name(history: History) -> dict[str, str]:
    """Cloud device (by name and by id) -> appliance, as far as provisioning told."""
    devices: dict[str, str] = {}
    for _, event in history.of(kind.BOOTED, kind.STATE):
        devices[name_of(event.source)] = name_of(event.source)
    for _, event in history.of(kind.PROVISIONED):
        devices[str(event.values.get("device"))] = name_of(event.source)
    return devices


def streams(history: History) -> list[tuple[str, str]]:
    """Every (instance, camera) that is known to have been read, in order of appearance."""
    found: dict[tuple[str, str], None] = {}
    for _, event in history.of(kind.FRAMES, kind.FRAME_ACCOUNT, kind.CAMERA_CONNECTED):
        found[(event.values["instance"], event.values["camera"])] = None
    for _, event in history.of(kind.APP_FIRST_FRAME):
        found[(name_of(event.source), event.values["camera"])] = None
    return list(found)


HOST_BOUND_MAX = 0.01  # of the calls: more, and times and rates are those of the machine


@dataclass(frozen=True, slots=True)
class Paced:
    """Calls of an application that were to take as long as on its appliance.

    For `late` of them the machine that ran them was slower than that.
    """

    calls: int
    late: int

    @property
    def host_bound(self) -> bool:
        return self.late > HOST_BOUND_MAX * self.calls


def paced(history: History) -> dict[str, Paced]:
    """By instance; empty where calls take the time they take."""
    found: dict[str, Paced] = {}
    for _, event in history.of(kind.FRAMES):
        values = event.values
        if values.get("paced"):
            before = found.get(str(values["instance"]), Paced(0, 0))
            found[str(values["instance"])] = Paced(
                before.calls + values["paced"], before.late + values["host_bound"]
            )
    return found


def hosts(history: History) -> dict[str, str]:
    """Instance -> the appliance that installed or started it last."""
    return {
        str(event.values["instance"]): name_of(event.source)
        for _, event in history.of(kind.INSTALLED, kind.NODE_STARTED)
    }
