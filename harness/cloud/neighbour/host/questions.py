"""What the parent may ask beside the services' own operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cloud.neighbour.host import identity, logs, secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUESTIONS: Mapping[str, Callable[..., Any]] = {
    "key": identity.find_key,
    "role": identity.find_role,
    "put": logs.put,
    "secrets": secret.put,
    "events": logs.events,
}
