"""The bad habits that real cameras have, as data: what a profile says and a plan carries.

How the camera server behaves for each of them is in `harness/camera/serve/quirk.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

ContentBase: TypeAlias = Literal["right", "missing", "wrong-host", "no-scheme"]
RtpInfo: TypeAlias = Literal["right", "missing", "zero-rtptime"]
SdpOrigin: TypeAlias = Literal["right", "missing", "blanks"]
ParameterSets: TypeAlias = Literal["both", "stream", "sdp"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a camera does otherwise than the standards ask. The defaults are a good camera."""

    content_base: ContentBase = "right"
    rtp_info: RtpInfo = "right"
    sdp_origin: SdpOrigin = "right"
    parameter_sets: ParameterSets = "both"
    lower_case_headers: bool = False
    silent_rtcp: bool = False
    timestamp_reset_s: float = 0.0
    get_parameter_unknown: bool = False
    tcp_only: bool = False
    clients_max: int = 0
    stale_sessions_s: float = 0.0
    session_timeout_s: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Those in which the camera differs from a good one."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != f.default)


NONE = Quirks()
