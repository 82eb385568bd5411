"""From a document to a model: pydantic's errors retold with places and hints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.scenario.problem import Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from harness.scenario.document import Document, Loc

Model = TypeVar("Model", bound=BaseModel)
VALUE_CHARS_MAX = 60

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping (`key: value`)",
    "model_type": "a mapping (`key: value`)",
    "mapping_type": "a mapping (`key: value`)",
}


def fit(document: Document, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """`document` as a `model`, or None; with every problem found, in the parser's too."""
    problems = list(document.problems)
    try:
        return model.model_validate(document.data), problems
    except ValidationError as invalid:
        schema = model.model_json_schema(by_alias=True)
        problems += _retold(document, invalid.errors(include_url=False), schema)
        return None, problems


def _retold(
    document: Document, errors: list[ErrorDetails], schema: Mapping[str, Any]
) -> list[Problem]:
    problems: list[Problem] = []
    for error in errors:
        loc = _in_file(document, error["loc"])
        message, hint, at_key = _message(error, loc, document, schema)
        problems.append(document.problem(loc, message, hint=hint, at_key=at_key))
    return problems


def _in_file(document: Document, loc: tuple[int | str, ...]) -> Loc:
    """pydantic's place without its own marks: union members, `[key]`."""
    found: Loc = ()
    for part in loc:
        if (*found, part) in document.values:
            found = (*found, part)
    missing = loc[-1] if loc else ""
    if loc and missing != "[key]" and (not found or found[-1] != missing):
        return (*found, missing) if isinstance(document.at(found), dict) else found
    return found


def _message(
    error: ErrorDetails, loc: Loc, document: Document, schema: Mapping[str, Any]
) -> tuple[str, str, bool]:
    kind, context, given = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "harness":
        return str(context["message"]), str(context["hint"]), False
    if kind == "missing":
        hint = str(_properties(schema, loc[:-1]).get(str(loc[-1]), {}).get("description", ""))
        return f"`{loc[-1]}` is missing", hint, True
    if kind == "extra_forbidden":
        known = _properties(schema, loc[:-1])
        return f"unknown key `{loc[-1]}`", did_you_mean(str(loc[-1]), known, what="known"), True
    if kind == "literal_error":
        return _literal(str(context["expected"]), given, loc, at_key=error["loc"][-1] == "[key]")
    if kind == "string_pattern_mismatch":
        hint = _pattern_hint(str(context["pattern"]))
        at_key = error["loc"][-1] == "[key]"
        return f"{_shown(given)} is not written rightly", hint, at_key
    if kind in _EXPECTED:
        hint = "write it in quotes" if kind == "string_type" and _is_plain(given) else ""
        return f"expected {_EXPECTED[kind]}, found {_shown(given)}", hint, False
    return _lowered(error["msg"]), f"found {_shown(given)}", False


def _literal(expected: str, given: Any, loc: Loc, *, at_key: bool) -> tuple[str, str, bool]:
    allowed = [part.strip().strip("'") for part in expected.replace(" or ", ",").split(",")]
    allowed = [name for name in allowed if name]
    hint = did_you_mean(str(given), allowed, what="allowed")
    where = "" if at_key or not loc else f" for `{loc[-1]}`"
    return f"{_shown(given)} is not allowed{where}", hint, at_key


def _pattern_hint(pattern: str) -> str:
    if "[a-z0-9-]" in pattern:
        return "names are 1-40 lower-case letters, digits and inner hyphens"
    if "_(?:" in pattern:
        return "measurements end in their unit, such as frame_latency_ms"
    if r"\." in pattern:
        return "versions have three parts, such as 6.2.1"
    return f"it must match {pattern}"


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = str(value)
    return f"`{text[:VALUE_CHARS_MAX]}{'...' if len(text) > VALUE_CHARS_MAX else ''}`"


def _lowered(message: str) -> str:
    message = message.replace("Input should be", "must be").replace("List should", "must")
    return message.replace("Dictionary should", "must")


def _properties(schema: Mapping[str, Any], loc: Loc) -> Mapping[str, Any]:
    """The properties that the schema allows in the mapping at `loc`."""
    nodes = [schema]
    for part in loc:
        nodes = [child for node in nodes for child in _children(schema, node, part)]
    found: dict[str, Any] = {}
    for node in nodes:
        for variant in _variants(schema, node):
            found.update(variant.get("properties", {}))
    return found


def _children(
    schema: Mapping[str, Any], node: Mapping[str, Any], part: str | int
) -> list[Mapping[str, Any]]:
    children: list[Mapping[str, Any]] = []
    for variant in _variants(schema, node):
        if isinstance(part, int):
            child = variant.get("items")
        else:
            named = variant.get("properties", {}).get(part)
            child = named or variant.get("additionalProperties")
            if not named:  # keys that must match a pattern, such as names
                children += variant.get("patternProperties", {}).values()
        if isinstance(child, dict):
            children.append(child)
    return children


def _variants(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in node:
        name = str(node["$ref"]).rsplit("/", 1)[-1]
        return _variants(schema, schema["$defs"][name])
    choices = [choice for key in ("anyOf", "allOf") for choice in node.get(key, ())]
    if choices:
        return [variant for choice in choices for variant in _variants(schema, choice)]
    return [node]
