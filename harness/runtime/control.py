"""What the harness says to an application process: lines over an inherited pipe."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STOP = b"stop"
_PAUSE = b"pause "
_LOGIN = b"login "
_DISPLAY = b"display "
_PACE = b"pace "


@dataclass(frozen=True, slots=True)
class Login:
    """Who the camera node `node` is to its camera from its next connection on.

    With no `username` at all (None) there are no credentials to be had. Never shown in full.
    """

    node: str
    username: str | None
    password: str = field(default="", repr=False)


def pause(nodes: Iterable[str]) -> bytes:
    """These camera nodes deliver nothing from now on, and all others do."""
    return _PAUSE + json.dumps(sorted(nodes)).encode()


def login(who: Login) -> bytes:
    return _LOGIN + json.dumps([who.node, who.username, who.password]).encode()


def display(rate_fps: float) -> bytes:
    """Put so many pictures a second on the appliance's screen from now on; 0: it is not yours."""
    return _DISPLAY + json.dumps(rate_fps).encode()


def displayed(line: bytes) -> float | None:
    """The rate that a line of `display` asks for; None when it is another line."""
    if not line.startswith(_DISPLAY):
        return None
    return float(json.loads(line.removeprefix(_DISPLAY)))


def pace(paces: Mapping[str, tuple[float, float]]) -> bytes:
    """Model nodes take so long from now on: (milliseconds a call, what the first takes more)."""
    return _PACE + json.dumps({node: list(pair) for node, pair in paces.items()}).encode()


def paced(line: bytes) -> dict[str, tuple[float, float]] | None:
    """What a line of `pace` says; None when it is another line."""
    if not line.startswith(_PACE):
        return None
    told = json.loads(line.removeprefix(_PACE))
    return {node: (float(call_ms), float(more_ms)) for node, (call_ms, more_ms) in told.items()}


def logged_in(line: bytes) -> Login | None:
    """What a line of `login` says; None when it is another line."""
    if not line.startswith(_LOGIN):
        return None
    return Login(*json.loads(line.removeprefix(_LOGIN)))


def paused(line: bytes) -> frozenset[str] | None:
    """The camera nodes that a line of `pause` names; None when it is another line."""
    if not line.startswith(_PAUSE):
        return None
    return frozenset(json.loads(line.removeprefix(_PAUSE)))
