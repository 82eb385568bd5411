"""Reads the definition's tables into a `Service`; done once, on first use."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from harness.cloud.api import definition
from harness.cloud.api.model import (
    Enumeration,
    Listing,
    Mapped,
    Member,
    Operation,
    Scalar,
    Service,
    Shape,
    Structure,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMBER = re.compile(r"(\w+)(\*)?(?::(\w+))?(?:@(uri|query|header)(?:=([\w-]+))?)?")
_BOUNDS = re.compile(r"(\d*)\.\.(\d*)")


@cache
def load() -> Service:
    """The service as declared. Every shape that is referred to exists."""
    shapes: dict[str, Shape] = {}
    statuses: dict[str, int] = {}
    for shape in (*_scalars(), *_enumerations(), *_collections()):
        shapes[shape.name] = shape
    for head, words in _entries(definition.STRUCTURES):
        shapes[head[0]] = _structure(head[0], words, union="union" in head)
    for head, words in _entries(definition.ERRORS):
        shapes[head[0]] = _structure(head[0], words, union=False)
        statuses[head[0]] = int(head[1])
    operations = {operation.name: operation for operation in _operations()}
    return Service(definition.METADATA, operations, shapes, statuses)


def _entries(table: str) -> Iterator[tuple[list[str], list[str]]]:
    """(words of the line at the margin, words of the lines indented under it)."""
    head: list[str] = []
    words: list[str] = []
    for line in table.strip().splitlines():
        if line.startswith(" "):
            words += line.split()
            continue
        if head:
            yield head, words
        head, words = line.split(), []
    yield head, words


def _operations() -> Iterator[Operation]:
    for (name, *summary), (method, uri, *errors) in _entries(definition.OPERATIONS):
        names = tuple(f"{error}Exception" for error in errors)
        yield Operation(name, " ".join(summary), method, uri, names)


def _structure(name: str, words: list[str], *, union: bool) -> Structure:
    members = {}
    for word in words:
        match = _MEMBER.fullmatch(word)
        assert match, f"{name}: {word}"
        member, star, shape, place, wire = match.groups()
        members[member] = Member(
            member, shape or member, bool(star), place or "body", wire or member
        )
    return Structure(name, members, union)


def _enumerations() -> Iterator[Enumeration]:
    for (name,), values in _entries(definition.ENUMS):
        yield Enumeration(name, tuple(values))


def _collections() -> Iterator[Listing | Mapped]:
    for (name, content, *bounds), _ in _entries(definition.COLLECTIONS):
        minimum, maximum = _bounds(bounds[0]) if bounds else (None, None)
        key, colon, value = content.partition(":")
        if colon:
            yield Mapped(name, key, value, minimum, maximum)
        else:
            yield Listing(name, key, minimum, maximum)


def _scalars() -> Iterator[Scalar]:
    for (kind, *facets), names in _entries(definition.SCALARS):
        bounds: tuple[int | None, int | None] = (None, None)
        if facets and _BOUNDS.fullmatch(facets[0]):
            bounds = _bounds(facets.pop(0))
        sensitive = facets[:1] == ["sensitive"]
        pattern = _pattern(facets[-1]) if facets[sensitive:] else None
        for name in names:
            yield Scalar(name, kind, *bounds, pattern, sensitive)


def _bounds(text: str) -> tuple[int | None, int | None]:
    low, _, high = text.partition("..")
    return (int(low) if low else None, int(high) if high else None)


def _pattern(text: str) -> re.Pattern[str]:
    """Documents with line breaks match `^.+$` in the service, and digits there are ASCII."""
    for name, fragment in definition.FRAGMENTS.items():
        text = text.replace(name, fragment)
    return re.compile(text, re.DOTALL | re.ASCII)
