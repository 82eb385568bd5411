"""What an application demands of the appliance it runs on, and why one cannot meet it.

A control plane cannot judge this when an application is deployed: which firmware runs by the
time the deployment arrives, and what else is installed then, only the appliance knows. So the
deployment document says what is demanded (`demands`), and the firmware compares. Sources: the
vendor's developer guide (GPU access, inbound ports) and change log, editions of 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.appliance.image import version_key
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.graph import Graph

ONE_CODE_NODE = "5.0.7"  # fixed there: two code nodes could run in one application
NO_COMPILED_MODELS = "8.0.29"  # from there on compiled model nodes are not supported
GPU_AND_PORTS = "4.3.45"  # brought GPU access and inbound ports


@dataclass(frozen=True, slots=True)
class Demand:
    """Names of code nodes, compiled model nodes, nodes with GPU access; ports of the appliance."""

    codes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    @classmethod
    def of(cls, graph: Graph) -> Demand:
        return cls(
            codes=tuple(code.node for code in graph.codes),
            models=tuple(model.node for model in graph.models),
            gpu=tuple(code.node for code in graph.codes if code.interface.gpu),
            ports=tuple(route.host_port for route in graph.routes),
        )

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Demand:
        """What `demands` of a document says; nothing when it is not there. Raises `Corrupt`."""
        values = document.get("demands")
        if values is None:
            return cls()
        try:
            names = {key: tuple(map(str, values[key])) for key in ("codes", "models", "gpu")}
            return cls(**names, ports=tuple(map(int, values["ports"])))
        except (TypeError, ValueError, KeyError) as error:
            raise Corrupt(f"deployment document: demands: {error}") from None

    def to_json(self) -> dict[str, Any]:
        return {
            "codes": list(self.codes),
            "models": list(self.models),
            "gpu": list(self.gpu),
            "ports": list(self.ports),
        }

    def unmet(self, firmware: str, others: Mapping[str, Demand]) -> str:
        """Why it cannot run on this firmware beside the `others` (by instance); empty: it can."""
        return self._unmet_by(firmware) or next(
            (why for name, other in others.items() if (why := self._unmet_beside(name, other))), ""
        )

    def _unmet_by(self, firmware: str) -> str:
        running = version_key(firmware)
        if len(self.codes) > 1 and running >= version_key(ONE_CODE_NODE):
            needed = f"one code node an application from firmware {ONE_CODE_NODE} on"
            return f"{_nodes(self.codes)}: {needed}; this is {firmware}"
        if self.models and running >= version_key(NO_COMPILED_MODELS):
            needed = f"no compiled model runs from firmware {NO_COMPILED_MODELS} on"
            return f"{_nodes(self.models)}: {needed}; this is {firmware}"
        if (self.gpu or self.ports) and running < version_key(GPU_AND_PORTS):
            what = _nodes(self.gpu) + ": GPU access needs" if self.gpu else _ports(self.ports)
            what += "" if self.gpu else ": inbound ports need"
            return f"{what} firmware {GPU_AND_PORTS} or newer; this is {firmware}"
        return ""

    def _unmet_beside(self, instance: str, other: Demand) -> str:
        if self.gpu and other.models:
            return (
                f"{_nodes(self.gpu)}: no GPU access beside model nodes, as is "
                f"{_nodes(other.models)} of {instance}"
            )
        if self.models and other.gpu:
            return (
                f"{_nodes(self.models)}: no model node runs beside GPU access, as has "
                f"{_nodes(other.gpu)} of {instance}"
            )
        taken = tuple(port for port in self.ports if port in other.ports)
        return f"{_ports(taken)}: taken by {instance}" if taken else ""


def _nodes(names: tuple[str, ...]) -> str:
    return f"node{'s'[: len(names) > 1]} {', '.join(map(repr, names))}"


def _ports(ports: tuple[int, ...]) -> str:
    return f"port{'s'[: len(ports) > 1]} {', '.join(map(str, ports))}"
