"""`timing: jetson`: what calls are said to take, and who is told when that changes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine.process.pacing import Pacing
from harness.record import kind
from harness.runtime.spec import ModelFile
from harness.scenario.plan import Deploy, Plan, WorkPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "fixtures/apps/people-counter/packages/123456789012-people_counter_model-1.0"


@dataclass(eq=False)
class Node:
    instance: str
    told: list[dict[str, tuple[float, float]]] = field(default_factory=list)

    def pace(self, paces: Mapping[str, tuple[float, float]]) -> None:
        self.told.append(dict(paces))


class Desk:
    def __init__(self, plan: Plan) -> None:
        self.now_s = 0.0
        self.noted: list[tuple[str, dict[str, Any]]] = []
        self.pacing = Pacing(plan, self._note, lambda: self.now_s, lambda instance: instance)

    def _note(self, _source: str, event_kind: str, values: Mapping[str, Any]) -> None:
        self.noted.append((event_kind, dict(values)))

    def of(self, event_kind: str) -> list[dict[str, Any]]:
        return [values for k, values in self.noted if k == event_kind]


def model_file(**descriptor: Any) -> ModelFile:
    described = json.loads((MODEL / "descriptor.json").read_text())["mlModelDescriptor"]
    return ModelFile(
        "detector", MODEL / "model.onnx", {"mlModelDescriptor": {**described, **descriptor}}
    )


@pytest.fixture
def plan(make_plan: Any) -> Plan:
    made: Plan = make_plan("process", deploy="counter", time_scale=1)
    work = WorkPlan(host_s=0.005, inference_s=0.04, first_inference_s=2.0)
    steps = tuple(replace(s, work=work) if isinstance(s, Deploy) else s for s in made.bring_up)
    return replace(made, bring_up=steps)


def test_the_deployments_work_says_what_calls_take(plan: Plan) -> None:
    desk = Desk(plan)
    cost = desk.pacing.cost("north", "counter", [model_file()])
    assert (cost.calls_ms, cost.first_more_ms, cost.origin) == ({"detector": 40.0}, 2000.0, "work")


def test_without_it_they_are_predicted_from_the_model(plan: Plan) -> None:
    desk = Desk(plan)
    cost = desk.pacing.cost("north", "other", [model_file()])
    assert cost.origin == "prediction"
    assert 0.01 < cost.calls_ms["detector"] < 5.0
    half = desk.pacing.cost("north", "other", [model_file(precisionMode="FP16")])
    assert half.calls_ms["detector"] < cost.calls_ms["detector"]
    assert any("no measurement" in reason for reason in cost.beyond)
    assert cost.first_more_ms == plan.appliances[0].profile.model_load_s * 1e3


def test_a_model_that_cannot_be_described_costs_what_the_profile_says(
    plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    cost = Desk(plan).pacing.cost("north", "other", [ModelFile("d", tmp_path / "model.onnx", {})])
    assert cost.origin == "profile"
    assert cost.calls_ms == {"d": plan.appliances[0].profile.inference_ms}
    assert cost.beyond[0].startswith("no prediction: ")


def test_everybody_is_told_when_somebody_comes_or_goes(plan: Plan) -> None:
    desk, one, two = Desk(plan), Node("counter"), Node("other")
    cost = desk.pacing.cost("north", "counter", [model_file()])
    desk.pacing.started("north", one, cost, ["door"])
    ((call_ms, first_ms),) = one.told[0].values()
    assert [call_ms, first_ms] == pytest.approx([40.0, 2000.0])
    desk.pacing.started("north", two, cost, ["door"])
    assert one.told[1]["detector"][0] > 41.0
    assert two.told[0] == one.told[1]
    desk.pacing.stopped("north", two)
    assert one.told[2] == one.told[0]
    assert len(desk.of(kind.APP_PACE)) == 4
    desk.pacing.stopped("north", one)
    assert len(one.told) == 3


def test_a_slower_mode_makes_calls_longer(plan: Plan) -> None:
    (appliance,) = plan.appliances
    slow = replace(plan, appliances=(replace(appliance, power_mode="MODE_15W"),))
    nodes = []
    for wanted in (plan, slow):
        desk, node = Desk(wanted), Node("counter")
        cost = desk.pacing.cost("north", "counter", [model_file()])
        desk.pacing.started("north", node, cost, ["door"])
        nodes.append(node)
    fast_ms, slow_ms = (node.told[0]["detector"][0] for node in nodes)
    assert slow_ms > 1.5 * fast_ms


def test_heat_takes_clocks_and_makes_calls_longer(plan: Plan) -> None:
    (appliance,) = plan.appliances
    desk = Desk(replace(plan, appliances=(replace(appliance, ambient_c=85.0),)))
    node = Node("counter")
    cost = desk.pacing.cost("north", "counter", [model_file()])
    cost = replace(cost, work=replace(cost.work, host_s=0.0, inference_s=0.06))
    desk.pacing.started("north", node, cost, ["door"])
    board = desk.pacing._boards["north"]
    for _ in range(400):
        desk.now_s += 10.0
        desk.pacing._look("north", board)
    assert desk.of(kind.THROTTLED)
    assert node.told[-1]["detector"][0] > node.told[0]["detector"][0]
