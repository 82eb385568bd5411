"""The file of a camera profile: what a kind of camera sends, how it is asked, its bad habits.

`harness.scenario.profile` reads it into a `CameraProfile`. Every value names its source.
"""

from typing import Annotated

from pydantic import Field, model_validator

from harness.scenario.camera import OfferedCodec, Scheme, View
from harness.scenario.coding import H264Profile, RateControl
from harness.scenario.part import NAME_PATTERN, Part
from harness.scenario.quantity import Span, wrong
from harness.scenario.quirk import ContentBase, ParameterSets, RtpInfo, SdpOrigin
from harness.scenario.sourced import Fact, Sourced

_WORD = "[A-Za-z0-9._-]+"
PATH_PATTERN = rf"^(/{_WORD}|/\{{camera\}})+(\?{_WORD}={_WORD}(&{_WORD}={_WORD})*)?$"
STREAMS_MAX = 8
READERS_MAX = 1000

Width = Annotated[int, Field(ge=160, le=4096, multiple_of=2)]
Height = Annotated[int, Field(ge=120, le=4096, multiple_of=2)]
Rate = Annotated[float, Field(gt=0, le=60)]
Gop = Annotated[int, Field(ge=1, le=600)]
Bitrate = Annotated[int, Field(ge=32, le=50_000)]
Path = Annotated[str, Field(pattern=PATH_PATTERN)]
Resolution = Annotated[str, Field(pattern="^[1-9][0-9]{2,3}x[1-9][0-9]{1,3}$")]


class StreamFile(Part):
    """A further stream of the camera: its second, smaller picture, say."""

    width_px: Sourced[Width]
    height_px: Sourced[Height]
    rate_fps: Sourced[Rate]
    gop_frames: Sourced[Gop]
    bitrate_kbps: Sourced[Bitrate]
    path: Path = Field(description="path of the stream; {camera} stands for the camera's name")


class QuirksFile(Part):
    """What the camera does otherwise than the standards ask; what is left out, it does right."""

    content_base: Sourced[ContentBase] | None = Field(
        default=None, description="Content-Base of the answer to DESCRIBE"
    )
    rtp_info: Sourced[RtpInfo] | None = Field(
        default=None, description="RTP-Info of the answer to PLAY"
    )
    sdp_origin: Sourced[SdpOrigin] | None = Field(
        default=None, description="the line o= of the session description"
    )
    parameter_sets: Sourced[ParameterSets] | None = Field(
        default=None, description="whether SPS and PPS are in the SDP, in the stream, or both"
    )
    lower_case_headers: Sourced[bool] | None = Field(
        default=None, description="names of RTSP headers in lower case"
    )
    silent_rtcp: Sourced[bool] | None = Field(default=None, description="no sender reports")
    timestamp_reset: Sourced[Span] | None = Field(
        default=None, description="the RTP clock starts anew so often"
    )
    get_parameter_unknown: Sourced[bool] | None = Field(
        default=None, description="GET_PARAMETER is answered 501: OPTIONS keeps a session alive"
    )
    tcp_only: Sourced[bool] | None = Field(default=None, description="UDP is answered 461")
    clients_max: Sourced[Annotated[int, Field(ge=1, le=READERS_MAX)]] | None = Field(
        default=None, description="readers at once; one more is answered 453"
    )
    stale_sessions: Sourced[Span] | None = Field(
        default=None, description="a reader that left without TEARDOWN is counted so long"
    )
    session_timeout: Sourced[Span] | None = Field(
        default=None, description="silence after which a session is ended"
    )


class CameraProfileFile(Part):
    """A kind of camera: what it sends."""

    schema_version: Annotated[int, Field(ge=1, le=1)] = Field(alias="schema")
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: str = ""
    maker: str = Field(default="", description="who makes it; empty: no real camera")
    model: str = Field(default="", description="the maker's name for it")
    look: View = Field(default="fixed", description="fixed, fisheye or ptz (moving)")
    width_px: Sourced[Width]
    height_px: Sourced[Height]
    rate_fps: Sourced[Rate]
    gop_frames: Sourced[Gop]
    bitrate_kbps: Sourced[Bitrate]
    clip: Sourced[Span] = Field(description="length of the loop that the synthetic camera plays")
    path: Path = Field(description="path of the stream; {camera} stands for the camera's name")
    username: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{0,32}$")] = Field(
        default="", description="user who may read the stream; empty: no credentials are needed"
    )
    authentication: Sourced[Scheme] | None = Field(
        default=None, description="how readers prove who they are; default: digest"
    )
    codecs: Sourced[list[OfferedCodec]] | None = Field(
        default=None, description="what it can be set to send; the harness sends H264"
    )
    resolutions: Sourced[list[Resolution]] | None = Field(
        default=None, description="pictures it can be set to, the largest first"
    )
    rate_control: Sourced[RateControl] | None = Field(
        default=None, description="bitrate: constant, variable, or variable with a cap"
    )
    h264_profile: Sourced[H264Profile] | None = None
    slow_rate_fps: Sourced[Rate] | None = Field(
        default=None, description="rate it falls to now and then, in the dark; default: never"
    )
    streams: dict[Annotated[str, Field(pattern=NAME_PATTERN)], StreamFile] = Field(
        default_factory=dict, max_length=STREAMS_MAX, description="further streams, by name"
    )
    quirks: QuirksFile = Field(default_factory=QuirksFile, description="its bad habits")
    facts: dict[str, Sourced[Fact]] = Field(
        default_factory=dict, description="what else is known of the camera"
    )

    @model_validator(mode="after")
    def _user_and_authentication_agree(self) -> "CameraProfileFile":
        if self.username and self.authentication and self.authentication.value == "none":
            raise wrong(
                f"user `{self.username}` of a camera without authentication",
                "leave `username` out, or give authentication basic or digest",
            )
        return self
