"""`harness camera list`, `set` and `verbs`: talk to cameras that run, and what can be said."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from harness.camera.fleet import control, desk
from harness.camera.fleet.verb import VERBS
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.camera.fleet.cameras import Row

JSON_SCHEMA = 1


def show(path: Path | None, *, as_json: bool) -> int:
    """Print all cameras, a line each."""
    reply = _ask(path, {"do": "list"})
    if as_json:
        print(json.dumps({"schema": JSON_SCHEMA, "cameras": reply["cameras"]}, indent=2))
        return 0
    rows = [desk.row_of(value) for value in reply["cameras"]]
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{row.name:{width}}  {_told(row)}  {row.url}")
    return 0


def change(path: Path | None, name: str, verb: str, values: Iterable[str], *, as_json: bool) -> int:
    """Do `verb` to a camera and print how it is then."""
    request = {"do": "set", "camera": name, "verb": verb, "with": dict(map(_pair, values))}
    value = _ask(path, request)["camera"]
    if as_json:
        print(json.dumps({"schema": JSON_SCHEMA, "camera": value}, indent=2))
    else:
        row = desk.row_of(value)
        print(f"{row.name}  {_told(row)}")
    return 0


def verbs(*, as_json: bool) -> int:
    """Print what `harness camera set` can do, and what it may be told."""
    if as_json:
        table = {name: verb.told() for name, verb in sorted(VERBS.items())}
        print(json.dumps({"schema": JSON_SCHEMA, "verbs": table}, indent=2))
        return 0
    for name, verb in sorted(VERBS.items()):
        print(f"{name:16}{verb.does}")
        for one in verb.parameters:
            default = f" [{one.default}]" if one.default != "" else ""
            print(f"    {one.name}{default}: {one.says}; {one.range_text}")
    return 0


def _told(row: Row) -> str:
    told = f"{row.state:7}  {row.readers:4} readers  {row.frames_sent:9} frames"
    return f"{told}  {','.join(row.faults)}" if row.faults else told


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InputError(f"`{text}` is not a parameter", hint="KEY=VALUE")
    return key, value


def _ask(path: Path | None, request: dict[str, Any]) -> dict[str, Any]:
    return asyncio.run(control.ask(control.find(path), request))
