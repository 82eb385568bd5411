"""A project folder with a small valid scenario, and ways to change it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.scenario import ScenarioInvalid, load

SMALL = """\
schema: 1
name: small
seed: 3
site:
  appliances:
    north: {profile: panorama-appliance, firmware: 6.2.1}
    south: {profile: lenovo-se70, firmware: 6.2.1}
  cameras:
    door: {profile: generic-360p15}
    yard: {profile: generic-720p30, objects: 5}
images:
  7.0.13: {size: 8MiB}
applications:
  counter: ../apps/counter
bring_up:
  - provision: [north, south]
  - deploy: {application: counter, as: one, on: north, inputs: {camera_in: door}}
workload:
  - observe: 2s
checks: [steps]
stop_after: 1m
converge_within: 20s
"""

GRAPH = {
    "nodeGraph": {
        "envelopeVersion": "2021-01-01",
        "packages": [
            {"name": "123456789012::counter_code", "version": "1.0"},
            {"name": "panorama::abstract_rtsp_media_source", "version": "1.0"},
        ],
        "nodes": [
            {"name": "code", "interface": "123456789012::counter_code.interface"},
            {
                "name": "camera",
                "interface": "panorama::abstract_rtsp_media_source.rtsp_v1_interface",
                "overridable": True,
            },
            {"name": "level", "interface": "float32", "value": 0.5, "overridable": True},
            {"name": "title", "interface": "string", "value": "", "overridable": True},
        ],
        "edges": [
            {"producer": "camera.video_out", "consumer": "code.camera_in"},
            {"producer": "level", "consumer": "code.level"},
            {"producer": "title", "consumer": "code.title"},
        ],
    }
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the small scenario, with replacements, into a project of its own."""
    (tmp_path / "pyproject.toml").touch()
    graph = tmp_path / "apps/counter/graphs/counter"
    graph.mkdir(parents=True)
    (graph / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    (tmp_path / "scenarios").mkdir()

    def write(*changes: tuple[str, str], text: str = SMALL) -> Path:
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / "scenarios/small.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def refused(write: Write, tmp_path: Path) -> Callable[..., str]:
    """The whole message about the small scenario with replacements."""

    def refused(
        *changes: tuple[str, str], known_checks: Mapping[str, tuple[str, ...]] | None = None
    ) -> str:
        with pytest.raises(ScenarioInvalid) as caught:
            load(write(*changes), base=tmp_path, known_checks=known_checks)
        return str(caught.value)

    return refused
