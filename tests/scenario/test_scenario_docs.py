"""docs/scenarios.md says what the code does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from harness.fault import FAULTS, PROCESS
from harness.scenario import json_schema, load

DOCS = Path(__file__).parents[2] / "docs/scenarios.md"


def test_the_example_is_valid(tmp_path: Path) -> None:
    example = re.search("```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    shutil.copytree(DOCS.parents[1] / "fixtures/apps", tmp_path / "fixtures/apps")
    (tmp_path / "scenarios").mkdir()
    path = tmp_path / "scenarios/night-watch.yaml"
    path.write_text(example[1], encoding="utf-8")
    assert load(path).name == "night-watch"


def keys(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {key for item in schema for key in keys(item)}
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", {}))
    return own.union(*(keys(item) for item in schema.values()))


def test_every_key_and_fault_is_explained() -> None:
    text = DOCS.read_text(encoding="utf-8")
    words = {
        word for code in re.findall("`([^`\n]+)`", text) for word in re.findall(r"[\w.]+", code)
    }
    words |= {part for word in words for part in word.split(".")}
    assert keys(json_schema()) - words == set()
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert FAULTS.keys() - rows.keys() == set()
    for name, fault in FAULTS.items():
        assert ("**P**" in rows[name]) == (fault.engines == (PROCESS,)), name
        assert [one for one in fault.parameters if f"`{one}`" not in rows[name]] == [], name
