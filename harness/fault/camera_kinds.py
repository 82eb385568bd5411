"""Faults of cameras, and what appliances notice of each.

What the camera does is one of `harness.fault.camera`. Most of those leave sessions alone that are
open, as it happens with cameras; here the ones that an appliance could not notice then end them
as well, so that it connects anew and meets the fault. Signs are what the camera node says for
itself: a line of its log, a trouble that it sees in a stream that flows (`harness.record.trouble`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from harness.fault import camera
from harness.fault.kinds import MODEL, PROCESS, FaultKind, Sign
from harness.record import camera_log, kind, trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.fault.camera import CameraFault, Parameter
    from harness.fault.kinds import World

BOTH = (MODEL, PROCESS)
ALONE = (PROCESS,)  # what virtual time does not know of: pictures, single packets, clocks
SLOW_S_MIN = 4.0  # longer than a camera node waits for an answer
BURST_S_MAX = 2.5  # longer is taken for a stream that has stopped
GOP_FRAMES = 90  # a camera takes it up at a key frame of it, so after as many at the most
DRIFT_PPM = 50_000.0  # a hundred times what quartz does: less takes longer to be noticed

_LOST = Sign(kind.CAMERA_LOST, value="camera")
_BACK = Sign(kind.CAMERA_CONNECTED, value="camera")


def _logged(line: str) -> Sign:
    return Sign(kind.LOG_LINE, value="camera", where={"line": line})


def _troubled(name: str) -> tuple[Sign, Sign]:
    """A trouble of the stream, and frames without it.

    Its end is no sign: one that comes and goes may be over for the moment when the fault heals.
    """
    return (
        Sign(kind.CAMERA_TROUBLE, value="camera", where={"trouble": name}),
        Sign(kind.FRAMES, value="camera", above={"delivered": 0}, lacks={"troubles": name}),
    )


def _kind(
    wire: type[CameraFault],
    label: str,
    signs: tuple[Sign, Sign],
    *,
    engines: tuple[str, ...] = BOTH,
    anew: bool = False,
    bounds: Mapping[str, Mapping[str, Any]] | None = None,
    fixed: Sequence[str] = (),
) -> FaultKind:
    """`anew`: sessions are ended too. `bounds` change parameters, `fixed` ones cannot be given."""

    def inject(world: World, target: str, values: Mapping[str, Any]) -> None:
        world.inject_camera(target, wire(**values))
        if anew:
            world.inject_camera(target, camera.Teardown())

    def heal(world: World, target: str) -> None:
        if not wire.momentary:
            world.heal_camera(target, wire)

    return FaultKind(
        name=f"camera.{wire.verb}",
        target="camera",
        label=label,
        summary=f"{wire.does}{'; its sessions are ended once' if anew else ''}",
        inject=inject,
        heal=heal,
        shows=signs[0],
        recovers=signs[1],
        lasting=not wire.momentary,
        parameters=_parameters(wire, bounds or {}, fixed),
        engines=engines,
        wire=lambda values: wire(**values),
    )


def _parameters(
    wire: type[CameraFault], bounds: Mapping[str, Mapping[str, Any]], fixed: Sequence[str]
) -> dict[str, Parameter]:
    return {
        one.name: dataclasses.replace(one, **bounds.get(one.name, {}))
        for one in wire.parameters()
        if one.name not in fixed
    }


def _withhold(world: World, target: str, _values: Mapping[str, Any]) -> None:
    world.withhold_credentials(target)
    world.inject_camera(target, camera.Teardown())


KINDS: Sequence[FaultKind] = (
    # its place on the network
    _kind(camera.Offline, "camera off", (_LOST, _BACK)),
    _kind(
        camera.Refused, "camera refuses", (_logged(camera_log.CONNECTION_REFUSED), _BACK), anew=True
    ),
    _kind(
        camera.Blackhole,
        "camera black hole",
        (_logged(camera_log.TIMED_OUT), _BACK),
        anew=True,
    ),
    _kind(camera.HalfOpen, "camera half open", (_logged(camera_log.STALLED), _BACK)),
    _kind(camera.Teardown, "camera ends sessions", (_logged(camera_log.GOODBYE), _BACK)),
    # what it answers
    _kind(
        camera.NotFound,
        "camera 404",
        (_logged(camera_log.refused(404, "Not Found")), _BACK),
        anew=True,
    ),
    _kind(
        camera.Password,
        "camera password changed",
        (_logged(camera_log.refused(401, "Unauthorized")), _BACK),
        anew=True,
        fixed=("password",),  # it would be in every plan and history
    ),
    _kind(
        camera.SlowDescribe,
        "camera answers late",
        (_logged(camera_log.TIMED_OUT), _BACK),
        anew=True,
        bounds={"delay_s": {"least": SLOW_S_MIN}},
    ),
    _kind(
        camera.BrokenPipe,
        "camera broken pipe",
        (_logged(camera_log.BROKEN_PIPE), _BACK),
        anew=True,
    ),
    FaultKind(
        name="camera.credentials",
        target="camera",
        label="camera credentials gone",
        summary="appliances cannot fetch its credentials; its sessions are ended once",
        inject=_withhold,
        heal=lambda world, target: world.return_credentials(target),
        shows=_logged(camera_log.CREDENTIALS),
        recovers=_BACK,
        user=True,
    ),
    # what it shows
    _kind(camera.Stall, "camera stalls", (_logged(camera_log.STALLED), _BACK)),
    _kind(camera.Freeze, "camera frozen", _troubled(trouble.FROZEN), engines=ALONE),
    _kind(camera.Black, "camera black", _troubled(trouble.DARK), engines=ALONE),
    _kind(
        camera.OtherCodec,
        "camera of another codec",
        (_logged(camera_log.NOT_H264), _BACK),
        anew=True,
    ),
    _kind(camera.Resolution, "camera resized", _troubled(trouble.RESIZED), engines=ALONE),
    _kind(
        camera.Gop,
        "camera key frames rare",
        _troubled(trouble.KEYS_RARE),
        engines=ALONE,
        bounds={"frames": {"default": GOP_FRAMES}},
    ),
    # what becomes of its packets
    _kind(camera.Loss, "camera packets lost", _troubled(trouble.FRAMES_LOST)),
    _kind(
        camera.Jitter,
        "camera jitter",
        _troubled(trouble.UNEVEN),
        engines=ALONE,
        bounds={"most_s": {"default": 0.5}},
    ),
    _kind(
        camera.Burst,
        "camera sends in bursts",
        _troubled(trouble.UNEVEN),
        engines=ALONE,
        bounds={"hold_s": {"most": BURST_S_MAX}},
    ),
    _kind(
        camera.BitErrors,
        "camera bit errors",
        _troubled(trouble.FRAMES_DAMAGED),
        engines=ALONE,
    ),
    _kind(
        camera.Duplicate,
        "camera packets doubled",
        _troubled(trouble.DUPLICATED),
        engines=ALONE,
    ),
    _kind(
        camera.Reorder,
        "camera packets swapped",
        _troubled(trouble.OUT_OF_ORDER),
        engines=ALONE,
        bounds={"rate": {"default": 0.2}},  # a small frame has few packets to swap
    ),
    # what it says of time and of itself
    _kind(
        camera.SequenceReset,
        "camera sequence reset",
        _troubled(trouble.RESTARTED),
        engines=ALONE,
        fixed=("first",),  # the engine takes one that is far from the last
    ),
    _kind(camera.SsrcReset, "camera SSRC reset", _troubled(trouble.RESTARTED), engines=ALONE),
    _kind(
        camera.TimestampJump,
        "camera clock jumps",
        _troubled(trouble.CLOCK_JUMPED),
        engines=ALONE,
    ),
    _kind(
        camera.Drift,
        "camera clock drifts",
        _troubled(trouble.CLOCK_DRIFTS),
        engines=ALONE,
        bounds={"ppm": {"default": DRIFT_PPM}},
    ),
)
