"""What a camera needs of its server, and what both have to send frames by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.camera.picture.variant import Change
    from harness.camera.serve.live import Camera
    from harness.camera.serve.packed import PackedClip, PackedUnit
    from harness.camera.serve.trouble import Port


class Timed(Protocol):
    """What sends frames by the clock: a live camera, or one reader's playback."""

    due_s: float

    def emit(self, now_s: float) -> None:
        """Send what is due and set `due_s` anew."""


class Clockwork(Protocol):
    """What a camera needs of its server."""

    def schedule(self, timed: Timed) -> None:
        """Have `emit` called when `due_s` comes."""

    def has_port(self, camera: Camera) -> bool:
        """Whether `camera` has a port of its own."""

    def set_port(self, camera: Camera, state: Port) -> None:
        """What becomes of connections that are made to the own port of `camera`."""

    def reset(self, camera: Camera, *, hushed: bool = False) -> None:
        """Reset the connections to `camera`, or those that are hushed for it."""

    def dismiss(self, camera: Camera) -> None:
        """End the sessions of `camera`, and tell the readers."""

    def hush(self, camera: Camera) -> None:
        """Be silent on all connections to `camera`."""

    def has_pictures(self, camera: Camera, change: Change) -> bool:
        """Whether what `camera` shows with `change` is made."""

    async def prepare_pictures(self, camera: Camera, change: Change) -> None:
        """Make it, without holding up the loop."""

    def pictures(self, camera: Camera, change: Change | None) -> PackedClip:
        """What was made, or with None the camera's own."""


class Outlet(Protocol):
    """Where the frames of a camera go: a reader, or a detour on the way to all of them."""

    def deliver(self, frame: int, unit: PackedUnit) -> None:
        """A frame, patched; `unit` is not kept."""
