"""Validation of request parameters against the declared shapes: every violation, with its path.

Answers are never validated: the vendor's own break the model's patterns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.cloud.api.error import validation
from harness.cloud.api.model import Enumeration, Listing, Mapped, Scalar, Structure

if TYPE_CHECKING:
    from harness.cloud.api.model import Operation, Service, Shape

DEPTH_MAX = 16
_TYPES = {"string": str, "integer": int, "boolean": bool, "blob": bytes}

Problems = list[tuple[str, str]]


def check(service: Service, operation: Operation, parameters: Mapping[str, Any]) -> None:
    """Raises a ValidationException with all violations; unknown members are ignored."""
    problems: Problems = []
    _structure(service, service.structure(operation.input), parameters, "", problems)
    if problems:
        listed = "; ".join(f"{name}: {text}" for name, text in problems[:3])
        raise validation(
            f"{len(problems)} validation error{'s'[: len(problems) > 1]} detected: {listed}",
            problems,
        )


def _check(service: Service, shape: Shape, value: Any, path: str, problems: Problems) -> None:
    if path.count(".") > DEPTH_MAX:
        problems.append((path, "is nested too deeply"))
        return
    match shape:
        case Structure():
            _structure(service, shape, value, path, problems)
        case Listing():
            _listing(service, shape, value, path, problems)
        case Mapped():
            _mapped(service, shape, value, path, problems)
        case Enumeration():
            if value not in shape.values:
                problems.append((path, f"must be one of {', '.join(shape.values)}"))
        case Scalar():
            _scalar(shape, value, path, problems)


def _structure(
    service: Service, shape: Structure, value: Any, path: str, problems: Problems
) -> None:
    if not isinstance(value, Mapping):
        problems.append((path, "must be an object"))
        return
    prefix = f"{path}." if path else ""
    given = 0
    for name, member in shape.members.items():
        item = value.get(name)
        if item is not None:
            given += 1
            _check(service, service.shapes[member.shape], item, prefix + name, problems)
        elif member.required:
            problems.append((prefix + name, "is required"))
    if shape.union and given != 1:
        problems.append((path, f"needs exactly one of {', '.join(shape.members)}"))


def _listing(service: Service, shape: Listing, value: Any, path: str, problems: Problems) -> None:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        problems.append((path, "must be a list"))
        return
    _size(shape, len(value), path, problems)
    element = service.shapes[shape.element]
    for index, item in enumerate(value):
        _check(service, element, item, f"{path}[{index}]", problems)


def _mapped(service: Service, shape: Mapped, value: Any, path: str, problems: Problems) -> None:
    if not isinstance(value, Mapping):
        problems.append((path, "must be an object"))
        return
    _size(shape, len(value), path, problems)
    for key, item in value.items():
        _check(service, service.shapes[shape.key], key, f"{path}[key]", problems)
        _check(service, service.shapes[shape.value], item, f"{path}[{key}]", problems)


def _size(shape: Listing | Mapped, count: int, path: str, problems: Problems) -> None:
    if shape.minimum is not None and count < shape.minimum:
        problems.append((path, f"must have at least {shape.minimum} entries"))
    if shape.maximum is not None and count > shape.maximum:
        problems.append((path, f"must have at most {shape.maximum} entries"))


def _scalar(shape: Scalar, value: Any, path: str, problems: Problems) -> None:
    wanted = _TYPES.get(shape.type, (int, float))
    if not isinstance(value, wanted) or (isinstance(value, bool) and shape.type != "boolean"):
        problems.append((path, f"must be a {shape.type}"))
        return
    if isinstance(value, str):
        _bounds(shape, len(value), path, " characters", problems)
        if shape.pattern is not None and shape.pattern.fullmatch(value) is None:
            problems.append((path, f"must match {shape.pattern.pattern}"))
    elif isinstance(value, int):
        _bounds(shape, value, path, "", problems)


def _bounds(shape: Scalar, size: int, path: str, unit: str, problems: Problems) -> None:
    if shape.minimum is not None and size < shape.minimum:
        problems.append((path, f"must be at least {shape.minimum}{unit}"))
    if shape.maximum is not None and size > shape.maximum:
        problems.append((path, f"must be at most {shape.maximum}{unit}"))
