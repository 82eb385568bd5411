from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.scenario import ScenarioInvalid, compile_plan, load
from harness.scenario.plan import Deploy, Inject, Observe, Parallel, Provision, Reboot
from harness.scenario.seed import SEED_BITS, derive

Write = Callable[..., Path]


def test_the_same_scenario_and_seed_give_the_same_plan(write: Write, tmp_path: Path) -> None:
    one, two = (compile_plan(load(write(), base=tmp_path)) for _ in range(2))
    assert one.digest == two.digest
    assert json.dumps(one.to_json()) == json.dumps(two.to_json())
    assert compile_plan(load(write(), base=tmp_path), seed=4).digest != one.digest


def test_a_plan_names_no_folder_of_the_machine(write: Write, tmp_path: Path) -> None:
    plan = compile_plan(load(write(), base=tmp_path))
    assert str(tmp_path) not in json.dumps(plan.to_json())
    assert plan.source == "scenarios/small.yaml"
    assert plan.applications[0].path == "apps/counter"


def test_another_process_with_other_hash_seeds_makes_the_same_plan(
    write: Write, tmp_path: Path
) -> None:
    code = (
        "import sys; from harness.scenario import compile_plan, load;"
        "print(compile_plan(load('scenarios/small.yaml')).digest)"
    )
    path = write()
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": number, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout.strip()
        for number in ("1", "2")
    }
    assert digests == {compile_plan(load(path, base=tmp_path)).digest}


def test_a_list_is_done_in_parallel(write: Write) -> None:
    plan = compile_plan(load(write(("- observe: 2s", "- reboot: south\n    timeout: 5m"))))
    assert plan.bring_up[0] == Parallel(((Provision("north"),), (Provision("south"),)))
    assert plan.workload == (Reboot("south", timeout_s=300.0),)


def test_faults_have_all_their_values(write: Write) -> None:
    """What is left out has its default, and chance follows from the plan's seed."""
    work = "- fault: {kind: camera.loss, target: door, for: 1s, parameters: {rate: 0.2}}\n"
    work += "  - fault: {kind: camera.teardown, target: door}\n"
    work += "  - fault: {kind: camera.loss, target: door, for: 1s, parameters: {seed: 7}}"
    path = write(("- observe: 2s", work))
    one, other = (compile_plan(load(path), seed=seed) for seed in (1, 2))
    rates = [fault.parameters.get("rate") for fault in one.faults]
    assert rates == [0.2, None, 0.05]
    seeds = [[fault.parameters.get("seed") for fault in plan.faults] for plan in (one, other)]
    assert seeds[0][0] != seeds[1][0]
    assert seeds[0][2] == seeds[1][2] == 7


def test_a_fault_that_the_rung_does_not_know_is_refused(write: Write) -> None:
    path = write(("- observe: 2s", "- fault: {kind: camera.freeze, target: door, for: 1s}"))
    with pytest.raises(InputError, match=r"camera\.freeze on door: the model rung knows nothing"):
        compile_plan(load(path), engine="model")


def test_steps_are_resolved(write: Write) -> None:
    plan = compile_plan(load(write()))
    deploy = plan.bring_up[1]
    assert deploy == Deploy("one", "counter", "north", {"camera_in": ("door",)}, {})
    assert plan.workload == (Observe(2.0),)


def test_cameras_are_resolved_from_profile_scenario_and_seed(write: Write) -> None:
    door, yard = compile_plan(load(write())).cameras
    assert (door.path, door.username, door.password, door.objects) == ("/door/sub", "", "", 3)
    assert (yard.path, yard.username, yard.objects) == ("/yard/main", "viewer", 5)
    assert len(yard.password) == 14
    assert (yard.width_px, yard.rate_fps) == (1280, 30.0)
    other = compile_plan(load(write()), seed=99).cameras[1]
    assert other.password != yard.password


