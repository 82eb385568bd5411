"""How a camera encodes, as data: codec, profile, bitrate behaviour, identity beside the picture.

The encoders are opened in `harness/camera/picture/coding.py`. Annotations are real here, since
`msgspec` carries camera profiles to processes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from harness.errors import InputError

Codec = Literal["h264", "h265", "mjpeg"]
H264Profile = Literal["baseline", "main", "high"]
RateControl = Literal["capped", "cbr", "vbr"]

H264: Final = "h264"
H265: Final = "h265"
MJPEG: Final = "mjpeg"
CODECS: tuple[Codec, ...] = get_args(Codec)
PROFILES: tuple[H264Profile, ...] = get_args(H264Profile)
LEVELS = (
    *("1.0", "1.1", "1.2", "1.3", "2.0", "2.1", "2.2", "3.0", "3.1", "3.2"),
    *("4.0", "4.1", "4.2", "5.0", "5.1", "5.2", "6.0", "6.1", "6.2"),
)  # ITU-T H.264, table A-1, without 1b
CAPPED: Final = "capped"  # an average, and never above it for longer than a second
CBR: Final = "cbr"  # the same number of bits all the time: filler where fewer are needed
VBR: Final = "vbr"  # an average, and up to twice as much for two seconds where needed
RATE_CONTROLS: tuple[RateControl, ...] = get_args(RateControl)
B_FRAMES_MAX = 3
JPEG_BLOCK_PX = 8
JPEG_SIZE_PX_MAX = 255 * JPEG_BLOCK_PX


@dataclass(frozen=True, slots=True)
class Coding:
    """All that an encoder is told besides size, rate, GOP and bitrate.

    `level` empty: the lowest that fits. `b_frames` is the number between two other frames.
    `sei`: every access unit says its frame code in an SEI message too (`harness.record.sei`); it
    costs one packet a frame, so readers at the edge of what a network carries may do without.
    """

    codec: Codec = H264
    profile: H264Profile = "main"
    level: str = ""
    rate_control: RateControl = CAPPED
    b_frames: int = 0
    sei: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("codec", self.codec, CODECS),
            ("H.264 profile", self.profile, PROFILES),
            ("H.264 level", self.level, ("", *LEVELS)),
            ("rate control", self.rate_control, RATE_CONTROLS),
        ):
            if value not in known:
                words = ", ".join(one or "empty" for one in known)
                raise InputError(f"a clip with {name} {value!r}", hint=f"one of {words}")
        if not 0 <= self.b_frames <= B_FRAMES_MAX:
            raise InputError(
                f"a clip with {self.b_frames} B-frames in a row", hint=f"0 to {B_FRAMES_MAX}"
            )
        if self.b_frames and (self.codec != H264 or self.profile == "baseline"):
            raise InputError(
                f"B-frames in {self.codec} {self.profile}",
                hint="B-frames need H.264 of profile main or high",
            )
        if self.codec == MJPEG and self.sei:
            raise InputError("a motion JPEG clip with SEI", hint="JPEG has no SEI: sei=False")

    def check(self, sizes: Iterable[tuple[int, int]], *, slows_down: bool) -> None:
        """Raises `InputError` where pictures of these sizes in pixels cannot be coded so.

        `slows_down`: frames are left out now and then.
        """
        if slows_down and (self.codec != H264 or self.b_frames):
            what = "B-frames" if self.codec == H264 else self.codec
            raise InputError(
                f"{what} of a camera that slows down",
                hint="frames can be left out of H.264 without B-frames alone",
            )
        for width, height in sizes:
            whole = not width % JPEG_BLOCK_PX and not height % JPEG_BLOCK_PX
            if self.codec == MJPEG and not (whole and max(width, height) <= JPEG_SIZE_PX_MAX):
                raise InputError(
                    f"motion JPEG of {width}x{height} pixels",
                    hint=f"RTP carries multiples of {JPEG_BLOCK_PX}, up to {JPEG_SIZE_PX_MAX}"
                    " (RFC 2435)",
                )


USUAL = Coding()
