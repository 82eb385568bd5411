"""What can be done to a running camera, by name: live control is this table.

A verb that needs values names them in `parameters`; they come as text or numbers from the
control socket and are checked to be those, and no others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.camera.serve.live import Camera

    Apply: TypeAlias = Callable[[Camera, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Verb:
    """`apply` does it to one stream of a camera; `parameters` by name, with what they mean."""

    does: str
    apply: Apply
    parameters: Mapping[str, str] = field(default_factory=dict)


VERBS: Mapping[str, Verb] = {
    "online": Verb("plugged in: accepts connections", lambda c, _: c.go_online()),
    "offline": Verb("unplugged: resets sessions, refuses connections", lambda c, _: c.go_offline()),
    "stall": Verb("sessions stay open and get no frames", lambda c, _: c.stall()),
    "resume": Verb("frames again, from the next key frame on", lambda c, _: c.resume()),
}


def verb(name: str, parameters: Mapping[str, Any], known: Mapping[str, Verb] = VERBS) -> Verb:
    """The verb `name`, good for `parameters`. Raises `InputError`."""
    found = known.get(name)
    if found is None:
        raise InputError(f"unknown verb {name!r}", hint=f"one of {', '.join(sorted(known))}")
    wrong = sorted(parameters.keys() ^ found.parameters.keys())
    if wrong:
        wanted = ", ".join(found.parameters) or "none"
        raise InputError(f"{name}: wrong parameters: {', '.join(wrong)}", hint=f"wanted: {wanted}")
    return found
