"""ONVIF by hand-made SOAP, over real sockets; and by onvif-zeep where that is installed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from xml.etree import ElementTree

import aiohttp
import av
import pytest

from harness.camera.fleet.cameras import Fleet, serve
from harness.camera.fleet.onvif import discovery, soap
from harness.camera.fleet.onvif.discovery import GROUP, Discovery
from harness.camera.fleet.onvif.service import Device, answer
from harness.camera.fleet.onvif.site import OnvifSite
from harness.camera.fleet.post import Placing
from harness.errors import EngineError
from harness.scenario.camera import CameraProfile, StreamProfile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.camera.conftest import Connect

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SUB = StreamProfile(320, 180, 15.0, 15, 128, "/live?channel=1&subtype=1")
DOOR = CameraProfile(
    "door",
    *(384, 216, 30.0, 15, 300, 1.0),
    path="/live?channel=1&subtype=0",
    username="viewer",
    maker="Doors & Sons",
    model="D-1",
    streams={"sub": SUB},
)
NAMES = {"env": soap.ENVELOPE, "tds": soap.DEVICE, "trt": soap.MEDIA, "tt": soap.SCHEMA}


def envelope(body: str, header: str = "") -> bytes:
    """As other people's clients write it: prefixes of their own, a default namespace."""
    return (
        f'<?xml version="1.0"?><s:Envelope xmlns:s="{soap.ENVELOPE}">'
        f"<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def device_call(operation: str, inside: str = "") -> str:
    return f'<{operation} xmlns="{soap.DEVICE}">{inside}</{operation}>'


def media_call(operation: str, inside: str = "") -> str:
    return f'<m:{operation} xmlns:m="{soap.MEDIA}">{inside}</m:{operation}>'


def security(username: str, password: str, created: datetime, nonce: bytes = b"0123456789") -> str:
    """A WS-UsernameToken digest, made here and not by what checks it."""
    when = created.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    digest = hashlib.sha1(nonce + when.encode() + password.encode()).digest()
    kind = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0"
    return (
        f'<w:Security xmlns:w="{soap.SECURITY}" xmlns:u="{soap.UTILITY}"><w:UsernameToken>'
        f"<w:Username>{username}</w:Username>"
        f'<w:Password Type="{kind}#PasswordDigest">{base64.b64encode(digest).decode()}</w:Password>'
        f"<w:Nonce>{base64.b64encode(nonce).decode()}</w:Nonce><u:Created>{when}</u:Created>"
        "</w:UsernameToken></w:Security>"
    )


def a_device(username: str = "", password: str = "") -> Device:
    return Device(
        name="door",
        maker="Doors & Sons",
        model="D 1",
        h264_profile="high",
        streams={
            "profile_1": ("rtsp://127.0.0.1:554/live?channel=1&subtype=0", DOOR.stream),
            "profile_2": ("rtsp://0.0.0.0:554/live?channel=1&subtype=1", SUB),
        },
        check=soap.TokenCheck(username, password, lambda: NOW),
    )


def ask(device: Device, body: str, header: str = "") -> tuple[int, ElementTree.Element]:
    status, reply = answer(device, envelope(body, header), "http://127.0.0.1:8000", NOW)
    inside = ElementTree.fromstring(reply).find("env:Body", NAMES)
    assert inside is not None
    assert len(inside) == 1
    return status, inside[0]


def texts(element: ElementTree.Element, path: str) -> list[str]:
    return [found.text or "" for found in element.iterfind(path, NAMES)]


# --- Device and Media -----------------------------------------------------------------------------


def test_date() -> None:
    status, reply = ask(a_device("u", "p"), device_call("GetSystemDateAndTime"))
    assert status == 200
    assert reply.tag == f"{{{soap.DEVICE}}}GetSystemDateAndTimeResponse"
    utc = reply.find(".//tt:UTCDateTime", NAMES)
    assert utc is not None
    names = ("Date/tt:Year", "Date/tt:Month", "Date/tt:Day", "Time/tt:Hour", "Time/tt:Minute")
    assert [texts(utc, f"tt:{name}") for name in (*names, "Time/tt:Second")] == [
        [str(n)] for n in (2026, 3, 4, 5, 6, 7)
    ]


def test_information_is_the_profiles() -> None:
    _, reply = ask(a_device(), device_call("GetDeviceInformation"))
    assert texts(reply, "tds:Manufacturer") == ["Doors & Sons"]
    assert texts(reply, "tds:Model") == ["D 1"]
    assert texts(reply, "tds:SerialNumber") == [a_device().id]
    assert [len(texts(reply, f"tds:{name}")) for name in ("FirmwareVersion", "HardwareId")] == [
        1,
        1,
    ]


def test_capabilities_and_services_say_where_to_ask() -> None:
    device = a_device("u", "p")
    _, reply = ask(device, device_call("GetCapabilities", "<Category>All</Category>"))
    urls = texts(reply, ".//tt:XAddr")
    assert urls == [
        "http://127.0.0.1:8000/onvif/device_service",
        "http://127.0.0.1:8000/onvif/media_service",
    ]
    assert texts(reply, ".//tt:RTP_RTSP_TCP") == ["true"]
    _, reply = ask(device, device_call("GetCapabilities", "<Category>Media</Category>"))
    assert texts(reply, ".//tt:XAddr") == urls[1:]
    status, reply = ask(device, device_call("GetCapabilities", "<Category>PTZ</Category>"))
    assert status == 500
    assert texts(reply, ".//env:Subcode/env:Value") == [
        "ter:ActionNotSupported",
        "ter:NoSuchService",
    ]
    _, reply = ask(device, device_call("GetServices", "<IncludeCapability>0</IncludeCapability>"))
    assert texts(reply, "tds:Service/tds:Namespace") == [soap.DEVICE, soap.MEDIA]
    assert texts(reply, "tds:Service/tds:XAddr") == urls
    assert texts(reply, "tds:Service/tds:Version/tt:Major") == ["2", "2"]


def test_profiles_describe_every_stream() -> None:
    _, reply = ask(a_device(), media_call("GetProfiles"))
    profiles = reply.findall("trt:Profiles", NAMES)
    assert [profile.get("token") for profile in profiles] == ["profile_1", "profile_2"]
    sub = profiles[1]
    encoder = "tt:VideoEncoderConfiguration"
    assert texts(sub, f"{encoder}/tt:Encoding") == ["H264"]
    assert texts(sub, f"{encoder}/tt:Resolution/tt:Width") == ["320"]
    assert texts(sub, f"{encoder}/tt:Resolution/tt:Height") == ["180"]
    assert texts(sub, f"{encoder}/tt:RateControl/tt:FrameRateLimit") == ["15"]
    assert texts(sub, f"{encoder}/tt:RateControl/tt:BitrateLimit") == ["128"]
    assert texts(sub, f"{encoder}/tt:H264/tt:GovLength") == ["15"]
    assert texts(sub, f"{encoder}/tt:H264/tt:H264Profile") == ["High"]
    bounds = sub.find("tt:VideoSourceConfiguration/tt:Bounds", NAMES)
    assert bounds is not None
    assert (bounds.get("width"), bounds.get("height")) == ("384", "216")
    # The order of elements is that of the schema (onvif.xsd, VideoEncoderConfiguration).
    order = [item.tag.rpartition("}")[2] for item in sub.find(encoder, NAMES) or ()]
    wanted = "Name UseCount Encoding Resolution Quality RateControl H264 Multicast SessionTimeout"
    assert " ".join(order) == wanted


def test_addresses_of_streams_and_snapshot() -> None:
    device = a_device()
    for token, url in (
        ("profile_1", "rtsp://127.0.0.1:554/live?channel=1&subtype=0"),
        ("profile_2", "rtsp://127.0.0.1:554/live?channel=1&subtype=1"),  # 0.0.0.0 made reachable
    ):
        wanted = f"<m:ProfileToken>{token}</m:ProfileToken>"
        _, reply = ask(device, media_call("GetStreamUri", wanted))
        assert texts(reply, "trt:MediaUri/tt:Uri") == [url]
        _, reply = ask(device, media_call("GetSnapshotUri", wanted))
        assert texts(reply, "trt:MediaUri/tt:Uri") == ["http://127.0.0.1:8000/snapshot.jpg"]
    status, reply = ask(device, media_call("GetStreamUri"))
    assert status == 400
    assert texts(reply, ".//env:Subcode/env:Value") == ["ter:InvalidArgVal", "ter:NoProfile"]


def test_scopes() -> None:
    _, reply = ask(a_device(), device_call("GetScopes"))
    scopes = texts(reply, "tds:Scopes/tt:ScopeItem")
    assert "onvif://www.onvif.org/name/door" in scopes
    assert "onvif://www.onvif.org/hardware/D_1" in scopes


def test_the_same_camera_is_the_same_device_and_another_is_not() -> None:
    other = Device("yard", "m", "n", "main", {}, soap.TokenCheck("", ""))
    assert a_device().id == a_device().id != other.id


def test_what_is_not_known_is_a_fault() -> None:
    status, reply = ask(a_device(), device_call("SystemReboot"))
    assert status == 500
    assert reply.tag == f"{{{soap.ENVELOPE}}}Fault"
    assert texts(reply, "env:Code/env:Value") == ["env:Receiver"]
    assert texts(reply, "env:Code/env:Subcode/env:Value") == ["ter:ActionNotSupported"]
    assert "SystemReboot" in texts(reply, "env:Reason/env:Text")[0]
    assert ask(a_device(), media_call("GetDeviceInformation"))[0] == 500  # of the other service


# --- who asks -------------------------------------------------------------------------------------


def test_digest_is_accepted_once() -> None:
    device = a_device("u", "p")
    token = security("u", "p", NOW)
    assert ask(device, media_call("GetProfiles"), token)[0] == 200
    status, reply = ask(device, media_call("GetProfiles"), token)
    assert status == 400
    assert texts(reply, ".//env:Subcode/env:Value") == ["ter:NotAuthorized"]
    again = security("u", "p", NOW, nonce=b"another")
    assert ask(device, media_call("GetProfiles"), again)[0] == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        security("u", "wrong", NOW),
        security("x", "p", NOW),
        security("u", "p", NOW - timedelta(minutes=6)),
        security("u", "p", NOW + timedelta(minutes=6)),
        security("u", "p", NOW).replace("2026-", "20xx-"),
        security("u", "p", NOW).replace("<w:Nonce>", "<w:Nonce>!"),
        security("u", "p", NOW).replace("#PasswordDigest", "#PasswordText"),
    ],
)
def test_everybody_else_is_refused(header: str) -> None:
    status, reply = ask(a_device("u", "p"), device_call("GetDeviceInformation"), header)
    assert status == 400
    assert texts(reply, ".//env:Subcode/env:Value") == ["ter:NotAuthorized"]


