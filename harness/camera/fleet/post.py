"""Where cameras stand: from profiles to names, addresses, ports and paths. Pure.

Annotations are real here, since `msgspec` carries posts to worker processes.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.camera.picture.clip import ClipSpec
from harness.errors import InputError
from harness.scenario.camera import CameraProfile, StreamProfile
from harness.scenario.look import CAPTION_CHARS_MAX

LOOPBACK = "127.0.0.1"
CAMERAS_MAX = 10_000
WORKERS_MAX = 64
PORT_MAX = 65_535
OBJECTS = {"fixed": 3, "fisheye": 4, "ptz": 6}
_FIRST_ADDRESS = ipaddress.IPv4Address("127.1.0.1")
_HOSTS_A_NET = 254  # last bytes 0 and 255 look like mistakes to some readers


@dataclass(frozen=True, slots=True)
class Post:
    """One camera of a fleet. `port` None: it is on the port that its process shares.

    Port 0 takes a free one. `onvif_port` None: no ONVIF.
    """

    name: str
    profile: CameraProfile
    host: str
    port: int | None
    username: str = ""
    password: str = ""
    video: str = ""
    onvif_port: int | None = None

    @property
    def streams(self) -> dict[str, StreamProfile]:
        """By the name of the stream: the camera's own, then `<camera>/<stream>`."""
        further = {f"{self.name}/{key}": item for key, item in self.profile.streams.items()}
        return {self.name: self.profile.stream, **({} if self.video else further)}

    def path(self, stream: StreamProfile) -> str:
        """The maker's path; on a shared port under the camera's name."""
        named = stream.path.replace("{camera}", self.name)
        return named if self.port is not None or named != stream.path else f"/{self.name}{named}"

    def clip(self, stream: StreamProfile) -> ClipSpec:
        """What the stream shows. All cameras of a kind show the same, so it is encoded once."""
        profile = self.profile
        seed = hashlib.sha256(profile.name.encode()).digest()
        return ClipSpec.of(
            stream,
            duration_s=profile.clip_s,
            objects=OBJECTS[profile.look],
            seed=int.from_bytes(seed[:4], "big"),
            slow_rate_fps=profile.slow_rate_fps,
            coding=profile.coding,
            look=replace(profile.scene, caption=profile.name[:CAPTION_CHARS_MAX], clock=True),
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What a worker process is told: its cameras, the port they share, where clips are cached."""

    posts: tuple[Post, ...]
    port: int
    cache_dir: str | None


@dataclass(frozen=True, slots=True)
class Placing:
    """How a fleet is laid out; see `harness camera serve --help`."""

    host: str = LOOPBACK
    port: int = 0
    own_ports: bool = False
    addresses: bool = False
    username: str = ""
    password: str = ""
    video: str = ""
    onvif_port: int | None = None


def posts(profiles: Sequence[CameraProfile], count: int, placing: Placing) -> tuple[Post, ...]:
    """`count` cameras of each profile. Raises `InputError` where they have no room."""
    total = len(profiles) * count
    if not 1 <= total <= CAMERAS_MAX:
        raise InputError(f"{total} cameras", hint=f"1 to {CAMERAS_MAX}: give profiles, and --count")
    _check(placing, total)
    names = _names(profiles, count)
    kinds = [profile for profile in profiles for _ in range(count)]
    return tuple(
        Post(
            name=name,
            profile=kind,
            host=_address(number) if placing.addresses else placing.host,
            port=_own_port(placing, number),
            username=placing.username,
            password=placing.password,
            video=placing.video,
            onvif_port=_onvif_port(placing, number),
        )
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    )


def shares(placed: Sequence[Post], workers: int) -> list[tuple[Post, ...]]:
    """The posts in `workers` neighbouring parts of about the same size, none of them empty."""
    if not 1 <= workers <= WORKERS_MAX:
        raise InputError(f"{workers} workers", hint=f"1 to {WORKERS_MAX}")
    workers = min(workers, len(placed))
    bounds = [len(placed) * number // workers for number in range(workers + 1)]
    return [tuple(placed[bounds[n] : bounds[n + 1]]) for n in range(workers)]


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine can reach the address `host`."""
    return ipaddress.ip_address(host).is_loopback


def _check(placing: Placing, total: int) -> None:
    try:
        version = ipaddress.ip_address(placing.host).version
    except ValueError:
        raise InputError(
            f"host {placing.host}", hint=f"an address, such as {LOOPBACK} or 0.0.0.0"
        ) from None
    if placing.onvif_port is not None and version != 4:
        raise InputError(f"ONVIF at {placing.host}", hint="discovery needs an IPv4 address")
    if placing.addresses and not is_loopback(placing.host):
        raise InputError(
            f"addresses of their own, and host {placing.host}",
            hint="own addresses are on 127.0.0.0/8: leave the host out",
        )
    if placing.addresses and not placing.port:
        raise InputError(
            "addresses of their own without a port", hint="give the port that all of them have"
        )
    for what, port in (("port", placing.port), ("ONVIF port", placing.onvif_port or 0)):
        if not 0 <= port <= PORT_MAX:
            raise InputError(f"{what} {port}", hint=f"0 (any free one) to {PORT_MAX}")
    for what, first in (
        ("port", placing.port if placing.own_ports else 0),
        ("ONVIF port", placing.onvif_port or 0),
    ):
        if first and not placing.addresses and first + total - 1 > PORT_MAX:
            raise InputError(
                f"{total} cameras from {what} {first} on",
                hint=f"the last would be above {PORT_MAX}: a lower port, or own addresses",
            )


def _names(profiles: Sequence[CameraProfile], count: int) -> list[str]:
    """`yard` alone, else `yard-1`, `yard-2`, ...: counted over all mentions of a profile."""
    total: dict[str, int] = {}
    for profile in profiles:
        total[profile.name] = total.get(profile.name, 0) + count
    seen: dict[str, int] = {}
    names = []
    for profile in profiles:
        for _ in range(count):
            seen[profile.name] = number = seen.get(profile.name, 0) + 1
            names.append(profile.name if total[profile.name] == 1 else f"{profile.name}-{number}")
    return names


def _address(number: int) -> str:
    net, last = divmod(number, _HOSTS_A_NET)
    return str(_FIRST_ADDRESS + net * 256 + last)


def _own_port(placing: Placing, number: int) -> int | None:
    if placing.addresses:
        return placing.port
    if not placing.own_ports:
        return None
    return placing.port + number if placing.port else 0


def _onvif_port(placing: Placing, number: int) -> int | None:
    """Every camera has an ONVIF address of its own, as readers expect."""
    if placing.onvif_port is None or placing.addresses or not placing.onvif_port:
        return placing.onvif_port
    return placing.onvif_port + number
