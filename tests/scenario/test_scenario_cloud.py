"""The control plane in files: its broker, its quotas as a whole or one by one, and mistakes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from harness.scenario import FileInvalid, ScenarioInvalid, load, load_quotas, quotas_schema
from harness.scenario.planning import compile_plan
from harness.scenario.quota import DOCUMENTED, NAMES, OFF, Quotas
from harness.scenario.quota_file import QuotasFile

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_names_every_quota_and_leaves_the_documented() -> None:
    assert tuple(QuotasFile.model_fields) == NAMES
    assert QuotasFile().quotas == DOCUMENTED
    assert Quotas(50, 50, 20, 10, 8, 200, 5.0, 1.0) == DOCUMENTED, "the vendor's guide, 2024"


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text("devices: 5000\nchanges_per_s: off\nrequests_per_s: 50\n")
    wanted = replace(DOCUMENTED, devices=5000, changes_per_s=None, requests_per_s=50.0)
    assert load_quotas(path) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("devics: 5", "1:1: unknown key `devics`"),
        ("devices: 0", "1:10: `0` is no quota"),
        ("devices: many", "1:10: `many` is no quota"),
        ("devices: 1.5", "1:10: `1.5` is no quota"),
        ("changes_per_s: 0", "1:16: `0` is no rate"),
        ("- off", "1:1: expected a mapping"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text(text)
    with pytest.raises(FileInvalid) as caught:
        load_quotas(path)
    assert f"{path}:{said}" in str(caught.value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(QUOTED.get(text, []), quotas_schema())


QUOTED: dict[str, Any] = {
    "devics: 5": {"devics": 5},
    "devices: 0": {"devices": 0},
    "devices: many": {"devices": "many"},
    "devices: 1.5": {"devices": 1.5},
    "changes_per_s: 0": {"changes_per_s": 0},
}


@pytest.mark.parametrize(
    ("choice", "quotas"),
    [
        ("", OFF),
        ("cloud: {quotas: off}", OFF),
        ("cloud: {quotas: documented}", DOCUMENTED),
        ("cloud: {quotas: {devices: 3}}", replace(DOCUMENTED, devices=3)),
    ],
)
def test_a_scenario_chooses_its_quotas(write: Any, choice: str, quotas: Quotas) -> None:
    path = write(("workload:\n", f"{choice}\nworkload:\n"))
    assert compile_plan(load(path)).cloud.quotas == quotas


def test_a_scenario_chooses_its_broker(write: Any) -> None:
    path = write(("workload:\n", "cloud: {broker: mosquitto}\nworkload:\n"))
    assert compile_plan(load(path)).cloud.broker == "mosquitto"
    path = write(("workload:\n", "cloud: {broker: emqx}\nworkload:\n"))
    with pytest.raises(ScenarioInvalid, match="`emqx` is not allowed for `broker`"):
        load(path)


@pytest.mark.parametrize("choice", ["some", "5", "[off]", "{devices: none}", "{rates: off}"])
def test_a_wrong_choice_is_one_problem_at_its_place(write: Any, choice: str) -> None:
    path = write(("workload:\n", f"cloud: {{quotas: {choice}}}\nworkload:\n"))
    with pytest.raises(ScenarioInvalid) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.source.startswith("cloud: ")


def more_applications(count: int) -> str:
    step = (
        "  - deploy: {{application: counter, as: n{0}, on: north, inputs: {{camera_in: door}}}}\n"
    )
    return "workload:\n" + "".join(step.format(number) for number in range(count))


@pytest.mark.parametrize(
    ("choice", "allowed"),
    [("", 9), ("documented", 9), ("{applications_per_device: 12}", 11), ("off", 30)],
)
def test_steps_are_held_to_the_quotas_before_anything_starts(
    write: Any, choice: str, allowed: int
) -> None:
    """Without a choice to the documented ones, of which the run itself enforces none."""
    chosen = f"cloud: {{quotas: {choice}}}\n" if choice else ""
    assert load(write(("workload:\n", chosen + more_applications(allowed))))
    if choice != "off":
        with pytest.raises(ScenarioInvalid, match=f"holds at most {allowed + 1} applications"):
            load(write(("workload:\n", chosen + more_applications(allowed + 1))))
