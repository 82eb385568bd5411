"""What a deploy step says, held against the graph of the application that it deploys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.appliance import graph
from harness.scenario.review import walk

if TYPE_CHECKING:
    from pathlib import Path

    from harness.scenario.document import Loc
    from harness.scenario.review import Review
    from harness.scenario.schema import DeployFile

GRAPH_BYTES_MAX = 1 << 20
CAMERA_INTERFACE = ".rtsp_v1_interface"  # of panorama::abstract_rtsp_media_source
PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int32": (int,),
    "float32": (int, float),
    "boolean": (bool,),
}


def applications(found: Review, folder: Path) -> None:
    """Resolve application folders and check every deploy step against its graph."""
    manifests: dict[str, graph.Manifest] = {}
    for name, written in found.file.applications.items():
        path = (folder / written).resolve()
        found.applications[name] = path
        manifest = _manifest(found, ("applications", name), path)
        if manifest is not None:
            manifests[name] = manifest
    for loc, step in walk(found.file):
        if step.deploy and step.deploy.application in manifests:
            _deploy(found, (*loc, "deploy"), step.deploy, manifests[step.deploy.application])


def _manifest(found: Review, loc: Loc, path: Path) -> graph.Manifest | None:
    graphs = sorted(path.glob("graphs/*/graph.json"))
    if len(graphs) != 1:
        written = found.document.at(loc)
        message = f"no application in `{written}`: {len(graphs) or 'no'} graphs in it"
        hint = "a folder with graphs/<application>/graph.json, relative to this file"
        found.add(loc, message, hint)
        return None
    try:
        with graphs[0].open("rb") as file:
            return graph.parse(json.loads(file.read(GRAPH_BYTES_MAX)))
    except graph.GraphInvalid as invalid:
        found.add(loc, f"{graphs[0].parent.name}/graph.json: {invalid}", invalid.hint)
    except (ValueError, OSError) as error:
        found.add(loc, f"{graphs[0].parent.name}/graph.json: {error}")
    return None


def _deploy(found: Review, loc: Loc, deploy: DeployFile, manifest: graph.Manifest) -> None:
    inputs = _inputs(manifest)
    for port in deploy.inputs:
        found.name((*loc, "inputs", port), "camera input", port, inputs, at_key=True)
    for node in manifest.nodes:
        given = {inputs[port] for port in deploy.inputs if port in inputs}
        if node.override_mandatory and node.name in inputs and node.name not in given:
            message = f"camera input `{node.name}` of {deploy.application} needs a camera"
            found.add((*loc, "inputs"), message, "name it in `inputs`")
    types = {n.name: n.interface for n in manifest.nodes if n.interface in PARAMETER_TYPES}
    for name, value in deploy.parameters.items():
        place = (*loc, "parameters", name)
        if found.name(place, "parameter", name, types, at_key=True):
            _typed(found, place, value, types[name])


def _inputs(manifest: graph.Manifest) -> dict[str, str]:
    """What `inputs` may name, camera nodes and the ports they feed: the camera node of each."""
    cameras = {n.name: n.name for n in manifest.nodes if n.interface.endswith(CAMERA_INTERFACE)}
    for edge in manifest.edges:
        producer = edge.producer.partition(".")[0]
        if producer in cameras:
            cameras.setdefault(edge.consumer.partition(".")[2], producer)
    return cameras


def _typed(found: Review, loc: Loc, value: Any, wanted: str) -> None:
    fits = isinstance(value, PARAMETER_TYPES[wanted])
    if isinstance(value, bool) and wanted != "boolean":
        fits = False
    if not fits:
        found.add(loc, f"parameter `{loc[-1]}` is {wanted}, `{value}` is not")
