"""What can be wrong with a camera, as data: one frozen class a fault, with bounds and units.

How a camera behaves while a fault acts is in `harness/camera/serve/trouble.py`. A fault is named
by its `verb`; a `momentary` one happens once and needs no heal. Faults act beside one another,
except those of `pictures`: of these the newest takes the place of the one before.

    fault("loss", {"rate": "0.05"})    -> Loss(rate=0.05, seed=0)
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Fault = TypeVar("Fault", bound="CameraFault")

SEED_MAX = (1 << 53) - 1  # exact in every reader of JSON
HOLD_S_MAX = 30.0
SIZE_PX_MAX = 4096


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a fault may be told. `least` and `most` are None for text."""

    name: str
    default: float | int | str
    says: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`float`, `int` or `str`."""
        return type(self.default).__name__

    @property
    def range_text(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.least is None or self.most is None:
            return "text"
        if self.kind == "int":
            bounds = f"a whole number, {int(self.least)} to {int(self.most)}"
        else:
            bounds = f"a number, {self.least:g} to {self.most:g}"
        return f"{bounds} {self.unit}".rstrip()

    def read(self, value: Any) -> Any:
        """`value`, which may be text, as the fault wants it. Raises `ValueError`."""
        if isinstance(self.default, str):
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise ValueError(value)
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(value)
        number = int(value) if isinstance(self.default, int) else float(value)
        if isinstance(value, float) and number != value:  # 1.5 of something counted
            raise ValueError(value)
        assert self.least is not None
        assert self.most is not None
        if not self.least <= number <= self.most:  # not a number: neither
            raise ValueError(value)
        return number


def _number(default: float, least: float, most: float, unit: str, says: str) -> Any:
    told = {"least": least, "most": most, "unit": unit, "says": says}
    return dataclasses.field(default=default, metadata=told)


def _seed() -> Any:
    return _number(0, 0, SEED_MAX, "", "the same seed, the same pattern, frame by frame")


@dataclass(frozen=True, slots=True)
class CameraFault:
    """Base of all of them. Raises `InputError` for a value out of its bounds."""

    verb: ClassVar[str]
    does: ClassVar[str]
    momentary: ClassVar[bool] = False
    port: ClassVar[bool] = False  # strikes the camera's port, so all of its streams
    pictures: ClassVar[bool] = False  # needs pictures that are encoded for it

    def __post_init__(self) -> None:
        for parameter in self.parameters():
            value = getattr(self, parameter.name)
            try:
                object.__setattr__(self, parameter.name, parameter.read(value))
            except ValueError:
                shown = "" if parameter.name == "password" else f" {value!r}"
                raise InputError(
                    f"{self.verb}: {parameter.name}{shown}",
                    hint=f"{parameter.range_text}: {parameter.says}",
                ) from None

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        return tuple(
            Parameter(field.name, field.default, **field.metadata)
            for field in dataclasses.fields(cls)
            if field.default is not dataclasses.MISSING
        )


# --- its place on the network -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offline(CameraFault):
    verb = "offline"
    does = "unplugged: its sessions are reset, connections refused (on a shared port: reset)"
    port = True


@dataclass(frozen=True, slots=True)
class Refused(CameraFault):
    verb = "refused"
    does = "new connections are refused, sessions go on; wants a port of its own"
    port = True


@dataclass(frozen=True, slots=True)
class Blackhole(CameraFault):
    verb = "blackhole"
    does = "new connections get no answer at all, sessions go on; wants a port of its own"
    port = True


@dataclass(frozen=True, slots=True)
class HalfOpen(CameraFault):
    verb = "half-open"
    does = "connections go silent without an end; the heal resets them, as a reboot does"


@dataclass(frozen=True, slots=True)
class Teardown(CameraFault):
    verb = "teardown"
    does = "ends all of its sessions now, with RTCP BYE and the end of the connection"
    momentary = True


# --- what it answers ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotFound(CameraFault):
    verb = "not-found"
    does = "DESCRIBE and SETUP are answered 404; sessions go on"


@dataclass(frozen=True, slots=True)
class Password(CameraFault):
    verb = "password"
    does = "the password is another one: 401 to whoever has the old one"
    password: str = dataclasses.field(
        default="",
        repr=False,
        metadata={"says": "the new one; empty: one that nobody knows"},
    )


@dataclass(frozen=True, slots=True)
class SlowDescribe(CameraFault):
    verb = "slow-sdp"
    does = "DESCRIBE is answered late"
    delay_s: float = _number(5.0, 0.001, 300.0, "s", "how long an answer takes")


@dataclass(frozen=True, slots=True)
class BrokenPipe(CameraFault):
    verb = "broken-pipe"
    does = "the connection breaks before DESCRIBE, whose send() fails; sessions go on"


# --- what it shows ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stall(CameraFault):
    verb = "stall"
    does = "sessions stay open and get no frames"


@dataclass(frozen=True, slots=True)
class Freeze(CameraFault):
    verb = "freeze"
    does = "the same picture again and again; time stamps go on"
    pictures = True
    at_s: float = _number(0.0, 0.0, 3600.0, "s", "which moment of its loop is shown")


@dataclass(frozen=True, slots=True)
class Black(CameraFault):
    verb = "black"
    does = "black pictures, as with a covered lens; time stamps go on"
    pictures = True


@dataclass(frozen=True, slots=True)
class OtherCodec(CameraFault):
    verb = "codec"
    does = "another codec than H.264: in new sessions as said in SDP, in open ones without a word"
    pictures = True
    codec: str = dataclasses.field(
        default="h265", metadata={"says": "which one", "choices": ("h265", "mjpeg")}
    )


@dataclass(frozen=True, slots=True)
class Resolution(CameraFault):
    verb = "resolution"
    does = "another size of pictures, from the next key frame on"
    pictures = True
    width_px: int = _number(0, 0, SIZE_PX_MAX, "pixels", "even; 0: half of what it was")
    height_px: int = _number(0, 0, SIZE_PX_MAX, "pixels", "even; 0: half of what it was")


@dataclass(frozen=True, slots=True)
class Gop(CameraFault):
    verb = "gop"
    does = "another distance of key frames; its loop begins with one anyway"
    pictures = True
    frames: int = _number(300, 1, 36_000, "frames", "from one key frame to the next")


# --- what becomes of its packets ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loss(CameraFault):
    verb = "loss"
    does = "packets of the video are lost before they are sent"
    rate: float = _number(0.05, 0.0, 1.0, "", "share of packets")
    seed: int = _seed()


@dataclass(frozen=True, slots=True)
class BitErrors(CameraFault):
    verb = "bit-errors"
    does = "bits of the video are wrong; RTP headers and framing are right"
    rate: float = _number(1e-5, 0.0, 0.01, "", "share of bits")
    seed: int = _seed()


@dataclass(frozen=True, slots=True)
class Duplicate(CameraFault):
    verb = "duplicate"
    does = "packets of the video are sent twice"
    rate: float = _number(0.05, 0.0, 1.0, "", "share of packets")
    seed: int = _seed()


@dataclass(frozen=True, slots=True)
class Reorder(CameraFault):
    verb = "reorder"
    does = "packets change places with the next one, frames of one packet with the next frame"
    rate: float = _number(0.05, 0.0, 1.0, "", "share of packets")
    seed: int = _seed()


@dataclass(frozen=True, slots=True)
class Burst(CameraFault):
    verb = "burst"
    does = "frames are held back and sent all at once, again and again"
    hold_s: float = _number(2.0, 0.01, HOLD_S_MAX, "s", "from one burst to the next")


@dataclass(frozen=True, slots=True)
class Jitter(CameraFault):
    verb = "jitter"
    does = "every frame is sent late by a time of its own; none overtakes another"
    most_s: float = _number(0.1, 0.001, HOLD_S_MAX, "s", "how late at most")
    seed: int = _seed()


# --- what it says of time and of itself ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SequenceReset(CameraFault):
    verb = "sequence-reset"
    does = "RTP sequence numbers go on from another one, once"
    momentary = True
    first: int = _number(0, 0, 0xFFFF, "", "the next one")


@dataclass(frozen=True, slots=True)
class SsrcReset(CameraFault):
    verb = "ssrc-reset"
    does = "the video has another SSRC from now on, as after a restart of the encoder"
    momentary = True


@dataclass(frozen=True, slots=True)
class TimestampJump(CameraFault):
    verb = "timestamp-jump"
    does = "RTP time stamps jump once, forward or back, and go on from there"
    momentary = True
    by_s: float = _number(3600.0, -86_400.0, 86_400.0, "s", "how far; back where negative")


@dataclass(frozen=True, slots=True)
class Drift(CameraFault):
    verb = "drift"
    does = "the RTP clock runs fast or slow; after the heal it is right, without a jump"
    ppm: float = _number(100.0, -200_000.0, 200_000.0, "ppm", "how fast; slow where negative")


FAULTS: Mapping[str, type[CameraFault]] = {
    kind.verb: kind
    for kind in (
        *(Offline, Refused, Blackhole, HalfOpen, Teardown),
        *(NotFound, Password, SlowDescribe, BrokenPipe),
        *(Stall, Freeze, Black, OtherCodec, Resolution, Gop),
        *(Loss, BitErrors, Duplicate, Reorder, Jitter, Burst),
        *(SequenceReset, SsrcReset, TimestampJump, Drift),
    )
}


def fault(verb: str, values: Mapping[str, Any]) -> CameraFault:
    """The fault `verb` with `values`, numbers or text. Raises `InputError`."""
    kind = FAULTS.get(verb)
    if kind is None:
        raise InputError(f"unknown fault {verb!r}", hint=f"one of {', '.join(sorted(FAULTS))}")
    refuse_others(verb, values, kind.parameters())
    return kind(**values)


def refuse_others(verb: str, values: Mapping[str, Any], known: Iterable[Parameter]) -> None:
    """Raises `InputError` where a value is none of the `known` parameters."""
    names = [parameter.name for parameter in known]
    wrong = sorted(values.keys() - set(names))
    if wrong:
        raise InputError(
            f"{verb}: wrong parameters: {', '.join(wrong)}",
            hint=f"wanted: {', '.join(names) or 'none'}",
        )
