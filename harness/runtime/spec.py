"""What an application process is started with, and how it reaches the process: as one file.

The file is inherited open and has no name, so camera credentials are neither on the command
line nor in the environment nor on disk.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Value: TypeAlias = "str | int | float | bool"

# Names the inherited files, `<spec>:<telemetry>:<control>:<display>` as descriptor numbers.
FILES_VARIABLE = "HARNESS_APPLICATION_FILES"
_READ_BYTES = 1 << 16
_TUPLES = ("entry", "outputs", "inputs", "displays", "paused")


@dataclass(frozen=True, slots=True)
class CameraInput:
    """A camera feeding the input `port`; `url` (rtsp://) as reachable from this machine.

    `transport` is what its stream is asked for over: tcp or udp. `username` None: the appliance
    could not fetch the credentials.
    """

    node: str
    port: str
    name: str
    url: str
    username: str | None
    password: str = field(repr=False)
    transport: str = "tcp"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model `node`: its ONNX file and its descriptor.json (`mlModelDescriptor`)."""

    node: str
    path: Path
    descriptor: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApplicationSpec:
    """One application instance.

    `root` is the unpacked container file system, `entry` the descriptor's path and name,
    `parameters` maps input ports to values, `outputs` are the code node's output ports and
    `displays` those of them that the HDMI output shows (not `tiled`: the first stream alone),
    `inputs` its media input ports (those with cameras need not be named). Camera nodes in `paused`
    deliver nothing until told to (`control`). `environment` is set for the process beside what
    every container has: where an AWS SDK finds the credentials of its role. `packages` are the
    Python packages it asked for, `paces` how long model nodes take where that is not this
    machine's affair (`control.pace`).
    """

    instance: str
    root: Path
    entry: tuple[str, ...]
    cameras: tuple[CameraInput, ...]
    parameters: Mapping[str, Value]
    models: tuple[ModelFile, ...]
    outputs: tuple[str, ...]
    storage: Path
    logs: Path
    region: str
    inputs: tuple[str, ...] = ()
    displays: tuple[str, ...] = ()
    tiled: bool = True
    paused: tuple[str, ...] = ()
    packages: Path | None = None
    paces: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def media_ports(self) -> tuple[str, ...]:
        """Every media input port, in order, each once."""
        return tuple(dict.fromkeys((*self.inputs, *(camera.port for camera in self.cameras))))

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), default=str).encode()

    @classmethod
    def from_json(cls, data: bytes) -> ApplicationSpec:
        values = json.loads(data)
        models = [ModelFile(m["node"], Path(m["path"]), m["descriptor"]) for m in values["models"]]
        return cls(
            **{
                **values,
                **{name: Path(values[name]) for name in ("root", "storage", "logs")},
                "packages": Path(values["packages"]) if values["packages"] else None,
                "paces": {node: (a, b) for node, (a, b) in values["paces"].items()},
                **{name: tuple(values[name]) for name in _TUPLES},
                "cameras": tuple(CameraInput(**camera) for camera in values["cameras"]),
                "models": tuple(models),
            }
        )


def read_inherited(fd: int) -> ApplicationSpec:
    """The spec from the inherited file `fd`, wherever its offset stands."""
    data, offset = b"", 0
    while chunk := os.pread(fd, _READ_BYTES, offset):
        data += chunk
        offset += len(chunk)
    return ApplicationSpec.from_json(data)
