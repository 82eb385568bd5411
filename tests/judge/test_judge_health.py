"""Checkers of how appliances fare over time: what each of them fails, and what proves it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judge import CHECKERS, Finding, Verdict
from harness.record import kind

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
NORTH = "appliance/north"
USAGE = {
    "memory_used_bytes": 2 << 30, "memory_total_bytes": 32 << 30,
    "storage_used_bytes": 1 << 20, "storage_total_bytes": 8 << 30,
    "asset_bytes": 0, "log_bytes": 0, "console_bytes": 0,
}  # fmt: skip
BOOTED = (1.0, NORTH, kind.BOOTED, {"slot": "a", "version": "6.2.1"})
INSTALLED = (2.0, NORTH, kind.INSTALLED, {"instance": "counter"})
STARTED = (3.0, NORTH, kind.NODE_STARTED, {"instance": "counter", "attempt": 1})


def check(name: str, history: Any) -> Finding:
    return CHECKERS[name].run(history, {})


def usage(t_s: float, **changes: int) -> tuple[float, str, str, dict[str, Any]]:
    return (t_s, NORTH, kind.USAGE, {**USAGE, **changes})


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [("reboot", PASS), ("power-cut", PASS), ("overheating", FAIL), ("watchdog", FAIL)],
)
def test_a_stop_that_nobody_asked_for_fails(site: Any, reason: str, verdict: Verdict) -> None:
    finding = check(
        "stops-explained", site.only(BOOTED, (2.0, NORTH, kind.STOPPED, {"reason": reason}))
    )
    assert finding.verdict is verdict
    assert (reason in finding.message) is (verdict is FAIL)
    assert 2 in finding.evidence


def ended(t_s: float) -> tuple[float, str, str, dict[str, Any]]:
    return (t_s, NORTH, kind.NODE_ENDED, {"instance": "counter", "code": 139, "reason": "segfault"})


def test_every_kill_explains_one_end_of_an_application(site: Any) -> None:
    kill = (
        4.0,
        "nemesis",
        kind.FAULT_INJECTED,
        {"fault": "f1", "fault_kind": "app.kill", "target": "counter"},
    )
    assert check("crashes-explained", site.only(STARTED, kill, ended(5.0))).verdict is PASS
    finding = check("crashes-explained", site.only(STARTED, kill, ended(5.0), ended(9.0)))
    assert (finding.verdict, finding.evidence) == (FAIL, (4,))
    assert "segfault" in finding.message


def test_asking_for_a_stick_again_is_a_lost_configuration(site: Any) -> None:
    provisioned = (1.0, NORTH, kind.PROVISIONED, {"device": "d", "duration_s": 1.0})
    asks = (3.0, NORTH, kind.STATE, {"state": "provisioning"})
    reset = (2.0, NORTH, kind.RESTORED, {"what": "factory", "ok": True})
    assert check("configuration-kept", site.only(provisioned, asks)).verdict is FAIL
    assert check("configuration-kept", site.only(provisioned, reset, asks)).verdict is PASS


def test_memory_that_grows_with_the_same_applications_fails(site: Any) -> None:
    growing = [usage(100.0 * n, memory_used_bytes=(2 + n) << 30) for n in range(1, 4)]
    finding = check("memory-bounded", site.only(BOOTED, *growing))
    assert finding.verdict is FAIL
    assert "north grew from" in finding.message


def test_memory_that_grows_with_another_application_is_as_it_should_be(site: Any) -> None:
    history = site.only(
        BOOTED,
        usage(2.0),
        STARTED,
        *(usage(10.0 * n, memory_used_bytes=3 << 30) for n in range(1, 4)),
    )
    assert check("memory-bounded", history).verdict is PASS


def test_running_out_of_memory_needs_no_sample(site: Any) -> None:
    history = site.only(BOOTED, (9.0, NORTH, kind.STOPPED, {"reason": "out-of-memory"}))
    assert check("memory-bounded", history).verdict is FAIL


@pytest.mark.parametrize("part", ["log_bytes", "console_bytes"])
def test_a_log_beyond_twice_its_bound_fails(site: Any, part: str) -> None:
    assert check("logs-bounded", site.only(usage(1.0, **{part: 21_000_000}))).verdict is PASS
    finding = check("logs-bounded", site.only(usage(1.0, **{part: 23_000_000})))
    assert (finding.verdict, part in finding.message) == (FAIL, True)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, PASS),
        ({"memory_total_bytes": 32_768}, FAIL),
        ({"storage_used_bytes": 9 << 30}, FAIL),
    ],
)
def test_use_that_cannot_be_fails(site: Any, changes: dict[str, int], verdict: Verdict) -> None:
    assert check("usage-plausible", site.only(usage(1.0, **changes))).verdict is verdict


def test_files_of_the_last_application_must_be_gone(site: Any) -> None:
    removed = (4.0, NORTH, kind.REMOVED, {"instance": "counter"})
    assert (
        check("removal-clean", site.only(INSTALLED, usage(3.0, asset_bytes=9))).verdict is UNKNOWN
    )
    assert check("removal-clean", site.only(INSTALLED, removed, usage(5.0))).verdict is PASS
    finding = check("removal-clean", site.only(INSTALLED, removed, usage(5.0, asset_bytes=9)))
    assert (finding.verdict, finding.evidence) == (FAIL, (2, 3))


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("DEPLOYMENT_SUCCEEDED", PASS),
        ("REMOVAL_SUCCEEDED", PASS),
        ("DEPLOYMENT_ERROR", PASS),
        ("REMOVAL_REQUESTED", FAIL),
    ],
)
def test_an_instance_has_to_come_to_an_end(site: Any, status: str, verdict: Verdict) -> None:
    values = {"instance": "counter", "status": status, "description": ""}
    assert (
        check("instances-settle", site.only((1.0, "cloud", kind.CLOUD_INSTANCE, values))).verdict
        is verdict
    )


def test_what_runs_must_be_told_to_run_in_the_end(site: Any) -> None:
    def said(t_s: float, status: str) -> tuple[float, str, str, dict[str, Any]]:
        return (t_s, "cloud", kind.CLOUD_HEALTH, {"instance": "counter", "status": status})

    assert check("health-truthful", site.only(INSTALLED, STARTED)).verdict is PASS
    starting = site.only(INSTALLED, STARTED, said(4.0, "STARTING"))
    assert check("health-truthful", starting).verdict is FAIL
    both = site.only(INSTALLED, STARTED, said(4.0, "STARTING"), said(5.0, "RUNNING"))
    assert check("health-truthful", both).verdict is PASS


def test_lines_of_the_future_fail(site: Any) -> None:
    connected = (1.0, NORTH, kind.LINK_CONNECTED, {"attempt": 1, "duration_s": 0.1})
    skewed = {"device": "north", "stream": "console_output", "ahead_s": 32400.0}
    assert check("log-times", site.only(connected)).verdict is PASS
    finding = check(
        "log-times", site.only(connected, (2.0, "cloud", kind.CLOUD_LOG_SKEWED, skewed))
    )
    assert finding.verdict is FAIL
    assert "console_output: ahead_s 32400" in finding.message


def test_a_stream_without_a_tile_fails(site: Any) -> None:
    shown = {"owner": "counter", "streams": 2, "tiles": 1}
    assert check("display-tiles", site.only((1.0, NORTH, kind.DISPLAY, shown))).verdict is FAIL


def refused(name: str, t_s: float) -> tuple[float, str, str, dict[str, Any]]:
    return (t_s, f"appliance/{name}", kind.LINK_REFUSED, {"attempt": 5, "reason": "refused"})


def test_a_fleet_in_step_fails_and_a_spread_one_passes(site: Any) -> None:
    fleet = "abcdefgh"
    together = site.only(*(refused(name, 30.0) for name in fleet))
    assert check("reconnects-spread", together).verdict is FAIL
    spread = site.only(*(refused(name, 30.0 + n) for n, name in enumerate(fleet)))
    assert check("reconnects-spread", spread).verdict is PASS
    few = site.only(*(refused(name, 30.0) for name in "abc"))
    assert check("reconnects-spread", few).verdict is UNKNOWN


def lost(t_s: float) -> tuple[float, str, str, dict[str, Any]]:
    values = {"camera": "door", "instance": "counter", "line": "dqBuffer"}
    return (t_s, "app/counter", kind.CAMERA_LOST, values)


@pytest.mark.parametrize(("target", "verdict"), [("door", PASS), ("north", PASS), ("yard", FAIL)])
def test_a_camera_is_lost_by_a_fault_on_it_or_its_appliance(
    site: Any, target: str, verdict: Verdict
) -> None:
    fault = {"fault": "f1", "fault_kind": "camera.offline", "target": target}
    history = site.only(
        STARTED,
        (4.0, "app/counter", kind.CAMERA_CONNECTED, {"camera": "door", "instance": "counter"}),
        (10.0, "nemesis", kind.FAULT_INJECTED, fault),
        lost(11.0),
        (20.0, "nemesis", kind.FAULT_HEALED, {"fault": "f1"}),
    )
    assert check("streams-steady", history).verdict is verdict


def test_a_camera_that_is_lost_long_after_its_fault_fails(site: Any) -> None:
    fault = {"fault": "f1", "fault_kind": "camera.offline", "target": "door"}
    history = site.only(
        STARTED,
        (10.0, "nemesis", kind.FAULT_INJECTED, fault),
        (20.0, "nemesis", kind.FAULT_HEALED, {"fault": "f1"}),
        lost(200.0),
    )
    assert check("streams-steady", history).verdict is FAIL


def clock(t_s: float, what: str) -> tuple[float, str, str, dict[str, Any]]:
    return (t_s, NORTH, what, {"clock_s": 0.0, "server": "ntp"})


@pytest.mark.parametrize(
    ("skewed_s", "verdict"), [(5.0, FAIL), (15.0, PASS), (100.0, PASS), (300.0, FAIL)]
)
def test_times_are_excused_while_the_clock_is_wrong_and_soon_after(
    site: Any, skewed_s: float, verdict: Verdict
) -> None:
    values = {"device": "north", "stream": "occ_log", "ahead_s": 86400.0}
    events = [
        (1.0, NORTH, kind.LINK_CONNECTED, {"attempt": 1, "duration_s": 0.1}),
        clock(10.0, kind.CLOCK_WRONG),
        clock(60.0, kind.CLOCK_RIGHT),
        (skewed_s, "cloud", kind.CLOUD_LOG_SKEWED, values),
    ]
    history = site.only(*sorted(events, key=lambda event: event[0]))
    assert check("log-times", history).verdict is verdict


def test_a_name_that_is_not_found_fails(site: Any) -> None:
    line = "socket.gaierror: [Errno -3] Temporary failure in name resolution"
    error = (4.0, "app/counter", kind.APP_ERROR, {"line": line, "code": 0})
    other = (4.0, "app/counter", kind.APP_ERROR, {"line": "ValueError: 7", "code": 1})
    assert check("names-resolve", site.only(STARTED, other)).verdict is PASS
    assert check("names-resolve", site.only(STARTED, error)).verdict is FAIL


def test_an_application_that_starts_after_its_removal_fails(site: Any) -> None:
    removed = (4.0, NORTH, kind.REMOVED, {"instance": "counter"})
    ghost = (9.0, NORTH, kind.NODE_STARTED, {"instance": "counter", "attempt": 1})
    finding = check("applications-return", site.only(BOOTED, INSTALLED, STARTED, removed, ghost))
    assert finding.verdict is FAIL
    assert "counter started on north after its removal" in finding.message


def test_an_application_that_has_to_be_installed_again_was_forgotten(site: Any) -> None:
    again = (9.0, NORTH, kind.INSTALLED, {"instance": "counter"})
    finding = check("applications-return", site.only(BOOTED, INSTALLED, STARTED, again))
    assert finding.verdict is FAIL
    assert "north had forgotten counter" in finding.message
    reset = (8.0, NORTH, kind.RESTORED, {"what": "factory", "ok": True})
    assert check("applications-return", site.only(INSTALLED, reset, again)).verdict is UNKNOWN


def test_a_port_that_is_not_opened_at_every_start_fails(site: Any) -> None:
    installed = (2.0, NORTH, kind.INSTALLED, {"instance": "counter", "ports": [8080]})
    opened = (2.5, NORTH, kind.PORT_OPENED, {"instance": "counter", "port": 8080})
    again = (9.0, NORTH, kind.NODE_STARTED, {"instance": "counter", "attempt": 2})
    assert check("ports-open", site.only(installed, opened, STARTED)).verdict is PASS
    finding = check("ports-open", site.only(installed, opened, STARTED, again))
    assert finding.verdict is FAIL
    assert "counter started, and ports 8080 stay closed" in finding.message
