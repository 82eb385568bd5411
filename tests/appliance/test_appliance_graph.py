"""Graphs: a vendor-shaped application resolves; every kind of mistake is named, all at once.

The tables hold one bad manifest or override document a row, with the exact words of the refusal.
"""

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
        "interfaces": [
            {
                "name": "interface",
                "category": "ml_model",
                "asset": "model_asset",
                "inputs": [{"name": "video_in", "type": "media"}],
                "outputs": [{"name": "video_out", "type": "media"}],
            }
        ],
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
                {
                    "name": "output_node",
                    "interface": "panorama::hdmi_data_sink.hdmi0",
                    "overridable": True,
                },
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


def gpu_packages() -> dict[str, dict[str, Any]]:
    """The packages, with the code's container asking for the GPU."""
    packages = copy.deepcopy(PACKAGES)
    accelerator = {"deviceType": "nvhost_gpu", "sharedResourcePolicy": {"policy": "allow_all"}}
    requirement = {"type": "hardware_access", "inferenceAccelerators": [accelerator]}
    (asset,) = packages[f"{ACCOUNT}::COUNTER"]["nodePackage"]["assets"]
    asset["implementations"] = [{"type": "container", "requirements": [requirement]}]
    return packages


def build(document: dict[str, Any], override: dict[str, Any] | None = None) -> Graph:
    return resolve(parse(document, override or overrides()), PACKAGES)


def problems(
    document: dict[str, Any],
    override: dict[str, Any] | None = None,
    packages: dict[str, dict[str, Any]] = PACKAGES,
) -> list[tuple[str, str]]:
    """What is wrong: in which document, and in which words."""
    with pytest.raises(GraphInvalid) as caught:
        resolve(parse(document, override or overrides()), packages)
    assert isinstance(caught.value, InputError)
    assert caught.value.hint
    return [(problem.document, problem.text) for problem in caught.value.problems]


