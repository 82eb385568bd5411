"""Device and camera profiles: files in `device_profiles/` whose every number names its source."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from harness.jetson.hardware import Hardware
from harness.jetson.profile import Profile
from harness.scenario.camera import CameraProfile, StreamProfile
from harness.scenario.camera_file import CameraProfileFile
from harness.scenario.document import read
from harness.scenario.hardware_file import HardwareFile
from harness.scenario.part import NAME_PATTERN, Part
from harness.scenario.problem import FileInvalid
from harness.scenario.quantity import Size, Span
from harness.scenario.quirk import Quirks
from harness.scenario.reading import fit
from harness.scenario.schema import published
from harness.scenario.sourced import Fact, Sourced

T = TypeVar("T")
Model = TypeVar("Model", bound=Part)
FOLDER = "device_profiles"
KINDS = ("appliances", "cameras")


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Measure = Annotated[float, Field(gt=0)]


class ApplianceProfileFile(Part):
    """A kind of appliance: what the hardware is, and what its work costs."""

    schema_version: Annotated[int, Field(ge=1, le=1)] = Field(alias="schema")
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: str = ""
    brand: Annotated[str, Field(pattern="^(AWS_PANORAMA|LENOVO)$")]
    device_type: Annotated[
        str, Field(pattern="^(PANORAMA_APPLIANCE|PANORAMA_APPLIANCE_DEVELOPER_KIT)$")
    ]
    module: Sourced[str]
    board: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        description="what firmware images are built for"
    )
    memory: Sourced[Size]
    slot: Sourced[Size] = Field(description="one of the two system slots")
    data: Sourced[Size] = Field(description="the encrypted data partition")
    fuse_level: Sourced[Count] = Field(description="anti-rollback fuses blown at the factory")
    boot: Sourced[Span]
    shutdown: Sourced[Span]
    model_load: Sourced[Span]
    storage_write_bytes_per_s: Sourced[Measure]
    storage_read_bytes_per_s: Sourced[Measure]
    sync: Sourced[Span]
    hash_bytes_per_s: Sourced[Measure]
    uplink_bytes_per_s: Sourced[Measure]
    round_trip: Sourced[Span]
    decode_ms: Sourced[Measure] = Field(description="one 1080p frame in the hardware decoder")
    inference_ms: Sourced[Measure] = Field(description="one frame of the reference model")
    host_ms: Sourced[Measure] = Field(description="the rest of the work on a frame, on the CPU")
    streams_max: Sourced[Positive] = Field(description="camera streams an application may read")
    hardware: HardwareFile | None = Field(
        default=None, description="what the performance model needs to know"
    )
    facts: dict[str, Sourced[Fact]] = Field(
        default_factory=dict, description="what else is known of the hardware"
    )


_RENAMED = {
    "memory_bytes": "memory",
    "slot_bytes": "slot",
    "data_bytes": "data",
    "boot_s": "boot",
    "shutdown_s": "shutdown",
    "model_load_s": "model_load",
    "sync_s": "sync",
    "round_trip_s": "round_trip",
    "clip_s": "clip",
    "timestamp_reset_s": "timestamp_reset",
    "stale_sessions_s": "stale_sessions",
    "session_timeout_s": "session_timeout",
}


def appliance_profile(path: Path, *, shown_as: str | None = None) -> Profile:
    """Read an appliance profile. Raises `FileInvalid` with every problem in it."""
    file = _read(path, ApplianceProfileFile, shown_as)
    hardware = None if file.hardware is None else file.hardware.made(file.name)
    return _made(Profile, file, hardware=hardware)


def camera_profile(path: Path, *, shown_as: str | None = None) -> CameraProfile:
    """Read a camera profile. Raises `FileInvalid` with every problem in it."""
    file = _read(path, CameraProfileFile, shown_as)
    return _made(
        CameraProfile,
        file,
        authentication="digest" if file.authentication is None else file.authentication.value,
        streams={name: _made(StreamProfile, stream) for name, stream in file.streams.items()},
        quirks=_made(Quirks, file.quirks),
    )


def _read(path: Path, model: type[Model], shown_as: str | None) -> Model:
    document = read(path, shown_as=shown_as)
    file, problems = fit(document, model)
    if file is not None and getattr(file, "name", path.stem) != path.stem:
        hint = f"name the file {getattr(file, 'name', '')}.yaml, or the profile {path.stem}"
        problems.append(document.problem(("name",), "the name differs from the file's", hint=hint))
    if file is None or problems:
        raise FileInvalid(problems)
    return file


def _made(kind: type[T], file: Part, **made: Any) -> T:
    """The frozen counterpart of a part of a file; what the file leaves out keeps its default."""
    values: dict[str, Any] = dict(made)
    for name in (field.name for field in fields(kind) if field.name not in made):  # type: ignore[arg-type]
        value = getattr(file, _RENAMED.get(name, name))
        value = value.value if isinstance(value, Sourced) else value
        if value is not None:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


class ProfileLibrary:
    """Finds profiles by name: the project's own before those that the harness ships.

    Looked through in this order: `device_profiles/` in the folder of the scenario and every one
    above it, in the checkout of the harness, in the installed package.
    """

    def __init__(self, start: Path) -> None:
        package = Path(__file__).resolve().parent.parent
        start = start.resolve()
        around = [folder / FOLDER for folder in (start, *start.parents)]
        candidates = [*around, package.parent / FOLDER, package / FOLDER]
        self.folders = tuple(dict.fromkeys(path for path in candidates if path.is_dir()))

    def known(self, kind: str) -> tuple[str, ...]:
        """Names of all profiles of a kind (`appliances` or `cameras`)."""
        return tuple(sorted({path.stem for path in self._files(kind)}))

    def find(self, kind: str, name: str) -> Path | None:
        return next((path for path in self._files(kind) if path.stem == name), None)

    def _files(self, kind: str) -> Iterator[Path]:
        for folder in self.folders:
            yield from sorted((folder / kind).glob("*.yaml"))


def shipped_hardware() -> dict[str, Hardware]:
    """The modules of all appliance profiles that say what they are made of."""
    library = ProfileLibrary(Path(__file__).parent)
    found: dict[str, Hardware] = {}
    for name in library.known("appliances"):
        path = library.find("appliances", name)
        hardware = appliance_profile(path).hardware if path else None
        if hardware is not None:
            found[name] = hardware
    return found


def profile_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schemas of profile files, by kind: `appliance` and `camera`."""
    return {
        "appliance": published(ApplianceProfileFile, "harness appliance profile"),
        "camera": published(CameraProfileFile, "harness camera profile"),
    }
