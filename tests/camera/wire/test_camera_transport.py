from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.wire.transport import (
    CHANNEL_MAX,
    TCP,
    UDP,
    ClientPorts,
    Interleave,
    Offer,
    choose,
)
from harness.camera.wire.uri import path_of, track_of, without_track


@pytest.mark.parametrize(
    ("header", "offer"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", Interleave(0, 1)),
        ("RTP/AVP/TCP;interleaved=6-7", Interleave(6, 7)),
        ("RTP/AVP/TCP;interleaved=6", Interleave(6, 7)),
        ("RTP/AVP/TCP;interleaved=6-9", Interleave(6, 9)),
        ("RTP/AVP/TCP", Interleave(None, None)),
        ("rtp/avp/tcp; Interleaved = 2 - 3", Interleave(2, 3)),
        ("RTP/AVP/TCP;interleaved=255-256", None),
        ("RTP/AVP/TCP;interleaved=4-4", None),
        ("RTP/AVP;unicast;client_port=5000-5001", ClientPorts(5000, 5001)),
        ("RTP/AVP/UDP;unicast;client_port=5000-5001;mode=play", ClientPorts(5000, 5001)),
        ("RTP/AVP;unicast;client_port=5000", ClientPorts(5000, 5001)),
        ("RTP/AVP;client_port=1-2,RTP/AVP/TCP;interleaved=4-5", ClientPorts(1, 2)),
        ("RTP/AVP;unicast", None),
        ("RTP/AVP;unicast;client_port=0-1", None),
        ("RTP/AVP;unicast;client_port=65535-65536", None),
        ("RTP/AVP;unicast;client_port=99999-5", None),
        ("RTP/AVP;multicast;client_port=5000-5001", None),
        ("RTP/AVP;unicast;client_port=5000-5001;mode=record", None),
        ("RTP/SAVP;unicast;client_port=5000-5001", None),
        ("RAW/RAW/UDP;unicast;client_port=5000-5001", None),
        ("", None),
        (",,;;,RTP/AVP/TCP", Interleave(None, None)),
    ],
)
def test_choose(header: str, offer: Offer | None) -> None:
    assert choose(header) == offer


def test_only_what_is_allowed_is_chosen() -> None:
    both = "RTP/AVP;client_port=1-2,RTP/AVP/TCP;interleaved=4-5"
    assert choose(both, (TCP,)) == Interleave(4, 5)
    assert choose(both, (UDP,)) == ClientPorts(1, 2)
    assert choose(both, ()) is None


def test_no_more_than_a_handful_of_offers_is_looked_at() -> None:
    assert choose("x," * 1000 + "RTP/AVP/TCP") is None


@given(st.text(), st.text("0123456789-=;, interleaved_client_port", max_size=60))
def test_whatever_is_offered_is_within_bounds(text: str, tail: str) -> None:
    for header in (text, f"RTP/AVP/TCP;{tail}", f"RTP/AVP;{tail}"):
        offer = choose(header)
        if isinstance(offer, Interleave) and offer.channel is not None:
            assert 0 <= offer.channel <= CHANNEL_MAX
        elif isinstance(offer, ClientPorts):
            assert 0 < offer.rtp < 65536
            assert 0 < offer.rtcp < 65536


@pytest.mark.parametrize(
    ("uri", "path", "track", "aggregate"),
    [
        ("rtsp://h/door/trackID=1", "/door", 1, "rtsp://h/door"),
        ("rtsp://h/door/trackID=0/", "/door", 0, "rtsp://h/door"),
        ("rtsp://h/door/", "/door", None, "rtsp://h/door"),
        ("rtsp://h/cam?a=1/trackID=12", "/cam?a=1", 12, "rtsp://h/cam?a=1"),
        ("rtsp://h/trackID=99999", "/trackID=99999", None, "rtsp://h/trackID=99999"),
        ("rtsp://h/trackID=1/more", "/trackID=1/more", None, "rtsp://h/trackID=1/more"),
        ("rtsp://h:554/door/", "/door", None, "rtsp://h:554/door"),
        ("rtsp://u:p@h/a/b/trackID=0", "/a/b", 0, "rtsp://u:p@h/a/b"),
        ("rtsp://h", "/", None, "rtsp://h"),
        ("rtsp://h/trackID=0", "/", 0, "rtsp://h"),
        ("/door", "/door", None, "/door"),
        ("*", "*", None, "*"),
    ],
)
def test_uris(uri: str, path: str, track: int | None, aggregate: str) -> None:
    assert path_of(uri) == path
    assert track_of(uri) == track
    assert without_track(uri) == aggregate
