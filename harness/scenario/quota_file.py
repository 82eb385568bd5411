"""Quotas as files write them: `documented`, `off`, or those that differ from the documented."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from harness.scenario.document import read
from harness.scenario.part import Part
from harness.scenario.problem import FileInvalid
from harness.scenario.quantity import wrong
from harness.scenario.quota import DOCUMENTED, NAMES, Quotas
from harness.scenario.reading import fit

COUNT_MAX = 1_000_000
RATE_MIN = 0.1
OFF = "off"


def _count(value: Any) -> int | None:
    if value == OFF:
        return None
    if type(value) is int and 1 <= value <= COUNT_MAX:
        return value
    raise wrong(f"`{value}` is no quota", f"a whole number from 1 to {COUNT_MAX}, or off")


def _rate(value: Any) -> float | None:
    if value == OFF:
        return None
    if type(value) in (int, float) and RATE_MIN <= value <= COUNT_MAX:
        return float(value)
    raise wrong(f"`{value}` is no rate", f"a number from {RATE_MIN} to {COUNT_MAX}, or off")


_WHOLE = Annotated[int, Field(ge=1, le=COUNT_MAX)]
_NUMBER = Annotated[float, Field(ge=RATE_MIN, le=COUNT_MAX)]
Count = Annotated[
    int | None, BeforeValidator(_count, json_schema_input_type=_WHOLE | Literal["off"])
]
Rate = Annotated[
    float | None, BeforeValidator(_rate, json_schema_input_type=_NUMBER | Literal["off"])
]


class QuotasFile(Part):
    """The quotas of the control plane's account; what is left out is as documented."""

    devices: Count = Field(default=DOCUMENTED.devices, description="registered devices")
    packages: Count = Field(default=DOCUMENTED.packages, description="node packages")
    versions_per_package: Count = Field(
        default=DOCUMENTED.versions_per_package,
        description="versions of a package, patch versions counted",
    )
    applications_per_device: Count = Field(
        default=DOCUMENTED.applications_per_device, description="applications on one device"
    )
    streams_per_application: Count = Field(
        default=DOCUMENTED.streams_per_application,
        description="camera streams that one application reads",
    )
    deployments_per_device_day: Count = Field(
        default=DOCUMENTED.deployments_per_device_day,
        description="deployments to one device within 24 hours",
    )
    requests_per_s: Rate = Field(
        default=DOCUMENTED.requests_per_s, description="API requests a second, all together"
    )
    changes_per_s: Rate = Field(
        default=DOCUMENTED.changes_per_s,
        description="requests a second that create or change something",
    )

    @property
    def quotas(self) -> Quotas:
        return Quotas(**{name: getattr(self, name) for name in NAMES})


def _spelled_out(value: Any) -> Any:
    if value == "documented":
        return {}
    if value == OFF:
        return dict.fromkeys(NAMES, OFF)
    if isinstance(value, (dict, QuotasFile)):
        return value
    raise wrong(f"`{value}` is no choice of quotas", "documented, off, or a mapping of quotas")


Choice = Annotated[
    QuotasFile,
    BeforeValidator(_spelled_out, json_schema_input_type=Literal["documented", "off"] | QuotasFile),
]


def load_quotas(path: Path) -> Quotas:
    """Read a file of quotas. Raises `FileInvalid` with every problem in it."""
    file, problems = fit(read(path), QuotasFile)
    if file is None or problems:
        raise FileInvalid(problems)
    return file.quotas
