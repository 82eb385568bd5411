"""The history: an append-only, hash-chained file of everything that happened in a run.

JSON Lines. Line 0 is the head (who, which seed, which grade, which plan), every further line
is one event. Lines are canonical JSON (sorted keys, no spaces, ASCII), times are rounded to
microseconds and `wall` is derived as `head.started + t`, so the same events under the same head
give the same bytes: the model rung passes a fixed epoch and can be compared byte for byte.

Each line carries `hash`: SHA-256 over the hash of the line before (64 zeros at the head) and
this line without its hash. Editing, dropping or reordering a line breaks the chain.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Self

from harness.errors import Corrupt, EngineError
from harness.record import kind as kinds
from harness.record.canonical import canonical
from harness.record.event import Event
from harness.record.head import Head, wall_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

LINE_BYTES_MAX = 1 << 20
GENESIS = "0" * 64
_HASH_PREFIX = '{"hash":"'
_HASH_END = len(_HASH_PREFIX) + 64
_EVENT_KEYS = {"kind", "n", "source", "t", "values", "wall"}


class HistoryWriter:
    """Appends events; every line reaches the operating system before `append` returns.

    A crash of the process therefore keeps everything up to it; `close` also syncs to disk.
    Belongs to one thread. `on_event` callbacks (added with `listen`) see each event after it
    was written; what they raise reaches the caller of `append`.
    """

    def __init__(self, path: Path, head: Head) -> None:
        """Raises FileExistsError when `path` exists: histories are never overwritten."""
        first = canonical(head.to_json())
        self.path = path
        self.head = head
        self.count = 0
        self.on_event: list[Callable[[Event], None]] = []
        self._hash = GENESIS
        self._started = head.started
        self._wall_second: int | None = None
        self._wall_prefix = ""
        self._quoted: dict[str, str] = {}
        self._file = path.open("xb", buffering=0)
        self._write(first)

    def listen(self, callback: Callable[[Event], None]) -> None:
        self.on_event.append(callback)

    def append(self, event: Event) -> int:
        """Write `event` and return its number (the head is 0). Raises EngineError."""
        number = self.count + 1
        try:
            values = canonical(event.values)
        except (TypeError, ValueError) as error:
            raise EngineError(
                f"event {number} ({event.kind} of {event.source}) holds a value that is not JSON:"
                f" {error}",
                hint="values are str, bool, int, finite float, None, list and dict",
            ) from error
        t_us = round(event.t_s * 1_000_000)
        self._write(
            f'{{"kind":{self._quote(event.kind)},"n":{number},"source":{self._quote(event.source)}'
            f',"t":{t_us / 1_000_000!r},"values":{values},"wall":"{self._wall(t_us)}"}}'
        )
        self.count = number
        for callback in self.on_event:
            callback(event)
        return number

    def close(self) -> None:
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, body: str) -> None:
        if len(body) > LINE_BYTES_MAX:
            raise EngineError(
                f"line {self.count + 1} of {self.path} would be {len(body)} bytes",
                hint=f"an event holds at most {LINE_BYTES_MAX} bytes; put bulk data elsewhere",
            )
        self._hash = _link(self._hash, body)
        self._file.write(f'{_HASH_PREFIX}{self._hash}",{body[1:]}\n'.encode("ascii"))

    def _quote(self, text: str) -> str:
        quoted = self._quoted.get(text)
        if quoted is None:
            quoted = self._quoted[text] = json.dumps(text)
        return quoted

    def _wall(self, t_us: int) -> str:
        """`started + t`; formatting a date is slow, so the text of a second is kept."""
        second, micro = divmod(t_us + self._started.microsecond, 1_000_000)
        if second != self._wall_second:
            whole = self._started.replace(microsecond=0) + timedelta(seconds=second)
            self._wall_prefix = wall_text(whole)[:20]
            self._wall_second = second
        return f"{self._wall_prefix}{micro:06d}Z"


@dataclass(frozen=True, slots=True)
class History:
    """A history read back. `events[i]` has number `i + 1`; `complete` says that it ended.

    Kinds are indexed once, so checkers may ask for theirs as often as they like.
    """

    head: Head
    events: tuple[Event, ...]
    complete: bool = True
    _by_kind: dict[str, list[tuple[int, Event]]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        for number, event in enumerate(self.events, start=1):
            self._by_kind.setdefault(event.kind, []).append((number, event))

    def of(self, *wanted: str) -> list[tuple[int, Event]]:
        """The numbered events of these kinds, in the order they were written."""
        if len(wanted) == 1:
            return list(self._by_kind.get(wanted[0], ()))
        return sorted(
            (pair for name in wanted for pair in self._by_kind.get(name, ())),
            key=lambda pair: pair[0],
        )

    @property
    def duration_s(self) -> float:
        return max((event.t_s for event in self.events), default=0.0)

    @classmethod
    def load(cls, path: Path, *, accept_truncated: bool = False) -> History:
        """Read and verify `path`.

        With `accept_truncated` a last line that was cut off (an interrupted run) is left out
        and the history says `complete=False`. Raises Corrupt, naming file, line and difference.
        """
        reader = _Reader(path, accept_truncated=accept_truncated)
        head, events = reader.read()
        ended = any(event.kind == kinds.RUN_ENDED for event in events)
        return cls(head, events, complete=ended and not reader.truncated)


class _Reader:
    def __init__(self, path: Path, *, accept_truncated: bool) -> None:
        self.truncated = False
        self._path = path
        self._accept_truncated = accept_truncated
        self._hash = GENESIS

    def read(self) -> tuple[Head, tuple[Event, ...]]:
        events: list[Event] = []
        head: Head | None = None
        with self._path.open("rb") as file:
            for number, body in self._bodies(file):
                if head is None:
                    head = self._head(body)
                else:
                    events.append(self._event(number, body))
        if head is None:
            raise self._corrupt(0, "the head is missing", "an empty history proves nothing")
        return head, tuple(events)

    def _bodies(self, file: Any) -> Iterator[tuple[int, str]]:
        number = 0
        while line := file.readline(LINE_BYTES_MAX + 256):
            if not line.endswith(b"\n"):
                if not self._accept_truncated:
                    raise self._corrupt(
                        number,
                        "the line is cut off",
                        "the run was interrupted; its verdict can only be UNKNOWN",
                    )
                self.truncated = True
                return
            yield number, self._verified(number, line)
            number += 1

    def _verified(self, number: int, line: bytes) -> str:
        try:
            text = line[:-1].decode("ascii")
        except UnicodeDecodeError as error:
            raise self._corrupt(number, f"byte {error.start} is not ASCII") from error
        if not text.startswith(_HASH_PREFIX) or text[_HASH_END : _HASH_END + 2] != '",':
            raise self._corrupt(number, "the line does not begin with its hash")
        body = "{" + text[_HASH_END + 2 :]
        found, computed = text[len(_HASH_PREFIX) : _HASH_END], _link(self._hash, body)
        if found != computed:
            raise self._corrupt(
                number,
                f"the hash is {found[:12]}..., the line and those before it give "
                f"{computed[:12]}...",
            )
        self._hash = found
        return body

    def _head(self, body: str) -> Head:
        try:
            return Head.from_json(json.loads(body))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._corrupt(0, f"not the head of a history: {error!r}") from error

    def _event(self, number: int, body: str) -> Event:
        try:
            value = json.loads(body)
        except ValueError as error:
            raise self._corrupt(number, f"not JSON: {error}") from error
        if set(value) != _EVENT_KEYS or value["n"] != number:
            raise self._corrupt(number, f"expected event {number}, found {value.get('n')!r}")
        return Event(value["t"], value["source"], value["kind"], value["values"])

    def _corrupt(self, line: int, what: str, hint: str = "") -> Corrupt:
        return Corrupt(
            f"{self._path}: line {line}: {what}",
            hint=hint or "a history is written once; take it from the run again, unedited",
        )


def _link(previous: str, body: str) -> str:
    return hashlib.sha256((previous + body).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two histories part: the line and what each file has there (None: it ended)."""

    line: int
    left: str | None
    right: str | None

    def __str__(self) -> str:
        left, right = (_without_hash(side) for side in (self.left, self.right))
        if left is None or right is None:
            ended = "first" if left is None else "second"
            return f"line {self.line}: the {ended} history has ended, the other goes on"
        keys = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
        parts = [f"{key}: {left.get(key)!r} against {right.get(key)!r}" for key in keys]
        return f"line {self.line}: " + ("; ".join(parts) or "same values, written differently")


def first_difference(left: Path, right: Path) -> Difference | None:
    """The first line in which two histories differ, or None when they are the same bytes."""
    with left.open("rb") as one, right.open("rb") as two:
        for number, (a, b) in enumerate(zip_longest(one, two)):
            if a != b:
                return Difference(number, _decoded(a), _decoded(b))
    return None


def _decoded(line: bytes | None) -> str | None:
    return None if line is None else line.decode("utf-8", "replace").rstrip("\n")


def _without_hash(line: str | None) -> dict[str, Any] | None:
    if line is None:
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return {"line": line}
    return {key: item for key, item in value.items() if key != "hash"}
