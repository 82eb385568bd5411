"""Application graphs: manifest and override document in, a typed `Graph` or every problem out.

`parse` checks the structure of the documents (`graph_document`), `resolve` looks every node up
in the packages (package.json, `nodePackage`) and wires them: code nodes, the cameras in place
of their placeholders, typed parameters, models, displays and inbound ports. All problems are
reported at once, each naming its node or edge. Rules: the vendor's developer guide, 2024 edition.

What depends on where a graph runs is not judged here: how many cameras an account may use, how
many code nodes and which models a firmware runs (`demand`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.appliance import graph_rule
from harness.appliance.graph_document import (
    MANIFEST,
    OVERRIDES,
    ZEROS,
    Edge,
    GraphInvalid,
    Manifest,
    Node,
    Override,
    Problem,
    Value,
    parse,
    typed_value,
)
from harness.appliance.graph_interface import (
    CAMERA,
    CODE,
    DISPLAY,
    MODEL,
    PARAMETER,
    SYSTEM_ACCOUNT,
    SYSTEM_PACKAGES,
    SYSTEM_VERSION,
    Interface,
    Port,
    find,
    parameter,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["SYSTEM_PACKAGES", "Graph", "GraphInvalid", "Manifest", "parse", "resolve"]


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
    """A camera `node` feeding input `port` of `code`, in place of `placeholder`."""

    node: str
    placeholder: str
    code: str
    port: str
    package: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """What input `port` of `code` reads; `node` is empty when the port's default holds."""

    node: str
    code: str
    port: str
    type: str
    value: Value


@dataclass(frozen=True, slots=True)
class Sink:
    """A display `node` showing output `port` of `code`."""

    node: str
    code: str
    port: str


