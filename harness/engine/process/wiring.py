"""What an application's process is started with, from what is installed on its appliance."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.appliance import graph
from harness.engine.process.role import RoleEndpoint
from harness.errors import Corrupt
from harness.runtime.requirements import installed
from harness.runtime.session import SUFFIXES
from harness.runtime.spec import ApplicationSpec, CameraInput, ModelFile
from harness.runtime.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.appliance.effect import StartNode
    from harness.engine.process.node import Node
    from harness.engine.process.pacing import Pacing

REGION = "us-east-1"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Wiring:
    """`directory` is where applications live, `transports` what cameras are asked for over."""

    directory: Path
    transports: Mapping[str, str]
    pacing: Pacing | None

    async def spec(
        self, node: Node, request: StartNode, resolved: graph.Graph, code: graph.Code
    ) -> ApplicationSpec:
        """Unpack what is installed and wire it up. Raises `PeerError` when it does not fit."""
        document = request.document
        packages = {package["name"]: package for package in document["packages"]}
        node.directory.mkdir(parents=True)
        container = _asset(packages[code.package], code.interface.asset)
        root = await self._unpack(node, request, container, "root")
        models = []
        for model in resolved.models:
            asset = _asset(packages[model.package], model.interface.asset)
            folder = await self._unpack(node, request, asset, f"model-{model.node}")
            models.append(
                ModelFile(model.node, _model_file(folder, asset["descriptor"]), asset["descriptor"])
            )
        paces: dict[str, tuple[float, float]] = {}
        if self.pacing is not None and models:
            cost = await asyncio.to_thread(
                self.pacing.cost, node.machine.name, request.instance, models
            )
            node.cost = cost
            paces = {name: (ms, cost.first_more_ms) for name, ms in cost.calls_ms.items()}
        entry = _entry(code.package, container["descriptor"])
        # By its id: one that is deployed again under an old name finds nothing of the old one.
        state = self.directory / "state" / request.instance
        if len(resolved.codes) > 1:  # every container has its own file system
            state /= code.node
        cameras = [camera for camera in resolved.cameras if camera.code == code.node]
        return ApplicationSpec(
            instance=request.instance,
            root=root,
            entry=entry,
            cameras=tuple([await self._camera(node, document, c) for c in cameras]),
            parameters={p.port: p.value for p in resolved.parameters if p.code == code.node},
            models=tuple(models),
            outputs=tuple(port.name for port in code.interface.outputs),
            tiled=request.hosting.tiles,
            displays=tuple(sink.port for sink in resolved.sinks if sink.code == code.node),
            storage=state / "storage",
            logs=state / "logs",
            region=REGION,
            paused=request.paused,
            paces=paces,
            packages=await asyncio.to_thread(installed, root / "panorama"),
            environment=await self._role(node, document),
        )

    async def _role(self, node: Node, document: Mapping[str, Any]) -> Mapping[str, str]:
        """What the application gets of AWS: its role's credentials, or nothing at all."""
        if not document.get("role"):
            return {}
        node.role = RoleEndpoint(node.machine.uplink, document["credentials"])
        return await node.role.start(
            document["endpoint"], lambda port: node.cloud.port(LOOPBACK, port)
        )

    async def _camera(
        self, node: Node, document: Mapping[str, Any], camera: graph.Camera
    ) -> CameraInput:
        source = document["cameras"][camera.node]
        parts = urlsplit(source["url"])
        local = await node.link.port(parts.hostname or "", parts.port or 554)
        return CameraInput(
            node=camera.node,
            port=camera.port,
            name=camera.node,
            url=parts._replace(netloc=f"{node.link.host}:{local}").geturl(),
            username=source["username"],
            password=source["password"],
            transport=self.transports.get(camera.node, "tcp"),
        )

    async def _unpack(
        self, node: Node, request: StartNode, asset: Mapping[str, Any], name: str
    ) -> Path:
        """Read an asset back from the appliance's storage and unpack it."""
        partition, offset, size = request.assets[asset["sha256"]]
        target = node.directory / name

        def work() -> None:
            archive = node.directory / f"{name}.tar.gz"
            archive.write_bytes(node.machine.disk[partition].read(offset, size))
            unpack(archive, target)
            archive.unlink()

        await asyncio.to_thread(work)
        return target


def resolve(document: Mapping[str, Any]) -> graph.Graph:
    manifests = {package["name"]: package["manifest"] for package in document["packages"]}
    try:
        parsed = graph.parse(document["manifest"], document["overrides"])
        return graph.resolve(parsed, manifests)
    except graph.GraphInvalid as error:
        raise Corrupt(f"deployment document: {error}") from None


def _asset(package: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for asset in package["assets"]:
        if asset["name"] == name:
            found: Mapping[str, Any] = asset
            return found
    raise Corrupt(f"package {package['name']}: no asset {name!r}")


def _entry(package: str, descriptor: Any) -> tuple[str, str]:
    """The program and its file, as descriptor.json names them."""
    try:
        entry = descriptor["runtimeDescriptor"]["entry"]
        return str(entry["path"]), str(entry["name"])
    except (KeyError, TypeError):
        raise Corrupt(
            f"package {package}: descriptor.json has no runtimeDescriptor.entry",
            hint='it must hold {"path": "python3", "name": "/panorama/..."}',
        ) from None


def _model_file(folder: Path, descriptor: Any) -> Path:
    """The one file of the archive that something here runs."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    if len(files) == 1:
        return files[0]
    described = descriptor.get("mlModelDescriptor", {}) if isinstance(descriptor, dict) else {}
    raise Corrupt(
        f"model archive of {described.get('framework', 'an unnamed framework')} holds {len(files)}"
        f" files of {', '.join(SUFFIXES)}",
        hint="it must hold one: an ONNX file, or TorchScript; export other frameworks to ONNX",
    )
