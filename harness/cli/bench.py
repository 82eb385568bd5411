"""`harness bench`: measures, and prints what was measured, with command and machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import import_module
from typing import Any

JSON_SCHEMA = 1
BENCHES = {
    "appliance": "harness.engine.model.bench",
    "camera": "harness.camera.bench",
    "cloud": "harness.cloud.bench",
    "identity": "harness.camera.identity_bench",
    "demo": "harness.cli.bench_demo",
}


def run(what: str, *, as_json: bool) -> int:
    """Run one bench or all of them. Each is a module with `run() -> dict`."""
    results: dict[str, Any] = {}
    for name in BENCHES if what == "all" else (what,):
        print(f"measuring {name} ...", file=sys.stderr)
        results[name] = import_module(BENCHES[name]).run()
    value = {
        "schema": JSON_SCHEMA,
        "command": f"harness bench {what}",
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "results": results,
    }
    if as_json:
        print(json.dumps(value, indent=2, sort_keys=True))
    else:
        for name, result in results.items():
            _print(name, result)
    return 0


def _print(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _print(f"{name}.{key}", item)
    elif isinstance(value, float):
        print(f"{name}: {value:.6g}")
    else:
        print(f"{name}: {value}")
