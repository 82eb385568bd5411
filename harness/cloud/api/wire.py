"""The API on the wire (rest-json 1.1): requests and answers of every operation, both ends.

All from the declared tables: places of members, types, names. No operation is parsed by hand.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from harness.cloud.api.error import ApiError, validation
from harness.cloud.api.model import Listing, Scalar

if TYPE_CHECKING:
    from harness.cloud.api.model import Member, Operation, Service

CONTENT_TYPE = "application/json"
ERROR_HEADER = "x-amzn-ErrorType"
RETRY_HEADER = "Retry-After"
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is path and query, encoded."""

    method: str
    target: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Router:
    """Finds the operation of a method and a path that is still encoded."""

    def __init__(self, service: Service) -> None:
        self._routes: dict[tuple[str, int], list[tuple[list[str], Operation]]] = {}
        for operation in service.operations.values():
            segments = operation.uri.strip("/").split("/")
            key = (operation.method, len(segments))
            self._routes.setdefault(key, []).append((segments, operation))
        for routes in self._routes.values():  # literal paths win over labels
            routes.sort(key=lambda route: sum(segment[0] == "{" for segment in route[0]))

    def match(self, method: str, raw_path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation and its uri values, decoded; `a%2Fb` is one segment."""
        given = raw_path.strip("/").split("/")
        for segments, operation in self._routes.get((method, len(given)), ()):
            values = {}
            for segment, text in zip(segments, given, strict=True):
                if segment[0] == "{":
                    values[segment[1:-1]] = unquote(text)
                elif segment != text:
                    break
            else:
                return operation, values
        return None


def read_request(
    service: Service, operation: Operation, uri: Mapping[str, str], query: str, body: bytes
) -> dict[str, Any]:
    """The parameters of a request. Values of the wrong type are left for validation to name."""
    members = service.structure(operation.input).members
    document = _document(body)
    parameters: dict[str, Any] = {
        name: document[name]
        for name, member in members.items()
        if member.place == "body" and document.get(name) is not None
    }
    given: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        given.setdefault(key, []).append(value)
    for name, member in members.items():
        if member.place == "uri" and member.wire in uri:
            parameters[name] = uri[member.wire]
        elif member.place == "query" and member.wire in given:
            parameters[name] = _from_query(service, member, given[member.wire])
    return parameters


def _document(body: bytes) -> Mapping[str, Any]:
    if not body:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"The request body is not JSON: {error}"
        raise validation(message, reason="CANNOT_PARSE") from None
    if not isinstance(document, Mapping):
        raise validation("The request body is not a JSON object.", reason="CANNOT_PARSE")
    return document


def _from_query(service: Service, member: Member, values: list[str]) -> Any:
    shape = service.shapes[member.shape]
    if isinstance(shape, Listing):
        return values
    kind = shape.type if isinstance(shape, Scalar) else "string"
    text = values[-1]
    if kind == "integer":
        return int(text) if _INTEGER.fullmatch(text) else text
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def write_request(service: Service, operation: Operation, parameters: Mapping[str, Any]) -> Request:
    """What a client sends for `parameters`; members that are not declared are refused."""
    members = service.structure(operation.input).members
    unknown = sorted(set(parameters) - set(members))
    if unknown:
        raise validation(f"{operation.name} has no parameter {', '.join(unknown)}.")
    path, body = operation.uri, {}
    query: list[tuple[str, str]] = []
    for name, value in parameters.items():
        member = members[name]
        if member.place == "uri":
            path = path.replace(f"{{{member.wire}}}", quote(str(value), safe=""))
        elif member.place == "query":
            query += [(member.wire, item) for item in _to_query(value)]
        else:
            body[name] = value
    target = f"{path}?{urlencode(query)}" if query else path
    return Request(operation.method, target, _json(body) if body else b"")


def _to_query(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def write_answer(answer: Mapping[str, Any]) -> Response:
    """200: times are epoch numbers, blobs base64, members without a value left out."""
    return Response(200, {"Content-Type": CONTENT_TYPE}, _json(answer))


def read_answer(service: Service, operation: Operation, body: bytes) -> dict[str, Any]:
    """An answer as the core gives it: blobs are bytes again. Raises `ValueError`."""
    answer: dict[str, Any] = json.loads(body) if body else {}
    for name, member in service.structure(operation.output).members.items():
        shape = service.shapes[member.shape]
        if isinstance(shape, Scalar) and shape.type == "blob" and name in answer:
            try:
                answer[name] = base64.b64decode(answer[name], validate=True)
            except binascii.Error as error:
                raise ValueError(f"{name} is not base64: {error}") from None
    return answer


def write_error(service: Service, error: ApiError) -> Response:
    """The error's status, its name in the header, its members in the body or headers."""
    headers = {"Content-Type": CONTENT_TYPE, ERROR_HEADER: error.code}
    body = dict(error.members)
    if error.code in service.statuses:
        for name, member in service.structure(error.code).members.items():
            if member.place == "header" and name in body:
                headers[member.wire] = str(body.pop(name))
    if error.retry_after_s > 0.0:
        headers[RETRY_HEADER] = str(math.ceil(error.retry_after_s))
    return Response(error.status, headers, _json(body))


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error that an answer with a status of 400 or more means."""
    try:
        members = json.loads(body)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        members = {"Message": body[:200].decode(errors="replace")}
    code = headers.get(ERROR_HEADER, "").partition(":")[0] or f"HTTP {status}"
    return ApiError(code, status, members, _seconds(headers.get(RETRY_HEADER, "")))


def _seconds(text: str) -> float:
    """Of a Retry-After header; one that names a date says nothing."""
    return float(text) if text.isdigit() else 0.0


def _json(value: Any) -> bytes:
    """Blobs become base64. Half a surrogate pair, which UTF-8 has no form for, is escaped."""
    try:
        data = msgspec.json.encode(value)
        if b"null" not in data:  # nor is there a member without a value
            return data
        return msgspec.json.encode(_present(value))
    except (TypeError, UnicodeEncodeError):
        text = json.dumps(_present(value), separators=(",", ":"), default=_base64)
        return text.encode()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _present(value: Any) -> Any:
    """Without the members that have no value. Most members are plain: they cost no call."""
    if isinstance(value, dict):
        return {
            key: item if item.__class__ in _PLAIN else _present(item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, (list, tuple)):
        return [_present(item) for item in value]
    return _present(dict(value)) if isinstance(value, Mapping) else value


_PLAIN = frozenset({str, int, float, bool, bytes})
