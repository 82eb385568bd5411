"""Camera credentials, kept apart from everything that is listed, logged or reported."""

from __future__ import annotations

REDACTED = "SAVED_AS_SECRET"  # what the service shows instead of a value (vendor's guide, 2024)


class SecretStore:
    """Values by name. Neither `repr` nor any error shows a value."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, str]] = {}

    def put(self, name: str, values: dict[str, str]) -> None:
        self._values[name] = values

    def get(self, name: str) -> dict[str, str] | None:
        return self._values.get(name)

    def __repr__(self) -> str:
        return f"SecretStore({len(self._values)} secrets)"
