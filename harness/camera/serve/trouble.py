"""What is wrong with one camera now: faults (`harness.fault.camera`) put into effect and healed.

A good camera pays nothing for it. Its answers ask `Trouble.react` once a request. Its frames go
to the readers directly, and only while a fault acts on their way through a `Detour`; faults of
pictures, clock and identity change what the camera sends from.
"""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.camera.picture.variant import Change
from harness.camera.serve.detour import Detour
from harness.camera.wire.rtsp import Response
from harness.errors import InputError
from harness.fault import camera as faults
from harness.scenario.coding import CODECS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.clockwork import Clockwork
    from harness.camera.serve.live import Camera
    from harness.camera.wire.rtsp import Request
    from harness.fault.camera import CameraFault

    Step: TypeAlias = "Callable[[Trouble], None]"
    Strike: TypeAlias = "Callable[[Trouble, Any], None]"  # and the fault itself

USER = "admin"  # of a camera that nobody needed a password for, until it was changed


class Port(enum.Enum):
    OPEN = "accepts connections"
    CLOSED = "refuses them"
    SWALLOWING = "does not answer at all"


class Conduct(enum.Enum):
    """What becomes of a connection whose request is not simply answered."""

    RESET = "the connection is reset"
    SILENCE = "no answer, now or later"
    BREAK = "answered unless it is DESCRIBE, then broken"


@dataclass(frozen=True, slots=True)
class Late:
    """The answer takes `delay_s`."""

    delay_s: float


Reaction: TypeAlias = Conduct | Late | Response | None


class Trouble:
    """The faults that act on `camera`, which are in `acting` by their class."""

    def __init__(self, camera: Camera, clockwork: Clockwork) -> None:
        self.camera = camera
        self.clockwork = clockwork
        self.acting: dict[type[CameraFault], CameraFault] = {}
        self.waiting: set[Callable[[], None]] = set()  # late answers; a call gives them now
        self.credentials = camera.credentials  # the right ones
        self.detour: Detour | None = None

    async def prepare(self, fault: CameraFault) -> None:
        """Make the pictures that `fault` shows, where it shows others. The loop goes on."""
        change = change_of(fault, self.camera.clip)
        if change is not None:
            await self.clockwork.prepare_pictures(self.camera, change)

    def check(self, fault: CameraFault) -> None:
        """Raises `InputError` where `fault` cannot be injected."""
        kind = type(fault)
        if self.camera.ranged and kind not in _OF_RECORDINGS:
            raise InputError(
                f"camera {self.camera.name}: {kind.verb} of a recording",
                hint=f"recordings know {', '.join(sorted(k.verb for k in _OF_RECORDINGS))}",
            )
        if kind in _OF_PORTS and not self.clockwork.has_port(self.camera):
            raise InputError(
                f"camera {self.camera.name}: {kind.verb} on a port that it shares",
                hint="give it a port or an address of its own (--own-ports, --addresses)",
            )
        change = change_of(fault, self.camera.clip)
        if change is not None and not self.clockwork.has_pictures(self.camera, change):
            raise InputError(
                f"camera {self.camera.name}: the pictures of {kind.verb} are not made yet",
                hint="await camera.prepare_fault(fault) first",
            )

    def inject(self, fault: CameraFault) -> None:
        """Let `fault` act, in place of one of its kind. Raises `InputError`."""
        self.check(fault)
        kind = type(fault)
        if kind.pictures:
            for other in [other for other in self.acting if other.pictures]:
                del self.acting[other]
        if kind.momentary:
            _MOMENTS[kind](self, fault)
        else:
            self.acting[kind] = fault
            begin, _ = _STEPS[kind]
            begin(self)

    def heal(self, kind: type[CameraFault] | None = None) -> None:
        """End the fault of `kind`, or all of them. What does not act is healed already."""
        for one in tuple(self.acting) if kind is None else (kind,):
            if self.acting.pop(one, None) is not None:
                _, end = _STEPS[one]
                end(self)

    # --- requests ---------------------------------------------------------------------------

    def react(self, request: Request, *, in_session: bool) -> Reaction:
        """What is done instead of answering `request`; None: it is answered."""
        acting = self.acting
        if not acting:
            return None
        if faults.Offline in acting:
            return Conduct.RESET
        if faults.HalfOpen in acting:
            return Conduct.SILENCE
        if in_session:
            return None
        if faults.BrokenPipe in acting and request.method in ("OPTIONS", "DESCRIBE"):
            return Conduct.BREAK
        if faults.NotFound in acting and request.method in ("DESCRIBE", "SETUP"):
            return Response(status=404)
        slow = acting.get(faults.SlowDescribe)
        if isinstance(slow, faults.SlowDescribe) and request.method == "DESCRIBE":
            return Late(slow.delay_s)
        return None

    # --- steps ------------------------------------------------------------------------------

    def set_port(self) -> None:
        """The port is as the worst of the faults that act has it."""
        if faults.Offline in self.acting:
            self.clockwork.reset(self.camera)
        if not self.clockwork.has_port(self.camera):
            return
        state = Port.OPEN
        if faults.Offline in self.acting:
            state = Port.CLOSED
        elif faults.Blackhole in self.acting:
            state = Port.SWALLOWING
        elif faults.Refused in self.acting:
            state = Port.CLOSED
        self.clockwork.set_port(self.camera, state)

    def change_password(self) -> None:
        right, fault = self.credentials, self.acting.get(faults.Password)
        if isinstance(fault, faults.Password):
            password = fault.password or secrets.token_hex(16)
            right = replace(right, username=right.username or USER, password=password)
        self.camera.credentials = right

    def answer_now(self) -> None:
        """Those who wait for a late answer get it."""
        for answer in tuple(self.waiting):
            answer()

    def hush(self) -> None:
        self.set_way()
        self.clockwork.hush(self.camera)

    def wake(self) -> None:
        """It knows nothing of the connections that it was silent on."""
        self.clockwork.reset(self.camera, hushed=True)
        self.set_way()

    def set_way(self) -> None:
        """Frames take the detour while a fault acts on their way, and the direct one again."""
        if self.detour is None and self.acting.keys() & _OF_THE_WAY:
            schedule = self.clockwork.schedule
            self.detour = Detour(self.acting, self.camera.playing, schedule)
            self.camera.turn_off_to(self.detour)
        elif self.detour is not None:
            if not self.acting.keys() & _HOLDING:
                self.detour.flush()
            if not self.acting.keys() & _OF_THE_WAY:
                self.detour = None
                self.camera.turn_off_to(None)

    def set_pictures(self) -> None:
        camera = self.camera
        changes = (change_of(fault, camera.clip) for fault in self.acting.values())
        change = next(filter(None, changes), None)
        camera.show(self.clockwork.pictures(camera, change))

    def set_clock(self) -> None:
        drift = self.acting.get(faults.Drift)
        self.camera.drift(drift.ppm if isinstance(drift, faults.Drift) else 0.0)


