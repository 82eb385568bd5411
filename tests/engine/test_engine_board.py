from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.engine.board import Board
from harness.engine.model.epoch import Epoch
from harness.scenario import appliance_profile
from harness.scenario.plan import AppliancePlan, CameraPlan, WorkPlan

if TYPE_CHECKING:
    from harness.jetson.load import Settled

PROFILES = Path(__file__).parents[2] / "device_profiles/appliances"
CAMERA = CameraPlan("door", "generic", 1280, 720, 30.0, 30, 400, 10.0, 1, "/", "", "", 1)
XAVIER = appliance_profile(PROFILES / "panorama-appliance.yaml")


def made(ambient_c: float = 25.0, power_mode: str = "max", hardware: bool = True) -> Board:
    profile = XAVIER if hardware else replace(XAVIER, hardware=None)
    plan = AppliancePlan("north", profile, "6.2.1", 1, power_mode, ambient_c)
    return Board(plan, 0.0, {})


def test_the_profile_says_what_a_frame_usually_costs() -> None:
    board = made()
    assert board.usual().host_s == pytest.approx(0.059376)
    assert board.usual().inference_s == pytest.approx(0.007185)
    (pace,) = board.paces([(board.usual(), [CAMERA])])
    assert pace.loop_fps == pytest.approx(1 / 0.066561, rel=1e-3)


def test_without_hardware_applications_share_nothing() -> None:
    board = made(hardware=False)
    paces = board.paces([(board.usual(), [CAMERA])] * 20)
    assert [pace.loop_fps for pace in paces] == [pytest.approx(1 / 0.066561)] * 20
    assert not board.look(100.0, powered=True)
    assert board.window() is None
    assert not board.too_hot


def test_a_slower_mode_makes_frames_dearer() -> None:
    fast, slow = made(), made(power_mode="15W")
    (quick,), (late,) = (board.paces([(board.usual(), [CAMERA])]) for board in (fast, slow))
    assert late.frame_s == pytest.approx(0.059376 * 2265.6 / 1200 + 0.007185 * 1377 / 670, rel=1e-6)
    assert quick.frame_s < late.frame_s


def test_what_is_known_is_not_worked_out_again() -> None:
    known: dict[object, Settled] = {}
    plan = AppliancePlan("north", XAVIER, "6.2.1", 1)
    first, second = Board(plan, 0.0, known), Board(plan, 0.0, known)
    first.paces([(first.usual(), [CAMERA])])
    second.paces([(second.usual(), [CAMERA])])
    assert len(known) == 1
    assert first.settled is second.settled


def test_a_busy_board_in_hot_air_loses_clocks_and_in_hotter_air_turns_off() -> None:
    hot = made(ambient_c=75.0)
    work = WorkPlan(host_s=0.01, inference_s=0.03)
    changed = []
    for step in range(300):
        hot.paces([(work, [CAMERA])] * 8)
        changed.append(hot.look(10.0 * step, powered=True))
    assert any(changed)
    assert hot.heat.throttled
    assert not hot.too_hot
    window = hot.window()
    assert window is not None
    assert window["clock_share"] < 1
    baked = made(ambient_c=85.0)
    baked.heat = replace(baked.heat, temperature_c=103.0)
    assert baked.too_hot


def test_at_rest_it_cools_to_what_idling_draws() -> None:
    board = made()
    board.paces([(WorkPlan(0.01, 0.03), [CAMERA])] * 4)
    board.look(3600.0, powered=True)
    warm_c = board.heat.temperature_c
    board.rest(3600.0)
    board.look(7200.0, powered=True)
    assert board.heat.temperature_c == pytest.approx(25 + 10.0 * 1.8, abs=1)
    assert board.heat.temperature_c < warm_c


def test_an_epoch_tells_of_its_frames_and_begins_anew() -> None:
    epoch = Epoch(length=2, since_s=10.0)
    epoch.add(100.0, 110.0)
    assert epoch.frames == 1
    epoch.add(5.0, 15.0)
    assert epoch.full
    assert epoch.told(12.0) == {
        "number": 1,
        "frames": 2,
        "duration_s": 2.0,
        "inference_mean_ms": 52.5,
        "inference_max_ms": 100.0,
        "frame_mean_ms": 62.5,
        "frame_max_ms": 110.0,
    }
    assert (epoch.number, epoch.frames, epoch.since_s) == (2, 0, 12.0)
    silent = Epoch(length=0)
    silent.add(1.0, 1.0)
    assert not silent.full
