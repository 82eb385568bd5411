"""The requests that changed the neighbouring services, in order: sent again, they make them anew.

What only adds data (lines of logs, points of metrics, messages) is bounded, and the oldest give
way; nothing else depends on it. What changes anything else stays, so there is a limit to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from harness.cloud.service.table import Change

TABLE = "requests"
STATE_BYTES_MAX = 256 << 20
STATE_REQUESTS_MAX = 100_000
DATA_BYTES_MAX = 64 << 20
DATA_REQUESTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class ChangingRequest:
    """As it was sent, with what it depended on: both clocks, and the seed of all chance.

    `time_s` is the service's clock, `wall_s` real time, both seconds since the epoch. `data` says
    that it only added data. Bodies and the seed may hold or make secrets.
    """

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    time_s: float
    wall_s: float
    seed: int = field(repr=False)
    data: bool


class RequestLog:
    """What is appended is on disk once the storage says that everything is kept.

    `append` takes changes; `measured` are number, size and kind of what is kept, `read` its rows.
    """

    def __init__(
        self,
        measured: Iterable[tuple[int, int, bool]],
        append: Callable[[Sequence[Change]], None],
        read: Callable[[], Iterable[tuple[int, bytes]]],
    ) -> None:
        self._append = append
        self._read = read
        self.last = -1  # number of the newest
        self._state = [0, 0]  # requests, bytes
        self._data: deque[tuple[int, int]] = deque()  # number and bytes
        self.data_bytes = 0
        for number, size, data in measured:
            self._count(number, size, data=data)
        self._trim()

    def __len__(self) -> int:
        return self._state[0] + len(self._data)

    @property
    def full(self) -> bool:
        """Whether no request that changes state can be taken any more."""
        requests, size = self._state
        return requests >= STATE_REQUESTS_MAX or size >= STATE_BYTES_MAX

    @property
    def holds_state(self) -> bool:
        """Whether there is more than data."""
        return self._state[0] > 0

    def append(self, request: ChangingRequest) -> int:
        """Its number, by which they are ordered."""
        row = msgspec.json.encode(request)
        number = self.last + 1
        self._append([(TABLE, str(number), row)])
        self._count(number, len(row), data=request.data)
        self._trim()
        return number

    def read(self) -> Iterator[tuple[int, ChangingRequest]]:
        """All that is on disk, in order. Blocks."""
        decoder = msgspec.json.Decoder(ChangingRequest)
        for number, row in self._read():
            yield number, decoder.decode(row)

    def _count(self, number: int, size: int, *, data: bool) -> None:
        self.last = number
        if data:
            self._data.append((number, size))
            self.data_bytes += size
        else:
            self._state[0] += 1
            self._state[1] += size

    def _trim(self) -> None:
        while len(self._data) > DATA_REQUESTS_MAX or self.data_bytes > DATA_BYTES_MAX:
            number, size = self._data.popleft()
            self.data_bytes -= size
            self._append([(TABLE, str(number), None)])
