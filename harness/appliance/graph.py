"""Application graphs: manifest and override document in, a typed `Graph` or every problem out.

`parse` checks the structure of the documents (`graph_document`), `resolve` looks every node up
in the packages (package.json, `nodePackage`) and wires them: one code node, the cameras in place
of their placeholders, typed parameters, models, displays and inbound ports. All problems are
reported at once, each naming its node or edge. Rules: the vendor's developer guide, 2024 edition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.appliance.graph_document import (
    ZEROS,
    Edge,
    GraphInvalid,
    Manifest,
    Node,
    Override,
    Value,
    parse,
    typed_value,
)

__all__ = ["Graph", "GraphInvalid", "Manifest", "parse", "resolve"]

CAMERAS_MAX = 8  # camera streams per application (quota)
SYSTEM_ACCOUNT = "panorama"

# Packages that every appliance brings along; applications refer to them without registering.
SYSTEM_PACKAGES: Mapping[str, Mapping[str, Any]] = {
    f"{SYSTEM_ACCOUNT}::abstract_rtsp_media_source": {
        "nodePackage": {
            "interfaces": [
                {
                    "name": "rtsp_v1_interface",
                    "category": "media_source",
                    "outputs": [{"name": "video_out", "type": "media"}],
                }
            ]
        }
    },
    f"{SYSTEM_ACCOUNT}::hdmi_data_sink": {
        "nodePackage": {
            "interfaces": [
                {
                    "name": "hdmi0",
                    "category": "media_sink",
                    "inputs": [{"name": "video_in", "type": "media"}],
                }
            ]
        }
    },
}


@dataclass(frozen=True, slots=True)
class Port:
    """A port of an interface; `type` is `media` or a parameter type."""

    name: str
    type: str
    default: Any = None  # as written in package.json


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a package; `asset` names the package's asset that implements it."""

    name: str
    category: str  # business_logic | ml_model | media_source | media_sink | parameter
    asset: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    inbound_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Code:
    node: str
    package: str
    interface: Interface


@dataclass(frozen=True, slots=True)
class Model:
    node: str
    package: str
    interface: Interface


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera `node` feeding the code node's input `port`, in place of `placeholder`."""

    node: str
    placeholder: str
    port: str
    package: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """What the code node's input `port` reads; `node` is empty when the port's default holds."""

    node: str
    port: str
    type: str
    value: Value


@dataclass(frozen=True, slots=True)
class Sink:
    """A display `node` showing the code node's output `port`."""

    node: str
    port: str