def test_a_vendor_shaped_graph_resolves() -> None:
    graph = build(manifest(), overrides(2))
    (code,) = graph.codes
    assert (code.node, code.interface.asset, code.interface.gpu) == (
        "code_node", "code_asset", False,
    )  # fmt: skip
    assert [(c.node, c.placeholder, c.code, c.port) for c in graph.cameras] == [
        ("cam0", "camera_node", "code_node", "video_in"),
        ("cam1", "camera_node", "code_node", "video_in"),
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
    """Package and manifest alone leave it closed, as the guide says; that is no mistake."""
    document, override = manifest(), overrides()
    rule = {"node": "code_node", "containerPort": 8080, "hostPort": 8001}
    document["nodeGraph"]["networkRoutingRules"] = [rule]
    assert build(document).routes == ()
    override["nodeGraphOverrides"]["networkRoutingRules"] = [rule | {"hostPort": 8002}]
    (route,) = build(document, override).routes
    assert (route.node, route.container_port, route.host_port) == ("code_node", 8080, 8002)
    del override["nodeGraphOverrides"]["networkRoutingRules"][0]["hostPort"]
    (route,) = build(document, override).routes
    assert route.host_port == 8001


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


def test_two_code_nodes_are_the_firmwares_to_refuse() -> None:
    """Before 5.0.7 they ran: each code node has its cameras and parameters."""
    document = edited(
        nodes=[{"name": "code_two", "interface": f"{ACCOUNT}::COUNTER.interface"}],
        edges=[{"producer": "camera_node.video_out", "consumer": "code_two.video_in"}],
    )
    graph = build(document, overrides(2))
    assert [code.node for code in graph.codes] == ["code_node", "code_two"]
    assert [(camera.node, camera.code) for camera in graph.cameras] == [
        ("cam0", "code_node"),
        ("cam1", "code_node"),
        ("cam0", "code_two"),
        ("cam1", "code_two"),
    ]
    limits = {p.code: (p.node, p.value) for p in graph.parameters if p.port == "threshold"}
    assert limits == {"code_node": ("limit", 60.0), "code_two": ("", 0.0)}


def test_a_code_node_that_is_replaced_keeps_its_edges() -> None:
    document, override = manifest(), overrides()
    document["nodeGraph"]["nodes"][0]["overridable"] = True
    body = override["nodeGraphOverrides"]
    body["nodes"].append({"name": "newer", "interface": f"{ACCOUNT}::COUNTER.interface"})
    body["nodeOverrides"].append({"replace": "code_node", "with": [{"name": "newer"}]})
    graph = build(document, override)
    assert [code.node for code in graph.codes] == ["newer"]
    assert [(camera.node, camera.code) for camera in graph.cameras] == [("cam0", "newer")]
    assert [sink.code for sink in graph.sinks] == ["newer"]


def test_gpu_access_is_known_and_needs_no_model_beside_it() -> None:
    document = manifest()
    del document["nodeGraph"]["nodes"][1]
    (code,) = resolve(parse(document, overrides()), gpu_packages()).codes
    assert code.interface.gpu


# --- what is refused, and in which words ------------------------------------------------------


def edited(**changes: Any) -> dict[str, Any]:
    """The manifest with lists of nodeGraph extended (`nodes=`, `edges=`, `packages=`)."""
    document = manifest()
    for key, items in changes.items():
        document["nodeGraph"].setdefault(key, []).extend(items)
    return document


def edge(producer: str, consumer: str) -> dict[str, Any]:
    return edited(edges=[{"producer": producer, "consumer": consumer}])


def rule(port: int, host: int | None = None, node: str = "code_node") -> dict[str, Any]:
    return {"node": node, "containerPort": port} | ({"hostPort": host} if host else {})


WRONG_GRAPHS: list[tuple[dict[str, Any], str]] = [
    # dangling edges
    (
        edge("ghost.video_out", "code_node.video_in"),
        "edge ghost.video_out -> code_node.video_in: producer node 'ghost' does not exist",
    ),
    (
        edge("code_node.video_out", "nowhere.video_in"),
        "edge code_node.video_out -> nowhere.video_in: consumer node 'nowhere' does not exist",
    ),
    (
        edge("camera_node.video_out", "code_node.audio_in"),
        "edge camera_node.video_out -> code_node.audio_in: "
        "node 'code_node' has no input 'audio_in'",
    ),
    (
        edge("code_node.alarm", "output_node.video_in"),
        "edge code_node.alarm -> output_node.video_in: node 'code_node' has no output 'alarm'",
    ),
    (
        edge("code_node", "output_node.video_in"),
        "edge code_node -> output_node.video_in: node 'code_node' has no output ''",
    ),
    # ports of two types
    (
        edge("limit", "code_node.retries"),
        "edge limit -> code_node.retries: producer is of type float32, consumer of type int32",
    ),
    (
        edge("camera_node.video_out", "code_node.verbose"),
        "edge camera_node.video_out -> code_node.verbose: "
        "producer is of type media, consumer of type boolean",
    ),
    (
        edited(
            nodes=[{"name": "second", "interface": "float32", "value": 1.0}],
            edges=[{"producer": "second", "consumer": "code_node.threshold"}],
        ),
        "input code_node.threshold: fed by nodes 'limit', 'second'",
    ),
    # cycles
    (
        edge("detector.video_out", "detector.video_in"),
        "nodes 'detector' -> 'detector' form a cycle: edge detector.video_out -> detector.video_in",
    ),
    (
        edited(
            edges=[
                {"producer": "detector.video_out", "consumer": "code_node.video_in"},
                {"producer": "code_node.video_out", "consumer": "detector.video_in"},
            ]
        ),
        "nodes 'code_node' -> 'detector' -> 'code_node' form a cycle: "
        "edge detector.video_out -> code_node.video_in, "
        "edge code_node.video_out -> detector.video_in",
    ),
    # packages and interfaces
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
        f"node 'other': package '{ACCOUNT}::OTHER' version 2.0 is not known",
    ),
    (
        edited(packages=[{"name": "panorama::sound_sink", "version": "1.0"}]),
        "package 'panorama::sound_sink' version 1.0 is not known",
    ),
    (
        edited(nodes=[{"name": "other", "interface": f"{ACCOUNT}::COUNTER.wrong"}]),
        f"node 'other': interface '{ACCOUNT}::COUNTER.wrong': "
        f"package '{ACCOUNT}::COUNTER' has no interface 'wrong'",
    ),
    # inbound ports
    (
        edited(networkRoutingRules=[rule(22, 8022)]),
        "networkRoutingRules of node 'code_node': 22 is not an inboundPort of its interface",
    ),
    (
        edited(networkRoutingRules=[rule(8080, node="detector")]),
        "networkRoutingRules of node 'detector': only the code node 'code_node' has ports",
    ),
]


