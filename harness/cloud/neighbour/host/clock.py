"""Two clocks in moto, which reads the wall clock.

CloudWatch, its logs among it, goes by the service's clock, which may run faster: else what devices
report would lie in the future. Every request brings it along. All else goes by real time, which
stands still while a request that changes state is answered, so that the answer is the same when it
is sent again.
"""

from __future__ import annotations

import contextlib
import contextvars
import datetime
import sys
import time
from typing import TYPE_CHECKING

import moto.cloudwatch.models
import moto.core.utils
import moto.logs.models

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVICE = (moto.cloudwatch.models, moto.logs.models)  # what goes by the service's clock
_real_time = time.time
_now_s: contextvars.ContextVar[float] = contextvars.ContextVar("now_s")
_wall_s: contextvars.ContextVar[float | None] = contextvars.ContextVar("wall_s", default=None)


@contextlib.contextmanager
def set_to(now_s: float, wall_s: float | None = None) -> Iterator[None]:
    """The service's clock; and real time, if that stands still."""
    tokens = _now_s.set(now_s), _wall_s.set(wall_s)
    try:
        yield
    finally:
        _now_s.reset(tokens[0])
        _wall_s.reset(tokens[1])


def now_s() -> float:
    return _now_s.get()


def utcnow() -> datetime.datetime:
    """As moto has it: without a time zone."""
    return datetime.datetime.fromtimestamp(now_s(), datetime.UTC).replace(tzinfo=None)


def wall_s() -> float:
    wall_s = _wall_s.get()
    return _real_time() if wall_s is None else wall_s


def wall_utcnow() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(wall_s(), datetime.UTC).replace(tzinfo=None)


def _unix_time_millis(when: datetime.datetime | None = None) -> float:
    return ((when or utcnow()) - datetime.datetime(1970, 1, 1)).total_seconds() * 1000.0  # noqa: DTZ001


def install() -> None:
    """Set these clocks in place of moto's, also in what it has imported already."""
    moto_utcnow = moto.core.utils.utcnow
    for module in list(sys.modules.values()):
        if getattr(module, "utcnow", None) is moto_utcnow:
            vars(module)["utcnow"] = wall_utcnow
    vars(time)["time"] = wall_s  # nothing but moto runs in this process
    for module in _SERVICE:
        vars(module)["utcnow"] = utcnow
    vars(moto.logs.models)["unix_time_millis"] = _unix_time_millis