def test_a_part_keeps_its_seed_when_another_comes(write: Write) -> None:
    before = {camera.name: camera.seed for camera in compile_plan(load(write())).cameras}
    more = ("  cameras:\n", "  cameras:\n    attic: {profile: generic-360p15}\n")
    after = {camera.name: camera.seed for camera in compile_plan(load(write(more))).cameras}
    assert after.keys() - before.keys() == {"attic"}
    assert {name: after[name] for name in before} == before


def test_faults_have_ids_in_order_and_the_nemesis_is_sorted(write: Write) -> None:
    timed = (
        "nemesis:\n"
        "  - {at: 20s, kind: uplink.loss, target: north, for: 1s}\n"
        "  - {at: 500ms, kind: camera.offline, target: door, for: 2m}\n"
    ).replace("2m", "20s")
    step = "- fault: {kind: app.kill, target: one}"
    plan = compile_plan(load(write(("- observe: 2s", step), ("checks:", timed + "checks:"))))
    (inject,) = plan.workload
    assert isinstance(inject, Inject)
    assert (inject.fault.id, inject.fault.at_s) == ("f1", None)
    assert [(fault.id, fault.at_s) for fault in plan.nemesis] == [("f2", 0.5), ("f3", 20.0)]


def test_images_get_their_fuse_level_from_the_version_unless_they_say(write: Write) -> None:
    images = "{size: 8MiB}\n  8.0.29: {size: 1KiB}\n  7.9.9: {size: 1B, fuse_level: 9}"
    plan = compile_plan(load(write(("{size: 8MiB}", images))))
    assert [(image.size_bytes, image.fuse_level) for image in plan.images] == [
        (8 << 20, 1),
        (1 << 10, 2),
        (1, 9),
    ]


def test_limits_and_checks(write: Write) -> None:
    limits = 'limits: {frame_latency_ms: {p99: "<= 500"}, precision_ratio: {value: ">=0.8"}}\n'
    checks = ("checks: [steps]", "checks: [steps, {detections: {recall_min: 0.8}}]\n" + limits)
    plan = compile_plan(load(write(checks)))
    assert [(c.name, dict(c.parameters)) for c in plan.checks] == [
        ("steps", {}),
        ("detections", {"recall_min": 0.8}),
    ]
    assert [(x.measurement, x.statistic, x.comparison, x.bound) for x in plan.limits] == [
        ("frame_latency_ms", "p99", "<=", 500.0),
        ("precision_ratio", "value", ">=", 0.8),
    ]


def test_engine_and_seed_can_be_chosen(write: Write) -> None:
    scenario = load(write())
    assert compile_plan(scenario, engine="model").engine == "model"
    with pytest.raises(InputError, match="unknown engine `modell`") as caught:
        compile_plan(scenario, engine="modell")
    assert caught.value.hint == "did you mean `model`?"
    with pytest.raises(InputError, match="seed -1"):
        compile_plan(scenario, seed=-1)


@given(st.integers(0, 2**53 - 1), st.lists(st.text(max_size=6), max_size=3))
def test_seeds_are_stable_and_fit(seed: int, path: list[str]) -> None:
    value = derive(seed, *path)
    assert 0 <= value < 1 << SEED_BITS
    assert value == derive(seed, *path)
    assert value != derive(seed, *path, "further")


def test_the_seed_tree_keeps_paths_apart() -> None:
    assert derive(1, "ab", "c") != derive(1, "a", "bc")
    assert derive(7, "camera", "door") == 401083902435990


def test_a_check_is_kept_to_the_engines_it_names(write: Write) -> None:
    scenario = load(write(("[steps]", "[steps, {detections: {engines: [process]}}]")))
    process = compile_plan(scenario, engine="process").checks
    assert [check.name for check in process] == ["steps", "detections"]
    assert process[1].parameters == {}
    assert [c.name for c in compile_plan(scenario, engine="model").checks] == ["steps"]


@pytest.mark.parametrize("engines", ["[quantum]", "[]", "process"])
def test_engines_of_a_check_are_known_ones(write: Write, engines: str) -> None:
    with pytest.raises(ScenarioInvalid, match="for no known engine"):
        load(write(("[steps]", f"[steps, {{detections: {{engines: {engines}}}}}]")))
