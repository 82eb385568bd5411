"""What a scenario says of its site: appliances, cameras, and how those look and encode.

What is left out of a camera is as its profile says.
"""

from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from harness.scenario.coding import B_FRAMES_MAX, H264, LEVELS, Codec, H264Profile, RateControl
from harness.scenario.look import (
    CAPTION_CHARS_MAX,
    FISHEYE_DEG_MAX,
    OCCLUDERS_MAX,
    SIZE_MAX,
    SIZE_MIN,
    Label,
    Light,
    Weather,
)
from harness.scenario.part import Endpoint, Name, Part, Version
from harness.scenario.plan import AMBIENT_C, NetworkPlan
from harness.scenario.quantity import wrong

SITE_MAX = 1000
OBJECTS_MAX = 16
NTP_MAX = 5  # vendor's guide
DNS_MAX = 3  # resolv.conf(5): MAXNS


def _distinct(value: list[Label]) -> list[Label]:
    if len(set(value)) < len(value):
        raise wrong("a class is named twice", "name each once")
    return value


def _address(value: str) -> str:
    try:
        return str(IPv4Address(value))
    except ValueError:
        raise wrong(f"`{value}` is no IPv4 address", 'such as "192.168.1.20"') from None


def _level(value: str) -> str:
    if value not in LEVELS:
        raise wrong(f"`{value}` is no level of H.264", f"one of {', '.join(LEVELS)}")
    return value


Address = Annotated[str, AfterValidator(_address)]


class StaticFile(Part):
    """A static address of an Ethernet port; whether it is right for the site is not asked."""

    address: Address = Field(description="IPv4 address")
    mask: Address = Field(description="such as 255.255.255.0")
    gateway: Address = Field(description="the way to the internet")
    dns: Annotated[list[Address], Field(min_length=1, max_length=DNS_MAX)] = Field(
        description="name servers"
    )

    def made(self) -> dict[str, Any]:
        """As EthernetPayload of the service."""
        info = {"IpAddress": self.address, "Mask": self.mask, "DefaultGateway": self.gateway}
        return {
            "ConnectionType": "STATIC_IP",
            "StaticIpConnectionInfo": {**info, "Dns": list(self.dns)},
        }


class NetworkFile(Part):
    """How an appliance is cabled, and what its ports are configured to."""

    layout: Literal["single", "dual"] = Field(
        default="single",
        description="single: one network, eth1 a spare; dual: eth0 cameras, eth1 internet",
    )
    eth0: StaticFile | None = Field(default=None, description="static; default: DHCP")
    eth1: StaticFile | None = Field(default=None, description="static; default: DHCP")
    ntp: Annotated[list[str], Field(min_length=1, max_length=NTP_MAX)] | None = Field(
        default=None, description="NTP servers, at most 5; default: time.aws.com"
    )

    def made(self) -> NetworkPlan:
        configuration: dict[str, Any] = {}
        for key, port in (("Ethernet0", self.eth0), ("Ethernet1", self.eth1)):
            if port is not None:
                configuration[key] = port.made()
        if self.ntp is not None:
            configuration["Ntp"] = {"NtpServers": list(self.ntp)}
        return NetworkPlan(self.layout, configuration)


class ApplianceFile(Part):
    """An appliance of the site."""

    profile: str = Field(description="a device profile, such as panorama-appliance")
    firmware: Version = Field(description="the firmware it leaves the factory with, such as 6.2.1")
    power_mode: str = Field(
        default="max", description="of the profile's hardware, such as MODE_15W; in virtual time"
    )
    ambient_c: float = Field(
        default=AMBIENT_C, ge=-40, le=85, description="air around it, in virtual time"
    )
    blocked: list[Endpoint] = Field(
        default_factory=list,
        max_length=64,
        description="endpoints of `images` that its firewall does not let through",
    )
    network: NetworkFile = Field(
        default_factory=NetworkFile, description="its ports; default: one network, DHCP"
    )


class LookFile(Part):
    """What the camera sees; what is left out is a clear day, seen through the profile's lens."""

    light: Light | None = Field(default=None, description="day or night")
    weather: Weather | None = Field(default=None, description="clear, rain, snow or fog")
    occluders: int | None = Field(
        default=None, ge=0, le=OCCLUDERS_MAX, description="posts and walls in front of the objects"
    )
    caption: str | None = Field(
        default=None, max_length=CAPTION_CHARS_MAX, description="writing along the lower edge"
    )
    clock: bool | None = Field(default=None, description="a running clock along the lower edge")
    fisheye_deg: float | None = Field(
        default=None, ge=0, le=FISHEYE_DEG_MAX, description="half the field of view; 0: no fisheye"
    )
    labels: Annotated[list[Label], Field(min_length=1), AfterValidator(_distinct)] | None = Field(
        default=None, description="classes of the objects: person, vehicle, bicycle"
    )
    size: float | None = Field(
        default=None, ge=SIZE_MIN, le=SIZE_MAX, description="how large the objects are; usual: 1"
    )
    visibility_min: float | None = Field(
        default=None, ge=0, le=1, description="objects of which less is seen have no true box"
    )


class CodingFile(Part):
    """How the camera encodes; what is left out is as its profile says."""

    codec: Codec | None = Field(
        default=None, description="h264, h265 or mjpeg; an appliance reads h264 alone"
    )
    profile: H264Profile | None = Field(default=None, description="of H.264")
    level: Annotated[str, AfterValidator(_level)] | None = Field(
        default=None, description='of H.264, in quotes: "4.1"; default: the lowest that fits'
    )
    rate_control: RateControl | None = Field(
        default=None, description="cbr, vbr, or capped: vbr that never stays above its average"
    )
    b_frames: int | None = Field(
        default=None, ge=0, le=B_FRAMES_MAX, description="frames sent later than captured, in a row"
    )
    sei: bool | None = Field(
        default=None, description="each frame says who it is beside its picture too"
    )


class CameraFile(Part):
    """A camera of the site."""

    profile: str = Field(description="a camera profile, such as generic-360p15")
    objects: int = Field(default=3, ge=0, le=OBJECTS_MAX, description="moving objects in view")
    transport: Literal["tcp", "udp"] = Field(
        default="tcp", description="what appliances ask for its stream over: tcp or udp"
    )
    look: LookFile = Field(default_factory=LookFile, description="what it sees")
    coding: CodingFile = Field(default_factory=CodingFile, description="how it encodes")

    @property
    def readable(self) -> bool:
        """Whether an appliance can read it."""
        return self.coding.codec in (None, H264)


class SiteFile(Part):
    """Appliances and cameras, by name."""

    appliances: dict[Name, ApplianceFile] = Field(
        min_length=1, max_length=SITE_MAX, description="appliances by name"
    )
    cameras: dict[Name, CameraFile] = Field(
        default_factory=dict, max_length=SITE_MAX, description="cameras by name"
    )