@pytest.mark.parametrize(("document", "message"), WRONG_GRAPHS, ids=[w[1] for w in WRONG_GRAPHS])
def test_what_is_wrong_with_the_graph_is_named(document: dict[str, Any], message: str) -> None:
    assert problems(document) == [("manifest", message)]


def test_a_system_package_has_one_version() -> None:
    document = manifest()
    document["nodeGraph"]["packages"][3]["version"] = "2.0"
    assert problems(document) == [
        (
            "manifest",
            "node 'output_node': package 'panorama::hdmi_data_sink' has no version '2.0'; "
            "it has 1.0",
        )
    ]


def test_a_missing_package_is_told_in_the_words_of_who_looked() -> None:
    document = manifest()
    known = {name: body for name, body in PACKAGES.items() if not name.endswith("DETECTOR")}
    why = f"package '{ACCOUNT}::DETECTOR' has no version '1.0'; registered: 2.0"
    with pytest.raises(GraphInvalid) as caught:
        resolve(parse(document, overrides()), known, {f"{ACCOUNT}::DETECTOR": why})
    assert [problem.text for problem in caught.value.problems] == [f"node 'detector': {why}"]


def test_gpu_access_beside_a_model_node_is_refused() -> None:
    assert problems(manifest(), packages=gpu_packages()) == [
        ("manifest", "node 'code_node' has GPU access: model node 'detector' cannot run")
    ]


NODE = "manifest: node 'n'"
WRONG_STRUCTURE: list[tuple[dict[str, Any], str]] = [
    ({}, "document has no object 'nodeGraph'"),
    (
        {
            "nodeGraph": {
                "envelopeVersion": "2020-01-01",
                "nodes": [{"name": "n", "interface": "string"}],
            }
        },
        "nodeGraph: envelopeVersion is '2020-01-01', not '2021-01-01'",
    ),
    ({"nodeGraph": {"envelopeVersion": "2021-01-01"}}, "manifest: nodes is empty"),
    (edited(nodes=["text"]), "manifest: nodes[5] is not an object"),
    (
        edited(nodes=[{"name": "a b", "interface": "string"}]),
        "manifest: node: name is 'a b', expected like [$A-Za-z0-9_-]{1,128}",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "int64"}]),
        f"{NODE}: interface is 'int64', expected like "
        r"([$A-Za-z0-9_-]+::[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "int32", "value": True}]),
        f"{NODE}: value True is not a int32",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "int32", "value": 2**31}]),
        f"{NODE}: value 2147483648 is not a int32",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "int32", "value": 1.5}]),
        f"{NODE}: value 1.5 is not a int32",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "float32", "value": "1"}]),
        f"{NODE}: value '1' is not a float32",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "float32", "value": 1e39}]),
        f"{NODE}: value 1e+39 is not a float32",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "float32", "value": float("nan")}]),
        f"{NODE}: value nan is not a float32",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "boolean", "value": "yes"}]),
        f"{NODE}: value 'yes' is not a boolean",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "string", "value": 5}]),
        f"{NODE}: value 5 is not a string",
    ),
    (
        edited(nodes=[{"name": "limit", "interface": "string"}]),
        "node 'limit' appears more than once",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "string", "launch": "now"}]),
        f"{NODE}: launch is 'now', expected one of ('onAppStart', 'onSignal', 'onDemand')",
    ),
    (
        edited(nodes=[{"name": "n", "interface": "string", "overridable": 1}]),
        f"{NODE}: overridable is 1, expected true or false",
    ),
    (edited(edges=[{"producer": "limit"}]), "manifest: edge 'limit' -> None: both must be strings"),
    (
        edited(packages=[{"name": "COUNTER", "version": "1.0"}]),
        "manifest: package: name is 'COUNTER', expected like ([$A-Za-z0-9_-]+)::([A-Za-z0-9_-]+)",
    ),
    (
        edited(packages=[{"name": "a::b", "version": "1"}]),
        r"manifest: package 'a::b': version is '1', expected like [0-9]+\.[0-9]+",
    ),
    (
        edited(packages=[{"name": f"{ACCOUNT}::COUNTER", "version": "2.0"}]),
        f"package '{ACCOUNT}::COUNTER' appears more than once",
    ),
    (
        edited(networkRoutingRules=[rule(80, 7999)]),
        "manifest: networkRoutingRules of node 'code_node': hostPort is 7999, not 8000..9000",
    ),
    (
        edited(networkRoutingRules=[rule(80, 9001)]),
        "manifest: networkRoutingRules of node 'code_node': hostPort is 9001, not 8000..9000",
    ),
    (
        edited(networkRoutingRules=[rule(80)]),
        "manifest: networkRoutingRules of node 'code_node': hostPort is 80, not 8000..9000",
    ),
    (
        edited(networkRoutingRules=[rule(0)]),
        "manifest: networkRoutingRules of node 'code_node': containerPort is 0, not 1..65535",
    ),
    (
        edited(networkRoutingRules=[rule(8080), rule(8080, 8001)]),
        "networkRoutingRules of 'code_node:8080' appears more than once",
    ),
]


