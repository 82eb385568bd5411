"""One kind of camera, as plans and fleets use it. The file it is read from: `camera_file.py`.

No pydantic here; and annotations are real, so that `msgspec` can carry profiles to processes.
"""

from dataclasses import dataclass, field
from typing import Literal

from harness.scenario.coding import Coding, H264Profile, RateControl
from harness.scenario.look import Look
from harness.scenario.quirk import NONE, Quirks

OfferedCodec = Literal["H264", "H265", "MJPEG", "MPEG4"]
View = Literal["fixed", "fisheye", "ptz"]
Scheme = Literal["none", "basic", "digest"]
FISHEYE_DEG = 60.0


@dataclass(frozen=True, slots=True)
class StreamProfile:
    """One stream of a kind of camera."""

    width_px: int
    height_px: int
    rate_fps: float
    gop_frames: int
    bitrate_kbps: int
    path: str


@dataclass(frozen=True, slots=True)
class CameraProfile:
    """One kind of camera, as plans use it. Its own stream is the first one."""

    name: str
    width_px: int
    height_px: int
    rate_fps: float
    gop_frames: int
    bitrate_kbps: int
    clip_s: float
    path: str
    username: str
    maker: str = ""
    model: str = ""
    look: View = "fixed"
    authentication: Scheme = "digest"
    rate_control: RateControl = "vbr"
    h264_profile: H264Profile = "main"
    slow_rate_fps: float = 0.0
    codecs: tuple[OfferedCodec, ...] = ("H264",)
    resolutions: tuple[str, ...] = ()
    streams: dict[str, StreamProfile] = field(default_factory=dict)
    quirks: Quirks = NONE

    @property
    def scheme(self) -> str:
        """How readers prove who they are, where they have to."""
        return "digest" if self.authentication == "none" else self.authentication

    @property
    def coding(self) -> Coding:
        """How it encodes, as it leaves the factory."""
        return Coding(profile=self.h264_profile, rate_control=self.rate_control)

    @property
    def scene(self) -> Look:
        """What its lens makes of a clear day."""
        return Look(fisheye_deg=FISHEYE_DEG if self.look == "fisheye" else 0.0)

    @property
    def stream(self) -> StreamProfile:
        """The first stream."""
        return StreamProfile(
            self.width_px,
            self.height_px,
            self.rate_fps,
            self.gop_frames,
            self.bitrate_kbps,
            self.path,
        )
