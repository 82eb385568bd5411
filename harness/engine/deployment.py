"""Deploying an application as a customer's script does it: package, upload, register, create."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.appliance import graph
from harness.engine.site import PutObject, SiteProgram, call
from harness.errors import InputError, PeerRefused
from harness.runtime.package import PackedApplication, PackedPackage, pack
from harness.scenario.plan import Deploy, Parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.scenario.plan import CameraPlan, Plan, Step

CAMERA_PACKAGE_VERSION = "1.0"


def deployments(plan: Plan) -> Iterator[Deploy]:
    """Every deploy step of a plan, wherever it stands."""
    yield from _deploys(plan.bring_up)
    yield from _deploys(plan.workload)


def _deploys(steps: tuple[Step, ...]) -> Iterator[Deploy]:
    for step in steps:
        if isinstance(step, Deploy):
            yield step
        elif isinstance(step, Parallel):
            for branch in step.branches:
                yield from _deploys(branch)


def streams(plan: Plan, step: Deploy) -> Iterator[tuple[str, str]]:
    """(instance, camera) of the cameras that can be read; of others no frame ever comes."""
    readable = {camera.name for camera in plan.cameras if camera.readable}
    for cameras in step.inputs.values():
        yield from ((step.instance, camera) for camera in cameras if camera in readable)


def create(
    step: Deploy,
    plan: Plan,
    device: str,
    urls: Callable[[str], str],
    workspace: Path,
) -> SiteProgram[str]:
    """Outcome: the id of the new application instance."""
    path = next(a.path for a in plan.applications if a.name == step.application)
    packed = pack(Path(path), workspace)
    for package in packed.packages:
        yield from _register(package)
    account = packed.packages[0].account
    cameras = [camera for names in step.inputs.values() for camera in names]
    for camera in plan.cameras:
        if camera.name in cameras:
            yield from _register_camera(camera, urls(camera.name))
    overrides = override_document(packed, step, account)
    request: dict[str, Any] = {
        "Name": step.instance,
        "DefaultRuntimeContextDevice": device,
        "ManifestPayload": {"PayloadData": json.dumps(packed.graph)},
        "ManifestOverridesPayload": {"PayloadData": json.dumps(overrides)},
    }
    if step.role:
        request["RuntimeRoleArn"] = step.role
    answer = yield from call("CreateApplicationInstance", request)
    return str(answer["ApplicationInstanceId"])


def _register(package: PackedPackage) -> SiteProgram[None]:
    found = yield from _package(package.name, "CreatePackage", {"PackageName": package.name})
    version = {
        "PackageId": found["PackageId"],
        "PackageVersion": package.version,
        "PatchVersion": package.patch,
    }
    try:
        yield from call("DescribePackageVersion", version)
        return
    except PeerRefused:
        pass  # not registered yet
    where = found["StorageLocation"]
    for name, file in package.files.items():
        key = f"{where['BinaryPrefixLocation']}/{name}"
        yield PutObject(where["Bucket"], key, file.read_bytes())
    manifest = f"{where['ManifestPrefixLocation']}/{package.version}/{package.patch}.json"
    yield PutObject(where["Bucket"], manifest, json.dumps(package.manifest).encode())
    yield from call("RegisterPackageVersion", {**version, "MarkLatest": True})
    answer = yield from call("DescribePackageVersion", version)
    if answer["Status"] != "REGISTER_COMPLETED":
        raise PeerRefused(
            f"package {package.name} {package.version}: {answer['Status']}: "
            f"{answer.get('StatusDescription', '')}"
        )


def camera_package(camera: str) -> str:
    return f"camera_{camera}"


def _register_camera(camera: CameraPlan, url: str) -> SiteProgram[None]:
    parameters = {"StreamUrl": url}
    if camera.username:
        parameters |= {"Username": camera.username, "Password": camera.password}
    yield from _package(
        camera_package(camera.name),
        "CreateNodeFromTemplateJob",
        {
            "NodeName": camera.name,
            "OutputPackageName": camera_package(camera.name),
            "OutputPackageVersion": CAMERA_PACKAGE_VERSION,
            "TemplateType": "RTSP_CAMERA_STREAM",
            "TemplateParameters": parameters,
        },
    )


def _package(name: str, operation: str, parameters: Mapping[str, Any]) -> SiteProgram[Any]:
    """What is known of a package; one that is not there yet is made by `operation`."""
    named = {"PackageId": f"packageName/{name}"}
    try:
        return (yield from call("DescribePackage", named))
    except PeerRefused:
        pass
    try:
        return (yield from call(operation, parameters))
    except PeerRefused as refused:  # perhaps because another deployment was quicker
        try:
            return (yield from call("DescribePackage", named))
        except PeerRefused:
            raise refused from None


def override_document(packed: PackedApplication, step: Deploy, account: str) -> dict[str, Any]:
    """Cameras in place of the placeholders that feed the named inputs, parameters set."""
    manifest = graph.parse(packed.graph)
    packages, nodes, replacements = [], [], []
    # A camera is one node, however many inputs it feeds.
    for camera in dict.fromkeys(c for cameras in step.inputs.values() for c in cameras):
        package = f"{account}::{camera_package(camera)}"
        packages.append({"name": package, "version": CAMERA_PACKAGE_VERSION})
        nodes.append({"name": camera, "interface": f"{package}.{camera}"})
    for name, cameras in step.inputs.items():
        replace = _placeholder(manifest, name, step.instance)
        replacements.append({"replace": replace, "with": [{"name": c} for c in cameras]})
    for parameter, value in step.parameters.items():
        interface = _parameter_type(manifest, parameter, step.instance)
        override = f"{parameter}_override"
        nodes.append({"name": override, "interface": interface, "value": value})
        replacements.append({"replace": parameter, "with": [{"name": override}]})
    return {
        "nodeGraphOverrides": {
            "envelopeVersion": "2021-01-01",
            "packages": packages,
            "nodes": nodes,
            "nodeOverrides": replacements,
            **_rules(manifest, step),
        }
    }


def _rules(manifest: graph.Manifest, step: Deploy) -> dict[str, Any]:
    """The manifest's rules once more, for the ports that the step opens."""
    known = {rule.container_port: rule for rule in manifest.rules}
    for port in step.open_ports:
        if port not in known:
            raise InputError(
                f"deploy {step.instance}: the manifest has no rule for container port {port}",
                hint=f"its rules: {', '.join(map(str, sorted(known))) or 'none'}",
            )
    rules = [
        {"node": known[port].node, "containerPort": port, "hostPort": known[port].host_port}
        for port in step.open_ports
    ]
    return {"networkRoutingRules": rules} if rules else {}


def _placeholder(manifest: graph.Manifest, name: str, instance: str) -> str:
    """The camera placeholder called `name`, or the one that feeds a port called `name`."""
    cameras = {n.name for n in manifest.nodes if n.interface.endswith(".rtsp_v1_interface")}
    if name in cameras:
        return name
    for edge in manifest.edges:
        producer = edge.producer.partition(".")[0]
        if edge.consumer.partition(".")[2] == name and producer in cameras:
            return producer
    raise InputError(
        f"deploy {instance}: the graph has no camera input {name!r}",
        hint=f"camera nodes: {', '.join(sorted(cameras)) or 'none'}",
    )


def _parameter_type(manifest: graph.Manifest, name: str, instance: str) -> str:
    parameters: Mapping[str, str] = {
        n.name: n.interface
        for n in manifest.nodes
        if n.interface in ("string", "int32", "float32", "boolean")
    }
    if name not in parameters:
        raise InputError(
            f"deploy {instance}: the graph has no parameter {name!r}",
            hint=f"parameters: {', '.join(sorted(parameters)) or 'none'}",
        )
    return parameters[name]
