"""What an application process tells the harness, as JSON lines over an inherited pipe.

Times (`*_s`) are `time.monotonic()` of this machine, which all its processes share. Boxes are
left, top, right, bottom in 0..1 of the picture. One connection's `Counts` always add up:
packets = delivered + skipped + dropped_decoder + in_flight; messages about one connection come
in order, and the last `Counts` of a connection is its final account.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

Detection: TypeAlias = "tuple[str, float, float, float, float, float]"


@dataclass(frozen=True, slots=True)
class Started:
    """The application made its first `node`: the SDK is up, cameras are being connected."""

    pid: int
    at_s: float


@dataclass(frozen=True, slots=True)
class CameraConnected:
    """`camera` delivers: its first frame was decoded. `connection` counts from 1.

    `transport` is what the camera granted: tcp or udp.
    """

    camera: str
    connection: int
    at_s: float
    transport: str


@dataclass(frozen=True, slots=True)
class CameraLost:
    """`camera` could not be reached, or was lost; `line` is what the camera node logs.

    `connection` is 0 when no connection had come up.
    """

    camera: str
    connection: int
    at_s: float
    line: str


@dataclass(frozen=True, slots=True)
class CameraPaused:
    """`camera` was let go of because it was asked for; `connection` is 0 when none was up."""

    camera: str
    connection: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame the application had in hands: decoded, got by `get()`, given back by `put()`.

    `clip_id`, `index` and `time_us` are the frame code, None where none was readable; `put_s` is
    None when the application dropped the frame. `detections` are (class, l, t, r, b, confidence);
    `classes` are (class, confidence) of labels on a frame without any rectangle.
    """

    camera: str
    connection: int
    clip_id: int | None
    index: int | None
    time_us: int | None
    arrived_s: float
    got_s: float
    put_s: float | None
    detections: tuple[Detection, ...]
    classes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Inference:
    """One `call()` of the model `node`.

    Where calls are paced, `target_ms` is what one takes on the appliance and `host_ms` what this
    machine needed for it: if that is more, the duration says nothing of the appliance.
    """

    node: str
    at_s: float
    duration_ms: float
    host_ms: float | None = None
    target_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """The model `node` cannot be used; `line` is what its log says."""

    node: str
    at_s: float
    line: str


@dataclass(frozen=True, slots=True)
class Counts:
    """The account of one connection, in frames.

    `packets` demuxed (one access unit each), `decoded` by the decoder, `delivered` by `get()`,
    `skipped` as a newer one replaced them unread, `dropped_decoder` packets that gave no frame,
    `in_flight` in the decoder or waiting for `get()`. Beside that sum, `lost` frames never came
    whole: as far as a reader can tell from sequence numbers and time stamps.
    """

    camera: str
    connection: int
    packets: int
    decoded: int
    delivered: int
    skipped: int
    dropped_decoder: int
    in_flight: int
    lost: int


@dataclass(frozen=True, slots=True)
class CredentialsMissing:
    """The node of `camera` connects anew, and there are no credentials for it."""

    camera: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is wrong with the stream of `camera` while it flows (`harness.record.trouble`).

    Told when it is first seen, with `count` of it by then, and when it is `over`: how many there
    were, and how long it lasted.
    """

    camera: str
    trouble: str
    at_s: float
    count: int
    over: bool
    lasted_s: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The last message: cameras are closed, all counts are final.

    `lost` messages did not fit the bounded buffer; `reason` is `asked` or `exit`.
    """

    at_s: float
    reason: str
    lost: int


Message: TypeAlias = (
    "Started | CameraConnected | CameraLost | CameraPaused | CredentialsMissing | Frame"
    " | Inference | ModelFailed | Counts | Trouble | Stopped"
)

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Started,
        CameraConnected,
        CameraLost,
        CameraPaused,
        CredentialsMissing,
        Frame,
        Inference,
        ModelFailed,
        Counts,
        Trouble,
        Stopped,
    )
}


def format_message(message: Message) -> bytes:
    """One line: the message's fields, and its class name under `kind`."""
    fields = {f.name: getattr(message, f.name) for f in dataclasses.fields(message)}
    return json.dumps({"kind": type(message).__name__, **fields}).encode() + b"\n"


def parse(values: Mapping[str, Any]) -> Message:
    """The message in `values` (a decoded line). Raises `Corrupt` naming what does not fit."""
    fields = dict(values)
    kind = _KINDS.get(str(fields.pop("kind", None)))
    if kind is None:
        raise Corrupt(
            f"telemetry of kind {values.get('kind')!r}", hint=f"one of {', '.join(_KINDS)}"
        )
    if kind is Frame:
        fields["detections"] = tuple(tuple(entry) for entry in fields.get("detections", ()))
        fields["classes"] = tuple(tuple(entry) for entry in fields.get("classes", ()))
    try:
        message: Message = kind(**fields)
    except TypeError as error:
        raise Corrupt(f"telemetry {kind.__name__}: {error}", hint="fields by name") from None
    return message
