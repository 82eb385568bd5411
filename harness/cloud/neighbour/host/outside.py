"""What moto tells others: subscribers of topics, over HTTP. Never twice."""

from __future__ import annotations

import contextlib
import contextvars
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import moto.sns.models
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 10.0
_again: contextvars.ContextVar[bool] = contextvars.ContextVar("again", default=False)


@contextlib.contextmanager
def told_before(told: bool) -> Iterator[None]:
    """Whether a request was answered before, by a process that is no more."""
    token = _again.set(told)
    try:
        yield
    finally:
        _again.reset(token)


def _post(url: str, **given: Any) -> None:
    if not _again.get():
        requests.post(url, **{"timeout": TIMEOUT_S, **given})


def install() -> None:
    vars(moto.sns.models)["requests"] = SimpleNamespace(post=_post)
