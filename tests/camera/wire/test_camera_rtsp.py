from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.wire.rtsp import (
    BLANK_LINES_MAX,
    BODY_BYTES_MAX,
    HEADERS_MAX,
    LINE_BYTES_MAX,
    BadContentLength,
    BadHeader,
    BadStartLine,
    BodyTooLarge,
    Event,
    Interleaved,
    LineTooLong,
    Request,
    Response,
    RtspCodec,
    RtspError,
    TooManyHeaders,
    UnsupportedVersion,
)
from harness.errors import EngineError

OPTIONS = b"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n"


def events(data: bytes, cuts: tuple[int, ...] = ()) -> list[Event]:
    codec, result, begin = RtspCodec(), [], 0
    for end in (*sorted(cuts), len(data)):
        codec.feed(data[begin:end])
        begin = end
        while (event := codec.next_event()) is not None:
            result.append(event)
    return result


token = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_-", min_size=1, max_size=12)
value = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, categories=["L", "N", "P"]))
headers = st.lists(
    st.tuples(token.filter(lambda name: name != "CONTENT-LENGTH"), value), max_size=6
).map(tuple)
body = st.binary(max_size=200)
requests = st.builds(
    lambda m, h, b: Request(h, body=b, method=m, uri="rtsp://host/path"), token, headers, body
)
responses = st.builds(
    lambda s, h, b: Response(h, body=b, status=s, reason="Fine"),
    st.integers(100, 599),
    headers,
    body,
)
interleaved = st.builds(Interleaved, st.integers(0, 255), st.binary(max_size=300))


def wire(event: Event) -> bytes:
    if isinstance(event, Interleaved):
        head = b"$" + bytes((event.channel,)) + len(event.payload).to_bytes(2, "big")
        return head + event.payload
    return event.to_bytes()


@given(st.lists(requests | responses | interleaved, max_size=5), st.data())
def test_whatever_is_sent_is_read_however_it_is_cut(sent: list[Event], data: st.DataObject) -> None:
    stream = b"".join(map(wire, sent))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(tuple))
    read = events(stream, cuts)
    assert len(read) == len(sent)
    for got, wanted in zip(read, sent, strict=True):
        if isinstance(wanted, Interleaved):
            assert got == wanted
            continue
        assert isinstance(got, type(wanted))
        assert got.body == wanted.body
        assert got.headers[: len(wanted.headers)] == wanted.headers


@given(
    st.lists(st.binary(max_size=120) | st.sampled_from([OPTIONS, b"\r\n", b"$\0\0\1", b"RTSP/"]))
)
def test_any_bytes_give_events_or_a_protocol_error(pieces: list[bytes]) -> None:
    codec, broken = RtspCodec(), None
    try:
        for piece in pieces:
            codec.feed(piece)
            while codec.next_event() is not None:
                pass
    except RtspError as error:
        broken = error
    if broken is not None:
        assert broken.hint
        assert 400 <= broken.status < 600
        with pytest.raises(type(broken)):  # and it stays broken
            codec.next_event()


fragments = st.lists(
    st.one_of(
        st.binary(max_size=80),
        st.sampled_from([OPTIONS, b"\r\n", b"$\0\0\1", b"RTSP/1.0 200 OK\r\n", b"A: b\r\n"]),
        st.integers(1, 5000).map(lambda count: b"x" * count),
        st.integers(0, 70_000).map(
            lambda count: b"A * RTSP/1.0\r\nContent-Length: %d\r\n\r\n" % count
        ),
    ),
    max_size=8,
).map(b"".join)


def read(data: bytes, cuts: list[int]) -> tuple[list[Event], type[RtspError] | None, int]:
    """Events, the error that ended them, and how many bytes the codec keeps for later."""
    codec, found = RtspCodec(), []
    ends = [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in zip([0, *ends], ends, strict=False):
        codec.feed(data[begin:end])
        try:
            while (event := codec.next_event()) is not None:
                found.append(event)
        except RtspError as error:
            return found, type(error), len(codec.take_rest())
    return found, None, len(codec.take_rest())


@given(fragments, st.lists(st.integers(0, 80_000), max_size=8))
def test_how_bytes_are_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    """Not the events, not the error, and what is kept is at most one message."""
    whole = read(data, [])
    assert read(data, cuts) == whole
    assert whole[2] <= max(LINE_BYTES_MAX, BODY_BYTES_MAX, 4 + 65_535)


@given(st.data())
def test_a_damaged_request_never_does_worse_than_a_protocol_error(data: st.DataObject) -> None:
    stream = bytearray(OPTIONS * 2)
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RtspError):
        events(bytes(stream))