def change_of(fault: CameraFault, clip: Clip) -> Change | None:
    """The pictures that a fault wants instead of `clip`, which is the camera's own."""
    match fault:
        case faults.Freeze(at_s=at_s):
            return Change(still_s=at_s)
        case faults.Black():
            return Change(black=True)
        case faults.OtherCodec(codec=name):
            return Change(codec=next(codec for codec in CODECS if codec == name))
        case faults.Resolution(width_px=width, height_px=height):
            half = (clip.spec.width_px // 4 * 2, clip.spec.height_px // 4 * 2)
            return Change(width_px=width or half[0], height_px=height or half[1])
        case faults.Gop(frames=frames):
            return Change(gop_frames=frames)
        case _:
            return None


def _nothing(_: Trouble) -> None:
    """`react` looks at what acts."""


_PORT = (Trouble.set_port, Trouble.set_port)
_WAY = (Trouble.set_way, Trouble.set_way)
_PICTURES = (Trouble.set_pictures, Trouble.set_pictures)

# What is done when a fault begins, and when it ends.
_STEPS: Mapping[type[CameraFault], tuple[Step, Step]] = {
    faults.Offline: _PORT,
    faults.Refused: _PORT,
    faults.Blackhole: _PORT,
    faults.HalfOpen: (Trouble.hush, Trouble.wake),
    faults.NotFound: (_nothing, _nothing),
    faults.Password: (Trouble.change_password, Trouble.change_password),
    faults.SlowDescribe: (_nothing, Trouble.answer_now),
    faults.BrokenPipe: (_nothing, _nothing),
    faults.Stall: (lambda t: t.camera.stop_sending(), lambda t: t.camera.start_sending()),
    **dict.fromkeys((kind for kind in faults.FAULTS.values() if kind.pictures), _PICTURES),
    faults.Loss: _WAY,
    faults.BitErrors: _WAY,
    faults.Duplicate: _WAY,
    faults.Reorder: _WAY,
    faults.Jitter: _WAY,
    faults.Burst: _WAY,
    faults.Drift: (Trouble.set_clock, Trouble.set_clock),
}
# What is done once, of those that are over in a moment.
_MOMENTS: Mapping[type[CameraFault], Strike] = {
    faults.Teardown: lambda t, _: t.clockwork.dismiss(t.camera),
    faults.SequenceReset: lambda t, fault: t.camera.restart_sequence(fault.first),
    faults.SsrcReset: lambda t, _: t.camera.change_ssrc(),
    faults.TimestampJump: lambda t, fault: t.camera.jump(fault.by_s),
}
_OF_PORTS = {faults.Refused, faults.Blackhole}
_OF_RECORDINGS = {
    *(faults.Offline, faults.Refused, faults.Blackhole, faults.Teardown),
    *(faults.NotFound, faults.Password, faults.SlowDescribe, faults.BrokenPipe, faults.Stall),
}
_HOLDING = {faults.Reorder, faults.Jitter, faults.Burst}
_OF_THE_WAY = {faults.HalfOpen, faults.Loss, faults.BitErrors, faults.Duplicate, *_HOLDING}
