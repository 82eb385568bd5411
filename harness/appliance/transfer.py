"""Talking over a link that may break: downloads that resume, messages that may have to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance.effect import Fetch, Get, Note, Now, Program, Publish, Sleep
from harness.errors import LinkDown, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RETRY_S = 15.0
GIVE_UP_S = 1800.0  # the vendor's guide speaks of updates that take half an hour


def get(url: str, limit: int = 1 << 20) -> Program[bytes]:
    """A document of at most `limit` bytes, however often it takes within `GIVE_UP_S`.

    Raises `PeerError`.
    """
    began_s = yield Now()
    while True:
        try:
            return bytes((yield Get(url, limit)))
        except (LinkDown, PeerTimeout):
            if (yield Now()) - began_s >= GIVE_UP_S:
                raise
        yield Sleep(RETRY_S)


def download(
    url: str,
    partition: str,
    offset: int,
    size: int,
    *,
    start: int = 0,
    segment: int | None = None,
    reached: Callable[[int], Program[None]] | None = None,
) -> Program[None]:
    """Bulk content into its place; what is there stays there when the link breaks.

    The first `start` bytes are there already. With a `segment`, `reached` runs after every so
    many bytes with the number of those in place, and ends the download by what it raises.
    """
    began_s = yield Now()
    done = start
    while done < size:
        until = size if segment is None else min(size, done - done % segment + segment)
        try:
            done = yield Fetch(url, partition, offset, size, start=done, until=until)
        except (LinkDown, PeerTimeout) as problem:
            line = f"WARN download interrupted at {done} of {size} bytes: {problem}"
            yield Note("log.line", {"stream": "syslog", "line": line})
        if reached is not None:
            yield from reached(done)
        if done >= until:
            continue
        if (yield Now()) - began_s >= GIVE_UP_S:
            raise LinkDown(f"{url}: {done} of {size} bytes came in {GIVE_UP_S:.0f} s")
        yield Sleep(RETRY_S)


def publish(topic: str, payload: Mapping[str, Any]) -> Program[bool]:
    """Outcome: whether the broker has it. A lost link is no error: callers say it again."""
    try:
        yield Publish(topic, payload)
    except (LinkDown, PeerTimeout):
        return False
    return True
