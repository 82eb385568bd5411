from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.camera.fleet.post import (
    CAMERAS_MAX,
    Placing,
    Post,
    Share,
    is_loopback,
    posts,
    shares,
)
from harness.errors import InputError
from harness.scenario import camera_profile
from harness.scenario.camera import CameraProfile, StreamProfile
from harness.scenario.quirk import Quirks

SHIPPED = sorted((Path(__file__).parents[3] / "device_profiles/cameras").glob("*.yaml"))
SUB = StreamProfile(320, 180, 15.0, 15, 128, "/live?channel=1&subtype=1")
DOOR = CameraProfile(
    "door",
    640,
    360,
    15.0,
    15,
    400,
    2.0,
    "/live?channel=1&subtype=0",
    "viewer",
    streams={"sub": SUB},
)
YARD = CameraProfile("yard", 640, 360, 15.0, 15, 400, 2.0, "/{camera}/main", "")


def test_names_are_the_profiles_and_numbered_where_there_are_several() -> None:
    assert [post.name for post in posts([DOOR, YARD], 1, Placing())] == ["door", "yard"]
    named = [post.name for post in posts([DOOR, YARD, DOOR], 1, Placing())]
    assert named == ["door-1", "yard", "door-2"]
    assert [post.name for post in posts([YARD], 3, Placing())] == ["yard-1", "yard-2", "yard-3"]


def test_a_shared_port_needs_paths_that_differ() -> None:
    one, two, yard = posts([DOOR, DOOR, YARD], 1, Placing(port=8554))
    assert one.port is None
    assert one.path(DOOR.stream) == "/door-1/live?channel=1&subtype=0"
    assert two.path(SUB) == "/door-2/live?channel=1&subtype=1"
    assert yard.path(YARD.stream) == "/yard/main"


def test_own_ports_count_up_and_keep_the_makers_path() -> None:
    made = posts([DOOR], 3, Placing(port=8554, own_ports=True, onvif_port=8000))
    assert [post.port for post in made] == [8554, 8555, 8556]
    assert [post.onvif_port for post in made] == [8000, 8001, 8002]
    assert {post.path(DOOR.stream) for post in made} == {DOOR.path}
    free = posts([DOOR], 2, Placing(own_ports=True, onvif_port=0))
    assert [(post.port, post.onvif_port) for post in free] == [(0, 0), (0, 0)]


def test_own_addresses_are_on_loopback_and_all_different() -> None:
    made = posts([DOOR], 600, Placing(port=8554, addresses=True, onvif_port=8000))
    assert len({post.host for post in made}) == 600
    assert all(is_loopback(post.host) for post in made)
    assert not any(post.host.endswith((".0", ".255")) for post in made)
    assert made[0].host == "127.1.0.1"
    assert made[254].host == "127.1.1.1"
    assert {(post.port, post.onvif_port) for post in made} == {(8554, 8000)}


def test_streams_are_named_after_their_camera() -> None:
    (post,) = posts([DOOR], 1, Placing())
    assert list(post.streams) == ["door", "door/sub"]
    assert post.streams["door/sub"] is SUB
    assert list(replace(post, video="film.mp4").streams) == ["door"]


def test_cameras_of_a_kind_share_their_pictures() -> None:
    one, two = posts([DOOR], 2, Placing())
    assert one.clip(DOOR.stream) == two.clip(DOOR.stream)
    assert one.clip(SUB) != one.clip(DOOR.stream)
    round_one = Post("x", replace(DOOR, look="fisheye"), "127.0.0.1", None)
    assert round_one.clip(DOOR.stream).look.fisheye_deg > 0


@pytest.mark.parametrize(
    ("count", "placing", "message"),
    [
        (0, {}, "0 cameras"),
        (CAMERAS_MAX + 1, {}, "cameras"),
        (1, {"addresses": True}, "without a port"),
        (1, {"addresses": True, "port": 1, "host": "0.0.0.0"}, "host 0.0.0.0"),
        (1, {"host": "localhost"}, "host localhost"),
        (1, {"host": "::1", "onvif_port": 0}, "ONVIF at ::1"),
        (1, {"port": 65_536}, "port 65536"),
        (1, {"onvif_port": -1}, "ONVIF port -1"),
        (9, {"own_ports": True, "port": 65_530}, "9 cameras from port 65530 on"),
        (9, {"onvif_port": 65_530}, "9 cameras from ONVIF port 65530 on"),
    ],
)
def test_what_has_no_room_is_refused(count: int, placing: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        posts([DOOR], count, Placing(**placing))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("workers", "sizes"), [(1, [7]), (2, [3, 4]), (3, [2, 2, 3]), (9, [1] * 7)]
)
def test_shares_are_about_the_same(workers: int, sizes: list[int]) -> None:
    made = posts([DOOR], 7, Placing())
    parts = shares(made, workers)
    assert [len(part) for part in parts] == sizes
    assert tuple(post for part in parts for post in part) == made


def test_workers_are_bounded() -> None:
    with pytest.raises(InputError, match="0 workers"):
        shares(posts([DOOR], 1, Placing()), 0)


def test_a_share_survives_the_way_to_a_worker() -> None:
    odd = replace(DOOR, quirks=Quirks(clients_max=2, lower_case_headers=True))
    share = Share(posts([odd, YARD], 2, Placing(username="u", password="p")), 8554, "/tmp/x")
    assert msgspec.json.decode(msgspec.json.encode(share), type=Share) == share


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1")),
        *((host, False) for host in ("0.0.0.0", "192.168.1.1", "::")),
    ],
)
def test_is_loopback(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_profile_can_be_shown(path: Path) -> None:
    (post,) = posts([camera_profile(path)], 1, Placing(own_ports=True))
    specs = [post.clip(stream) for stream in post.streams.values()]
    assert all(spec.scenes for spec in specs)
    assert len({post.path(stream) for stream in post.streams.values()}) == len(specs)
