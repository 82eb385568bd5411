from __future__ import annotations

from dataclasses import replace

import pytest

from harness.fleet.order import Outcome, Row
from harness.fleet.profile import PROFILES
from harness.fleet.verdict import judge

STORM = PROFILES["storm"]


def row(name: str, requests: int = 100, failures: int = 0, p99_ms: float = 10.0) -> Row:
    return Row("MQTT", name, requests, failures, 1.0, 1.0, 2.0, p99_ms, 20.0)


def outcome(*rows: Row) -> Outcome:
    return Outcome(rows, {})


ALL = tuple(row(name) for name in STORM.expected)


def test_all_seen_and_nothing_failed_is_a_pass() -> None:
    assert judge(STORM, outcome(*ALL)).verdict == "PASS"


def test_one_failure_is_one_too_many_unless_some_may_fail() -> None:
    rows = (*ALL[1:], row(ALL[0].name, 100, 1))
    verdict = judge(STORM, outcome(*rows))
    assert verdict.verdict == "FAIL"
    assert verdict.why == ("1 of 500 requests failed (0.20%, at most 0.00%)",)
    assert judge(replace(STORM, failures_max=0.01), outcome(*rows)).verdict == "PASS"


def test_a_storm_that_nobody_felt_is_no_pass() -> None:
    verdict = judge(STORM, outcome(*(r for r in ALL if r.name != "reconnect")))
    assert verdict.verdict == "UNKNOWN"
    assert verdict.why == ("no reconnect was seen",)


def test_what_only_failed_was_not_seen() -> None:
    rows = (*(r for r in ALL if r.name != "reconnect"), row("reconnect", 3, 3))
    assert judge(replace(STORM, failures_max=1.0), outcome(*rows)).verdict == "UNKNOWN"


def test_nothing_at_all_is_unknown() -> None:
    assert judge(STORM, outcome()).verdict == "UNKNOWN"


@pytest.mark.parametrize(("method", "name", "fails"), [("GET", "x", True), ("WAVE", "x", False)])
def test_a_bound_on_p99_is_for_requests_and_not_for_work(
    method: str, name: str, fails: bool
) -> None:
    slow = Row(method, name, 1, 0, 1.0, 900.0, 900.0, 900.0, 900.0)
    verdict = judge(STORM, outcome(*ALL, slow), p99_ms_max=500.0)
    assert (verdict.verdict == "FAIL") is fails
    if fails:
        assert verdict.why == ("x: p99 is 900 ms, at most 500",)
