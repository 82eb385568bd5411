"""Nodes that applications can be made of: interfaces of registered packages, and the service's own.

A node is what a package version's manifest says of an interface; nothing is kept about it. The
service's own packages come with every appliance: the placeholder of cameras and the display.
Ids look as in the vendor's developer guide (2024 edition): `SAMPLE_CODE-1.0-fd3d0000-interface`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.appliance import graph
from harness.appliance.graph_interface import SYSTEM_VERSION
from harness.cloud.api.error import not_found
from harness.cloud.service.paging import page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cloud.service.core import Answer, Core, Parameters
    from harness.cloud.service.paging import Key
    from harness.cloud.service.state import Package, PackageVersion

SYSTEM_CREATED_S = 1_634_688_000.0  # 2021-10-20, the first release of the appliance's software
_PATCH_SHOWN = 8  # characters of a patch version in a node's id
_ID_MAX = 255
_DESCRIPTION_MAX = 255
_NAME = re.compile(r"[a-zA-Z0-9\-_]{1,128}", re.ASCII)  # NodeName
_CATEGORIES = ("business_logic", "ml_model", "media_source", "media_sink")
_PORT_TYPES = ("boolean", "string", "int32", "float32", "media")
_FILTERS = {
    "OwnerAccount": "OwnerAccount",
    "PackageName": "PackageName",
    "PackageVersion": "PackageVersion",
    "PatchVersion": "PatchVersion",
    "Category": "Category",
}


def node_id(package: str, version: str, patch: str, interface: str) -> str:
    return f"{package}-{version}-{patch[:_PATCH_SHOWN]}-{interface}"[:_ID_MAX]


@cache
def system_patch(name: str) -> str:
    """The patch version of a package of the service itself: a hash of its manifest."""
    text = json.dumps(graph.SYSTEM_PACKAGES[name], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Node:
    """An interface, and the package version it is of as the API shows it."""

    package: Mapping[str, Any]
    interface: Mapping[str, Any]
    created_s: float

    @property
    def id(self) -> str:
        of = self.package
        name = str(self.interface["name"])
        return node_id(of["PackageName"], of["PackageVersion"], of["PatchVersion"], name)

    @property
    def key(self) -> Key:
        of = self.package
        version = (of["PackageVersion"], of["PatchVersion"])
        return (self.created_s, of["PackageId"], *version, self.interface["name"])

    def summary(self) -> Answer:
        return {
            "NodeId": self.id,
            "Name": self.interface["name"],
            "Category": self.interface["category"].upper(),
            "Description": _text(self.interface.get("description")),
            **self.package,
            "CreatedTime": self.created_s,
        }


class Nodes:
    """All nodes that an account can use."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def describe(self, parameters: Parameters) -> Answer:
        wanted, owner = parameters["NodeId"], parameters.get("OwnerAccount")
        for node in self._all():
            if node.id == wanted and owner in (None, node.package["OwnerAccount"]):
                asset = node.interface.get("asset")
                return {
                    **node.summary(),
                    "AssetName": asset if _is_name(asset) else None,
                    "LastUpdatedTime": node.created_s,
                    "NodeInterface": {
                        "Inputs": [_input(port) for port in _ports(node.interface, "inputs")],
                        "Outputs": [_port(port) for port in _ports(node.interface, "outputs")],
                    },
                }
        raise not_found("NODE", wanted)

    def list(self, parameters: Parameters) -> Answer:
        filters = {
            shown: parameters[name] for name, shown in _FILTERS.items() if name in parameters
        }
        found = (
            node
            for node in self._all()
            if all(node.summary()[shown] == value for shown, value in filters.items())
        )
        nodes, token = page(
            self._core, "ListNodes", parameters, found, lambda node: node.key, _Node.summary
        )
        return {"Nodes": nodes, "NextToken": token}

    def _all(self) -> Iterator[_Node]:
        for name, manifest in graph.SYSTEM_PACKAGES.items():
            yield from _interfaces(manifest, _system(name), SYSTEM_CREATED_S)
        for package in self._core.store.packages.values():
            for version in package.versions.values():
                if version.status == "REGISTER_COMPLETED":
                    of = self._of(package, version)
                    yield from _interfaces(version.manifest, of, version.registered_s)

    def _of(self, package: Package, version: PackageVersion) -> Mapping[str, Any]:
        return {
            "OwnerAccount": self._core.account,
            "PackageId": package.id,
            "PackageArn": package.arn,
            "PackageName": package.name,
            "PackageVersion": version.version,
            "PatchVersion": version.patch,
        }


def _system(name: str) -> Mapping[str, Any]:
    account, _, plain = name.partition("::")
    return {
        "OwnerAccount": account,
        "PackageId": plain,
        "PackageName": plain,
        "PackageVersion": SYSTEM_VERSION,
        "PatchVersion": system_patch(name),
    }


def _interfaces(
    manifest: Mapping[str, Any], of: Mapping[str, Any], created_s: float
) -> Iterator[_Node]:
    """Interfaces that a graph can refer to; what is not of that form is none."""
    seen = set()
    for interface in _ports(manifest.get("nodePackage", {}), "interfaces"):
        name, category = interface.get("name"), interface.get("category")
        if _is_name(name) and category in _CATEGORIES and name not in seen:
            seen.add(name)
            yield _Node(of, interface, created_s)


def _ports(body: Any, key: str) -> list[Mapping[str, Any]]:
    """The objects in a list of a manifest."""
    items = body.get(key) if isinstance(body, Mapping) else None
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _port(port: Mapping[str, Any]) -> Answer:
    kind = port.get("type")
    return {
        "Name": _text(port.get("name")),
        "Description": _text(port.get("description")) or None,
        "Type": kind.upper() if isinstance(kind, str) and kind in _PORT_TYPES else None,
    }


def _input(port: Mapping[str, Any]) -> Answer:
    default, most = port.get("default"), port.get("maxConnections", 0)
    text = default if isinstance(default, str) else json.dumps(default)
    return {
        **_port(port),
        "DefaultValue": text[:_DESCRIPTION_MAX] if default is not None else None,
        "MaxConnections": most if type(most) is int and most >= 0 else 0,
    }


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _text(value: object) -> str:
    return value[:_DESCRIPTION_MAX] if isinstance(value, str) else ""
