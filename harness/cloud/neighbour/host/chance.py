"""Chance in moto, so that the same requests make the same ids and secrets again.

All of moto draws from one generator. It is seeded for every request that changes something; what
moto makes when an account is first seen, which may be at any request, has a chance of its own.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from moto.core.base_backend import AccountSpecificBackend
from moto.moto_api._internal import mock_random

if TYPE_CHECKING:
    from collections.abc import Iterator


def seed(number: str) -> None:
    mock_random.seed(number)


@contextlib.contextmanager
def apart(name: str) -> Iterator[None]:
    """Chance that follows from `name` alone; afterwards it goes on as if nothing had been."""
    state = mock_random.getstate()
    mock_random.seed(name)
    try:
        yield
    finally:
        mock_random.setstate(state)


def install() -> None:
    """Draw what a new account is made of apart."""
    find = AccountSpecificBackend.__getitem__

    def find_or_make(backends: Any, region: str) -> Any:
        if region in backends.keys():  # noqa: SIM118 - `in` alone also knows regions not yet made
            return find(backends, region)
        with apart(f"{backends.service_name}/{backends.account_id}/{region}"):
            return find(backends, region)

    vars_of: Any = AccountSpecificBackend
    vars_of.__getitem__ = find_or_make
