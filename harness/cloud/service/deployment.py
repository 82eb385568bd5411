"""What a deployment is made of: graph resolved against packages, deployment document composed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.appliance import graph
from harness.appliance.demand import Demand
from harness.cloud.api.error import validation
from harness.cloud.service.core import PACKAGE_BUCKET, Core, Parameters
from harness.cloud.service.nodes import system_patch
from harness.cloud.service.state import NodeRecord

if TYPE_CHECKING:
    from harness.appliance.graph_document import Node
    from harness.cloud.service.packages import Packages
    from harness.cloud.service.state import Package, PackageVersion

_PAYLOADS = {
    "manifest": "ManifestPayload.PayloadData",
    "overrides": "ManifestOverridesPayload.PayloadData",
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request that can be deployed."""

    manifest: Mapping[str, Any]
    overrides: Mapping[str, Any] | None
    graph: graph.Graph
    packages: Mapping[str, tuple[Package, PackageVersion]]  # by <account>::<package>
    versions: Mapping[str, str]  # of every package of the graph, the system's too

    @property
    def nodes(self) -> tuple[NodeRecord, ...]:
        return tuple(self._record(node) for node in self.graph.nodes)

    @property
    def paused(self) -> list[str]:
        """Camera nodes that wait for a signal before they deliver."""
        launches = {node.name: node.launch for node in self.graph.nodes}
        return sorted(name for name in self._cameras if launches[name] == "onSignal")

    @property
    def _cameras(self) -> set[str]:
        return {camera.node for camera in self.graph.cameras}

    def _record(self, node: Node) -> NodeRecord:
        if not node.package:
            return NodeRecord(node.name)
        interface = node.interface.rpartition(".")[2]
        if node.package in self.packages:
            found = self.packages[node.package][1]
            version, patch = found.version, found.patch
        else:
            version, patch = self.versions[node.package], system_patch(node.package)
        package = node.package.rpartition("::")[2]
        return NodeRecord(node.name, package, version, patch, interface, node.name in self._cameras)


def resolve(packages: Packages, parameters: Parameters) -> Resolved:
    """Raises a ValidationException that names every node, edge and package that is wrong."""
    manifest = _document(parameters["ManifestPayload"], "ManifestPayload")
    overrides = None
    if parameters.get("ManifestOverridesPayload") is not None:
        overrides = _document(
            parameters["ManifestOverridesPayload"], "ManifestOverridesPayload", optional=True
        )
    found: dict[str, tuple[Package, PackageVersion]] = {}
    missing: dict[str, str] = {}
    try:
        parsed = graph.parse(manifest, overrides)
        for use in parsed.uses:
            version = _version(packages, use.name, use.version)
            if isinstance(version, str):
                missing[use.name] = version
            else:
                found[use.name] = version
        manifests = {name: version.manifest for name, (_, version) in found.items()}
        resolved = graph.resolve(parsed, manifests, missing)
    except graph.GraphInvalid as error:
        fields = [(_PAYLOADS[problem.document], problem.text) for problem in error.problems]
        raise validation(f"The application graph is not valid: {error}", fields) from None
    versions = {use.name: use.version for use in parsed.uses}
    return Resolved(manifest, overrides, resolved, found, versions)


def _version(packages: Packages, name: str, version: str) -> tuple[Package, PackageVersion] | str:
    """The registered version that a graph asks for; text: why there is none."""
    package = packages.by_name(name)
    if package is None:
        return f"package {name!r} does not exist"
    found = package.find(version)
    if found is None:
        known = ", ".join(sorted(package.latest)) or "none"
        return f"package {name!r} has no version {version!r}; registered: {known}"
    if found.status != "REGISTER_COMPLETED":
        return f"package {name!r} version {version!r} is {found.status}: {found.description}"
    return package, found


def _document(payload: Mapping[str, Any], name: str, *, optional: bool = False) -> Any:
    text = payload["PayloadData"]
    if optional and not text.strip():
        return None
    where = f"{name}.PayloadData"
    try:
        document = json.loads(text)
    except ValueError as error:
        raise validation(f"{where} is not JSON: {error}", [(where, "must be JSON")]) from None
    if not isinstance(document, Mapping):
        raise validation(f"{where} is not a JSON object.", [(where, "must be a JSON object")])
    return document


def compose(core: Core, resolved: Resolved, instance: str, parameters: Parameters) -> bytes:
    """The deployment document as JSON. It holds camera credentials: for its device only."""
    document = {
        "instance": instance,
        "name": parameters.get("Name", instance),
        "manifest": resolved.manifest,
        "overrides": resolved.overrides,
        "packages": [
            _package(core, name, version) for name, (_, version) in resolved.packages.items()
        ],
        "cameras": {
            camera.node: _camera(core, resolved.packages[camera.package][1])
            for camera in resolved.graph.cameras
        },
        "role": parameters.get("RuntimeRoleArn"),
        "endpoint": core.endpoints.api_url,
        "credentials": f"{core.endpoints.https_url}/credentials/{instance}",
        "demands": Demand.of(resolved.graph).to_json(),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _package(core: Core, name: str, version: PackageVersion) -> dict[str, Any]:
    return {
        "name": name,
        "version": version.version,
        "patch": version.patch,
        "manifest": version.manifest,
        "assets": [
            {
                "name": asset["name"],
                "type": asset["type"],
                "sha256": asset["sha256"],
                "size": asset["size"],
                "url": core.object_url(PACKAGE_BUCKET, asset["key"]),
                "descriptor": asset["descriptor"],
            }
            for asset in version.assets
        ],
    }


def _camera(core: Core, version: PackageVersion) -> dict[str, str]:
    values = (core.secrets.get(version.secret) if version.secret else None) or {}
    return {
        "url": values.get("StreamUrl", ""),
        "username": values.get("Username", ""),
        "password": values.get("Password", ""),
    }