@pytest.mark.parametrize(
    ("document", "message"), WRONG_STRUCTURE, ids=[w[1] for w in WRONG_STRUCTURE]
)
def test_what_is_wrong_with_the_document_is_named(document: dict[str, Any], message: str) -> None:
    assert problems(document) == [("manifest", message)]


def override_with(change: dict[str, Any], extra_nodes: tuple[Any, ...] = ()) -> dict[str, Any]:
    override = overrides()
    override["nodeGraphOverrides"]["nodes"].extend(extra_nodes)
    override["nodeGraphOverrides"]["nodeOverrides"].append(change)
    return override


def override_of(**changes: Any) -> dict[str, Any]:
    override = overrides()
    for key, items in changes.items():
        override["nodeGraphOverrides"].setdefault(key, []).extend(items)
    return override


LIMITS = (
    {"name": "l1", "interface": "float32"},
    {"name": "l2", "interface": "float32"},
    {"name": "l3", "interface": "int32"},
)
SINKS = tuple({"name": n, "interface": "panorama::hdmi_data_sink.hdmi0"} for n in ("s1", "s2"))
OF_LIMIT = "override of node 'limit'"
WRONG_OVERRIDES: list[tuple[dict[str, Any], str]] = [
    (
        override_with({"replace": "ghost", "with": [{"name": "cam0"}]}),
        "override of node 'ghost': the manifest has no such node",
    ),
    (
        override_with({"replace": "detector", "with": [{"name": "cam0"}]}),
        "override of node 'detector': the node is not overridable",
    ),
    (
        override_with({"replace": "limit", "with": [{"name": "l9"}]}),
        f"{OF_LIMIT}: no node 'l9' in the override document",
    ),
    (
        override_with({"replace": "limit", "with": [{"name": "code_node"}]}),
        f"{OF_LIMIT}: no node 'code_node' in the override document",
    ),
    (
        override_with({"replace": "limit", "with": [{"name": "cam0"}]}),
        f"{OF_LIMIT}: node 'cam0' is a media_source, not a float32",
    ),
    (
        override_with({"replace": "limit", "with": [{"name": "l3"}]}, LIMITS),
        f"{OF_LIMIT}: node 'l3' is a int32, not a float32",
    ),
    (
        override_with({"replace": "limit", "with": [{"name": "l1"}, {"name": "l2"}]}, LIMITS),
        f"{OF_LIMIT}: a parameter takes one replacement, not 2",
    ),
    (
        override_with({"replace": "output_node", "with": [{"name": "s1"}, {"name": "s2"}]}, SINKS),
        "override of node 'output_node': a media_sink takes one replacement, not 2",
    ),
    (
        override_with({"replace": "limit", "with": []}),
        f"{OF_LIMIT}: `with` names no node",
    ),
    (
        override_with({"replace": "limit", "with": [{"name": "l1"}, {"name": "l1"}]}, LIMITS),
        f"{OF_LIMIT}: replacement 'l1' appears more than once",
    ),
    (
        override_with({"replace": "camera_node", "with": [{"name": "cam0"}]}),
        "override of node 'camera_node' appears more than once",
    ),
    (
        override_of(nodes=[{"name": "limit", "interface": "float32"}]),
        "node 'limit' of the overrides has the name of a manifest node",
    ),
    (
        override_of(nodes=[{"name": "cam0", "interface": "string"}]),
        "node 'cam0' appears more than once",
    ),
    (
        override_of(nodes=[{"name": "n", "interface": "int32", "value": "x"}]),
        "overrides: node 'n': value 'x' is not a int32",
    ),
    (
        override_of(packages=[{"name": f"{ACCOUNT}::COUNTER", "version": "2.0"}]),
        f"package '{ACCOUNT}::COUNTER': overrides ask for version '2.0', the manifest for '1.0'",
    ),
    (
        override_of(packages=[{"name": f"{ACCOUNT}::OTHER", "version": "1.0"}]),
        f"package '{ACCOUNT}::OTHER' version 1.0 is not known",
    ),
    (
        override_of(edges=[{"producer": "cam9.video_out", "consumer": "code_node.video_in"}]),
        "edge cam9.video_out -> code_node.video_in: producer node 'cam9' does not exist",
    ),
    (
        override_of(edges=[{"producer": "detector.video_out", "consumer": "detector.video_in"}]),
        "nodes 'detector' -> 'detector' form a cycle: edge detector.video_out -> detector.video_in",
    ),
    (
        override_of(networkRoutingRules=[rule(8080, 8001)]),
        "networkRoutingRules of node 'code_node': the manifest has no rule for containerPort 8080",
    ),
    (
        override_of(networkRoutingRules=[rule(8080, 9001)]),
        "overrides: networkRoutingRules of node 'code_node': hostPort is 9001, not 8000..9000",
    ),
]


