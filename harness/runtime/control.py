"""What the harness says to an application process: lines over an inherited pipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

STOP = b"stop"
_PAUSE = b"pause "


def pause(nodes: Iterable[str]) -> bytes:
    """These camera nodes deliver nothing from now on, and all others do."""
    return _PAUSE + json.dumps(sorted(nodes)).encode()


def paused(line: bytes) -> frozenset[str] | None:
    """The camera nodes that a line of `pause` names; None when it is another line."""
    if not line.startswith(_PAUSE):
        return None
    return frozenset(json.loads(line.removeprefix(_PAUSE)))
