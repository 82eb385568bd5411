"""The bench of the application runtime: what it says of a short measurement, and its verdict."""

from __future__ import annotations

import pytest

from harness.engine.process import bench


async def test_every_step_of_a_frames_way_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = await bench._path(20)
    assert set(told) == {"decode_ms", "get_ms", "bare_wake_ms", "call_ms", "put_ms"}
    assert all(0 < one["p50"] <= one["p99"] <= one["max"] for one in told.values())


@pytest.mark.parametrize(
    ("good", "busy", "agree", "verdict"),
    [
        (True, True, True, "pass"),
        (False, False, True, "fail"),
        (False, True, True, "unknown"),
        (True, False, False, "fail"),
    ],
)
def test_a_busy_machine_tells_nothing(good: bool, busy: bool, agree: bool, verdict: str) -> None:
    assert bench._verdict(good=good, busy=busy, agree=agree) == verdict


def test_quantiles_are_nearest_rank() -> None:
    assert bench._summary([float(n) for n in range(1, 101)]) == {
        "p50": 51.0,
        "p99": 100.0,
        "max": 100.0,
    }
