"""The service model that botocore reads (`service-2.json`), made from the declaration.

boto3 and the AWS CLI newer than botocore 1.43.37 have lost the service; with this file in their
search path they have it again, unmodified. The names of the keys are botocore's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cloud.api.model import Enumeration, Listing, Mapped, Scalar, Structure

if TYPE_CHECKING:
    from harness.cloud.api.model import Member, Operation, Service, Shape

ORIGIN = "The API of AWS Panorama as edge-hil-harness serves it."  # marks a file as ours
_LOCATIONS = {"uri": "uri", "query": "querystring", "header": "header"}
_SERVER_ERROR = 500


def service_model(service: Service) -> dict[str, Any]:
    """The whole document, ready for `json.dump`."""
    return {
        "version": "2.0",
        "metadata": dict(service.metadata),
        "operations": {
            name: _operation(operation) for name, operation in sorted(service.operations.items())
        },
        "shapes": {name: _shape(service, shape) for name, shape in sorted(service.shapes.items())},
        "documentation": ORIGIN,
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "name": operation.name,
        "http": {"method": operation.method, "requestUri": operation.uri, "responseCode": 200},
        "input": {"shape": operation.input},
        "output": {"shape": operation.output},
        "errors": [{"shape": name} for name in operation.errors],
        "documentation": f"<p>{operation.summary}</p>",
    }


def _shape(service: Service, shape: Shape) -> dict[str, Any]:
    match shape:
        case Structure():
            return _structure(shape) | _error(service.statuses.get(shape.name))
        case Listing():
            return {"type": "list", "member": {"shape": shape.element}} | _bounds(shape)
        case Mapped():
            ends = {"key": {"shape": shape.key}, "value": {"shape": shape.value}}
            return {"type": "map", **ends} | _bounds(shape)
        case Enumeration():
            return {"type": "string", "enum": list(shape.values)}
        case Scalar():
            return _scalar(shape)


def _structure(shape: Structure) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "structure"}
    required = [member.name for member in shape.members.values() if member.required]
    if required:
        made["required"] = required
    made["members"] = {name: _member(member) for name, member in shape.members.items()}
    if shape.union:
        made["union"] = True
    return made


def _member(member: Member) -> dict[str, Any]:
    made = {"shape": member.shape}
    if member.place in _LOCATIONS:
        made |= {"location": _LOCATIONS[member.place], "locationName": member.wire}
    return made


def _error(status: int | None) -> dict[str, Any]:
    """What marks a structure as an error of a caller, or of the service."""
    if status is None:
        return {}
    if status >= _SERVER_ERROR:
        return {"error": {"httpStatusCode": status}, "exception": True, "fault": True}
    return {"error": {"httpStatusCode": status, "senderFault": True}, "exception": True}


def _scalar(shape: Scalar) -> dict[str, Any]:
    made = {"type": shape.type} | _bounds(shape)
    if shape.pattern is not None:
        made["pattern"] = shape.pattern.pattern
    if shape.sensitive:
        made["sensitive"] = True
    return made


def _bounds(shape: Scalar | Listing | Mapped) -> dict[str, Any]:
    given = {"max": shape.maximum, "min": shape.minimum}
    return {name: bound for name, bound in given.items() if bound is not None}
