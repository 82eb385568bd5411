"""Checkers and the faults of an appliance's life: what rot, wrong clocks and sticks explain."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judge import CHECKERS, Finding, Verdict
from harness.record import kind

PASS, FAIL = Verdict.PASS, Verdict.FAIL
NORTH = "appliance/north"
ENDED = {
    "job": "job-1",
    "outcome": "committed",
    "version_from": "6.0.8",
    "version_to": "6.2.1",
    "duration_s": 1.0,
    "reason": "",
}
UPDATED = (
    (1.0, NORTH, kind.OTA_PHASE, {"job": "job-1", "phase": "downloading"}),
    (2.0, NORTH, kind.BOOTED, {"slot": "b", "version": "6.2.1"}),
    (3.0, NORTH, kind.OTA_ENDED, ENDED),
    (4.0, "cloud", kind.CLOUD_JOB, {"job": "job-1", "device": "north", "status": "COMPLETED"}),
)
REFUSED = (5.0, NORTH, kind.BOOT_REFUSED, {"slot": "b", "part": "root", "reason": "hash"})
BACK = (6.0, NORTH, kind.BOOTED, {"slot": "a", "version": "6.0.8"})


def check(name: str, history: Any) -> Finding:
    return CHECKERS[name].run(history, {})


def test_a_slot_that_rotted_ends_what_an_update_promised(site: Any) -> None:
    assert check("ota-truthful", site.only(*UPDATED, REFUSED, BACK)).verdict is PASS
    finding = check("ota-truthful", site.only(*UPDATED, BACK))
    assert finding.verdict is FAIL
    assert "should run 6.2.1, runs 6.0.8" in finding.message


def test_files_that_rotted_may_be_installed_again(site: Any) -> None:
    installed = (1.0, NORTH, kind.INSTALLED, {"instance": "counter"})
    damaged = (2.0, NORTH, kind.DAMAGED, {"instance": "counter", "assets": "0123"})
    again = (3.0, NORTH, kind.INSTALLED, {"instance": "counter"})
    assert check("applications-return", site.only(installed, again)).verdict is FAIL
    assert check("applications-return", site.only(installed, damaged, again)).verdict is not FAIL


@pytest.mark.parametrize(
    ("fault_kind", "verdict"), [("storage.rot-application", PASS), ("storage.rot", FAIL)]
)
def test_rot_of_an_application_ends_it_once(site: Any, fault_kind: str, verdict: Verdict) -> None:
    struck = {"fault": "f1", "fault_kind": fault_kind, "target": "counter"}
    ended = {"instance": "counter", "code": -9, "reason": "killed"}
    history = site.only(
        (1.0, NORTH, kind.NODE_STARTED, {"instance": "counter", "attempt": 1}),
        (2.0, "nemesis", kind.FAULT_INJECTED, struck),
        (3.0, NORTH, kind.NODE_ENDED, ended),
    )
    assert check("crashes-explained", history).verdict is verdict


def test_a_clock_that_was_told_to_be_wrong_explains_times_of_logs(site: Any) -> None:
    connected = (1.0, NORTH, kind.LINK_CONNECTED, {"attempt": 1, "duration_s": 1.0})
    wrong = (2.0, NORTH, kind.CLOCK_WRONG, {"clock_s": 0.0, "reason": "it was never set"})
    skewed = {"device": "north", "stream": "syslog", "ahead_s": 3600.0}
    told = (3.0, "cloud", kind.CLOUD_LOG_SKEWED, skewed)
    assert check("log-times", site.only(connected, told)).verdict is FAIL
    assert check("log-times", site.only(connected, wrong, told)).verdict is PASS
    other = (3.0, "cloud", kind.CLOUD_LOG_SKEWED, {**skewed, "device": "south"})
    assert check("log-times", site.only(connected, wrong, other)).verdict is FAIL


def test_who_unplugs_a_box_asked_for_its_stop(site: Any) -> None:
    booted = (1.0, NORTH, kind.BOOTED, {"slot": "a", "version": "6.2.1"})
    stopped = (2.0, NORTH, kind.STOPPED, {"reason": "unplugged"})
    assert check("stops-explained", site.only(booted, stopped)).verdict is PASS
