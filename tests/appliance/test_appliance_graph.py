"""Graphs: a vendor-shaped application resolves; every kind of mistake is named, all at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from harness.appliance.graph import Graph, GraphInvalid, parse, resolve
from harness.errors import InputError

ACCOUNT = "123456789012"

CODE = {
    "nodePackage": {
        "envelopeVersion": "2021-01-01",
        "name": "COUNTER",
        "version": "1.0",
        "assets": [{"name": "code_asset", "implementations": []}],
        "interfaces": [
            {
                "name": "interface",
                "category": "business_logic",
                "asset": "code_asset",
                "inputs": [
                    {"name": "video_in", "type": "media"},
                    {"name": "threshold", "type": "float32"},
                    {"name": "retries", "type": "int32", "default": 3},
                    {"name": "verbose", "type": "boolean"},
                ],
                "outputs": [{"name": "video_out", "type": "media"}],
                "network": {"inboundPorts": [{"port": 8080}]},
            }
        ],
    }
}
MODEL = {
    "nodePackage": {
        "assets": [{"name": "model_asset"}],
        "interfaces": [{"name": "interface", "category": "ml_model", "asset": "model_asset"}],
    }
}
CAMERA = {
    "nodePackage": {
        "assets": [],
        "interfaces": [
            {
                "name": "door",
                "category": "media_source",
                "outputs": [{"name": "video_out", "type": "media"}],
            }
        ],
    }
}
PACKAGES: dict[str, dict[str, Any]] = {
    f"{ACCOUNT}::COUNTER": CODE,
    f"{ACCOUNT}::DETECTOR": MODEL,
    f"{ACCOUNT}::door": CAMERA,
}


def manifest() -> dict[str, Any]:
    return {
        "nodeGraph": {
            "envelopeVersion": "2021-01-01",
            "packages": [
                {"name": f"{ACCOUNT}::COUNTER", "version": "1.0"},
                {"name": f"{ACCOUNT}::DETECTOR", "version": "1.0"},
                {"name": "panorama::abstract_rtsp_media_source", "version": "1.0"},
                {"name": "panorama::hdmi_data_sink", "version": "1.0"},
            ],
            "nodes": [
                {"name": "code_node", "interface": f"{ACCOUNT}::COUNTER.interface"},
                {"name": "detector", "interface": f"{ACCOUNT}::DETECTOR.interface"},
                {
                    "name": "camera_node",
                    "interface": "panorama::abstract_rtsp_media_source.rtsp_v1_interface",
                    "overridable": True,
                    "overrideMandatory": True,
                    "decorator": {"title": "IP camera"},
                },
                {"name": "output_node", "interface": "panorama::hdmi_data_sink.hdmi0"},
                {"name": "limit", "interface": "float32", "value": 60, "overridable": True},
            ],
            "edges": [
                {"producer": "camera_node.video_out", "consumer": "code_node.video_in"},
                {"producer": "code_node.video_out", "consumer": "output_node.video_in"},
                {"producer": "limit", "consumer": "code_node.threshold"},
            ],
        }
    }


def overrides(cameras: int = 1) -> dict[str, Any]:
    names = [f"cam{index}" for index in range(cameras)]
    return {
        "nodeGraphOverrides": {
            "envelopeVersion": "2021-01-01",
            "packages": [{"name": f"{ACCOUNT}::door", "version": "1.0"}],
            "nodes": [{"name": name, "interface": f"{ACCOUNT}::door.door"} for name in names],
            "nodeOverrides": [
                {"replace": "camera_node", "with": [{"name": name} for name in names]}
            ],
        }
    }


def build(document: dict[str, Any], override: dict[str, Any] | None = None) -> Graph:
    return resolve(parse(document, override or overrides()), PACKAGES)


def problems(document: dict[str, Any], override: dict[str, Any] | None = None) -> str:
    with pytest.raises(GraphInvalid) as caught:
        build(document, override)
    assert isinstance(caught.value, InputError)
    assert caught.value.hint
    return str(caught.value)


def test_a_vendor_shaped_graph_resolves() -> None:
    graph = build(manifest(), overrides(2))
    assert graph.code.node == "code_node"
    assert graph.code.interface.asset == "code_asset"
    assert [(c.node, c.placeholder, c.port) for c in graph.cameras] == [
        ("cam0", "camera_node", "video_in"),
        ("cam1", "camera_node", "video_in"),
    ]
    assert [model.node for model in graph.models] == ["detector"]
    assert [(sink.node, sink.port) for sink in graph.sinks] == [("output_node", "video_out")]
    assert [n.name for n in graph.nodes] == [
        "code_node",
        "detector",
        "cam0",
        "cam1",
        "output_node",
        "limit",
    ]


def test_parameters_take_node_value_then_port_default_then_the_types_zero() -> None:
    values = {p.port: (p.node, p.value) for p in build(manifest()).parameters}
    assert values == {"threshold": ("limit", 60.0), "retries": ("", 3), "verbose": ("", False)}
    assert isinstance(values["threshold"][1], float)


def test_a_parameter_is_overridden() -> None:
    override = overrides()
    body = override["nodeGraphOverrides"]
    body["nodes"].append({"name": "my_limit", "interface": "float32", "value": 0.25})
    body["nodeOverrides"].append({"replace": "limit", "with": [{"name": "my_limit"}]})
    graph = build(manifest(), override)
    assert ("my_limit", 0.25) in [(p.node, p.value) for p in graph.parameters]


def test_an_optional_placeholder_may_stay_without_a_camera() -> None:
    document = manifest()
    del document["nodeGraph"]["nodes"][2]["overrideMandatory"]
    assert resolve(parse(document), PACKAGES).cameras == ()


def test_a_port_opens_only_when_package_manifest_and_override_name_it() -> None:
    document, override = manifest(), overrides()
    rule = {"node": "code_node", "containerPort": 8080, "hostPort": 8001}
    document["nodeGraph"]["networkRoutingRules"] = [rule]
    assert build(document).routes == ()
    override["nodeGraphOverrides"]["networkRoutingRules"] = [rule | {"hostPort": 8002}]
    (route,) = build(document, override).routes
    assert (route.node, route.container_port, route.host_port) == ("code_node", 8080, 8002)


def test_an_override_document_may_bring_edges() -> None:
    document, override = manifest(), overrides()
    document["nodeGraph"]["nodes"] = document["nodeGraph"]["nodes"][:2]
    document["nodeGraph"]["edges"] = []
    body = override["nodeGraphOverrides"]
    del body["nodeOverrides"]
    body["edges"] = [{"producer": "cam0.video_out", "consumer": "code_node.video_in"}]
    graph = build(document, override)
    assert [camera.node for camera in graph.cameras] == ["cam0"]
    assert "cam0" in [node.name for node in graph.nodes]


def edited(**changes: Any) -> dict[str, Any]:
    """The manifest with lists of nodeGraph extended (`nodes=`, `edges=`, `packages=`)."""
    document = manifest()
    for key, items in changes.items():
        document["nodeGraph"].setdefault(key, []).extend(items)
    return document


WRONG_GRAPHS = [
    (
        edited(edges=[{"producer": "ghost.video_out", "consumer": "code_node.video_in"}]),
        "edge ghost.video_out -> code_node.video_in: producer node 'ghost' does not exist",
    ),
    (
        edited(edges=[{"producer": "code_node.video_out", "consumer": "nowhere.video_in"}]),
        "consumer node 'nowhere' does not exist",
    ),
    (
        edited(edges=[{"producer": "camera_node.video_out", "consumer": "code_node.audio_in"}]),
        "node 'code_node' has no input 'audio_in'",
    ),
    (
        edited(edges=[{"producer": "code_node.alarm", "consumer": "output_node.video_in"}]),
        "node 'code_node' has no output 'alarm'",
    ),
    (
        edited(edges=[{"producer": "limit", "consumer": "code_node.retries"}]),
        "producer is of type float32, consumer of type int32",
    ),
    (
        edited(
            nodes=[{"name": "second", "interface": "float32", "value": 1.0}],
            edges=[{"producer": "second", "consumer": "code_node.threshold"}],
        ),
        "input code_node.threshold: fed by nodes 'limit', 'second'",
    ),
    (
        edited(nodes=[{"name": "other", "interface": f"{ACCOUNT}::OTHER.interface"}]),
        f"node 'other': interface '{ACCOUNT}::OTHER.interface': package '{ACCOUNT}::OTHER' "
        "is not among the packages",
    ),
    (
        edited(
            packages=[{"name": f"{ACCOUNT}::OTHER", "version": "2.0"}],
            nodes=[{"name": "other", "interface": f"{ACCOUNT}::OTHER.interface"}],
        ),
        f"package '{ACCOUNT}::OTHER' version 2.0 is not known",
    ),
    (
        edited(nodes=[{"name": "other", "interface": f"{ACCOUNT}::COUNTER.wrong"}]),
        f"package '{ACCOUNT}::COUNTER' has no interface 'wrong'",
    ),
    (
        edited(nodes=[{"name": "code_two", "interface": f"{ACCOUNT}::COUNTER.interface"}]),
        "nodes 'code_node', 'code_two': an application has exactly one code node",
    ),
    (
        edited(networkRoutingRules=[{"node": "code_node", "containerPort": 22}]),
        "22 is not an inboundPort",
    ),
    (
        edited(networkRoutingRules=[{"node": "detector", "containerPort": 8080}]),
        "only the code node 'code_node' has ports",
    ),
]


@pytest.mark.parametrize(
    ("document", "message"), WRONG_GRAPHS, ids=[w[1][:50] for w in WRONG_GRAPHS]
)
def test_what_is_wrong_with_the_graph_is_named(document: dict[str, Any], message: str) -> None:
    assert message in problems(document)


WRONG_STRUCTURE: list[tuple[dict[str, Any], str]] = [
    ({}, "document has no object 'nodeGraph'"),
    ({"nodeGraph": {"envelopeVersion": "2020-01-01"}}, "envelopeVersion is '2020-01-01'"),
    (edited(nodes=["text"]), "nodes[5] is not an object"),
    (edited(nodes=[{"name": "a b", "interface": "string"}]), "name is 'a b'"),
    (edited(nodes=[{"name": "n", "interface": "int64"}]), "node 'n': interface is 'int64'"),
    (edited(nodes=[{"name": "n", "interface": "int32", "value": True}]), "True is not a int32"),
    (edited(nodes=[{"name": "n", "interface": "int32", "value": 2**31}]), "is not a int32"),
    (edited(nodes=[{"name": "n", "interface": "boolean", "value": "yes"}]), "is not a boolean"),
    (edited(nodes=[{"name": "limit", "interface": "string"}]), "node 'limit' appears more than"),
    (edited(nodes=[{"name": "n", "interface": "string", "launch": "now"}]), "launch is 'now'"),
    (edited(nodes=[{"name": "n", "interface": "string", "overridable": 1}]), "overridable is 1"),
    (edited(edges=[{"producer": "limit"}]), "edge 'limit' -> None: both must be strings"),
    (edited(packages=[{"name": "COUNTER", "version": "1.0"}]), "package: name is 'COUNTER'"),
    (edited(packages=[{"name": "a::b", "version": "1"}]), "package 'a::b': version is '1'"),
    (
        edited(networkRoutingRules=[{"node": "n", "containerPort": 80, "hostPort": 80}]),
        "hostPort is 80, not 8000..9000",
    ),
    (
        edited(networkRoutingRules=[{"node": "n", "containerPort": 0}]),
        "containerPort is 0, not 1..65535",
    ),
]


@pytest.mark.parametrize(
    ("document", "message"), WRONG_STRUCTURE, ids=[w[1] for w in WRONG_STRUCTURE]
)
def test_what_is_wrong_with_the_document_is_named(document: dict[str, Any], message: str) -> None:
    assert message in problems(document)


def override_with(change: dict[str, Any], extra_nodes: tuple[Any, ...] = ()) -> dict[str, Any]:
    override = overrides()
    override["nodeGraphOverrides"]["nodes"].extend(extra_nodes)
    override["nodeGraphOverrides"]["nodeOverrides"].append(change)
    return override


LIMITS = (
    {"name": "l1", "interface": "float32"},
    {"name": "l2", "interface": "float32"},
    {"name": "l3", "interface": "int32"},
)
WRONG_OVERRIDES = [
    (override_with({"replace": "ghost", "with": [{"name": "cam0"}]}), "manifest has no such node"),
    (override_with({"replace": "detector", "with": [{"name": "cam0"}]}), "is not overridable"),
    (override_with({"replace": "limit", "with": [{"name": "l9"}]}), "no node 'l9' in the override"),
    (
        override_with({"replace": "limit", "with": [{"name": "cam0"}]}),
        "override of node 'limit': node 'cam0' is a media_source, not a float32",
    ),
    (
        override_with({"replace": "limit", "with": [{"name": "l3"}]}, LIMITS),
        "node 'l3' is a int32, not a float32",
    ),
    (
        override_with({"replace": "limit", "with": [{"name": "l1"}, {"name": "l2"}]}, LIMITS),
        "a parameter takes one replacement",
    ),
    (override_with({"replace": "limit", "with": []}), "`with` names no node"),
    (
        override_with({"replace": "camera_node", "with": [{"name": "cam0"}]}),
        "override of node 'camera_node' appears more than once",
    ),
    (overrides(9), "node 'code_node': 9 cameras, an application takes 8"),
]


@pytest.mark.parametrize(
    ("override", "message"), WRONG_OVERRIDES, ids=[w[1] for w in WRONG_OVERRIDES]
)
def test_what_is_wrong_with_the_overrides_is_named(override: dict[str, Any], message: str) -> None:
    assert message in problems(manifest(), override)


def test_eight_cameras_are_allowed() -> None:
    assert len(build(manifest(), overrides(8)).cameras) == 8


def test_a_missing_mandatory_override_names_the_node() -> None:
    with pytest.raises(GraphInvalid, match="node 'camera_node': overrideMandatory is set"):
        resolve(parse(manifest()), PACKAGES)


def test_a_graph_without_code_is_refused() -> None:
    document = manifest()
    document["nodeGraph"]["nodes"] = [{"name": "limit", "interface": "string"}]
    document["nodeGraph"]["edges"] = []
    with pytest.raises(GraphInvalid, match="nothing would run"):
        resolve(parse(document), PACKAGES)


def test_a_code_package_must_bring_its_asset() -> None:
    packages = copy.deepcopy(PACKAGES)
    packages[f"{ACCOUNT}::COUNTER"]["nodePackage"]["assets"] = []
    with pytest.raises(GraphInvalid, match="its package has no asset 'code_asset'"):
        resolve(parse(manifest(), overrides()), packages)


def test_all_problems_are_listed_at_once() -> None:
    document = edited(
        edges=[
            {"producer": "a.b", "consumer": "code_node.video_in"},
            {"producer": "limit", "consumer": "code_node.retries"},
        ]
    )
    with pytest.raises(GraphInvalid) as caught:
        build(document, overrides(9))
    assert len(caught.value.problems) == 3  # two edges and nine cameras


@pytest.mark.parametrize(
    "package",
    [
        {},
        {"nodePackage": []},
        {"nodePackage": {"interfaces": "text"}},
        {"nodePackage": {"interfaces": [1]}},
    ],
    ids=["empty", "list", "text", "number"],
)
def test_a_broken_package_is_a_problem_not_a_crash(package: dict[str, Any]) -> None:
    with pytest.raises(GraphInvalid, match=f"package '{ACCOUNT}::COUNTER' has no"):
        resolve(parse(manifest(), overrides()), {**PACKAGES, f"{ACCOUNT}::COUNTER": package})


def test_default_of_a_port_must_fit_its_type() -> None:
    packages = copy.deepcopy(PACKAGES)
    port = packages[f"{ACCOUNT}::COUNTER"]["nodePackage"]["interfaces"][0]["inputs"][2]
    port["default"] = "three"
    with pytest.raises(
        GraphInvalid, match=r"input code_node\.retries: default 'three' is not a int32"
    ):
        resolve(parse(manifest(), overrides()), packages)
