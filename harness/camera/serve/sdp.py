"""The session description (RFC 4566, RFC 6184 section 8.2) of one camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.camera.serve import media, metadata
from harness.camera.serve.session import METADATA, VIDEO
from harness.camera.wire import rtp, uri

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip


def describe(
    clip: Clip,
    name: str,
    host: str,
    *,
    range_text: str = "npt=now-",
    tracks: tuple[int, ...] = (VIDEO,),
) -> bytes:
    """SDP for `clip`. `host` is the address the reader came to, `range_text` what can be played."""
    family = "IP6" if ":" in host else "IP4"
    anywhere = "::" if family == "IP6" else "0.0.0.0"
    lines = (
        "v=0",
        f"o=- {clip.id} 1 IN {family} {host}",
        f"s={name}",
        f"c=IN {family} {anywhere}",
        "t=0 0",
        "a=control:*",
        f"a=range:{range_text}",
        f"m=video 0 RTP/AVP {rtp.PAYLOAD_TYPE}",
        f"b=AS:{clip.spec.bitrate_kbps}",
        *media.describe(clip),
        f"a=framerate:{clip.fps:g}",
        f"a=framesize:{rtp.PAYLOAD_TYPE} {clip.spec.width_px}-{clip.spec.height_px}",
        f"a=control:{uri.CONTROL.format(VIDEO)}",
    )
    if METADATA in tracks:
        lines += (
            f"m=application 0 RTP/AVP {metadata.PAYLOAD_TYPE}",
            f"a=rtpmap:{metadata.PAYLOAD_TYPE} {metadata.ENCODING}/{rtp.CLOCK_HZ}",
            f"a=control:{uri.CONTROL.format(METADATA)}",
        )
    return "".join(f"{line}\r\n" for line in lines).encode()