@pytest.mark.parametrize(
    ("override", "message"), WRONG_OVERRIDES, ids=[w[1] for w in WRONG_OVERRIDES]
)
def test_what_is_wrong_with_the_overrides_is_named(override: dict[str, Any], message: str) -> None:
    assert problems(manifest(), override) == [("overrides", message)]


def test_a_replacement_must_have_the_ports_of_the_edges() -> None:
    packages = copy.deepcopy(PACKAGES)
    (camera,) = packages[f"{ACCOUNT}::door"]["nodePackage"]["interfaces"]
    camera["outputs"] = [{"name": "picture", "type": "media"}]
    assert problems(manifest(), packages=packages) == [
        (
            "manifest",
            "edge camera_node.video_out -> code_node.video_in: "
            "node 'cam0' has no output 'video_out'",
        )
    ]


def test_two_rules_do_not_share_a_port_of_the_appliance() -> None:
    packages = copy.deepcopy(PACKAGES)
    (code,) = packages[f"{ACCOUNT}::COUNTER"]["nodePackage"]["interfaces"]
    code["network"]["inboundPorts"].append({"port": 8081})
    document = edited(networkRoutingRules=[rule(8080, 8001), rule(8081, 8001)])
    assert problems(document, packages=packages) == [
        (
            "manifest",
            "networkRoutingRules of node 'code_node': hostPort 8001 of containerPort 8081 "
            "is taken by containerPort 8080 of node 'code_node'",
        )
    ]


def test_several_cameras_may_replace_one() -> None:
    assert len(build(manifest(), overrides(9)).cameras) == 9


def test_a_missing_mandatory_override_names_the_node() -> None:
    with pytest.raises(GraphInvalid) as caught:
        resolve(parse(manifest()), PACKAGES)
    assert [(p.document, p.text) for p in caught.value.problems] == [
        ("overrides", "node 'camera_node': overrideMandatory is set and no override replaces it")
    ]


def test_a_graph_without_code_is_refused() -> None:
    document = manifest()
    document["nodeGraph"]["nodes"] = [{"name": "limit", "interface": "string"}]
    document["nodeGraph"]["edges"] = []
    with pytest.raises(GraphInvalid, match="nothing would run"):
        resolve(parse(document), PACKAGES)


def test_a_code_package_must_bring_its_asset() -> None:
    packages = copy.deepcopy(PACKAGES)
    packages[f"{ACCOUNT}::COUNTER"]["nodePackage"]["assets"] = []
    assert problems(manifest(), packages=packages)[0] == (
        "manifest",
        f"node 'code_node': interface '{ACCOUNT}::COUNTER.interface': "
        "its package has no asset 'code_asset'",
    )


def test_all_problems_are_listed_at_once() -> None:
    document = edited(
        edges=[
            {"producer": "a.b", "consumer": "code_node.video_in"},
            {"producer": "limit", "consumer": "code_node.retries"},
        ]
    )
    found = problems(document, override_with({"replace": "ghost", "with": [{"name": "cam0"}]}))
    assert [document for document, _ in found] == ["overrides", "manifest", "manifest"]


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
    assert problems(manifest(), packages=packages) == [
        ("manifest", "input code_node.retries: default 'three' is not a int32")
    ]
