"""Durations, sizes and limits as files write them: `250ms`, `8MiB`, `<= 500`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

DURATION_S_MAX = 30 * 86400.0
SIZE_BYTES_MAX = 1 << 44

DURATION_PATTERN = r"^(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:ms|s|m|h|d)$"
SIZE_PATTERN = r"^[1-9][0-9]*(?:B|KiB|MiB|GiB|TiB)$"
LIMIT_PATTERN = r"^(?:<=|>=) ?-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"

_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a limit: `comparison` is `<=` or `>=`."""

    comparison: str
    value: float


def wrong(message: str, hint: str) -> PydanticCustomError:
    """What a validator raises; readers of the file see `message` and, below it, `hint`."""
    return PydanticCustomError("harness", "{message}", {"message": message, "hint": hint})


def duration_s(value: Any) -> float:
    """Seconds of `"250ms"`, `"30s"`, `"2m"`, `"1h"`, `"1d"`."""
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        hint = 'write a number with a unit: "250ms", "30s", "2m", "1h" or "1d"'
        raise wrong(f"`{value}` is not a duration", hint)
    number, unit = re.fullmatch(r"([0-9.]+)([a-z]+)", value).groups()  # type: ignore[union-attr]
    seconds = float(Decimal(number) * _SECONDS[unit])
    if seconds > DURATION_S_MAX:
        raise wrong(f"`{value}` is too long", f"at most {DURATION_S_MAX / 86400:.0f}d")
    return seconds


def span_s(value: Any) -> float:
    """A duration that is not zero."""
    seconds = duration_s(value)
    if seconds == 0:
        raise wrong("the duration must not be zero", 'for example "1s"')
    return seconds


def size_bytes(value: Any) -> int:
    """Bytes of `"8MiB"`."""
    if not isinstance(value, str) or not re.fullmatch(SIZE_PATTERN, value):
        raise wrong(f"`{value}` is not a size", 'write a number with a unit: "512KiB", "8MiB"')
    number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]+)", value).groups()  # type: ignore[union-attr]
    size = int(number[:20]) * _BYTES[unit]
    if size > SIZE_BYTES_MAX:
        raise wrong(f"`{value}` is too large", f"at most {SIZE_BYTES_MAX >> 40}TiB")
    return size


def bound(value: Any) -> Bound:
    """The bound of `"<= 500"`."""
    if not isinstance(value, str) or not re.fullmatch(LIMIT_PATTERN, value):
        raise wrong(f"`{value}` is not a limit", 'write "<= 500" or ">= 0.9"')
    return Bound(value[:2], float(value[2:]))


def _text(pattern: str, *examples: str) -> Any:
    return Annotated[str, Field(pattern=pattern, examples=list(examples))]


Duration = Annotated[
    float,
    BeforeValidator(duration_s, json_schema_input_type=_text(DURATION_PATTERN, "30s", "250ms")),
]
Span = Annotated[
    float,
    BeforeValidator(span_s, json_schema_input_type=_text(DURATION_PATTERN, "30s", "2m")),
]
Size = Annotated[
    int, BeforeValidator(size_bytes, json_schema_input_type=_text(SIZE_PATTERN, "8MiB"))
]
Limit = Annotated[
    Bound, BeforeValidator(bound, json_schema_input_type=_text(LIMIT_PATTERN, "<= 500"))
]
