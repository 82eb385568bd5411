"""The Device and Media services of one camera (ONVIF core specification, media specification).

What NVRs ask before they play a stream, and no more: date, information, capabilities, services,
profiles, addresses of stream and snapshot. Pure: the time is given, and what is known of the
camera is a `Device`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from harness import __version__
from harness.camera.fleet.onvif import soap
from harness.camera.fleet.onvif.soap import SoapFault, SoapRequest, TokenCheck, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from harness.scenario.camera import StreamProfile

DEVICE_PATH = "/onvif/device_service"
MEDIA_PATH = "/onvif/media_service"
SNAPSHOT_PATH = "/snapshot.jpg"
OPEN_TO_ALL = ("GetSystemDateAndTime", "GetCapabilities", "GetServices")
_VERSION = tag("tt:Major", "2") + tag("tt:Minor", "60")
_H264_PROFILES = {"baseline": "Baseline", "main": "Main", "high": "High"}
_NAMESPACE = uuid.UUID("9f2c1d52-6f1c-4b8a-8c43-3b7d6f0c2b55")  # of the identities made here


@dataclass(frozen=True, slots=True)
class Device:
    """A camera as ONVIF sees it. `streams` are URL and format by profile token, in order."""

    name: str
    maker: str
    model: str
    h264_profile: str
    streams: Mapping[str, tuple[str, StreamProfile]]
    check: TokenCheck

    @property
    def id(self) -> str:
        """The same camera has the same identity, always."""
        return str(uuid.uuid5(_NAMESPACE, self.name))

    @property
    def scopes(self) -> tuple[str, ...]:
        base = "onvif://www.onvif.org"
        words = (("name", self.name), ("hardware", self.model), ("Profile", "Streaming"))
        return (
            f"{base}/type/video_encoder",
            *(f"{base}/{k}/{v.replace(' ', '_')}" for k, v in words),
        )


def answer(device: Device, data: bytes, base: str, now: datetime) -> tuple[int, bytes]:
    """HTTP status and body for a request; `base` is `http://host:port` as the reader sees it."""
    try:
        return 200, soap.envelope(_body(device, soap.parse(data), base, now))
    except SoapFault as fault:
        return fault.status, soap.envelope(fault.to_xml())


def _body(device: Device, request: SoapRequest, base: str, now: datetime) -> str:
    handler = _OPERATIONS.get((request.namespace, request.operation))
    if handler is None:
        raise SoapFault(
            f"{request.operation} is not known here", "ter:ActionNotSupported", code="Receiver"
        )
    if request.operation not in OPEN_TO_ALL and not device.check.accepts(request.token):
        raise SoapFault("the sender is not authorized", "ter:NotAuthorized")
    prefix = "tds" if request.namespace == soap.DEVICE else "trt"
    inside = handler(_Call(device, request, base, now))
    return tag(f"{prefix}:{request.operation}Response", inside)


@dataclass(frozen=True, slots=True)
class _Call:
    device: Device
    request: SoapRequest
    base: str
    now: datetime


def _date(call: _Call) -> str:
    now = call.now
    time = tag("tt:Hour", str(now.hour)) + tag("tt:Minute", str(now.minute))
    date = tag("tt:Year", str(now.year)) + tag("tt:Month", str(now.month))
    utc = tag("tt:Time", time + tag("tt:Second", str(now.second))) + tag(
        "tt:Date", date + tag("tt:Day", str(now.day))
    )
    return tag(
        "tds:SystemDateAndTime",
        tag("tt:DateTimeType", "NTP")
        + tag("tt:DaylightSavings", "false")
        + tag("tt:TimeZone", tag("tt:TZ", "UTC0"))
        + tag("tt:UTCDateTime", utc),
    )


def _information(call: _Call) -> str:
    device = call.device
    return (
        tag("tds:Manufacturer", escape(device.maker))
        + tag("tds:Model", escape(device.model))
        + tag("tds:FirmwareVersion", __version__)
        + tag("tds:SerialNumber", device.id)
        + tag("tds:HardwareId", escape(device.model))
    )


def _capabilities(call: _Call) -> str:
    able = (("RTPMulticast", "false"), ("RTP_TCP", "true"), ("RTP_RTSP_TCP", "true"))
    streaming = "".join(tag(f"tt:{name}", value) for name, value in able)
    device = tag("tt:Device", tag("tt:XAddr", escape(call.base + DEVICE_PATH)))
    media = tag(
        "tt:Media",
        tag("tt:XAddr", escape(call.base + MEDIA_PATH))
        + tag("tt:StreamingCapabilities", streaming),
    )
    wanted = call.request.text("Category") or "All"
    shown = {"All": device + media, "Device": device, "Media": media}.get(wanted)
    if shown is None:
        raise SoapFault(
            f"no capabilities of {wanted}",
            *("ter:ActionNotSupported", "ter:NoSuchService"),
            code="Receiver",
        )
    return tag("tds:Capabilities", shown)


def _services(call: _Call) -> str:
    return "".join(
        tag(
            "tds:Service",
            tag("tds:Namespace", namespace)
            + tag("tds:XAddr", escape(call.base + path))
            + tag("tds:Version", _VERSION),
        )
        for namespace, path in ((soap.DEVICE, DEVICE_PATH), (soap.MEDIA, MEDIA_PATH))
    )


def _scopes(call: _Call) -> str:
    return "".join(
        tag("tds:Scopes", tag("tt:ScopeDef", "Fixed") + tag("tt:ScopeItem", escape(scope)))
        for scope in call.device.scopes
    )


def _profiles(call: _Call) -> str:
    return "".join(
        _profile(call.device, token, stream, number)
        for number, (token, (_, stream)) in enumerate(call.device.streams.items())
    )


def _profile(device: Device, token: str, stream: StreamProfile, number: int) -> str:
    first = next(iter(device.streams.values()))[1]
    source = tag(
        "tt:VideoSourceConfiguration",
        tag("tt:Name", "video")
        + tag("tt:UseCount", str(len(device.streams)))
        + tag("tt:SourceToken", "source")
        + tag("tt:Bounds", x="0", y="0", width=str(first.width_px), height=str(first.height_px)),
        token="source_configuration",
    )
    return tag(
        "trt:Profiles",
        tag("tt:Name", escape(token)) + source + _encoder(device, stream, number),
        token=token,
        fixed="true",
    )


def _encoder(device: Device, stream: StreamProfile, number: int) -> str:
    size = tag("tt:Width", str(stream.width_px)) + tag("tt:Height", str(stream.height_px))
    rate = (
        tag("tt:FrameRateLimit", str(max(1, round(stream.rate_fps))))
        + tag("tt:EncodingInterval", "1")
        + tag("tt:BitrateLimit", str(stream.bitrate_kbps))
    )
    h264 = tag("tt:GovLength", str(stream.gop_frames)) + tag(
        "tt:H264Profile", _H264_PROFILES[device.h264_profile]
    )
    nowhere = tag("tt:Type", "IPv4") + tag("tt:IPv4Address", "0.0.0.0")
    multicast = (
        tag("tt:Address", nowhere)
        + tag("tt:Port", "0")
        + tag("tt:TTL", "0")
        + tag("tt:AutoStart", "false")
    )
    return tag(
        "tt:VideoEncoderConfiguration",
        tag("tt:Name", f"encoder {number}")
        + tag("tt:UseCount", "1")
        + tag("tt:Encoding", "H264")
        + tag("tt:Resolution", size)
        + tag("tt:Quality", "1")
        + tag("tt:RateControl", rate)
        + tag("tt:H264", h264)
        + tag("tt:Multicast", multicast)
        + tag("tt:SessionTimeout", "PT60S"),
        token=f"encoder_{number}",
    )


def _stream_uri(call: _Call) -> str:
    """A camera at every address is told at the one that the reader came to."""
    uri = call.device.streams[_token(call)][0]
    host = call.base.removeprefix("http://").rpartition(":")[0]
    return _media_uri(uri.replace("//0.0.0.0:", f"//{host}:", 1))


def _snapshot_uri(call: _Call) -> str:
    _token(call)
    return _media_uri(call.base + SNAPSHOT_PATH)


def _token(call: _Call) -> str:
    token = call.request.text("ProfileToken")
    if token not in call.device.streams:
        raise SoapFault(f"no profile {token!r}", "ter:InvalidArgVal", "ter:NoProfile")
    return token


def _media_uri(uri: str) -> str:
    return tag(
        "trt:MediaUri",
        tag("tt:Uri", escape(uri))
        + tag("tt:InvalidAfterConnect", "false")
        + tag("tt:InvalidAfterReboot", "false")
        + tag("tt:Timeout", "PT0S"),
    )


_OPERATIONS: Mapping[tuple[str, str], Callable[[_Call], str]] = {
    (soap.DEVICE, "GetSystemDateAndTime"): _date,
    (soap.DEVICE, "GetDeviceInformation"): _information,
    (soap.DEVICE, "GetCapabilities"): _capabilities,
    (soap.DEVICE, "GetServices"): _services,
    (soap.DEVICE, "GetScopes"): _scopes,
    (soap.MEDIA, "GetProfiles"): _profiles,
    (soap.MEDIA, "GetStreamUri"): _stream_uri,
    (soap.MEDIA, "GetSnapshotUri"): _snapshot_uri,
}
