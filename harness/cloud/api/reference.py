"""The declaration as a page to read: docs/api.md is what this makes, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cloud.api.model import Enumeration, Listing, Mapped, Scalar, Structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.cloud.api.model import Member, Operation, Service

_HEAD = """\
# The service API

All {operations} operations and {shapes} shapes of {name}, apiVersion {version}, as the control
plane serves them. Made by `harness cloud reference` from the tables under
`harness/cloud/api/definition/`; routing, validation, answers, the model for boto3 and the OpenAPI
document come from the same tables.

```sh
.venv/bin/harness cloud install-model    # boto3 and the AWS CLI know the service again
.venv/bin/harness cloud openapi          # the same as OpenAPI 3.1
.venv/bin/harness cloud reference        # this page
```

- Requests are rest-json 1.1: members marked *uri* and *query* travel there, all others in a JSON
  body. Times are seconds since the Unix epoch, blobs base64.
- An error has its name in the header `x-amzn-ErrorType` and its members in a JSON body. Every
  operation answers ValidationException for bad input, with all violations, and
  AccessDeniedException for a request that is not signed; others are listed with the operation.
- A star marks what is required. Lists come in pages of at most 25; `NextToken` leads to the next
  page of the same list, with the same filters.
"""


def reference(service: Service) -> str:
    """The page in Markdown."""
    head = _HEAD.format(
        operations=len(service.operations),
        shapes=len(service.shapes),
        name=service.metadata["serviceFullName"],
        version=service.metadata["apiVersion"],
    )
    parts = [head, *_overview(service)]
    parts += [_operation(service, operation) for operation in service.operations.values()]
    parts += [_structures(service), _errors(service), _collections(service)]
    parts += [_enumerations(service), _scalars(service)]
    return "\n".join(parts)


def _overview(service: Service) -> Iterator[str]:
    yield "## Operations\n"
    rows = (
        (f"[{name}](#{name.lower()})", operation.summary)
        for name, operation in service.operations.items()
    )
    yield _table(("operation", "what it does"), rows)


def _operation(service: Service, operation: Operation) -> str:
    request = service.structure(operation.input)
    answer = service.structure(operation.output)
    errors = ", ".join(operation.errors)
    return (
        f"### {operation.name}\n\n{operation.summary}\n\n"
        f"`{operation.method} {operation.uri}`\n\n"
        f"- takes {_members(request.members.values())}\n"
        f"- answers {_members(answer.members.values())}\n"
        f"- errors {errors}\n"
    )


def _structures(service: Service) -> str:
    apart = {operation.input for operation in service.operations.values()}
    apart |= {operation.output for operation in service.operations.values()}
    apart |= set(service.statuses)
    rows = (
        (shape.name, ("one of " if shape.union else "") + _members(shape.members.values()))
        for shape in service.shapes.values()
        if isinstance(shape, Structure) and shape.name not in apart
    )
    return "## Structures\n\n" + _table(("structure", "members"), rows)


def _errors(service: Service) -> str:
    rows = (
        (name, str(status), _members(service.structure(name).members.values()))
        for name, status in service.statuses.items()
    )
    return "## Errors\n\n" + _table(("error", "HTTP", "members"), rows)


def _collections(service: Service) -> str:
    rows = (
        (shape.name, _content(shape), _bounds(shape))
        for shape in service.shapes.values()
        if isinstance(shape, (Listing, Mapped))
    )
    return "## Lists and maps\n\n" + _table(("name", "of", "entries"), rows)


def _enumerations(service: Service) -> str:
    rows = (
        (shape.name, " ".join(f"`{value}`" for value in shape.values))
        for shape in service.shapes.values()
        if isinstance(shape, Enumeration)
    )
    return "## Enumerations\n\n" + _table(("name", "values"), rows)


def _scalars(service: Service) -> str:
    rows = (
        (shape.name, shape.type + ", secret" * shape.sensitive, _bounds(shape), _pattern(shape))
        for shape in service.shapes.values()
        if isinstance(shape, Scalar)
    )
    return "## Values\n\n" + _table(("name", "type", "length or range", "pattern"), rows)


def _members(members: Iterable[Member]) -> str:
    return ", ".join(_member(member) for member in members) or "nothing"


def _member(member: Member) -> str:
    shape = f" {member.shape}" if member.shape != member.name else ""
    named = f" `{member.wire}`" if member.wire != member.name else ""
    place = f" *{member.place}{named}*" if member.place != "body" else ""
    return f"**{member.name}**" + "\\*" * member.required + shape + place


def _content(shape: Listing | Mapped) -> str:
    return shape.element if isinstance(shape, Listing) else f"{shape.key} to {shape.value}"


def _bounds(shape: Scalar | Listing | Mapped) -> str:
    if shape.minimum is None and shape.maximum is None:
        return ""
    return "..".join(
        "" if bound is None else str(bound) for bound in (shape.minimum, shape.maximum)
    )


def _pattern(shape: Scalar) -> str:
    return "" if shape.pattern is None else "`" + shape.pattern.pattern.replace("|", r"\|") + "`"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