@dataclass(frozen=True, slots=True)
class Route:
    """An open inbound port: appliance `host_port` to `container_port` of the code `node`."""

    node: str
    container_port: int
    host_port: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph that can run. `nodes` are the node instances, placeholders already replaced.

    `codes` are one or more; from firmware 5.0.7 on an appliance runs one an application.
    """

    codes: tuple[Code, ...]
    cameras: tuple[Camera, ...]
    parameters: tuple[Parameter, ...]
    models: tuple[Model, ...]
    sinks: tuple[Sink, ...]
    routes: tuple[Route, ...]
    nodes: tuple[Node, ...]


def resolve(
    manifest: Manifest,
    packages: Mapping[str, Mapping[str, Any]],
    missing: Mapping[str, str] | None = None,
) -> Graph:
    """Look everything up and wire it. `packages` maps `<account>::<package>` to package.json.

    The vendor's own packages (`SYSTEM_PACKAGES`) need not be given; `missing` says why a package
    is not among `packages`. Raises `GraphInvalid`.
    """
    resolver = _Resolver(manifest, {**SYSTEM_PACKAGES, **packages}, missing or {})
    graph = resolver.graph()
    if resolver.problems:
        raise GraphInvalid(
            resolver.problems,
            hint="every node needs a registered interface, every edge an output and an input "
            "of one type, every mandatory override a replacement",
        )
    return graph


@dataclass(frozen=True, slots=True)
class _Wire:
    """An edge between two nodes that run; `source` is the producer as the edge names it."""

    source: str
    producer: str
    output: Port
    consumer: str
    input: Port


class _Resolver:
    def __init__(
        self,
        manifest: Manifest,
        packages: Mapping[str, Mapping[str, Any]],
        missing: Mapping[str, str],
    ) -> None:
        self.manifest = manifest
        self.packages = packages
        self.problems: list[Problem] = []
        self.nodes = {n.name: n for n in (*manifest.nodes, *manifest.override_nodes)}
        self.unknown = self.packages_without(missing)
        self.interfaces = self.look_up()
        self.replacements = self.replace()
        self.wires = self.wire()

    def graph(self) -> Graph:
        names = [node.name for node in self.manifest.nodes]
        live = [name for before in names for name in self.replacements.get(before, (before,))]
        edges = (*self.manifest.edges, *self.manifest.override_edges)
        ends = {end for edge in edges for end in (edge.source, edge.target)}
        extra = {node.name for node in self.manifest.override_nodes} & ends
        live += sorted(extra - set(live))
        codes = tuple(Code(*self.offered(name)) for name in self.of_category(live, CODE))
        models = tuple(Model(*self.offered(name)) for name in self.of_category(live, MODEL))
        if not codes and not self.problems:
            text = "no node has a business_logic interface: nothing would run"
            self.problems.append(Problem(MANIFEST, text))
        self.problems += graph_rule.cycles(self.manifest)
        self.problems += graph_rule.accelerators(codes, models)
        if codes:
            self.problems += graph_rule.ports(self.manifest, codes)
        return Graph(
            codes=codes,
            cameras=tuple(camera for code in codes for camera in self.cameras(code)),
            parameters=tuple(found for code in codes for found in self.parameters(code)),
            models=models,
            sinks=tuple(sink for code in codes for sink in self.sinks(code)),
            routes=self.routes(),
            nodes=tuple(self.nodes[name] for name in live),
        )

    def offered(self, node: str) -> tuple[str, str, Interface]:
        return node, self.nodes[node].package, self.interfaces[node]

    def of_category(self, names: Sequence[str], category: str) -> list[str]:
        return [name for name in names if self.category(name) == category]

    def category(self, node: str) -> str:
        interface = self.interfaces.get(node)
        return interface.category if interface else ""

    def document_of(self, node: Node) -> str:
        return OVERRIDES if node in self.manifest.override_nodes else MANIFEST

    # --- packages and interfaces --------------------------------------------------------

    def packages_without(self, missing: Mapping[str, str]) -> set[str]:
        """Packages that the graph asks for and nobody has, each a problem."""
        unknown = set()
        for use in self.manifest.uses:
            why = ""
            if use.name not in self.packages:
                why = missing.get(
                    use.name, f"package {use.name!r} version {use.version} is not known"
                )
            elif use.name in SYSTEM_PACKAGES and use.version != SYSTEM_VERSION:
                why = (
                    f"package {use.name!r} has no version {use.version!r}; it has {SYSTEM_VERSION}"
                )
            if why:
                unknown.add(use.name)
                users = [n.name for n in self.nodes.values() if n.package == use.name]
                listed = ", ".join(map(repr, users))
                where = f"node{'s'[: len(users) > 1]} {listed}: " if users else ""
                document = MANIFEST if use in self.manifest.packages else OVERRIDES
                self.problems.append(Problem(document, where + why))
        return unknown

    def look_up(self) -> dict[str, Interface]:
        """The interface of every node that has one; the others are problems."""
        interfaces = {}
        for node in self.nodes.values():
            found = self.interface(node)
            if isinstance(found, Interface):
                interfaces[node.name] = found
            elif found:
                text = f"node {node.name!r}: interface {node.interface!r}: {found}"
                self.problems.append(Problem(self.document_of(node), text))
        return interfaces

    def interface(self, node: Node) -> Interface | str:
        """What a node offers; text: why not, empty when that has been said of its package."""
        if not node.package:
            return parameter(node)
        if self.manifest.version_of(node.package) is None:
            return f"package {node.package!r} is not among the packages"
        return "" if node.package in self.unknown else find(node, self.packages[node.package])

    # --- overrides ----------------------------------------------------------------------

    def replace(self) -> dict[str, tuple[str, ...]]:
        original = {node.name: node for node in self.manifest.nodes}
        replaced = {}
        for entry in self.manifest.overrides:
            node = original.get(entry.replace)
            where = f"override of node {entry.replace!r}"
            if node is None:
                text = f"{where}: the manifest has no such node"
                self.problems.append(Problem(OVERRIDES, text))
            elif not node.overridable:
                self.problems.append(Problem(OVERRIDES, f"{where}: the node is not overridable"))
            else:
                replaced[entry.replace] = tuple(self.fitting(node, entry, where))
        for node in self.manifest.nodes:
            if node.override_mandatory and node.name not in replaced:
                text = f"node {node.name!r}: overrideMandatory is set and no override replaces it"
                self.problems.append(Problem(OVERRIDES, text))
        return replaced

    def fitting(self, node: Node, entry: Override, where: str) -> Iterator[str]:
        """The replacements that may stand in; each other one is a problem.

        Several may replace a camera, and then take turns; anything else is one for one.
        """
        several, category = len(entry.replacements) > 1, self.category(node.name)
        if several and category and category != CAMERA:
            text = f"{where}: a {category} takes one replacement, not {len(entry.replacements)}"
            self.problems.append(Problem(OVERRIDES, text))
        kind = self.kind(node.name)
        brought = {node.name for node in self.manifest.override_nodes}
        for name in entry.replacements:
            if name not in brought:
                text = f"{where}: no node {name!r} in the override document"
                self.problems.append(Problem(OVERRIDES, text))
            elif kind and self.category(name) and self.kind(name) != kind:
                text = f"{where}: node {name!r} is a {self.kind(name)}, not a {kind}"
                self.problems.append(Problem(OVERRIDES, text))
            else:
                yield name

    def kind(self, node: str) -> str:
        """What a node may be replaced by: a parameter by its type, others by category."""
        if self.category(node) == PARAMETER:
            return self.nodes[node].interface
        return self.category(node)

    # --- edges --------------------------------------------------------------------------

    def wire(self) -> list[_Wire]:
        """Every edge between the nodes that stand at its ends; what does not fit is a problem."""
        wires = []
        for edges, document in (
            (self.manifest.edges, MANIFEST),
            (self.manifest.override_edges, OVERRIDES),
        ):
            for edge in edges:
                outputs = self.ends(edge, document, edge.producer, "producer")
                inputs = self.ends(edge, document, edge.consumer, "consumer")
                for producer, output in outputs:
                    for consumer, target in inputs:
                        if output.type == target.type:
                            wires.append(_Wire(edge.source, producer, output, consumer, target))
                        else:
                            text = f"producer is of type {output.type}, consumer of type"
                            self.problems.append(Problem(document, f"{edge}: {text} {target.type}"))
        return wires

    def ends(self, edge: Edge, document: str, end: str, side: str) -> list[tuple[str, Port]]:
        """Nodes and ports that one end of an edge comes to; problems noted for those missing."""
        name, _, port = end.partition(".")
        if name not in self.nodes:
            text = f"{edge}: {side} node {name!r} does not exist"
            self.problems.append(Problem(document, text))
            return []
        found = []
        for node in self.replacements.get(name, (name,)):
            interface = self.interfaces.get(node)
            if interface is None:
                continue
            if side == "producer" and interface.category == PARAMETER and not port:
                found.append((node, interface.outputs[0]))
                continue
            ports = interface.outputs if side == "producer" else interface.inputs
            known = [(node, item) for item in ports if item.name == port]
            if not known:
                direction = "output" if side == "producer" else "input"
                text = f"{edge}: node {node!r} has no {direction} {port!r}"
                self.problems.append(Problem(document, text))
            found += known[:1]
        return found

    # --- what the code reads and puts out ------------------------------------------------

    def feeding(self, code: Code, port: Port) -> list[_Wire]:
        return [w for w in self.wires if w.consumer == code.node and w.input.name == port.name]

    def cameras(self, code: Code) -> list[Camera]:
        """A placeholder that nobody replaced has no stream: the port stays without."""
        return [
            Camera(wire.producer, wire.source, code.node, port.name, node.package)
            for port in code.interface.inputs
            if port.type == "media"
            for wire in self.feeding(code, port)
            for node in (self.nodes[wire.producer],)
            if self.category(wire.producer) == CAMERA
            and not node.package.startswith(f"{SYSTEM_ACCOUNT}::")
        ]

    def parameters(self, code: Code) -> list[Parameter]:
        found = []
        for port in (port for port in code.interface.inputs if port.type in ZEROS):
            wires = self.feeding(code, port)
            where = f"input {code.node}.{port.name}"
            sources = list(dict.fromkeys(wire.source for wire in wires))
            if len(sources) > 1:
                listed = ", ".join(map(repr, sources))
                self.problems.append(Problem(MANIFEST, f"{where}: fed by nodes {listed}"))
            default = self.default(port, where)
            node = self.nodes[wires[0].producer] if wires else None
            value = default if node is None or node.value is None else node.value
            name = node.name if node else ""
            found.append(Parameter(name, code.node, port.name, port.type, value))
        return found

    def default(self, port: Port, where: str) -> Value:
        if port.default is None:
            return ZEROS[port.type]
        typed = typed_value(port.default, port.type)
        if typed is None:
            text = f"{where}: default {port.default!r} is not a {port.type}"
            self.problems.append(Problem(MANIFEST, text))
            return ZEROS[port.type]
        return typed

    def sinks(self, code: Code) -> list[Sink]:
        return [
            Sink(wire.consumer, code.node, wire.output.name)
            for wire in self.wires
            if wire.producer == code.node and self.category(wire.consumer) == DISPLAY
        ]

    def routes(self) -> tuple[Route, ...]:
        """A port opens only when package, manifest and override document all name it."""
        declared = {(r.node, r.container_port): r.host_port for r in self.manifest.rules}
        opened = []
        for rule in self.manifest.override_rules:
            host_port = rule.host_port or declared.get((rule.node, rule.container_port))
            if host_port is not None:
                opened.append(Route(rule.node, rule.container_port, host_port))
        return tuple(opened)
