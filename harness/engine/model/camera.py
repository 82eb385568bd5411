"""A camera in virtual time: what acts on it, and what whoever connects to it meets.

It knows the faults whose effect follows without pictures, single packets and clocks; a scenario
with others is refused before it gets here (`FaultKind.engines`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.fault import camera as faults
from harness.record import camera_log

if TYPE_CHECKING:
    from harness.fault.camera import CameraFault
    from harness.scenario.plan import CameraPlan

TIMEOUT_S = 3.0  # how long a camera node waits for an answer
PACKET_BYTES = 1400  # of video in one RTP packet

# What a camera node logs when it connects while one of these acts; the first one that does counts.
_BARRIERS: tuple[tuple[type[CameraFault], str], ...] = (
    (faults.Offline, camera_log.CONNECTION_REFUSED),
    (faults.Blackhole, camera_log.TIMED_OUT),
    (faults.Refused, camera_log.CONNECTION_REFUSED),
    (faults.HalfOpen, camera_log.TIMED_OUT),
    (faults.BrokenPipe, camera_log.BROKEN_PIPE),
    (faults.Password, camera_log.refused(401, "Unauthorized")),
    (faults.NotFound, camera_log.refused(404, "Not Found")),
    (faults.OtherCodec, camera_log.NOT_H264),
    (faults.SlowDescribe, camera_log.TIMED_OUT),
    (faults.Stall, camera_log.STALLED),
)
_WAITED_FOR = (camera_log.TIMED_OUT, camera_log.STALLED)


@dataclass(slots=True)
class VirtualCamera:
    """`acting` are the faults that act now, by their class; `withheld` its credentials."""

    plan: CameraPlan
    epoch_s: float
    acting: dict[type[CameraFault], CameraFault] = field(default_factory=dict)
    withheld: bool = False

    def frames(self, from_s: float, to_s: float) -> int:
        """Frames made in (from_s, to_s]."""
        rate = self.plan.rate_fps
        return math.floor((to_s - self.epoch_s) * rate) - math.floor((from_s - self.epoch_s) * rate)

    @property
    def silent(self) -> bool:
        """Its sessions are open and get nothing."""
        return faults.Stall in self.acting or faults.HalfOpen in self.acting

    @property
    def loss(self) -> float:
        """The share of its frames that lose a packet, and so are lost, on the way."""
        acting = self.acting.get(faults.Loss)
        if not isinstance(acting, faults.Loss):
            return 0.0
        frame_bytes = self.plan.bitrate_kbps * 125 / self.plan.rate_fps
        packets = max(1, math.ceil(frame_bytes / PACKET_BYTES))
        return 1.0 - (1.0 - acting.rate) ** packets

    @property
    def barrier(self) -> str:
        """What a camera node logs that connects now; empty: it gets frames."""
        if not self.plan.readable:
            return camera_log.NOT_H264
        for kind, line in _BARRIERS:
            if kind in self.acting:
                return line
        return camera_log.refused(401, "Unauthorized") if self.withheld else ""


def takes_s(barrier: str) -> float:
    """How long it takes to meet what keeps a camera node from frames."""
    return TIMEOUT_S if barrier in _WAITED_FOR else 0.0
