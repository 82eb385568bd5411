"""Shapes and operations: what the definition's tables mean once read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Scalar:
    """`type` is string | integer | boolean | timestamp | blob; bounds of a string are lengths."""

    name: str
    type: str
    minimum: int | None = None
    maximum: int | None = None
    pattern: re.Pattern[str] | None = None
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Enumeration:
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    name: str
    element: str
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Mapped:
    name: str
    key: str
    value: str
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """`place` is body | uri | query | header; `wire` is its name there."""

    name: str
    shape: str
    required: bool
    place: str
    wire: str


@dataclass(frozen=True, slots=True)
class Structure:
    name: str
    members: Mapping[str, Member]
    union: bool = False


Shape: TypeAlias = "Scalar | Enumeration | Listing | Mapped | Structure"


@dataclass(frozen=True, slots=True)
class Operation:
    """`uri` holds `{Member}` labels; `errors` are full names such as `ConflictException`."""

    name: str
    summary: str
    method: str
    uri: str
    errors: tuple[str, ...]

    @property
    def input(self) -> str:
        return f"{self.name}Request"

    @property
    def output(self) -> str:
        return f"{self.name}Response"


@dataclass(frozen=True, slots=True)
class Service:
    """Everything declared: shapes by name, operations by name, HTTP status by error name."""

    metadata: Mapping[str, str]
    operations: Mapping[str, Operation]
    shapes: Mapping[str, Shape]
    statuses: Mapping[str, int]

    def structure(self, name: str) -> Structure:
        shape = self.shapes[name]
        assert isinstance(shape, Structure)
        return shape
