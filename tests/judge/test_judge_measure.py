from __future__ import annotations

from typing import Any

import pytest

from harness.judge import Finding, Measurement, Verdict, measure
from harness.judge.limit import apply
from harness.record import kind
from harness.record.histogram import Histogram
from harness.scenario.plan import LimitPlan


def named(measurements: tuple[Measurement, ...], name: str, **labels: str) -> Measurement:
    (found,) = (m for m in measurements if m.name == name and labels.items() <= m.labels.items())
    return found


def test_the_whole_story_has_every_measurement(site: Any) -> None:
    found = {(one.name, one.unit) for one in measure(site.history())}
    assert found >= {
        ("frame_rate_fps", "frames/s"),
        ("frame_latency_ms", "ms"),
        ("inference_ms", "ms"),
        ("deployment_s", "s"),
        ("ota_s", "s"),
        ("rollback_s", "s"),
        ("reconnect_s", "s"),
        ("connect_s", "s"),
        ("boot_s", "s"),
        ("provision_s", "s"),
        ("app_install_s", "s"),
        ("app_first_frame_s", "s"),
        ("precision_ratio", "ratio"),
        ("recall_ratio", "ratio"),
        ("fault_effect_s", "s"),
        ("fault_recovery_s", "s"),
        ("frames_sent_total", "frames"),
        ("frames_in_flight_total", "frames"),
    }


def test_rates_are_of_windows_long_enough(site: Any) -> None:
    def window(from_s: float, to_s: float, delivered: int) -> Any:
        values = {"camera": "c", "instance": "i", "from_s": from_s, "to_s": to_s}
        return (to_s, "app/i", kind.FRAMES, {**values, "delivered": delivered})

    history = site.only(window(0, 1, 15), window(1, 3, 20), window(3, 3.1, 9))
    rate = named(measure(history), "frame_rate_fps")
    assert (rate.count, rate.min, rate.max, rate.mean) == (2, 10.0, 15.0, 12.5)
    assert rate.labels == {"instance": "i", "camera": "c"}


def test_latencies_of_all_windows_are_merged(site: Any) -> None:
    latencies = [float(value) for value in range(1, 1001)]
    windows = [
        (float(t), "app/i", kind.FRAMES, {
            "camera": "c", "instance": "i", "from_s": float(t), "to_s": t + 1.0, "delivered": 100,
            "latency_ms": Histogram(latencies[t * 100 : t * 100 + 100]).to_json(),
            "inference_ms": Histogram().to_json(),
        })
        for t in range(10)
    ]  # fmt: skip
    found = measure(site.only(*windows))
    latency = named(found, "frame_latency_ms")
    assert (latency.count, latency.min, latency.max) == (1000, 1.0, 1000.0)
    assert latency.p50 == pytest.approx(500, rel=0.004)
    assert latency.p99 == pytest.approx(990, rel=0.004)
    assert latency.mean == pytest.approx(500.5)
    assert not [one for one in found if one.name == "inference_ms"]


def test_a_connection_after_a_boot_is_no_reconnection(site: Any) -> None:
    def event(t_s: float, what: str, **values: Any) -> Any:
        return (t_s, "appliance/n", what, values)

    history = site.only(
        event(1, kind.LINK_CONNECTED, duration_s=1.0),
        event(2, kind.LINK_LOST, reason=""),
        event(3, kind.LINK_CONNECTED, duration_s=2.0),
        event(4, kind.LINK_LOST, reason=""),
        event(5, kind.BOOTED, duration_s=9.0),
        event(6, kind.LINK_CONNECTED, duration_s=4.0),
    )
    found = measure(history)
    assert named(found, "connect_s").mean == 2.5
    assert (named(found, "reconnect_s").mean, named(found, "reconnect_s").count) == (2.0, 1)


@pytest.mark.parametrize(
    ("action", "ok", "name"),
    [
        ("deploy", True, "deployment_s"),
        ("reboot", True, "reboot_s"),
        ("remove", True, "removal_s"),
        ("deploy", False, None),
        ("observe", True, None),
    ],
)
def test_steps_that_are_timed(site: Any, action: str, ok: bool, name: str | None) -> None:
    values = {
        "step": f"{action} north",
        "action": action,
        "index": "1",
        "ok": ok,
        "duration_s": 12.5,
    }
    found = measure(site.only((1.0, "scenario", kind.STEP_ENDED, values)))
    assert [(one.name, one.max) for one in found] == ([(name, 12.5)] if name else [])


def test_durations_of_updates_go_by_their_outcome(site: Any) -> None:
    found = measure(site.history())
    assert named(found, "ota_s", appliance="north").value == pytest.approx(5.8)
    assert named(found, "rollback_s", appliance="south").value == pytest.approx(8.2)


