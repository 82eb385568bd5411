"""Requests to running cameras, one JSON object a line, and their answers.

    {"do": "list"}                                        -> {"ok": true, "cameras": [...]}
    {"do": "set", "camera": "yard", "verb": "offline"}    -> {"ok": true, "camera": {...}}
    {"do": "set", ..., "with": {"name": "value"}}         with the parameters of the verb
    {"do": "verbs"}                                       -> {"ok": true, "verbs": {...}}
    what cannot be done                                   -> {"ok": false, "error": "..."}

The control socket of `harness camera serve` and the pipes to its workers speak it. Pure.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from harness.camera.fleet.cameras import Row
from harness.camera.fleet.verb import VERBS
from harness.errors import EngineError, HarnessError, InputError

if TYPE_CHECKING:
    from harness.camera.fleet.cameras import Keeper

REQUEST_BYTES_MAX = 64 << 10
REPLY_BYTES_MAX = 16 << 20  # 10,000 cameras


def encode(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises `InputError` for what is no JSON object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError("not a JSON object", hint='one a line, such as {"do": "list"}')
    return value


async def answer(keeper: Keeper, line: bytes) -> bytes:
    """The reply to one request; whatever is wrong with it becomes an error that says so."""
    try:
        return encode({"ok": True, **await _done(keeper, decode(line))})
    except HarnessError as error:
        return encode({"ok": False, **problem(error)})


def problem(error: HarnessError) -> dict[str, Any]:
    return {"error": str(error), "hint": error.hint, "input": isinstance(error, InputError)}


def checked(reply: dict[str, Any]) -> dict[str, Any]:
    """A reply that is not an error. Raises the error of one that is."""
    if reply.get("ok") is True:
        return reply
    kind = InputError if reply.get("input") else EngineError
    raise kind(str(reply.get("error", "no answer")), hint=str(reply.get("hint", "")))


def row_of(value: Any) -> Row:
    """A row that came as JSON."""
    return Row(**value)


async def _done(keeper: Keeper, request: dict[str, Any]) -> dict[str, Any]:
    do = request.get("do")
    if do == "list":
        return {"cameras": [dataclasses.asdict(row) for row in await keeper.rows()]}
    if do == "verbs":
        return {"verbs": {name: verb.told() for name, verb in VERBS.items()}}
    if do == "set":
        name, verb, values = request.get("camera"), request.get("verb"), request.get("with", {})
        if not (isinstance(name, str) and isinstance(verb, str) and _are_values(values)):
            raise InputError(
                "set without a camera and a verb",
                hint='{"do": "set", "camera": NAME, "verb": VERB, "with": {NAME: VALUE}}',
            )
        return {"camera": dataclasses.asdict(await keeper.set(name, verb, values))}
    raise InputError(f"unknown request {do!r}", hint="do: list, set or verbs")


def _are_values(values: Any) -> bool:
    return isinstance(values, dict) and all(
        isinstance(value, (str, int, float)) for value in values.values()
    )
