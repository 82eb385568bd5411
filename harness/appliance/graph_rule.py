"""Rules about a graph as a whole, which no single node or edge can break alone.

Each gives the problems it finds, in words that name every node and edge involved.
"""

from __future__ import annotations

import itertools
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from harness.appliance.graph_document import MANIFEST, OVERRIDES, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.appliance.graph import Code, Model
    from harness.appliance.graph_document import Manifest, RoutingRule


def cycles(manifest: Manifest) -> Iterator[Problem]:
    """Data flows one way: no node may feed itself, however long the way round."""
    edges = [*manifest.edges, *manifest.override_edges]
    before: dict[str, list[str]] = {}
    for edge in edges:
        before.setdefault(edge.target, []).append(edge.source)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        steps = set(itertools.pairwise(names))
        round_trip = [edge for edge in edges if (edge.source, edge.target) in steps]
        listed = ", ".join(map(str, round_trip))
        inside = set(round_trip) <= set(manifest.edges)
        text = f"nodes {' -> '.join(map(repr, names))} form a cycle: {listed}"
        yield Problem(MANIFEST if inside else OVERRIDES, text)


def accelerators(codes: Sequence[Code], models: Sequence[Model]) -> Iterator[Problem]:
    """GPU access excludes model nodes (vendor's guide): both in one application cannot run."""
    for code in codes:
        for model in models:
            if code.interface.gpu:
                text = f"node {code.node!r} has GPU access: model node {model.node!r} cannot run"
                yield Problem(MANIFEST, text)


def ports(manifest: Manifest, codes: Sequence[Code]) -> Iterator[Problem]:
    """A rule stands on a port of the package; one of the overrides on a rule of the manifest."""
    inbound = {code.node: code.interface.inbound_ports for code in codes}
    for document, rules in ((MANIFEST, manifest.rules), (OVERRIDES, manifest.override_rules)):
        for rule in rules:
            where = f"networkRoutingRules of node {rule.node!r}"
            if rule.node not in inbound:
                only = ", ".join(map(repr, inbound))
                text = f"only the code node{'s'[: len(inbound) > 1]} {only} has ports"
                yield Problem(document, f"{where}: {text}")
            elif rule.container_port not in inbound[rule.node]:
                text = f"{rule.container_port} is not an inboundPort of its interface"
                yield Problem(document, f"{where}: {text}")
    ruled = {(rule.node, rule.container_port) for rule in manifest.rules}
    for rule in manifest.override_rules:
        if (rule.node, rule.container_port) not in ruled:
            text = f"the manifest has no rule for containerPort {rule.container_port}"
            yield Problem(OVERRIDES, f"networkRoutingRules of node {rule.node!r}: {text}")
    yield from _shared(manifest.rules, MANIFEST)
    yield from _shared(manifest.override_rules, OVERRIDES)


def _shared(rules: Sequence[RoutingRule], document: str) -> Iterator[Problem]:
    """Two rules of one document for the same port of the appliance."""
    taken: dict[int, RoutingRule] = {}
    for rule in rules:
        if rule.host_port is None:
            continue
        first = taken.setdefault(rule.host_port, rule)
        if first is not rule:
            yield Problem(
                document,
                f"networkRoutingRules of node {rule.node!r}: hostPort {rule.host_port} of "
                f"containerPort {rule.container_port} is taken by containerPort "
                f"{first.container_port} of node {first.node!r}",
            )