def test_without_a_user_anybody_may_ask() -> None:
    assert ask(a_device(), media_call("GetProfiles"), security("x", "y", NOW))[0] == 200


# --- bad input ------------------------------------------------------------------------------------

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    f'<s:Envelope xmlns:s="{soap.ENVELOPE}"><s:Body><x>&b;</x></s:Body></s:Envelope>'
).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        BOMB,
        BOMB.replace(
            b'[<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]', b'SYSTEM "/etc/passwd"'
        ),
        envelope(""),
        envelope(device_call("GetServices") * 2),
        b"<Envelope/>",
        envelope(device_call("GetServices")).replace(b"</s:Body>", b""),
        envelope("<a>" * (soap.DEPTH_MAX + 1) + "</a>" * (soap.DEPTH_MAX + 1)),
        envelope(f"<a>{'<b/>' * soap.ELEMENTS_MAX}</a>"),
        envelope(f"<a>{'x' * soap.REQUEST_BYTES_MAX}</a>"),
        b'<?xml version="1.0" encoding="nonsense"?><x/>',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_soap_is_a_fault(data: bytes) -> None:
    status, reply = answer(a_device(), data, "http://127.0.0.1", NOW)
    assert status == 400
    assert b"ter:WellFormed" in reply
    assert b"passwd" not in reply


