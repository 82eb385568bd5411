"""Talking over a link that may break: downloads that resume, messages that may have to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance.effect import Fetch, Get, Note, Now, Program, Publish, Sleep
from harness.errors import LinkDown, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRY_S = 15.0
GIVE_UP_S = 1800.0  # the vendor's guide speaks of updates that take half an hour


def get(url: str) -> Program[bytes]:
    """A small document, however often it takes within `GIVE_UP_S`. Raises `PeerError`."""
    began_s = yield Now()
    while True:
        try:
            return bytes((yield Get(url)))
        except (LinkDown, PeerTimeout):
            if (yield Now()) - began_s >= GIVE_UP_S:
                raise
        yield Sleep(RETRY_S)


def download(url: str, partition: str, offset: int, size: int) -> Program[None]:
    """Bulk content into its place; what is there stays there when the link breaks."""
    began_s = yield Now()
    done = 0
    while True:
        try:
            done = yield Fetch(url, partition, offset, size, start=done)
        except (LinkDown, PeerTimeout) as problem:
            line = f"WARN download interrupted at {done} of {size} bytes: {problem}"
            yield Note("log.line", {"stream": "syslog", "line": line})
        if done >= size:
            return
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
