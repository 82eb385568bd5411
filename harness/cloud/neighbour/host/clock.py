"""The service's clock in moto: every request brings it along.

moto reads the wall clock. CloudWatch, its logs among it, has to go by the service's clock, which
may run faster: else what devices report would lie in the future.
"""

from __future__ import annotations

import contextlib
import contextvars
import datetime
from typing import TYPE_CHECKING

import moto.cloudwatch.models
import moto.logs.models

if TYPE_CHECKING:
    from collections.abc import Iterator

_now_s: contextvars.ContextVar[float] = contextvars.ContextVar("now_s")


@contextlib.contextmanager
def set_to(now_s: float) -> Iterator[None]:
    token = _now_s.set(now_s)
    try:
        yield
    finally:
        _now_s.reset(token)


def now_s() -> float:
    return _now_s.get()


def utcnow() -> datetime.datetime:
    """As moto has it: without a time zone."""
    return datetime.datetime.fromtimestamp(now_s(), datetime.UTC).replace(tzinfo=None)


def _unix_time_millis(when: datetime.datetime | None = None) -> float:
    return ((when or utcnow()) - datetime.datetime(1970, 1, 1)).total_seconds() * 1000.0  # noqa: DTZ001


def install() -> None:
    """Set these clocks in place of moto's."""
    for module in (moto.cloudwatch.models, moto.logs.models):
        vars(module)["utcnow"] = utcnow
    vars(moto.logs.models)["unix_time_millis"] = _unix_time_millis
