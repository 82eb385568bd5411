"""What was on the appliances' screens: snapshots that the run left beside its history.

They illustrate; nothing is judged by them. A file that is gone is left out.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.judge.reading import name_of
from harness.record import kind

if TYPE_CHECKING:
    from pathlib import Path

    from harness.record.history import History

SHOWN_MAX = 12
BYTES_MAX = 2 << 20
_FILE = re.compile(r"[0-9]{3}-[A-Za-z0-9._-]+\.jpg")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`data` is the picture as a data URI."""

    appliance: str
    instance: str
    at_s: float
    why: str
    data: str


def snapshots(history: History, directory: Path) -> tuple[Snapshot, ...]:
    """The first `SHOWN_MAX`, in the order they were taken."""
    found: list[Snapshot] = []
    for _, event in history.of(kind.DISPLAY_SNAPSHOT):
        values = event.values
        path = directory / str(values["file"])
        if not _FILE.fullmatch(path.name) or path.parent != directory or not path.is_file():
            continue
        if path.stat().st_size > BYTES_MAX or len(found) == SHOWN_MAX:
            continue
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        found.append(
            Snapshot(
                name_of(event.source),
                str(values["instance"]),
                event.t_s,
                str(values["why"]),
                f"data:image/jpeg;base64,{data}",
            )
        )
    return tuple(found)
