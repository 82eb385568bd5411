"""What the parent may ask beside the services' own operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cloud.neighbour.host import identity, logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUESTIONS: Mapping[str, Callable[..., Any]] = {
    "key": identity.find_key,
    "role": identity.find_role,
    "put": logs.put,
    "events": logs.events,
}
