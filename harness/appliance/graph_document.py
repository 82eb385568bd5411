"""The documents of an application graph: manifest and overrides, checked for structure.

The format is the vendor's node graph, envelope 2021-01-01 (developer guide, 2024 edition, and
its published JSON schemas): packages, nodes, edges, routing rules; at deployment an override
document replaces parameters and camera placeholders. Nothing is looked up here: `graph` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.errors import InputError

ENVELOPE = "2021-01-01"
NODES_MAX = 256  # ours: far above any real graph, keeps problem lists readable
HOST_PORTS = range(8000, 9001)  # where inbound traffic may enter the appliance
INT32 = range(-(2**31), 2**31)
FLOAT32_MAX = (2 - 2**-23) * 2.0**127

Value: TypeAlias = "str | int | float | bool"

# Parameter types, each with what an input reads when neither node nor port gives a value.
ZEROS: Mapping[str, Value] = {"string": "", "int32": 0, "float32": 0.0, "boolean": False}

_NAME = re.compile(r"[$A-Za-z0-9_-]{1,128}")
_PACKAGE = re.compile(r"([$A-Za-z0-9_-]+)::([A-Za-z0-9_-]+)")
_INTERFACE = re.compile(r"([$A-Za-z0-9_-]+::[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_VERSION = re.compile(r"[0-9]+\.[0-9]+")
_LAUNCHES = ("onAppStart", "onSignal", "onDemand")

MANIFEST, OVERRIDES = "manifest", "overrides"  # the two documents


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, naming node or edge, and in which document: `manifest` or `overrides`."""

    document: str
    text: str

    def __str__(self) -> str:
        return self.text


class GraphInvalid(InputError):
    """A manifest or override document is wrong; `problems` lists everything found, once each."""

    def __init__(self, problems: Sequence[Problem], *, hint: str) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("; ".join(map(str, self.problems)), hint=hint)


@dataclass(frozen=True, slots=True)
class PackageUse:
    """A package as a graph includes it: `name` is `<account>::<package>`."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node: `interface` is `<account>::<package>.<interface>` or a parameter type."""

    name: str
    interface: str
    value: Value | None = None
    overridable: bool = False
    override_mandatory: bool = False
    launch: str = "onAppStart"

    @property
    def package(self) -> str:
        """`<account>::<package>` of the interface; empty for a parameter."""
        match = _INTERFACE.fullmatch(self.interface)
        return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class Edge:
    """`producer` is `node.port`, or `node` alone for a parameter; `consumer` is `node.port`."""

    producer: str
    consumer: str

    def __str__(self) -> str:
        return f"edge {self.producer} -> {self.consumer}"

    @property
    def source(self) -> str:
        """The node it comes from."""
        return self.producer.partition(".")[0]

    @property
    def target(self) -> str:
        """The node it goes to."""
        return self.consumer.partition(".")[0]


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """A container port to be reached at a port of the appliance.

    None in an override document: at the port that the manifest's rule says.
    """

    node: str
    container_port: int
    host_port: int | None