@dataclass(frozen=True, slots=True)
class Route:
    """An open inbound port: appliance `host_port` to the code's `container_port`."""

    node: str
    container_port: int
    host_port: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that can run. `nodes` are the node instances, placeholders already replaced."""

    code: Code
    cameras: tuple[Camera, ...]
    parameters: tuple[Parameter, ...]
    models: tuple[Model, ...]
    sinks: tuple[Sink, ...]
    routes: tuple[Route, ...]
    nodes: tuple[Node, ...]


def resolve(manifest: Manifest, packages: Mapping[str, Mapping[str, Any]]) -> Graph:
    """Look everything up and wire it. `packages` maps `<account>::<package>` to package.json.

    The vendor's own packages (`SYSTEM_PACKAGES`) need not be given. Raises `GraphInvalid`.
    """
    resolver = _Resolver(manifest, {**SYSTEM_PACKAGES, **packages})
    graph = resolver.graph()
    if resolver.problems or graph is None:
        raise GraphInvalid(
            resolver.problems,
            hint="every node needs a registered interface, every edge an output and an input "
            "of one type, every mandatory override a replacement",
        )
    return graph


class _Resolver:
    def __init__(self, manifest: Manifest, packages: Mapping[str, Mapping[str, Any]]) -> None:
        self.manifest = manifest
        self.packages = packages
        self.problems: list[str] = []
        self.nodes = {n.name: n for n in (*manifest.nodes, *manifest.override_nodes)}
        found = {name: self.interface(node) for name, node in self.nodes.items()}
        self.interfaces = {name: item for name, item in found.items() if item is not None}
        self.replacements = self.replace()

    def graph(self) -> Graph | None:
        names = [node.name for node in self.manifest.nodes]
        live = [name for before in names for name in self.replacements.get(before, (before,))]
        ends = {
            end.partition(".")[0] for e in self.manifest.edges for end in (e.producer, e.consumer)
        }
        extra = {node.name for node in self.manifest.override_nodes} & ends
        live += sorted(extra - set(live))
        for edge in self.manifest.edges:
            self.check_edge(edge)
        code = self.code(live)
        if code is None:
            return None
        return Graph(
            code=code,
            cameras=self.cameras(code),
            parameters=self.parameters(code),
            models=tuple(
                Model(name, self.nodes[name].package, self.interfaces[name])
                for name in live
                if self.category(name) == "ml_model"
            ),
            sinks=self.sinks(code),
            routes=self.routes(code),
            nodes=tuple(self.nodes[name] for name in live),
        )

    def category(self, node: str) -> str:
        interface = self.interfaces.get(node)
        return interface.category if interface else ""

    def interface(self, node: Node) -> Interface | None:
        if not node.package:
            output = Port(node.name, node.interface)
            return Interface(node.interface, "parameter", "", (), (output,))
        where = f"node {node.name!r}: interface {node.interface!r}"
        version = self.manifest.version_of(node.package)
        if version is None:
            self.problems.append(f"{where}: package {node.package!r} is not among the packages")
            return None
        if node.package not in self.packages:
            self.problems.append(
                f"{where}: package {node.package!r} version {version} is not known"
            )
            return None
        package = self.packages[node.package].get("nodePackage")
        if not isinstance(package, Mapping):
            self.problems.append(f"{where}: package {node.package!r} has no nodePackage")
            return None
        name = node.interface.rpartition(".")[2]
        for item in _objects(package, "interfaces"):
            if item.get("name") == name:
                return self.with_asset(_interface(item), package, where)
        self.problems.append(f"{where}: package {node.package!r} has no interface {name!r}")
        return None

    def with_asset(self, found: Interface, package: Mapping[str, Any], where: str) -> Interface:
        assets = {asset.get("name") for asset in _objects(package, "assets")}
        if found.category in ("business_logic", "ml_model") and found.asset not in assets:
            self.problems.append(f"{where}: its package has no asset {found.asset!r}")
        return found

    def replace(self) -> dict[str, tuple[str, ...]]:
        original = {node.name: node for node in self.manifest.nodes}
        replaced = {}
        for entry in self.manifest.overrides:
            node = original.get(entry.replace)
            where = f"override of node {entry.replace!r}"
            if node is None:
                self.problems.append(f"{where}: the manifest has no such node")
            elif not node.overridable:
                self.problems.append(f"{where}: the node is not overridable")
            else:
                self.check_replacements(node, entry, where)
                known = tuple(name for name in entry.replacements if name in self.nodes)
                replaced[entry.replace] = known
        self.problems += [
            f"node {node.name!r}: overrideMandatory is set and no override replaces it"
            for node in self.manifest.nodes
            if node.override_mandatory and node.name not in replaced
        ]
        return replaced

    def check_replacements(self, node: Node, entry: Override, where: str) -> None:
        if not node.package and len(entry.replacements) > 1:
            self.problems.append(f"{where}: a parameter takes one replacement")
        for name in entry.replacements:
            if name not in self.nodes:
                self.problems.append(f"{where}: no node {name!r} in the override document")
            elif self.category(name) and self.kind(name) != self.kind(node.name):
                self.problems.append(
                    f"{where}: node {name!r} is a {self.kind(name)}, not a {self.kind(node.name)}"
                )

    def kind(self, node: str) -> str:
        """What a node may be replaced by: a parameter by its type, others by category."""
        if self.category(node) == "parameter":
            return self.nodes[node].interface
        return self.category(node)

    def code(self, live: Sequence[str]) -> Code | None:
        nodes = [name for name in live if self.category(name) == "business_logic"]
        if len(nodes) > 1:
            listed = ", ".join(repr(name) for name in nodes)
            self.problems.append(f"nodes {listed}: an application has exactly one code node")
        elif not nodes and not self.problems:
            self.problems.append("no node has a business_logic interface: nothing would run")
        if len(nodes) != 1:
            return None
        return Code(nodes[0], self.nodes[nodes[0]].package, self.interfaces[nodes[0]])

    def check_edge(self, edge: Edge) -> None:
        output = self.port(edge, edge.producer, "producer")
        target = self.port(edge, edge.consumer, "consumer")
        if output and target and output.type != target.type:
            self.problems.append(
                f"{edge}: producer is of type {output.type}, consumer of type {target.type}"
            )

    def port(self, edge: Edge, end: str, side: str) -> Port | None:
        """The port an end of an edge names; None, and a problem noted, when there is none."""
        node, _, port = end.partition(".")
        interface = self.interfaces.get(node)
        if node not in self.nodes:
            self.problems.append(f"{edge}: {side} node {node!r} does not exist")
        elif interface is not None:
            if side == "producer" and interface.category == "parameter" and not port:
                return interface.outputs[0]
            ports = interface.outputs if side == "producer" else interface.inputs
            found = next((known for known in ports if known.name == port), None)
            if found is None:
                direction = "output" if side == "producer" else "input"
                self.problems.append(f"{edge}: node {node!r} has no {direction} {port!r}")
            return found
        return None

    def feeding(self, code: Code, port: str) -> list[str]:
        """Nodes of the manifest whose output goes into the code node's input `port`."""
        ends = [e.producer for e in self.manifest.edges if e.consumer == f"{code.node}.{port}"]
        return list(dict.fromkeys(end.partition(".")[0] for end in ends))

    def cameras(self, code: Code) -> tuple[Camera, ...]:
        cameras = []
        for port in (port.name for port in code.interface.inputs if port.type == "media"):
            for source in self.feeding(code, port):
                for name in self.replacements.get(source, (source,)):
                    node = self.nodes.get(name)
                    # A placeholder that nobody replaced has no stream: the port stays without.
                    if node and not node.package.startswith(f"{SYSTEM_ACCOUNT}::"):
                        cameras.append(Camera(name, source, port, node.package))
        count = len({camera.node for camera in cameras})
        if count > CAMERAS_MAX:
            self.problems.append(
                f"node {code.node!r}: {count} cameras, an application takes {CAMERAS_MAX}"
            )
        return tuple(cameras)

    def parameters(self, code: Code) -> tuple[Parameter, ...]:
        found = []
        for port in (port for port in code.interface.inputs if port.type in ZEROS):
            sources = self.feeding(code, port.name)
            if len(sources) > 1:
                listed = ", ".join(repr(name) for name in sources)
                self.problems.append(f"input {code.node}.{port.name}: fed by nodes {listed}")
            default = self.default(code, port)
            node = self.source(sources[0]) if sources else None
            value = default if node is None or node.value is None else node.value
            found.append(Parameter(node.name if node else "", port.name, port.type, value))
        return tuple(found)

    def default(self, code: Code, port: Port) -> Value:
        if port.default is None:
            return ZEROS[port.type]
        typed = typed_value(port.default, port.type)
        if typed is None:
            where = f"input {code.node}.{port.name}"
            self.problems.append(f"{where}: default {port.default!r} is not a {port.type}")
            return ZEROS[port.type]
        return typed

    def source(self, name: str) -> Node | None:
        replaced = self.replacements.get(name, (name,))
        return self.nodes.get(replaced[0]) if replaced else None

    def sinks(self, code: Code) -> tuple[Sink, ...]:
        outgoing = [
            (edge.consumer.partition(".")[0], edge.producer.partition(".")[2])
            for edge in self.manifest.edges
            if edge.producer.partition(".")[0] == code.node
        ]
        return tuple(
            Sink(name, port)
            for target, port in outgoing
            for name in self.replacements.get(target, (target,))
            if self.category(name) == "media_sink"
        )

    def routes(self, code: Code) -> tuple[Route, ...]:
        """A port opens only when package, manifest and override document all name it."""
        for rule in (*self.manifest.rules, *self.manifest.override_rules):
            where = f"networkRoutingRules of node {rule.node!r}"
            if rule.node != code.node:
                self.problems.append(f"{where}: only the code node {code.node!r} has ports")
            elif rule.container_port not in code.interface.inbound_ports:
                self.problems.append(
                    f"{where}: {rule.container_port} is not an inboundPort of its interface"
                )
        declared = {rule.container_port: rule.host_port for rule in self.manifest.rules}
        return tuple(
            Route(rule.node, rule.container_port, host)
            for rule in self.manifest.override_rules
            if rule.container_port in declared
            for host in (rule.host_port or declared[rule.container_port] or rule.container_port,)
        )


def _interface(item: Mapping[str, Any]) -> Interface:
    network = item.get("network")
    inbound = _objects(network, "inboundPorts") if isinstance(network, Mapping) else []
    return Interface(
        name=str(item.get("name")),
        category=str(item.get("category")),
        asset=str(item.get("asset", "")),
        inputs=tuple(_port(port) for port in _objects(item, "inputs")),
        outputs=tuple(_port(port) for port in _objects(item, "outputs")),
        inbound_ports=tuple(entry["port"] for entry in inbound if type(entry.get("port")) is int),
    )


def _port(item: Mapping[str, Any]) -> Port:
    return Port(str(item.get("name")), str(item.get("type")), item.get("default"))


def _objects(body: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects of a list in package.json; what is none cannot be referred to."""
    items = body.get(key)
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
