from __future__ import annotations

import pytest

from harness.errors import InputError
from harness.fleet.profile import NIGHTLY, PROFILES, chosen


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_comes_up_holds_and_ends(name: str) -> None:
    (profile,) = chosen(name, duration_s=100.0, devices=30, operators=10)
    targets = [profile.target(float(second)) for second in range(101)]
    assert targets[0] == targets[99] == (40, 2.0)
    assert targets[100] is None


def test_nightly_is_all_of_them() -> None:
    assert [profile.name for profile in chosen("nightly")] == list(NIGHTLY) == list(PROFILES)


def test_what_is_asked_for_changes_every_profile_of_the_night() -> None:
    assert {(p.devices, p.duration_s) for p in chosen("nightly", devices=7, duration_s=20.0)} == {
        (7, 20.0)
    }


def test_devices_of_a_short_run_report_more_often() -> None:
    """A wave of the rollout waits for devices to look for their jobs."""
    found = {s: chosen("rollout", duration_s=s)[0].heartbeat_s for s in (12.0, 60.0, 600.0)}
    assert found == {12.0: 1.0, 60.0: 5.0, 600.0: 5.0}


def test_a_run_has_shown_nothing_without_what_makes_its_shape() -> None:
    assert "reconnect" in PROFILES["storm"].expected
    assert "25% of the fleet" in PROFILES["rollout"].expected
    assert "reconnect" not in PROFILES["steady"].expected


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("stead", {}, "unknown load profile 'stead'"),
        ("steady", {"devices": 0}, "devices: 0"),
        ("steady", {"devices": 5000}, "devices: 5000"),
        ("steady", {"operators": 0}, "operators: 0"),
        ("storm", {"duration_s": 1.0}, "duration: 1"),
    ],
)
def test_what_cannot_be_is_refused(name: str, changes: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        chosen(name, **changes)  # type: ignore[arg-type]
