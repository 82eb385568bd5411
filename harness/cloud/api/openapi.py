"""The declaration as an OpenAPI 3.1 document, for tools that know nothing of AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cloud.api.model import Enumeration, Listing, Mapped, Member, Scalar, Structure
from harness.cloud.api.service_model import ORIGIN
from harness.cloud.api.wire import CONTENT_TYPE, ERROR_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.cloud.api.model import Operation, Service, Shape

_PLACES = {"uri": "path", "query": "query"}
_TYPES = {"timestamp": "number", "blob": "string"}
_NOTES = {"timestamp": {"description": "Seconds since the Unix epoch."},
          "blob": {"contentEncoding": "base64"}}  # fmt: skip
# Answered by every operation, whether or not the model lists it: bad input, a bad signature.
_ALWAYS = ("ValidationException", "AccessDeniedException")
# These say nothing that the bounds of the length do not say.
_EMPTY_PATTERNS = ("^.+$", "^.*$")


def openapi(service: Service, url: str) -> dict[str, Any]:
    """The whole document, ready for `json.dump`; `url` is where the service answers."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in service.operations.values():
        described = _operation(service, operation)
        paths.setdefault(operation.uri, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": service.metadata["serviceFullName"],
            "version": service.metadata["apiVersion"],
            "description": ORIGIN,
        },
        "servers": [{"url": url}],
        "security": [{"sigv4": []}],
        "paths": paths,
        "components": {
            "schemas": {
                name: _schema(service, shape)
                for name, shape in service.shapes.items()
                if not _is_empty_request(service, shape)
            },
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4, service name `panorama`.",
                }
            },
        },
    }


def _operation(service: Service, operation: Operation) -> dict[str, Any]:
    request = service.structure(operation.input)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.uri.split("/")[1]],
    }
    parameters = [_parameter(member) for member in request.members.values() if _is_apart(member)]
    if parameters:
        described["parameters"] = parameters
    body = [member for member in request.members.values() if not _is_apart(member)]
    if body:
        required = any(member.required for member in body)
        described["requestBody"] = {"required": required, "content": _json(operation.input)}
    described["responses"] = {
        "200": {"description": "Done.", "content": _json(operation.output)},
        **_errors(service, operation),
    }
    return described


def _parameter(member: Member) -> dict[str, Any]:
    return {
        "name": member.wire,
        "in": _PLACES[member.place],
        "required": member.required,
        "schema": _reference(member.shape),
    }


def _errors(service: Service, operation: Operation) -> dict[str, Any]:
    names = sorted({*operation.errors, *_ALWAYS}, key=lambda name: service.statuses[name])
    return {str(service.statuses[name]): _error(service, name) for name in names}


def _error(service: Service, name: str) -> dict[str, Any]:
    headers: dict[str, Any] = {ERROR_HEADER: {"schema": {"type": "string"}}}
    for member in service.structure(name).members.values():
        if member.place == "header":
            headers[member.wire] = {"schema": _reference(member.shape)}
    return {"description": name, "headers": headers, "content": _json(name)}


def _schema(service: Service, shape: Shape) -> dict[str, Any]:
    match shape:
        case Structure():
            return _object(shape)
        case Listing():
            items = {"type": "array", "items": _reference(shape.element)}
            return items | _bounds(shape, "Items")
        case Mapped():
            names = {"propertyNames": _reference(shape.key)}
            values = {"type": "object", "additionalProperties": _reference(shape.value)}
            return values | names | _bounds(shape, "Properties")
        case Enumeration():
            return {"type": "string", "enum": list(shape.values)}
        case Scalar():
            return _scalar(shape)


def _object(shape: Structure) -> dict[str, Any]:
    """What travels in the body; the rest of a request is in its parameters."""
    members = [member for member in shape.members.values() if member.place == "body"]
    made: dict[str, Any] = {
        "type": "object",
        "properties": {member.wire: _reference(member.shape) for member in members},
    }
    required = [member.wire for member in members if member.required]
    if required:
        made["required"] = required
    if shape.union:
        made |= {"minProperties": 1, "maxProperties": 1}
    return made


def _scalar(shape: Scalar) -> dict[str, Any]:
    made: dict[str, Any] = {"type": _TYPES.get(shape.type, shape.type)}
    made |= _NOTES.get(shape.type, {})
    made |= _bounds(shape, "Length") if made["type"] == "string" else _bounds(shape, "imum")
    if shape.pattern is not None and shape.pattern.pattern not in _EMPTY_PATTERNS:
        made["pattern"] = _portable(shape.pattern.pattern)
    if shape.sensitive:
        made["format"] = "password"
    return made


def _bounds(shape: Scalar | Listing | Mapped, what: str) -> dict[str, int]:
    given = {f"min{what}": shape.minimum, f"max{what}": shape.maximum}
    return {name: bound for name, bound in given.items() if bound is not None}


def _portable(pattern: str) -> str:
    """ECMA-262 with its `u` flag refuses escapes of characters that need none."""
    return pattern.replace(r"\_", "_")


def _is_apart(member: Member) -> bool:
    return member.place in _PLACES


def _is_empty_request(service: Service, shape: Shape) -> bool:
    requests: Iterable[str] = (operation.input for operation in service.operations.values())
    return (
        isinstance(shape, Structure)
        and shape.name in requests
        and all(_is_apart(member) for member in shape.members.values())
    )


def _json(shape: str) -> dict[str, Any]:
    return {CONTENT_TYPE: {"schema": _reference(shape)}}


def _reference(shape: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape}"}
