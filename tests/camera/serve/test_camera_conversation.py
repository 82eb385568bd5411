"""Any conversation: requests in any order, with any headers, cut anywhere, with noise between.

Whatever a reader says, each request has one answer, in order, what comes back is RTSP, and when the
reader is gone nothing is left of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.camera.serve.packed import frame_interleaved
from harness.camera.serve.server import CameraServer
from harness.camera.wire.rtcp import ReportBlock, receiver_report
from harness.camera.wire.rtsp import REASONS, Interleaved, Request, Response, RtspCodec
from tests.camera.conftest import ANSWER_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.camera.picture.clip import Clip

SESSION = "0123456789abcdef"
URL = "rtsp://127.0.0.1/door"
METHODS = [
    "OPTIONS",
    "DESCRIBE",
    "SETUP",
    "PLAY",
    "PAUSE",
    "TEARDOWN",
    "GET_PARAMETER",
    "SET_PARAMETER",
    "ANNOUNCE",
]
OFFERS = (
    "RTP/AVP/TCP;unicast;interleaved=0-1",
    "RTP/AVP/TCP;unicast;interleaved=2-3",
    "RTP/AVP/TCP;unicast;interleaved=255-256",
    "RTP/AVP;unicast;client_port=5000-5001",
    "RTP/AVP;unicast;client_port=0-1",
    "RTP/AVP;multicast",
    "RTP/SAVP;unicast, RTP/AVP/TCP;unicast;mode=record",
)

words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20)
headers = st.lists(
    st.one_of(
        st.just(("Session", SESSION)),
        st.tuples(st.just("Session"), words),
        st.tuples(st.just("Transport"), st.sampled_from(OFFERS) | words),
        st.tuples(
            st.just("Range"), st.sampled_from(("npt=0-", "npt=now-", "npt=9-1", "clock=")) | words
        ),
        st.tuples(st.sampled_from(("Authorization", "Accept", "Require", "Content-Type")), words),
    ),
    max_size=4,
).map(tuple)
uris = st.sampled_from(
    ("*", URL, f"{URL}/", f"{URL}/trackID=0", f"{URL}/trackID=1", f"{URL}/trackID=9", "rtsp://x/no")
)
steps = st.tuples(st.sampled_from(METHODS), uris, headers, st.binary(max_size=9))
whole = st.sampled_from(  # what gets somewhere, so that the rest meets a session
    (
        ("SETUP", f"{URL}/trackID=0", (("Transport", OFFERS[0]),), b""),
        ("SETUP", f"{URL}/trackID=1", (("Transport", OFFERS[1]), ("Session", SESSION)), b""),
        ("PLAY", URL, (("Session", SESSION),), b""),
        ("PAUSE", URL, (("Session", SESSION),), b""),
        ("TEARDOWN", URL, (("Session", SESSION),), b""),
    )
)
conversations = st.lists(whole | steps, min_size=1, max_size=12)
noise = st.one_of(
    st.binary(max_size=60),
    st.builds(frame_interleaved, st.integers(0, 255), st.binary(max_size=80)),
    st.just(frame_interleaved(1, receiver_report(1, ReportBlock(2, 0.5, 3, 4, 5, 6, 7)))),
    st.just(b"RTSP/1.0 200 OK\r\n\r\n"),
)


def to_bytes(number: int, step: tuple[str, str, tuple[tuple[str, str], ...], bytes]) -> bytes:
    method, uri, fields, body = step
    own = (("CSeq", str(number)), *fields)
    return Request(own, body=body, method=method, uri=uri).to_bytes()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    begins = [0, *sorted(place % (len(data) + 1) for place in places)]
    return [data[a:b] for a, b in zip(begins, [*begins[1:], len(data)], strict=True)]


@pytest.fixture(scope="session")
def shown(clip: Clip) -> Callable[[], Clip]:
    """The clip as something that is short to print."""
    return lambda: clip


class Listener(asyncio.Protocol):
    """Keeps what comes until the connection is over, however it ends."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.came += data

    def connection_lost(self, _: Exception | None) -> None:
        self.over.set()


async def converse(clip: Clip, pieces: list[bytes], *, http_tunnel: bool) -> list[Response]:
    """Say it, piece by piece, and then nothing more. Outcome: all the answers."""
    loop = asyncio.get_running_loop()
    async with CameraServer(http_tunnel=http_tunnel) as server:
        camera = server.add("door", clip, "/door", fast_start=True, metadata=True)
        link, listener = await loop.create_connection(Listener, "127.0.0.1", server.port)
        for piece in pieces:
            link.write(piece)
            await asyncio.sleep(0)
        with contextlib.suppress(OSError):  # it may be over already
            link.write_eof()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await listener.over.wait()
            while server.connections:  # noqa: ASYNC110 - a server's state, which has no event
                await asyncio.sleep(0.001)
        assert camera.watched == 0
        assert all(account.ended_s is not None for account in camera.sessions)
    codec, answers = RtspCodec(), []
    codec.feed(bytes(listener.came))
    while (event := codec.next_event()) is not None:
        if isinstance(event, Response):
            assert event.status in REASONS
            answers.append(event)
        else:
            assert isinstance(event, Interleaved)
    return answers


@settings(deadline=None, max_examples=60)
@given(conversations, st.lists(st.integers(0, 5000), max_size=6), st.booleans())
def test_each_request_has_one_answer_in_order(
    shown: Callable[[], Clip],
    conversation: list[tuple[str, str, tuple[tuple[str, str], ...], bytes]],
    places: list[int],
    http_tunnel: bool,
) -> None:
    data = b"".join(to_bytes(number, step) for number, step in enumerate(conversation))
    with patch("harness.camera.serve.dialogue.secrets.token_hex", return_value=SESSION):
        answers = asyncio.run(converse(shown(), cut(data, places), http_tunnel=http_tunnel))
    assert [answer.header("CSeq") for answer in answers] == [
        str(number) for number in range(len(conversation))
    ]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(conversations.map(lambda steps: b"".join(map(to_bytes, range(99), steps))) | noise),
    st.lists(st.integers(0, 5000), max_size=6),
    st.booleans(),
)
def test_noise_between_requests_ends_at_worst_the_connection(
    shown: Callable[[], Clip], parts: list[bytes], places: list[int], http_tunnel: bool
) -> None:
    with patch("harness.camera.serve.dialogue.secrets.token_hex", return_value=SESSION):
        pieces = cut(b"".join(parts), places)
        answers = asyncio.run(converse(shown(), pieces, http_tunnel=http_tunnel))
    broken = [answer.status for answer in answers if answer.header("CSeq") is None]
    assert len(broken) <= 1  # what breaks the protocol is answered, and then it is over
    assert not broken or answers[-1].status == broken[0]