def test_text_of_others_is_escaped() -> None:
    token = "<m:ProfileToken>a&lt;b&amp;&quot;</m:ProfileToken>"
    status, reply = ask(a_device(), media_call("GetStreamUri", token))
    assert status == 400
    assert "a<b&" in texts(reply, ".//env:Reason/env:Text")[0]


# --- over sockets ---------------------------------------------------------------------------------


@pytest.fixture
async def fleet(cache_dir: Path) -> AsyncIterator[Fleet]:
    placing = Placing(username="u", password="p", own_ports=True)
    async with serve([DOOR], count=2, placing=placing, cache_dir=cache_dir) as keeper:
        assert isinstance(keeper, Fleet)
        for name, (post, streams) in keeper.cameras.items():
            keeper._cameras[name] = (replace(post, onvif_port=0), streams)
        yield keeper


async def call(
    session: aiohttp.ClientSession, url: str, body: str, header: str = ""
) -> ElementTree.Element:
    async with session.post(url, data=envelope(body, header)) as response:
        assert response.content_type == "application/soap+xml"
        return ElementTree.fromstring(await response.read())


async def test_from_discovery_to_pictures(fleet: Fleet, connect: Connect, free_udp: int) -> None:
    async with OnvifSite(fleet, free_udp), aiohttp.ClientSession() as session:
        urls = await probe(free_udp, "dn:NetworkVideoTransmitter", 2)
        assert sorted(urls) == sorted(row.onvif for row in await fleet.rows())
        url = next(row.onvif for row in await fleet.rows() if row.name == "door-2")
        reply = await call(session, url, device_call("GetCapabilities"))
        (media,) = texts(reply, ".//tt:Media/tt:XAddr")
        token = security("u", "p", datetime.now(UTC))
        reply = await call(session, media, media_call("GetProfiles"), token)
        tokens = [item.get("token") for item in reply.iterfind(".//trt:Profiles", NAMES)]
        assert tokens == ["profile_1", "profile_2"]
        wanted = f"<m:ProfileToken>{tokens[1]}</m:ProfileToken>"
        token = security("u", "p", datetime.now(UTC), nonce=b"second")
        reply = await call(session, media, media_call("GetStreamUri", wanted), token)
        (stream,) = texts(reply, ".//tt:Uri")
        row = (await fleet.rows())[1]
        assert stream == row.streams["sub"]
        client = await connect(stream)
        assert (await client.ask("DESCRIBE", stream)).status == 401

        def first() -> tuple[int, int]:
            with av.open(stream.replace("//", "//u:p@"), timeout=(10, 10)) as container:
                picture = next(container.decode(video=0))
                return picture.width, picture.height

        assert await asyncio.to_thread(first) == (SUB.width_px, SUB.height_px)


