"""Deploy steps against the graph of the application."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.scenario import ScenarioInvalid, load

Refused = Callable[..., str]
Write = Callable[..., Path]
INPUTS = "inputs: {camera_in: door}"
GRAPH = "apps/counter/graphs/counter/graph.json"


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("inputs: {camera_inn: door}", "unknown camera input `camera_inn`"),
        ("inputs: {level: door}", "known camera inputs: `camera`, `camera_in`"),
        (f"{INPUTS}, parameters: {{levl: 0.5}}", "did you mean `level`?"),
        (f"{INPUTS}, parameters: {{level: high}}", "parameter `level` is float32, `high` is not"),
        (f"{INPUTS}, parameters: {{level: true}}", "parameter `level` is float32"),
        (f"{INPUTS}, parameters: {{title: 5}}", "parameter `title` is string, `5` is not"),
    ],
)
def test_refusals(refused: Refused, new: str, message: str) -> None:
    assert message in refused((INPUTS, new))


@pytest.mark.parametrize(
    "new",
    [
        "inputs: {camera: door}",
        f"{INPUTS}, parameters: {{level: 1, title: '5'}}",
        f"{INPUTS}, parameters: {{level: 0.25}}",
    ],
)
def test_what_the_graph_has(write: Write, new: str) -> None:
    load(write((INPUTS, new)))


def test_a_mandatory_camera_must_be_given(write: Write, refused: Refused, tmp_path: Path) -> None:
    load(write((f", {INPUTS}", "")))
    path = tmp_path / GRAPH
    graph = json.loads(path.read_text(encoding="utf-8"))
    graph["nodeGraph"]["nodes"][1]["overrideMandatory"] = True
    path.write_text(json.dumps(graph), encoding="utf-8")
    load(write())
    with pytest.raises(ScenarioInvalid, match="camera input `camera` of counter needs a camera"):
        load(write((f", {INPUTS}", "")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "counter/graph.json: Expecting property name"),
        ("{}", "counter/graph.json: "),
        ('{"nodeGraph": {"envelopeVersion": "2020"}}', "counter/graph.json: "),
    ],
)
def test_a_wrong_graph_is_a_problem_of_the_application(
    write: Write, tmp_path: Path, text: str, message: str
) -> None:
    path = write()
    (tmp_path / GRAPH).write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioInvalid) as caught:
        load(path, base=tmp_path)
    assert f"scenarios/small.yaml:14:12: {message}" in str(caught.value)
