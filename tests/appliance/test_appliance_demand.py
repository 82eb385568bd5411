"""Demands: what a firmware and its neighbours make impossible, one case a row, in exact words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.appliance.demand import Demand
from harness.appliance.graph import parse, resolve
from harness.errors import Corrupt

TWO = Demand(codes=("a", "b"))
MODELS = Demand(codes=("code",), models=("detector", "reader"))
GPU = Demand(codes=("code",), gpu=("code",))
PORTS = Demand(codes=("code",), ports=(8001, 8002))


@pytest.mark.parametrize(
    ("demand", "firmware", "reason"),
    [
        (TWO, "4.3.93", ""),
        (
            TWO,
            "5.0.7",
            "nodes 'a', 'b': one code node an application from firmware 5.0.7 on; this is 5.0.7",
        ),
        (MODELS, "7.0.13", ""),
        (
            MODELS,
            "8.0.29",
            "nodes 'detector', 'reader': no compiled model runs from firmware 8.0.29 on; "
            "this is 8.0.29",
        ),
        (
            MODELS,
            "10.0.1",
            "nodes 'detector', 'reader': no compiled model runs from firmware 8.0.29 on; "
            "this is 10.0.1",
        ),
        (GPU, "4.3.45", ""),
        (GPU, "8.0.29", ""),
        (
            GPU,
            "4.3.4",
            "node 'code': GPU access needs firmware 4.3.45 or newer; this is 4.3.4",
        ),
        (PORTS, "4.3.45", ""),
        (
            PORTS,
            "4.3.35",
            "ports 8001, 8002: inbound ports need firmware 4.3.45 or newer; this is 4.3.35",
        ),
    ],
)
def test_a_firmware_says_what_it_cannot_run(demand: Demand, firmware: str, reason: str) -> None:
    assert demand.unmet(firmware, {}) == reason


@pytest.mark.parametrize(
    ("demand", "other", "reason"),
    [
        (MODELS, MODELS, ""),
        (GPU, GPU, ""),
        (GPU, PORTS, ""),
        (
            GPU,
            MODELS,
            "node 'code': no GPU access beside model nodes, as is "
            "nodes 'detector', 'reader' of hall",
        ),
        (
            MODELS,
            GPU,
            "nodes 'detector', 'reader': no model node runs beside GPU access, "
            "as has node 'code' of hall",
        ),
        (PORTS, Demand(ports=(8002, 9000)), "port 8002: taken by hall"),
        (PORTS, Demand(ports=(8003,)), ""),
    ],
)
def test_what_else_is_installed_matters(demand: Demand, other: Demand, reason: str) -> None:
    assert demand.unmet("6.2.1", {"yard": Demand(), "hall": other}) == reason


def test_a_demand_survives_the_way_to_the_appliance() -> None:
    demand = Demand(("a", "b"), ("m",), ("a",), (8001,))
    document = json.loads(json.dumps({"demands": demand.to_json()}))
    assert Demand.read(document) == demand
    assert Demand.read({}) == Demand()


@pytest.mark.parametrize(
    "demands",
    [[], 5, {"codes": []}, {"codes": 1, "models": [], "gpu": [], "ports": []},
     {"codes": [], "models": [], "gpu": [], "ports": ["x"]}],
)  # fmt: skip
def test_a_demand_of_the_wrong_form_is_corrupt(demands: Any) -> None:
    with pytest.raises(Corrupt, match="deployment document: demands: "):
        Demand.read({"demands": demands})


def test_what_a_graph_demands() -> None:
    accelerator = {"deviceType": "nvhost_gpu", "sharedResourcePolicy": {"policy": "allow_all"}}
    access = {"type": "hardware_access", "inferenceAccelerators": [accelerator]}
    package = {
        "nodePackage": {
            "assets": [{"name": "code", "implementations": [{"requirements": [access]}]}],
            "interfaces": [
                {
                    "name": "interface",
                    "category": "business_logic",
                    "asset": "code",
                    "network": {"inboundPorts": [{"port": 80}]},
                }
            ],
        }
    }
    rule = {"node": "web", "containerPort": 80, "hostPort": 8080}
    use = {"name": "123456789012::web", "version": "1.0"}
    manifest = {
        "nodeGraph": {
            "envelopeVersion": "2021-01-01",
            "packages": [use],
            "nodes": [{"name": "web", "interface": "123456789012::web.interface"}],
            "networkRoutingRules": [rule],
        }
    }
    opened = {"envelopeVersion": "2021-01-01", "networkRoutingRules": [rule]}
    parsed = parse(manifest, {"nodeGraphOverrides": opened})
    graph = resolve(parsed, {"123456789012::web": package})
    assert Demand.of(graph) == Demand(("web",), (), ("web",), (8080,))
