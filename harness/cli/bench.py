"""`harness bench`: measures, and prints what was measured, with command and machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import import_module
from typing import Any

from harness.errors import InputError

JSON_SCHEMA = 1
BENCHES = {
    "appliance": "harness.engine.model.bench",
    "camera": "harness.camera.bench.sessions",
    "cloud": "harness.cloud.bench",
    "identity": "harness.camera.bench.identity",
    "runtime": "harness.engine.process.bench",
    "demo": "harness.cli.bench_demo",
}
EXIT_CODES = {"pass": 0, "fail": 1, "unknown": 3}


def run(
    what: str, *, as_json: bool, sessions: int | None = None, soak_s: float | None = None
) -> int:
    """Run one bench or all of them. Each is a module with `run() -> dict`.

    Of cameras `sessions` is the one level to measure, or how many to soak for `soak_s`. Gives the
    exit code, which is that of the verdict where a bench has one.
    """
    if what != "camera" and (sessions is not None or soak_s is not None):
        raise InputError(
            f"--sessions and --soak are not for `{what}`", hint="harness bench camera --soak 1h"
        )
    results: dict[str, Any] = {}
    load = os.getloadavg()[0]
    for name in BENCHES if what == "all" else (what,):
        print(f"measuring {name} ...", file=sys.stderr)
        if soak_s is not None:
            results[name] = _soak(soak_s, sessions)
        else:
            options = {} if sessions is None else {"sessions": (sessions,)}
            results[name] = import_module(BENCHES[name]).run(**options)
    value = {
        "schema": JSON_SCHEMA,
        "command": _command(what, sessions, soak_s),
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load_before": round(load, 2),
        },
        "results": results,
    }
    if as_json:
        print(json.dumps(value, indent=2, sort_keys=True))
    else:
        for name, result in results.items():
            _print(name, result)
    return max(EXIT_CODES[result.get("verdict", "pass")] for result in results.values())


def _soak(seconds: float, sessions: int | None) -> dict[str, Any]:
    from harness.camera.bench import soak

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    return soak.run(seconds, soak.SESSIONS if sessions is None else sessions, tell=tell)


def _command(what: str, sessions: int | None, soak_s: float | None) -> str:
    """What measures the same again."""
    parts = ["harness bench", what]
    if soak_s is not None:
        parts.append(f"--soak {soak_s:g}s")
    if sessions is not None:
        parts.append(f"--sessions {sessions}")
    return " ".join(parts)


def _print(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _print(f"{name}.{key}", item)
    elif isinstance(value, float):
        print(f"{name}: {value:.6g}")
    else:
        print(f"{name}: {value}")