def test_accounts_are_summed(site: Any) -> None:
    found = measure(site.history())
    totals = {
        part: named(found, f"frames_{part}_total", camera="yard").value
        for part in ("sent", "delivered", "lost_network", "dropped_decoder", "in_flight")
    }
    assert totals.pop("sent") == sum(totals.values()) == 753


# --- limits ----------------------------------------------------------------------------------


def judged(site: Any, *limit: Any) -> Finding:
    (finding,) = apply([LimitPlan(*limit)], measure(site.history()))
    return finding


def test_a_limit_must_hold_for_every_series(site: Any) -> None:
    rates = [one for one in measure(site.history()) if one.name == "frame_rate_fps"]
    worst, best = min(one.mean for one in rates), max(one.mean for one in rates)
    assert judged(site, "frame_rate_fps", "mean", ">=", worst).verdict is Verdict.PASS
    finding = judged(site, "frame_rate_fps", "mean", ">=", (worst + best) / 2)
    assert finding.verdict is Verdict.FAIL
    assert "worst of 4: instance counter-south, camera yard" in finding.message


@pytest.mark.parametrize(
    ("comparison", "bound", "verdict"),
    [("<=", 5.6, "PASS"), ("<=", 5.5, "FAIL"), (">=", 5.6, "PASS"), (">=", 5.7, "FAIL")],
)
def test_limits_compare(site: Any, comparison: str, bound: float, verdict: str) -> None:
    finding = judged(site, "reconnect_s", "max", comparison, bound)
    assert finding.verdict == verdict
    assert finding.checker == "limit:reconnect_s"
    assert finding.demand == f"reconnect_s max {comparison} {bound}"


@pytest.mark.parametrize("statistic", ["p50", "p90", "p99", "max", "mean", "min", "value"])
def test_every_statistic_of_a_plan_is_known(site: Any, statistic: str) -> None:
    assert judged(site, "reconnect_s", statistic, "<=", 100.0).verdict is Verdict.PASS


def test_a_limit_without_data_is_unknown(site: Any) -> None:
    finding = judged(site, "reboot_s", "max", "<=", 100.0)
    assert finding.verdict is Verdict.UNKNOWN
    assert "no data for reboot_s" in finding.message


@pytest.mark.parametrize("limit", [("boot_s", "p42", "<="), ("boot_s", "max", "==")])
def test_a_limit_that_cannot_be_read_is_unknown(site: Any, limit: tuple[str, str, str]) -> None:
    assert judged(site, *limit, 1.0).verdict is Verdict.UNKNOWN


def test_boards_and_epochs_become_measurements(site: Any) -> None:
    board = {"power_w": 15.5, "temperature_c": 48.0, "clock_share": 0.85, "cpu": 0.1}
    epoch = {
        "instance": "i", "frames": 150, "inference_mean_ms": 7.0, "inference_max_ms": 15.0,
        "frame_mean_ms": 66.0, "frame_max_ms": 120.0,
    }  # fmt: skip
    history = site.only(
        (1.0, "appliance/north", kind.BOARD, board),
        (2.0, "app/i", kind.APP_EPOCH, {**epoch, "number": 1, "duration_s": 150.0}),
        (3.0, "app/i", kind.APP_EPOCH, {**epoch, "number": 2, "duration_s": 10.0}),
        (4.0, "app/i", kind.APP_EPOCH, {**epoch, "number": 3, "duration_s": 10.0}),
    )
    found = measure(history)
    power = named(found, "board_power_w", appliance="north")
    assert (power.value, power.unit) == (15.5, "W")
    assert named(found, "board_temperature_c").unit == "°C"
    assert named(found, "board_clock_ratio").value == 0.85
    assert named(found, "first_epoch_fps").value == 1.0
    assert named(found, "later_epoch_fps").count == 2
    assert named(found, "later_epoch_fps").value == 15.0
    assert named(found, "later_epoch_inference_max_ms").max == 15.0


def _paced(late: int) -> Any:
    values = {"camera": "c", "instance": "i", "from_s": 0.0, "to_s": 1.0, "delivered": 15}
    return (1.0, "app/i", kind.FRAMES, {**values, "paced": 100, "host_bound": late})


def test_paced_calls_are_claimed_while_the_machine_keeps_up(site: Any) -> None:
    found = measure(site.only(_paced(1)))
    assert named(found, "host_bound_ratio", instance="i").value == 0.01
    assert named(found, "frame_rate_fps").value == 15.0


def test_of_a_host_bound_application_no_time_and_no_rate_is_claimed(site: Any) -> None:
    found = measure(site.only(_paced(2)))
    assert {one.name for one in found} == {"host_bound_ratio"}
    limit = LimitPlan("frame_rate_fps", "mean", ">=", 10.0)
    (finding,) = apply((limit,), found)
    assert finding.verdict is Verdict.UNKNOWN
