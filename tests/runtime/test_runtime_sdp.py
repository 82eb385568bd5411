"""Session descriptions: where the video is, and what is none that an appliance reads."""

from __future__ import annotations

import pytest

from harness.runtime.sdp import NotH264, find_video

SDP = """v=0
m=audio 0 RTP/AVP 0
a=control:audio
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKQ==,aM48gA==;profile-level-id=420029
a=control:video
"""


def test_the_video_of_an_sdp_is_found() -> None:
    track = find_video(SDP, "rtsp://h/door")
    assert track.control == "rtsp://h/door/video"
    assert track.parameter_sets == (b"\x67\x42\x00\x29", b"\x68\xce\x3c\x80")
    absolute = SDP.replace("control:video", "control:rtsp://h/other/1")
    assert find_video(absolute, "rtsp://h/door").control == "rtsp://h/other/1"
    damaged = SDP.replace("Z0IAKQ==", "Z0I")
    assert find_video(damaged, "rtsp://h/door").parameter_sets == ()


@pytest.mark.parametrize("sdp", [SDP.replace("H264", "H265"), SDP.split("m=video")[0], ""])
def test_other_video_is_not_h264(sdp: str) -> None:
    with pytest.raises(NotH264):
        find_video(sdp, "rtsp://h/door")
