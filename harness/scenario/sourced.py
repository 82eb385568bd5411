"""Values that name their source, as all profiles hold them."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, Field

from harness.scenario.part import Part

T = TypeVar("T")


class Sourced(Part, Generic[T]):
    """A value, where it comes from, and how far off it may be."""

    value: T
    source: str = Field(min_length=8, description="where the value comes from, or whose estimate")
    error: str = Field(default="", description='how far off it may be, such as "±30 %"')


def _plain_number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Fact = Annotated[str | float, BeforeValidator(_plain_number, json_schema_input_type=str | float)]
