"""What packages offer to a graph: interfaces with typed ports, read from package.json.

A node of a graph stands for one interface of one package. Whatever package.json holds, what is
not of its form is a problem that names the node, or something that nothing can refer to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.appliance.graph_document import Node

SYSTEM_ACCOUNT = "panorama"
SYSTEM_VERSION = "1.0"
CAMERA_PLACEHOLDER = f"{SYSTEM_ACCOUNT}::abstract_rtsp_media_source"

CODE, MODEL = "business_logic", "ml_model"
CAMERA, DISPLAY, PARAMETER = "media_source", "media_sink", "parameter"
GPU = "nvhost_gpu"  # deviceType of an inference accelerator

# Packages that every appliance brings along; applications refer to them without registering.
SYSTEM_PACKAGES: Mapping[str, Mapping[str, Any]] = {
    CAMERA_PLACEHOLDER: {
        "nodePackage": {
            "interfaces": [
                {
                    "name": "rtsp_v1_interface",
                    "category": CAMERA,
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
                    "category": DISPLAY,
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
    """An interface of a package; `asset` names the package's asset that implements it.

    `gpu`: the asset asks for direct access to the GPU.
    """

    name: str
    category: str  # business_logic | ml_model | media_source | media_sink | parameter
    asset: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    inbound_ports: tuple[int, ...] = ()
    gpu: bool = False


def parameter(node: Node) -> Interface:
    """What a parameter node offers: one output of its type, named like the node."""
    return Interface(node.interface, PARAMETER, "", (), (Port(node.name, node.interface),))


def find(node: Node, package: Mapping[str, Any]) -> Interface | str:
    """The interface of `package` (package.json) that `node` names; text: why there is none."""
    body = package.get("nodePackage")
    if not isinstance(body, Mapping):
        return f"package {node.package!r} has no nodePackage"
    name = node.interface.rpartition(".")[2]
    item = next((i for i in _objects(body, "interfaces") if i.get("name") == name), None)
    if item is None:
        return f"package {node.package!r} has no interface {name!r}"
    asset = next((a for a in _objects(body, "assets") if a.get("name") == item.get("asset")), None)
    if asset is None and item.get("category") in (CODE, MODEL):
        return f"its package has no asset {item.get('asset', '')!r}"
    return _interface(item, asset or {})


def _interface(item: Mapping[str, Any], asset: Mapping[str, Any]) -> Interface:
    network = item.get("network")
    inbound = _objects(network, "inboundPorts") if isinstance(network, Mapping) else []
    return Interface(
        name=str(item.get("name")),
        category=str(item.get("category")),
        asset=str(item.get("asset", "")),
        inputs=tuple(_port(port) for port in _objects(item, "inputs")),
        outputs=tuple(_port(port) for port in _objects(item, "outputs")),
        inbound_ports=tuple(entry["port"] for entry in inbound if type(entry.get("port")) is int),
        gpu=_asks_for_gpu(asset),
    )


def _asks_for_gpu(asset: Mapping[str, Any]) -> bool:
    """`hardware_access` to the GPU, whatever sharing policy it names."""
    return any(
        requirement.get("type") == "hardware_access" and accelerator.get("deviceType") == GPU
        for implementation in _objects(asset, "implementations")
        for requirement in _objects(implementation, "requirements")
        for accelerator in _objects(requirement, "inferenceAccelerators")
    )


def _port(item: Mapping[str, Any]) -> Port:
    return Port(str(item.get("name")), str(item.get("type")), item.get("default"))


def _objects(body: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects of a list in package.json; what is none cannot be referred to."""
    items = body.get(key)
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
