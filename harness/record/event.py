"""The event: one thing that happened, as every probe writes it and every checker reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Event:
    """A past event.

    `t_s` is the engine's time in seconds since the run started (virtual on the model rung,
    monotonic on the others), `source` names who saw it (`appliance/north`, `camera/door`,
    `app/counter-north`, `cloud`, `nemesis`, `scenario`), `kind` is dotted (`link.lost`) and
    `values` are JSON values. The vocabulary is `harness.record.kind`.
    """

    t_s: float
    source: str
    kind: str
    values: Mapping[str, Any]