async def test_snapshot_is_a_picture_for_who_may_see_it(fleet: Fleet, free_udp: int) -> None:
    async with OnvifSite(fleet, free_udp), aiohttp.ClientSession() as session:
        base = (await fleet.rows())[0].onvif.removesuffix("/onvif/device_service")
        async with session.get(f"{base}/snapshot.jpg") as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Digest")
        digest = aiohttp.DigestAuthMiddleware("u", "p")
        async with session.get(f"{base}/snapshot.jpg", middlewares=(digest,)) as response:
            assert response.status == 200
            assert response.content_type == "image/jpeg"
            data = await response.read()
        decoder = av.CodecContext.create("mjpeg", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        (picture,) = decoder.decode(av.Packet(data))
        assert (picture.width, picture.height) == (384, 216)


async def test_an_offline_camera_is_not_found_and_resets(fleet: Fleet, free_udp: int) -> None:
    async with OnvifSite(fleet, free_udp), aiohttp.ClientSession() as session:
        rows = await fleet.rows()
        await fleet.set("door-1", "offline")
        assert await probe(free_udp, "", 1) == [rows[1].onvif]
        with pytest.raises(aiohttp.ClientError):
            await call(session, rows[0].onvif, device_call("GetServices"))
        await fleet.set("door-1", "online")
        await call(session, rows[0].onvif, device_call("GetServices"))


async def test_a_request_too_large_is_refused(fleet: Fleet, free_udp: int) -> None:
    async with OnvifSite(fleet, free_udp), aiohttp.ClientSession() as session:
        url = (await fleet.rows())[0].onvif
        async with session.post(url, data=b"x" * (soap.REQUEST_BYTES_MAX + 1)) as response:
            assert response.status == 413
        async with session.post(url, data=b"x") as response:
            assert response.status == 400


async def test_a_port_in_use_is_said(fleet: Fleet, free_udp: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        post, streams = fleet.cameras["door-2"]
        there = replace(post, onvif_port=taken.getsockname()[1])
        fleet._cameras["door-2"] = (there, streams)
        with pytest.raises(EngineError, match="for ONVIF"):
            async with OnvifSite(fleet, free_udp):
                pass


async def test_onvif_by_an_independent_client(fleet: Fleet, free_udp: int) -> None:
    onvif = pytest.importorskip("onvif", reason="onvif-zeep is not installed")
    async with OnvifSite(fleet, free_udp):
        row = (await fleet.rows())[0]
        where = urlsplit(row.onvif)

        def uri() -> str:
            camera = onvif.ONVIFCamera(where.hostname, where.port, "u", "p")
            media = camera.create_media_service()
            setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
            token = media.GetProfiles()[0].token
            return str(media.GetStreamUri({"StreamSetup": setup, "ProfileToken": token}).Uri)

        assert await asyncio.to_thread(uri) == row.url


# --- discovery ------------------------------------------------------------------------------------


@pytest.fixture
def free_udp() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def probe_message(types: str, scopes: str = "") -> bytes:
    header = (
        f'<a:MessageID xmlns:a="{soap.ADDRESSING}">uuid:1-2-3</a:MessageID>'
        f'<a:Action xmlns:a="{soap.ADDRESSING}">{soap.DISCOVERY}/Probe</a:Action>'
    )
    body = (
        f'<d:Probe xmlns:d="{soap.DISCOVERY}" xmlns:dn="{soap.NETWORK}">'
        f"<d:Types>{types}</d:Types><d:Scopes>{scopes}</d:Scopes></d:Probe>"
    )
    return envelope(body, header)


async def probe(port: int, types: str, count: int, scopes: str = "") -> list[str]:
    """Multicast a Probe on loopback; XAddrs of the first `count` answers."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.bind(("127.0.0.1", 0))
        interface = socket.inet_aton("127.0.0.1")
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        asking.sendto(probe_message(types, scopes), (GROUP, port))
        found = []
        for _ in range(count):
            data = await asyncio.wait_for(loop.sock_recv(asking, 65536), 10)
            root = ElementTree.fromstring(data)
            names = {"d": soap.DISCOVERY, "a": soap.ADDRESSING}
            assert [item.text for item in root.iterfind(".//a:RelatesTo", names)] == ["uuid:1-2-3"]
            (match,) = root.iterfind(".//d:ProbeMatch", names)
            assert "NetworkVideoTransmitter" in (match.findtext("d:Types", "", names))
            found.append(match.findtext("d:XAddrs", "", names))
        return found


@pytest.mark.parametrize(
    ("types", "scopes", "wanted"),
    [
        ("", "", True),
        ("dn:NetworkVideoTransmitter", "", True),
        ("x:Device", "onvif://www.onvif.org/name/door", True),
        ("", "onvif://www.onvif.org/name", True),
        ("", "onvif://www.onvif.org/nam", False),
        ("", "onvif://www.onvif.org/name/yard", False),
        ("dn:NetworkVideoDisplay", "", False),
    ],
)
def test_probes_match_by_type_and_scope(types: str, scopes: str, wanted: bool) -> None:
    request = soap.parse(probe_message(types, scopes))
    assert discovery.matches(request, a_device()) is wanted


async def test_nothing_else_is_answered(free_udp: int) -> None:
    asked: list[None] = []

    def devices() -> list[tuple[Device, str, int]]:
        asked.append(None)
        return [(a_device(), "0.0.0.0", 8000)]

    async with Discovery(devices, ("127.0.0.1",), free_udp) as found:
        for data in (b"", b"x", BOMB, envelope(device_call("GetServices"))):
            found.datagram_received(data, ("127.0.0.1", 9))
        assert asked == []
        assert await probe(free_udp, "", 1) == ["http://127.0.0.1:8000/onvif/device_service"]
        assert len(asked) == 1


async def test_two_processes_may_be_discovered(free_udp: int) -> None:
    """Workers each answer for their own cameras."""
    one, two = ((a_device(), "127.0.0.1", port) for port in (8001, 8002))
    async with (
        Discovery(lambda: [one], ("127.0.0.1",), free_udp),
        Discovery(lambda: [two], ("127.0.0.1",), free_udp),
    ):
        urls = await probe(free_udp, "", 2)
        assert sorted(urlsplit(url).port or 0 for url in urls) == [8001, 8002]