@dataclass(frozen=True, slots=True)
class Override:
    """The node `replace` of the manifest gives way to the nodes `replacements`."""

    replace: str
    replacements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest and its override document, structurally sound, nothing looked up yet."""

    packages: tuple[PackageUse, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    rules: tuple[RoutingRule, ...]
    override_packages: tuple[PackageUse, ...]
    override_nodes: tuple[Node, ...]
    override_edges: tuple[Edge, ...]
    overrides: tuple[Override, ...]
    override_rules: tuple[RoutingRule, ...]

    @property
    def uses(self) -> tuple[PackageUse, ...]:
        """The packages of both documents, each once."""
        return tuple(dict.fromkeys((*self.packages, *self.override_packages)))

    def version_of(self, package: str) -> str | None:
        """The version the graph asks of `<account>::<package>`; None when not included."""
        return next((use.version for use in self.uses if use.name == package), None)


def parse(manifest: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Manifest:
    """Check the structure of both documents. Raises `GraphInvalid` listing all problems."""
    first, second = _Reader(MANIFEST), _Reader(OVERRIDES)
    graph = first.envelope(manifest, "nodeGraph", required=True)
    override = second.envelope(overrides or {}, "nodeGraphOverrides", required=bool(overrides))
    parsed = Manifest(
        packages=first.packages(graph),
        nodes=first.nodes(graph),
        edges=first.edges(graph),
        rules=first.rules(graph),
        override_packages=second.packages(override),
        override_nodes=second.nodes(override),
        override_edges=second.edges(override),
        overrides=second.overrides(override),
        override_rules=second.rules(override),
    )
    if not parsed.nodes and not first.problems:
        first.add("manifest: nodes is empty")
    _unique(parsed, first, second)
    if first.problems or second.problems:
        raise GraphInvalid(
            [*first.problems, *second.problems],
            hint="see the vendor's node graph schema, envelopeVersion 2021-01-01",
        )
    return parsed


def _unique(parsed: Manifest, first: _Reader, second: _Reader) -> None:
    """Names are unique across both documents; a package may be in both, in one version."""
    first.unique("package", [use.name for use in dict.fromkeys(parsed.packages)])
    first.unique("node", [node.name for node in parsed.nodes])
    first.unique("networkRoutingRules of", [_ruled(rule) for rule in parsed.rules])
    versions = {use.name: use.version for use in parsed.packages}
    for use in parsed.override_packages:
        if versions.get(use.name, use.version) != use.version:
            second.add(
                f"package {use.name!r}: overrides ask for version {use.version!r}, "
                f"the manifest for {versions[use.name]!r}"
            )
    second.unique("package", [use.name for use in dict.fromkeys(parsed.override_packages)])
    second.unique("node", [node.name for node in parsed.override_nodes])
    taken = {node.name for node in parsed.nodes}
    for node in parsed.override_nodes:
        if node.name in taken:
            second.add(f"node {node.name!r} of the overrides has the name of a manifest node")
    second.unique("override of node", [entry.replace for entry in parsed.overrides])
    second.unique("networkRoutingRules of", [_ruled(rule) for rule in parsed.override_rules])


def _ruled(rule: RoutingRule) -> str:
    return f"{rule.node}:{rule.container_port}"


def typed_value(value: object, kind: str) -> Value | None:
    """`value` as a parameter of type `kind`; None when it is not one."""
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "int32" and type(value) is int and value in INT32:
        return value
    if kind == "float32" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if -FLOAT32_MAX <= value <= FLOAT32_MAX else None
    return None


class _Reader:
    """Reads one document's untyped JSON into values and collects what is wrong with it."""

    def __init__(self, document: str) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def add(self, text: str) -> None:
        self.problems.append(Problem(self.document, text))

    def envelope(self, document: Mapping[str, Any], key: str, *, required: bool) -> dict[str, Any]:
        body = document.get(key) if isinstance(document, Mapping) else None
        if not isinstance(body, Mapping):
            if required:
                self.add(f"document has no object {key!r}")
            return {}
        version = body.get("envelopeVersion")
        if version != ENVELOPE:
            self.add(f"{key}: envelopeVersion is {version!r}, not {ENVELOPE!r}")
        return dict(body)

    def objects(
        self, body: Mapping[str, Any], key: str, where: str = ""
    ) -> list[Mapping[str, Any]]:
        where = where or self.document
        items = body.get(key, [])
        if not isinstance(items, list) or len(items) > NODES_MAX:
            self.add(f"{where}: {key} is not a list of at most {NODES_MAX} objects")
            return []
        for index, item in enumerate(items):
            if not isinstance(item, Mapping):
                self.add(f"{where}: {key}[{index}] is not an object")
        return [item for item in items if isinstance(item, Mapping)]

    def text(self, item: Mapping[str, Any], key: str, pattern: re.Pattern[str], where: str) -> str:
        value = item.get(key)
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        self.add(f"{where}: {key} is {value!r}, expected like {pattern.pattern}")
        return ""

    def flag(self, item: Mapping[str, Any], key: str, where: str) -> bool:
        value = item.get(key, False)
        if not isinstance(value, bool):
            self.add(f"{where}: {key} is {value!r}, expected true or false")
        return value is True

    def unique(self, what: str, names: list[str]) -> None:
        for name in dict.fromkeys(names):
            if name and names.count(name) > 1:
                self.add(f"{what} {name!r} appears more than once")

    def packages(self, body: Mapping[str, Any]) -> tuple[PackageUse, ...]:
        where = f"{self.document}: package"
        return tuple(
            PackageUse(
                self.text(item, "name", _PACKAGE, where),
                self.text(item, "version", _VERSION, f"{where} {item.get('name')!r}"),
            )
            for item in self.objects(body, "packages")
        )

    def nodes(self, body: Mapping[str, Any]) -> tuple[Node, ...]:
        return tuple(self.node(item) for item in self.objects(body, "nodes"))

    def node(self, item: Mapping[str, Any]) -> Node:
        name = self.text(item, "name", _NAME, f"{self.document}: node")
        where = f"{self.document}: node {name!r}"
        interface = item.get("interface")
        value: Value | None = None
        if isinstance(interface, str) and interface in ZEROS:
            value = self.value(item.get("value", ZEROS[interface]), interface, where)
        else:
            interface = self.text(item, "interface", _INTERFACE, where)
        launch = item.get("launch", "onAppStart")
        if launch not in _LAUNCHES:
            self.add(f"{where}: launch is {launch!r}, expected one of {_LAUNCHES}")
        overridable = self.flag(item, "overridable", where)
        mandatory = self.flag(item, "overrideMandatory", where)
        return Node(name, interface, value, overridable, mandatory, str(launch))

    def value(self, value: object, kind: str, where: str) -> Value:
        typed = typed_value(value, kind)
        if typed is None:
            self.add(f"{where}: value {value!r} is not a {kind}")
            return ZEROS[kind]
        return typed

    def edges(self, body: Mapping[str, Any]) -> tuple[Edge, ...]:
        edges = []
        for item in self.objects(body, "edges"):
            producer, consumer = item.get("producer"), item.get("consumer")
            if isinstance(producer, str) and isinstance(consumer, str):
                edges.append(Edge(producer, consumer))
            else:
                self.add(
                    f"{self.document}: edge {producer!r} -> {consumer!r}: both must be strings"
                )
        return tuple(edges)

    def rules(self, body: Mapping[str, Any]) -> tuple[RoutingRule, ...]:
        rules = []
        for item in self.objects(body, "networkRoutingRules"):
            where = f"{self.document}: networkRoutingRules of node {item.get('node')!r}"
            node = self.text(item, "node", _NAME, where)
            port, host = item.get("containerPort"), item.get("hostPort")
            if host is None and self.document == MANIFEST:
                host = port
            if type(port) is not int or not 1 <= port <= 65535:
                self.add(f"{where}: containerPort is {port!r}, not 1..65535")
            elif host is not None and (type(host) is not int or host not in HOST_PORTS):
                self.add(f"{where}: hostPort is {host!r}, not 8000..9000")
            else:
                rules.append(RoutingRule(node, port, host))
        return tuple(rules)

    def overrides(self, body: Mapping[str, Any]) -> tuple[Override, ...]:
        entries = []
        for item in self.objects(body, "nodeOverrides"):
            replace = self.text(item, "replace", _NAME, "overrides: nodeOverrides")
            where = f"override of node {replace!r}"
            names = [self.text(w, "name", _NAME, where) for w in self.objects(item, "with", where)]
            if not names:
                self.add(f"{where}: `with` names no node")
            self.unique(f"{where}: replacement", names)
            entries.append(Override(replace, tuple(names)))
        return tuple(entries)
