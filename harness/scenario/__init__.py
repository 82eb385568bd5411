"""Scenario files, and the plans they compile to.

    scenario = load("scenarios/first-light.yaml")     # Scenario, or ScenarioInvalid
    plan = compile_plan(scenario, seed=7)             # Plan: frozen, the same every time

`harness.scenario.plan`, the contract with the engines, stays importable without pydantic and
YAML: what reads files is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.scenario.loading import Scenario, from_mapping, load
    from harness.scenario.planning import compile_plan
    from harness.scenario.problem import FileInvalid, Problem, ScenarioInvalid
    from harness.scenario.profile import (
        ProfileLibrary,
        appliance_profile,
        camera_profile,
        profile_schemas,
        shipped_hardware,
    )
    from harness.scenario.quota_file import load_quotas
    from harness.scenario.schema import json_schema, quotas_schema

__all__ = [
    "FileInvalid",
    "Problem",
    "ProfileLibrary",
    "Scenario",
    "ScenarioInvalid",
    "appliance_profile",
    "camera_profile",
    "compile_plan",
    "from_mapping",
    "json_schema",
    "load",
    "load_quotas",
    "profile_schemas",
    "quotas_schema",
    "shipped_hardware",
]

_HOME = {
    "loading": ("Scenario", "from_mapping", "load"),
    "planning": ("compile_plan",),
    "problem": ("FileInvalid", "Problem", "ScenarioInvalid"),
    "profile": (
        "ProfileLibrary",
        "appliance_profile",
        "camera_profile",
        "profile_schemas",
        "shipped_hardware",
    ),
    "quota_file": ("load_quotas",),
    "schema": ("json_schema", "quotas_schema"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
