"""A scenario file, read and found to be right, with the profiles and folders it names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.appliance.defects import known
from harness.fault import FAULTS
from harness.scenario.application import applications
from harness.scenario.document import parse, read
from harness.scenario.problem import FileInvalid, ScenarioInvalid
from harness.scenario.profile import ProfileLibrary
from harness.scenario.reading import fit
from harness.scenario.review import Known, Review, review
from harness.scenario.schema import ScenarioFile
from harness.scenario.sequence import sequence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.jetson.profile import Profile
    from harness.scenario.camera import CameraProfile
    from harness.scenario.document import Document

PROJECT_MARKS = (".git", "pyproject.toml", "device_profiles")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A valid scenario. `source` and `applications` are paths as the invocation sees them."""

    source: str
    file: ScenarioFile
    appliance_profiles: Mapping[str, Profile]
    camera_profiles: Mapping[str, CameraProfile]
    applications: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.file.name


def load(
    path: Path | str,
    *,
    known_checks: Mapping[str, tuple[str, ...]] | None = None,
    base: Path | None = None,
) -> Scenario:
    """Read a scenario file and check all of it. Raises `ScenarioInvalid` with every problem.

    `known_checks` maps each checker to its parameters; without it check names are not checked.
    Paths in the result are relative to `base`, by default the working directory.
    """
    path, base = Path(path), base or Path.cwd()
    source = shown(path, base)
    try:
        return _scenario(read(path, shown_as=source), path.parent, known_checks, base)
    except FileInvalid as invalid:
        raise ScenarioInvalid(invalid.problems) from None


def from_mapping(
    data: Mapping[str, Any],
    *,
    folder: Path,
    known_checks: Mapping[str, tuple[str, ...]] | None = None,
    base: Path | None = None,
) -> Scenario:
    """A scenario written in Python, in the shape of the file; its paths start from `folder`.

    Raises `ScenarioInvalid`; lines and columns count in the mapping as indented JSON.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False)
    try:
        document = parse(text, file="<mapping>")
        return _scenario(document, folder, known_checks, base or Path.cwd())
    except FileInvalid as invalid:
        raise ScenarioInvalid(invalid.problems) from None


def _scenario(
    document: Document,
    folder: Path,
    known_checks: Mapping[str, tuple[str, ...]] | None,
    base: Path,
) -> Scenario:
    file, problems = fit(document, ScenarioFile)
    if file is None:
        raise FileInvalid(problems)
    found = Review(document, file, Known(FAULTS, tuple(known()), known_checks), problems)
    review(found, ProfileLibrary(folder))
    applications(found, folder)
    sequence(found)
    if found.problems:
        raise FileInvalid(found.problems)
    return Scenario(
        source=document.file,
        file=file,
        appliance_profiles=found.appliance_profiles,
        camera_profiles=found.camera_profiles,
        applications={name: shown(path, base) for name, path in found.applications.items()},
    )


def shown(path: Path, base: Path) -> str:
    """`path` relative to `base` when both are in one project, else absolute.

    So a plan made in a checkout names no folder of the machine, wherever the checkout lies.
    """
    path, base = path.resolve(), base.resolve()
    project = next(
        (folder for folder in (base, *base.parents) if _is_project(folder)),
        base,
    )
    if path.is_relative_to(project):
        return Path(os.path.relpath(path, base)).as_posix()
    return path.as_posix()


def _is_project(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in PROJECT_MARKS)
