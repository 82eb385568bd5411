"""What depends on a clip's codec: RTP payloads, and the lines of a session description."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from harness.camera.wire import h264, h265, jpeg, rtp
from harness.scenario.coding import H264, H265

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.camera.picture.clip import Clip


def payloads(codec: str, nals: Sequence[bytes]) -> list[bytes]:
    """RTP payloads of one access unit: RFC 6184, 7798 or 2435."""
    if codec == H264:
        return rtp.payloads(nals)
    return h265.payloads(nals) if codec == H265 else jpeg.payloads(nals[0])


def describe(clip: Clip, payload_type: int = rtp.PAYLOAD_TYPE) -> tuple[str, ...]:
    """The `rtpmap` line and, where the codec has parameters, the `fmtp` line."""
    codec = clip.spec.coding.codec
    if codec == H264:
        name = "H264"
        parameters: tuple[str, ...] = (
            "packetization-mode=1",
            f"profile-level-id={h264.profile_level_id(clip.sps)}",
            f"sprop-parameter-sets={_coded(clip.sps)},{_coded(clip.pps)}",
        )
    elif codec == H265:
        name = "H265"
        sets = (("vps", h265.NAL_VPS), ("sps", h265.NAL_SPS), ("pps", h265.NAL_PPS))
        parameters = tuple(
            f"sprop-{name}={_coded(nal)}"
            for name, kind in sets
            for nal in clip.access_units[0].nals
            if h265.nal_type(nal) == kind
        )
    else:
        return (f"a=rtpmap:{payload_type} JPEG/{rtp.CLOCK_HZ}",)
    return (
        f"a=rtpmap:{payload_type} {name}/{rtp.CLOCK_HZ}",
        f"a=fmtp:{payload_type} {';'.join(parameters)}",
    )


def _coded(nal: bytes) -> str:
    return base64.b64encode(nal).decode()
