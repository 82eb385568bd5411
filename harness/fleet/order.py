"""What a swarm is told, and what it tells: two files, since it is a process of its own.

Locust patches the standard library when it is imported, so nothing else may share its process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.errors import Corrupt
from harness.fleet.profile import LoadProfile  # noqa: TC001  msgspec reads the annotations

if TYPE_CHECKING:
    from pathlib import Path

ORDER_VARIABLE = "HARNESS_LOAD_ORDER"  # the path of the order, in the swarm's environment


class Order(msgspec.Struct, frozen=True):
    """Where the control plane is, with which key, and what to do to it."""

    profile: LoadProfile
    api_url: str
    key_id: str
    secret: str
    account: str
    region: str
    ca_pem: str
    run: str  # begins the name of every device of this run
    outcome: str  # where the outcome goes

    def __repr__(self) -> str:
        return f"Order({self.profile.name}, {self.api_url})"  # the key must not reach a log


class Row(msgspec.Struct, frozen=True):
    """One kind of request; times in milliseconds, as the client saw them."""

    method: str
    name: str
    requests: int
    failures: int
    per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class Outcome(msgspec.Struct, frozen=True):
    """All rows, and the errors that came, each with how often."""

    rows: tuple[Row, ...]
    errors: dict[str, int]

    @property
    def requests(self) -> int:
        return sum(row.requests for row in self.rows)

    @property
    def failures(self) -> int:
        return sum(row.failures for row in self.rows)

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)


def read_order(path: Path) -> Order:
    return msgspec.json.decode(path.read_bytes(), type=Order)


def read_outcome(path: Path) -> Outcome:
    """Raises `Corrupt` when the swarm left none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outcome)
    except (OSError, msgspec.MsgspecError) as error:
        raise Corrupt(f"the swarm left no outcome: {error}") from None
