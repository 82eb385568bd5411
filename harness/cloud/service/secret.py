"""Camera credentials, kept apart from everything that is listed, logged or reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cloud.service.state import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.service.state import Records

REDACTED = "SAVED_AS_SECRET"  # what the service shows instead of a value (vendor's guide, 2024)


class SecretStore:
    """Values by name. Neither `repr` nor any error shows a value."""

    def __init__(self, records: Records[Secret]) -> None:
        self._records = records

    def put(self, name: str, values: Mapping[str, str]) -> None:
        self._records[name] = Secret(values)

    def get(self, name: str) -> Mapping[str, str] | None:
        found = self._records.get(name)
        return found.values if found is not None else None

    def __repr__(self) -> str:
        return f"SecretStore({len(self._records)} secrets)"
