"""What only virtual time promises: the same bytes for the same seed, and days in a moment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.record.history import first_difference
from harness.scenario.plan import Deploy, WorkPlan

if TYPE_CHECKING:
    from harness.record.event import Event

DAY_S = 86_400.0
UPDATE = {"appliance": "north", "image": "7.0.13", "expect": "committed", "allow_major": True}
BUSY: list[Any] = [
    {"observe": "30s"},
    {"update": UPDATE},
    {"fault": {"kind": "uplink.loss", "target": "north", "for": "40s"}},
    {"fault": {"kind": "power.cut", "target": "north", "for": "5s"}},
]


def busy(make_plan: Any, seed: int) -> Any:
    images = {"7.0.13": {"size": "1GiB"}}
    return make_plan("model", deploy="counter", workload=BUSY, images=images, seed=seed)


def test_the_same_seed_gives_the_same_bytes(runs: Any, make_plan: Any) -> None:
    one, two = (runs(busy(make_plan, 11)) for _ in range(2))
    assert one.outcome == ("completed", "")
    assert len(one.history.events) > 80
    assert first_difference(one.path, two.path) is None
    assert one.path.read_bytes() == two.path.read_bytes()


def test_another_seed_gives_another_history(runs: Any, make_plan: Any) -> None:
    one, two = runs(busy(make_plan, 11)), runs(busy(make_plan, 12))
    assert two.outcome == ("completed", "")
    times = [[(e.t_s, e.kind) for e in ran.history.events] for ran in (one, two)]
    assert times[0] != times[1]
    # Chance moves when things happen, not what happens.
    kinds = [
        [e.kind for e in ran.history.events if not e.kind.startswith(("frames", "link.refused"))]
        for ran in (one, two)
    ]
    assert sorted(kinds[0]) == sorted(kinds[1])


def test_the_wall_pace_of_the_process_rung_changes_nothing(runs: Any, make_plan: Any) -> None:
    slow, fast = (runs(replace(busy(make_plan, 11), time_scale=scale)) for scale in (1.0, 60.0))
    events = [
        [(e.t_s, e.source, e.kind) for e in ran.history.events if e.kind != "run.started"]
        for ran in (slow, fast)
    ]
    assert events[0] == events[1]


def test_a_day_is_a_few_events(runs: Any, make_plan: Any) -> None:
    """Heartbeats and waiting are accounted for, not stepped: nothing happens, nothing is told."""
    plan = make_plan("model", workload=[{"observe": "24h"}], stop_after="25h")
    ran = runs(plan)
    assert ran.outcome == ("completed", "")
    assert ran.history.duration_s >= DAY_S
    workload = ran.of("phase.started")[1].t_s
    idle = [e.kind for e in ran.history.events if workload < e.t_s < DAY_S]
    assert idle == ["device.usage"] * 4
    assert ran.of("cloud.device")[-1].values["status"] == "ONLINE"


@pytest.mark.parametrize("kind", ["uplink.loss", "uplink.blackhole"])
def test_an_interrupted_download_is_resumed(kind: str, runs: Any, make_plan: Any) -> None:
    """4 GiB take minutes on the profile's line; the link breaks in the middle, and comes back."""
    size_bytes = 4 << 30
    plan = make_plan(
        "model",
        workload=[{"update": {**UPDATE, "image": "7.0.13"}}],
        images={"7.0.13": {"size": "4GiB"}},
        nemesis=[{"kind": kind, "target": "north", "at": "2m", "for": "3m"}],
    )
    whole = runs(replace(plan, nemesis=()))
    ran = runs(plan)
    assert ran.outcome == ("completed", "")
    assert ran.of("link.lost")
    rate = plan.appliances[0].profile.uplink_bytes_per_s

    def transfer_s(made: Any) -> float:
        phases = {e.values["phase"]: e.t_s for e in made.of("ota.phase")}
        return float(phases["verifying"] - phases["downloading"])

    assert transfer_s(whole) == pytest.approx(size_bytes / rate, rel=0.01)
    # What had come before the break was not fetched again: the outage and retries are all.
    assert transfer_s(whole) + 180.0 - 45.0 < transfer_s(ran)
    assert transfer_s(ran) < transfer_s(whole) + 180.0 + 60.0
    (ended,) = ran.of("ota.ended")
    assert ended.values["outcome"] == "committed"


def test_a_download_is_given_up_when_the_link_stays_down(runs: Any, make_plan: Any) -> None:
    plan = make_plan(
        "model",
        workload=[{"update": {**UPDATE, "image": "7.0.13"}, "timeout": "2h"}],
        images={"7.0.13": {"size": "4GiB"}},
        nemesis=[{"kind": "uplink.loss", "target": "north", "at": "2m", "for": "45m"}],
        stop_after="5h",
    )
    ran = runs(plan)
    (ended,) = ran.of("ota.ended")
    assert ended.values["outcome"] == "failed"
    assert "of 4294967296 bytes came in 1800 s" in ended.values["reason"]
    assert ran.outcome[0] == "failed"
    assert ran.of("appliance.booted")[-1].values["version"] == "6.2.1"
    # It was healed at its time: a failed step does not leave it open.
    assert len(ran.of("fault.healed")) == 1


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"recalled": True}, "image 6.3.0 was recalled"),
        ({"minimum_version": "6.2.2"}, "6.2.1 to 6.3.0: may be installed from 6.2.2 on"),
        (
            {"endpoints": ["ecr.test:443", "iot.test:443"]},
            "image 6.3.0 needs endpoints that cannot be reached from here: "
            "ecr.test:443: no answer in 10 s",
        ),
    ],
)
def test_an_image_that_does_not_fit_here_is_refused_before_it_is_fetched(
    image: dict[str, Any], reason: str, runs: Any, make_plan: Any
) -> None:
    plan = make_plan(
        "model",
        workload=[{"update": {**UPDATE, "image": "6.3.0", "expect": "refused"}}],
        images={"6.3.0": {"size": "4GiB", **image}},
    )
    (north,) = plan.appliances
    plan = replace(plan, appliances=(replace(north, blocked=("ecr.test:443",)),))
    ran = runs(plan)
    assert ran.outcome == ("completed", "")
    (ended,) = ran.of("ota.ended")
    assert (ended.values["outcome"], ended.values["reason"]) == ("refused", reason)
    assert ended.values["duration_s"] < 90.0