def test_request() -> None:
    text = (
        b"\r\nSETUP rtsp://h:554/a/trackID=0 RTSP/1.0\r\ncseq:  7 \r\n"
        b"Transport: RTP/AVP/TCP;unicast;\r\n interleaved=0-1\r\nContent-length: 3\r\n\r\nabc"
    )
    (event,) = events(text)
    assert isinstance(event, Request)
    assert (event.method, event.uri, event.body) == ("SETUP", "rtsp://h:554/a/trackID=0", b"abc")
    assert event.header("CSeq") == "7"
    assert event.header("transport") == "RTP/AVP/TCP;unicast; interleaved=0-1"
    assert event.header("Session") is None


def test_line_feeds_alone_end_lines() -> None:
    (event,) = events(OPTIONS.replace(b"\r\n", b"\n"))
    assert isinstance(event, Request)
    assert event.header("CSeq") == "1"


def test_responses_are_told_from_requests() -> None:
    (event,) = events(b"RTSP/1.0 454 Session Not Found\r\nCSeq: 2\r\n\r\n")
    assert event == Response((("CSeq", "2"),), status=454, reason="Session Not Found")
    (short,) = events(b"RTSP/1.0 200\r\n\r\n")
    assert isinstance(short, Response)
    assert short.reason == ""


def test_response_to_bytes() -> None:
    assert Response((("CSeq", "3"),), body=b"xy", status=200).to_bytes() == (
        b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: 2\r\n\r\nxy"
    )


@pytest.mark.parametrize(
    ("data", "error", "status"),
    [
        (b"nonsense\r\n", BadStartLine, 400),
        (b"GET / HTTP/1.1\r\n", BadStartLine, 400),
        (b"PLAY  rtsp://h/ RTSP/1.0\r\n", BadStartLine, 400),
        (b"PL\x00AY rtsp://h/ RTSP/1.0\r\n", BadStartLine, 400),
        (b"PLAY rtsp://h/\x80 RTSP/1.0\r\n", BadStartLine, 400),
        (b"\r\n" * (BLANK_LINES_MAX + 1), BadStartLine, 400),
        (b"PLAY rtsp://h/ RTSP/2.0\r\n", UnsupportedVersion, 505),
        (b"RTSP/0.9 200 OK\r\n", UnsupportedVersion, 505),
        (b"PLAY rtsp://h/ RTSP/1.0\r\nno colon\r\n", BadHeader, 400),
        (b"PLAY rtsp://h/ RTSP/1.0\r\n: empty\r\n", BadHeader, 400),
        (b"PLAY rtsp://h/ RTSP/1.0\r\n folded first\r\n", BadHeader, 400),
        (b"A * RTSP/1.0\r\nContent-Length: x\r\n\r\n", BadContentLength, 400),
        (b"A * RTSP/1.0\r\nContent-Length: -1\r\n\r\n", BadContentLength, 400),
        (b"A * RTSP/1.0\r\nContent-Length:\r\n\r\n", BadContentLength, 400),
        (
            b"A * RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            BadContentLength,
            400,
        ),
        (
            f"A * RTSP/1.0\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n".encode(),
            BodyTooLarge,
            413,
        ),
        (b"A * RTSP/1.0\r\nContent-Length: " + b"9" * 999 + b"\r\n\r\n", BodyTooLarge, 413),
        (b"A" * (LINE_BYTES_MAX + 1), LineTooLong, 414),
        (b"A * RTSP/1.0\r\nX: " + b"y" * LINE_BYTES_MAX, LineTooLong, 414),
        (
            b"A * RTSP/1.0\r\nX: y\r\n" + (b" " + b"y" * 1000 + b"\r\n") * 5,
            LineTooLong,
            414,
        ),
        (b"A * RTSP/1.0\r\n" + b"X: y\r\n" * (HEADERS_MAX + 1), TooManyHeaders, 400),
    ],
)
def test_each_cause_has_its_error(data: bytes, error: type[RtspError], status: int) -> None:
    with pytest.raises(error) as caught:
        events(data)
    assert type(caught.value) is error
    assert caught.value.status == status
    assert caught.value.hint


def test_what_came_before_an_error_is_still_delivered() -> None:
    codec = RtspCodec()
    codec.feed(OPTIONS + b"$\x00\x00\x02ab" + b"garbage\r\n")
    assert isinstance(codec.next_event(), Request)
    assert codec.next_event() == Interleaved(0, b"ab")
    with pytest.raises(BadStartLine):
        codec.next_event()


def test_a_header_with_a_line_break_is_not_sent() -> None:
    with pytest.raises(EngineError):
        Response((("Evil", "a\r\nSet: b"),), status=200).to_bytes()
