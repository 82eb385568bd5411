"""The RTSP client: packets to access units, challenges to answers, and what it refuses."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runtime.rtsp import (
    Assembler,
    NotH264,
    RtspBroken,
    RtspClient,
    RtspRefused,
    authorize,
    find_video,
    read_challenge,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

START = b"\x00\x00\x00\x01"
SDP = """v=0
m=audio 0 RTP/AVP 0
a=control:audio
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKQ==,aM48gA==;profile-level-id=420029
a=control:video
"""


def rtp(payload: bytes, *, stamp: int = 0, marker: bool = False, csrc: int = 0) -> bytes:
    head = bytes([0x80 | csrc, 96 | marker << 7, 0, 1]) + stamp.to_bytes(4, "big") + bytes(4)
    return head + bytes(4 * csrc) + payload


def fragments(nal: bytes, size: int) -> list[bytes]:
    """RFC 6184, 5.8."""
    pieces = [nal[1:][at : at + size] for at in range(0, len(nal) - 1, size)]
    heads = [nal[0] & 0x1F] * len(pieces)
    heads[0] |= 0x80
    heads[-1] |= 0x40
    return [bytes([nal[0] & 0xE0 | 28, h]) + p for h, p in zip(heads, pieces, strict=True)]


def test_the_marker_ends_a_frame_at_once() -> None:
    assembler = Assembler()
    assert assembler.feed(rtp(b"\x67sps", stamp=90)) is None
    assert assembler.feed(rtp(b"\x65idr", stamp=90, marker=True)) == (
        START + b"\x67sps" + START + b"\x65idr",
        90,
    )


def test_a_new_time_stamp_ends_a_frame_whose_marker_is_missing() -> None:
    assembler = Assembler()
    assembler.feed(rtp(b"\x65one", stamp=1))
    assert assembler.feed(rtp(b"\x41two", stamp=2)) == (START + b"\x65one", 1)
    assert assembler.feed(rtp(b"\x41three", stamp=3, marker=True)) == (START + b"\x41two", 2)


def test_aggregates_are_taken_apart() -> None:
    payload = b"\x78" + b"\x00\x02\x67s" + b"\x00\x02\x68p"
    unit = Assembler().feed(rtp(payload, marker=True, csrc=2))
    assert unit == (START + b"\x67s" + START + b"\x68p", 0)


@given(st.binary(min_size=3, max_size=4000), st.integers(1, 1400))
def test_fragments_are_put_together(body: bytes, size: int) -> None:
    nal = b"\x65" + body
    assembler = Assembler()
    *first, last = fragments(nal, size)
    for piece in first:
        assert assembler.feed(rtp(piece)) is None
    assert assembler.feed(rtp(last, marker=True)) == (START + nal, 0)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_packets_are_survived(packets: list[bytes]) -> None:
    assembler = Assembler()
    for packet in packets:
        assembler.feed(packet)


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


def test_digest_is_answered_as_the_rfc_shows() -> None:
    """RFC 2617, 3.5, without qop (the form cameras use)."""
    challenge = read_challenge(
        ['Basic realm="x"', 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd", opaque="5c"']
    )
    answer = authorize(challenge, "GET", "/dir/index.html", "Mufasa", "Circle Of Life", 1)
    assert answer.startswith('Digest username="Mufasa", realm="testrealm@host.com"')
    assert 'opaque="5c"' in answer
    qop = read_challenge(['Digest realm="r", nonce="n", qop="auth-int, auth"'])
    assert "qop=auth, nc=00000003, cnonce=" in authorize(qop, "PLAY", "rtsp://h/", "u", "p", 3)


def test_basic_is_answered_and_sha256_passed_over() -> None:
    challenge = read_challenge(
        ['Digest realm="r", nonce="n", algorithm=SHA-256', 'Basic realm="r"']
    )
    assert authorize(challenge, "PLAY", "rtsp://h/", "u", "p", 1) == "Basic dTpw"


@pytest.fixture
def camera() -> Iterator[tuple[str, list[bytes]]]:
    """A camera of canned answers: its address, and the list to put the answers into."""
    answers: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            for answer in answers:
                if not peer.recv(4096):
                    return
                peer.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    host, port = listener.getsockname()
    yield f"rtsp://{host}:{port}/door", answers
    thread.join(5)
    listener.close()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (b"RTSP/1.0 503 Service Unavailable\r\n\r\n", RtspRefused, "503 Service Unavailable"),
        (b"RTSP/1.0 200 OK\r\n\r\n", NotH264, "no H.264"),
        (b"HTTP/1.1 200 OK\r\n\r\n", RtspBroken, "not an RTSP answer"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", RtspBroken, "body too long"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", RtspBroken, "body too long"),
        (b"x" * 20_000, RtspBroken, "header too long"),
        (b"RTSP/1.0 200 OK\r\n", RtspBroken, "closed by the camera"),
    ],
)
def test_strange_answers_are_refused(
    camera: tuple[str, list[bytes]], answer: bytes, error: type[Exception], message: str
) -> None:
    url, answers = camera
    answers.append(answer)
    client = RtspClient(url, "", "", timeout_s=5)
    with pytest.raises(error, match=message):
        client.open()
    client.release()


def test_a_camera_that_says_nothing_times_out(camera: tuple[str, list[bytes]]) -> None:
    url, answers = camera
    answers += [b"", b""]
    client = RtspClient(url, "", "", timeout_s=0.1)
    with pytest.raises(TimeoutError):
        client.open()
    client.release()


def test_closing_ends_a_read_that_waits(camera: tuple[str, list[bytes]]) -> None:
    url, answers = camera
    answers += [b"", b""]
    client = RtspClient(url, "", "", timeout_s=10)
    closer = threading.Timer(0.05, client.close)
    closer.start()
    with pytest.raises(RtspBroken):
        client.open()
    closer.join()
    client.release()
