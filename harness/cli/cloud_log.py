"""The log of a service: one JSON object a line, for what was asked and for what changed."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType


class ServiceLog:
    """Appends to a file, or writes to stderr; a context manager.

    Takes in what libraries log as warnings too. A log that cannot be written is no reason not to
    answer: such lines are lost.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file = sys.stderr
        if self._path is not None:
            opened = self._path.open("a", encoding="utf-8", buffering=1)
            self._file = self._stack.enter_context(opened)
        handler = _Handler(self)
        logging.getLogger().addHandler(handler)
        self._stack.callback(logging.getLogger().removeHandler, handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def request(self, entry: Mapping[str, Any]) -> None:
        self._write("request", entry)

    def event(self, kind: str, values: Mapping[str, Any]) -> None:
        """Something that happened in the plane, such as `cloud.device`."""
        self._write(kind, values)

    def _write(self, kind: str, values: Mapping[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with suppress(OSError, ValueError):
            self._file.write(json.dumps({"time": now, "kind": kind, **values}) + "\n")


class _Handler(logging.Handler):
    def __init__(self, log: ServiceLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        values = {"level": record.levelname, "logger": record.name, "message": self.format(record)}
        self._log.event("log", values)
