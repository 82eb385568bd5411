"""What a fleet does to its control plane: profiles of load, as data.

Shapes are those that operators fear: steady polling by dashboards and devices, a rollout in
waves, and the reconnect storm after an outage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEVICES_MAX = 1900  # the embedded broker takes 2,000 connections, claims included
DURATION_S_MAX = 24 * 3600.0
WORKERS_MAX = 16
REPORTS_MIN = 12  # of a device in a run


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """`devices` connect over MQTT with TLS, `operators` call the API; all within `ramp_s`.

    `storm_at` and `waves` are fractions of `duration_s`: when every connection breaks at once,
    and when the next wave of devices, its share of the fleet beside it, is told to reboot.
    """

    name: str
    summary: str
    devices: int = 50
    operators: int = 5
    duration_s: float = 60.0
    heartbeat_s: float = 5.0
    think_s: float = 1.0  # of an operator between two requests
    storm_at: float | None = None
    waves: tuple[tuple[float, float], ...] = ()
    failures_max: float = 0.0  # the share of requests that may fail

    @property
    def expected(self) -> tuple[str, ...]:
        """Names of requests without which the run has shown nothing."""
        waves = tuple(f"{share:.0%} of the fleet" for _, share in self.waves)
        storm = ("reconnect",) if self.storm_at is not None else ()
        return ("ListDevices", "register", "connect", "report", *storm, *waves)

    @property
    def ramp_s(self) -> float:
        """How long the fleet takes to come up: a fifth of the run."""
        return self.duration_s / 5

    def target(self, elapsed_s: float) -> tuple[int, float] | None:
        """How many users there shall be, and how many more a second; None: it is over."""
        if elapsed_s >= self.duration_s:
            return None
        users = self.devices + self.operators
        return users, max(1.0, users / self.ramp_s)


PROFILES: Mapping[str, LoadProfile] = {
    profile.name: profile
    for profile in (
        LoadProfile("steady", "devices report, operators list and describe"),
        LoadProfile(
            "rollout",
            "a job for every device, in waves of 5, 25 and 100 %",
            waves=((0.35, 0.05), (0.5, 0.25), (0.65, 1.0)),
        ),
        LoadProfile("storm", "all connections break at once and come back", storm_at=0.5),
    )
}
NIGHTLY = tuple(PROFILES)  # one after the other, unattended


def chosen(
    name: str,
    *,
    devices: int | None = None,
    operators: int | None = None,
    duration_s: float | None = None,
) -> tuple[LoadProfile, ...]:
    """The profiles of a name, changed as asked. Raises `InputError`."""
    names = NIGHTLY if name == "nightly" else (name,)
    unknown = [one for one in names if one not in PROFILES]
    if unknown:
        known = ", ".join((*PROFILES, "nightly"))
        raise InputError(f"unknown load profile {name!r}", hint=f"one of {known}")
    profiles = tuple(
        _hastened(
            replace(
                PROFILES[one],
                devices=PROFILES[one].devices if devices is None else devices,
                operators=PROFILES[one].operators if operators is None else operators,
                duration_s=PROFILES[one].duration_s if duration_s is None else duration_s,
            )
        )
        for one in names
    )
    for profile in profiles:
        _check(profile)
    return profiles


def _hastened(profile: LoadProfile) -> LoadProfile:
    """Devices look for jobs when they report: in a short run more often, or no wave would end."""
    most_s = profile.duration_s / REPORTS_MIN
    return replace(profile, heartbeat_s=min(profile.heartbeat_s, most_s))


def _check(profile: LoadProfile) -> None:
    for what, value, low, high in (
        ("devices", profile.devices, 1, DEVICES_MAX),
        ("operators", profile.operators, 1, 1000),
        ("duration", profile.duration_s, 10.0, DURATION_S_MAX),
    ):
        if not low <= value <= high:
            raise InputError(f"{what}: {value:g}", hint=f"from {low:g} to {high:g}")