def test_a_download_that_power_interrupted_goes_on_where_it_was(runs: Any, make_plan: Any) -> None:
    plan = make_plan(
        "model",
        workload=[{"update": {**UPDATE, "image": "7.0.13"}}],
        images={"7.0.13": {"size": "4GiB"}},
        nemesis=[{"kind": "power.cut", "target": "north", "at": "4m", "for": "10s"}],
    )
    ran = runs(plan)
    (ended,) = ran.of("ota.ended")
    assert (ended.values["outcome"], ended.values["reason"]) == ("committed", "")
    assert ran.of("cloud.job")[-1].values["status"] == "COMPLETED"
    assert ran.of("appliance.booted")[-1].values["version"] == "7.0.13"
    # By four minutes a segment had come: it was not fetched again.
    again = [e.values["line"] for e in ran.of("log.line") if "goes on at" in e.values["line"]]
    assert len(again) == 1
    assert int(again[0].split()[5]) % (256 << 20) == 0


def test_listeners_see_events_as_they_happen(runs: Any, make_plan: Any) -> None:
    seen: list[Event] = []
    ran = runs(make_plan("model"), listen=seen.append)
    assert [event.kind for event in seen] == [event.kind for event in ran.history.events]
    assert [event.t_s for event in seen] == pytest.approx([e.t_s for e in ran.history.events])


def busy_plan(make_plan: Any, work: WorkPlan, **appliance: Any) -> Any:
    """One application with that work on its frames, for half an hour."""
    plan = make_plan("model", deploy="counter", workload=[{"observe": "30m"}], stop_after="2h")

    def worked(step: Any) -> Any:
        return replace(step, work=work) if isinstance(step, Deploy) else step

    appliances = tuple(replace(one, **appliance) for one in plan.appliances)
    return replace(plan, appliances=appliances, bring_up=tuple(map(worked, plan.bring_up)))


def test_what_a_frame_costs_decides_how_many_are_skipped(runs: Any, make_plan: Any) -> None:
    ran = runs(busy_plan(make_plan, WorkPlan(host_s=0.150, inference_s=0.050)))
    (account,) = ran.of("frames.account")
    values = account.values
    assert values["delivered"] / values["sent"] == pytest.approx(5 / 15, rel=0.02)
    assert values["sent"] == values["delivered"] + values["skipped_application"]
    window = ran.of("board.window")[-1].values
    assert window["gpu"] == pytest.approx(5 * 0.050, rel=0.01)
    assert window["clock_share"] == 1.0
    assert ran.of("board.throttled") == []


def test_in_hot_air_clocks_go_and_frames_with_them(runs: Any, make_plan: Any) -> None:
    work = WorkPlan(host_s=0.001, inference_s=0.200)
    cool = runs(busy_plan(make_plan, work))
    hot = runs(busy_plan(make_plan, work, ambient_c=82.0))
    assert hot.of("board.throttled")
    delivered = [ran.of("frames.account")[0].values["delivered"] for ran in (cool, hot)]
    assert delivered[1] < 0.95 * delivered[0]
    warmest = max(event.values["temperature_c"] for event in hot.of("board.window"))
    assert 95.5 <= warmest < 102


def test_too_hot_an_appliance_turns_itself_off(runs: Any, make_plan: Any) -> None:
    plan = busy_plan(make_plan, WorkPlan(host_s=0.010, inference_s=0.200), ambient_c=101.0)
    ran = runs(plan)
    assert "overheating" in [event.values["reason"] for event in ran.of("appliance.stopped")]
    assert ran.outcome[0] == "completed"


def test_warm_up_blocks_the_first_frame_and_the_cold_ones_are_slow(
    runs: Any, make_plan: Any
) -> None:
    work = WorkPlan(
        0.060, 0.005, first_inference_s=60.0, cold_host_s=0.195, cold_frames=50, epoch_frames=50
    )
    ran = runs(busy_plan(make_plan, work))
    first, second, *_ = [event.values for event in ran.of("app.epoch")]
    assert first["duration_s"] == pytest.approx(60 + 50 * 0.200, rel=0.03)
    assert first["inference_max_ms"] == pytest.approx(60_005, rel=0.001)
    assert first["inference_mean_ms"] == pytest.approx(60_000 / 50 + 5, rel=0.05)
    assert second["duration_s"] == pytest.approx(50 / 15, rel=0.03)
    assert second["frame_mean_ms"] == pytest.approx(65, rel=0.1)
