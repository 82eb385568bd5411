"""Cameras alone: in this process, in several, and what is said to them while they run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from harness.camera.fleet import control, desk
from harness.camera.fleet.cameras import Fleet, open_fleet, serve
from harness.camera.fleet.control import ControlServer
from harness.camera.fleet.herd import Herd
from harness.camera.fleet.post import Placing, Post
from harness.camera.fleet.verb import VERBS, Heal, action
from harness.errors import EngineError, InputError
from harness.fault.camera import FAULTS, Jitter, Loss
from harness.scenario.camera import CameraProfile, StreamProfile
from harness.scenario.quirk import Quirks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.camera.conftest import Connect

SUB = StreamProfile(320, 180, 15.0, 15, 128, "/live?channel=1&subtype=1")
DOOR = CameraProfile(
    "door",
    *(384, 216, 30.0, 15, 300, 1.0),
    path="/live?channel=1&subtype=0",
    username="viewer",
    streams={"sub": SUB},
    quirks=Quirks(clients_max=1),
)


@pytest.fixture
async def fleet(cache_dir: Path) -> AsyncIterator[Fleet]:
    async with serve([DOOR], count=2, cache_dir=cache_dir) as keeper:
        assert isinstance(keeper, Fleet)
        yield keeper


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A second of grey at 20 frames a second, as somebody's video file."""
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.gop_size = 10
        for number in range(20):
            picture = np.full((240, 320, 3), 60 + 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path


# --- one process ----------------------------------------------------------------------------------


async def test_every_stream_can_be_watched(fleet: Fleet, connect: Connect) -> None:
    rows = await fleet.rows()
    assert [row.name for row in rows] == ["door-1", "door-2"]
    for url in (rows[0].url, rows[0].streams["sub"], rows[1].url):
        client = await connect(url)
        await client.play(url)
        assert len(await client.take(3)) == 3
    one, two = await fleet.rows()
    assert (one.readers, one.sessions, two.readers) == (2, 2, 1)
    assert one.frames_sent >= 6
    assert one.state == "online"


async def test_cameras_do_not_run_in_step(fleet: Fleet) -> None:
    """The second of two is half the time between its key frames ahead, 0.25 s and 0.5 s."""
    (main, sub), (other_main, other_sub) = (streams for _, streams in fleet.cameras.values())
    assert main.epoch_s - other_main.epoch_s == pytest.approx(0.25, abs=0.24)
    assert sub.epoch_s - other_sub.epoch_s == pytest.approx(0.5, abs=0.49)


async def test_quirks_and_credentials_come_along(cache_dir: Path, connect: Connect) -> None:
    placing = Placing(username="u", password="p")
    async with serve([DOOR], placing=placing, cache_dir=cache_dir) as keeper:
        (row,) = await keeper.rows()
        client = await connect(row.url)
        assert (await client.ask("DESCRIBE", row.url)).status == 401
        assert "p@" not in row.url
    async with serve([DOOR], cache_dir=cache_dir) as keeper:
        (row,) = await keeper.rows()
        await (await connect(row.url)).play(row.url)
        late = await connect(row.url)
        transport = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")
        assert (await late.ask("SETUP", f"{row.url}/trackID=0", transport)).status == 453


async def test_own_ports_go_down_and_come_back(cache_dir: Path, connect: Connect) -> None:
    placing = Placing(own_ports=True)
    async with serve([DOOR], count=2, placing=placing, cache_dir=cache_dir) as keeper:
        one, two = await keeper.rows()
        assert one.url.rpartition(":")[2] != two.url.rpartition(":")[2]
        assert one.url.endswith(DOOR.path)
        sub = await connect(one.streams["sub"])
        await sub.play(one.streams["sub"])
        assert (await keeper.set("door-1", "offline")).state == "offline"
        with pytest.raises(ConnectionResetError):
            await sub.drain()
        with pytest.raises(ConnectionRefusedError):
            await connect(one.url)
        await (await connect(two.url)).play(two.url)
        assert (await keeper.set("door-1", "online")).state == "online"
        assert (await keeper.set("door-1", "refused")).faults == ["refused"]  # of all its streams
        for url in (one.url, one.streams["sub"]):
            with pytest.raises(ConnectionRefusedError):
                await connect(url)
        assert (await keeper.set("door-1", "heal")).faults == []
        for url in (one.url, one.streams["sub"]):
            await (await connect(url)).play(url)


async def test_own_addresses(cache_dir: Path, connect: Connect) -> None:
    with socket.socket() as probe:  # a port that is free now, on all of them
        probe.bind(("127.1.0.1", 0))
        port = probe.getsockname()[1]
    placing = Placing(port=port, addresses=True)
    async with serve([DOOR], count=2, placing=placing, cache_dir=cache_dir) as keeper:
        urls = [row.url for row in await keeper.rows()]
        assert urls == [f"rtsp://127.1.0.{n}:{port}{DOOR.path}" for n in (1, 2)]
        for url in urls:
            client = await connect(url)
            await client.play(url)
            assert len(await client.take(2)) == 2


async def test_stall_and_resume(fleet: Fleet) -> None:
    assert (await fleet.set("door-2", "stall")).state == "stalled"
    assert [row.state for row in await fleet.rows()] == ["online", "stalled"]
    assert (await fleet.set("door-2", "resume")).state == "online"


@pytest.mark.parametrize(
    ("name", "do", "given", "message"),
    [
        ("door-9", "stall", {}, "no camera 'door-9'"),
        ("door-1", "burn", {}, "unknown verb 'burn'"),
        ("door-1", "stall", {"for": 1}, "wrong parameters: for"),
    ],
)
async def test_what_cannot_be_done(
    fleet: Fleet, name: str, do: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        await fleet.set(name, do, given)
    assert caught.value.hint


def test_every_fault_is_a_verb_and_can_be_healed() -> None:
    assert VERBS.keys() == {*FAULTS, "online", "resume", "heal"}
    for name, kind in FAULTS.items():
        assert action(name, {}) == kind()
        assert action("heal", {"fault": name}) == Heal(kind)
    assert action("heal", {}) == action("heal", {"fault": "all"}) == Heal()
    assert action("jitter", {"most_s": "2", "seed": 7}) == Jitter(most_s=2.0, seed=7)


@pytest.mark.parametrize(
    ("name", "values", "message", "hint"),
    [
        ("loss", {"rate": "much"}, "loss: rate 'much'", "a number, 0 to 1"),
        ("loss", {"rate": 1.5}, "loss: rate 1.5", "share of packets"),
        ("loss", {"rate": "nan"}, "loss: rate 'nan'", "a number, 0 to 1"),
        ("loss", {"seed": 0.5}, "loss: seed 0.5", "a whole number"),
        ("loss", {"share": 1}, "loss: wrong parameters: share", "wanted: rate, seed"),
        ("heal", {"fault": "rust"}, "heal: fault 'rust'", "one of all, "),
        ("resume", {"fault": "stall"}, "resume: wrong parameters: fault", "wanted: none"),
    ],
)
def test_values_are_checked(name: str, values: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        action(name, values)
    assert hint in caught.value.hint


async def test_faults_of_a_fleet(fleet: Fleet) -> None:
    assert (await fleet.set("door-1", "loss", {"rate": "1"})).faults == ["loss"]
    await fleet.inject("door-1", Jitter())
    assert [row.faults for row in await fleet.rows()] == [["loss", "jitter"], []]
    assert all(Loss(rate=1.0) in stream.faults for stream in fleet.cameras["door-1"][1])
    assert (await fleet.set("door-1", "heal", {"fault": "loss"})).faults == ["jitter"]
    assert (await fleet.set("door-1", "heal")).faults == []
    with pytest.raises(InputError, match="refused on a port that it shares"):
        await fleet.set("door-1", "refused")


async def test_a_port_in_use_is_said_and_nothing_is_left(cache_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for workers in (1, 2):
            placing = Placing(port=port)
            with pytest.raises(EngineError, match=f"cannot listen on 127.0.0.1:{port}"):
                async with serve(
                    [DOOR], count=2, workers=workers, placing=placing, cache_dir=cache_dir
                ):
                    pass


async def test_a_video_instead_of_pictures(cache_dir: Path, film: Path, connect: Connect) -> None:
    placing = Placing(video=str(film))
    async with serve([DOOR], placing=placing, cache_dir=cache_dir) as keeper:
        assert isinstance(keeper, Fleet)
        (row,) = await keeper.rows()
        assert row.streams == {}
        spec = keeper.cameras["door"][1][0].clip.spec
        assert (spec.width_px, spec.height_px, spec.rate_fps) == (320, 240, 20)
        client = await connect(row.url)
        await client.play(row.url)
        assert len(await client.take(3)) == 3
    with pytest.raises(InputError, match="none"):
        async with serve([DOOR], placing=Placing(video="none.mp4"), cache_dir=cache_dir):
            pass


# --- several processes ----------------------------------------------------------------------------


async def test_workers_each_have_their_share(cache_dir: Path, connect: Connect) -> None:
    async with serve([DOOR], count=3, workers=2, cache_dir=cache_dir) as keeper:
        assert isinstance(keeper, Herd)
        rows = await keeper.rows()
        assert [row.name for row in rows] == ["door-1", "door-2", "door-3"]
        ports = [row.url.split(":")[2].split("/")[0] for row in rows]
        assert ports[0] != ports[1] == ports[2]
        for row in rows:
            client = await connect(row.url)
            await client.play(row.url)
            assert len(await client.take(2)) == 2
        assert [row.readers for row in await keeper.rows()] == [1, 1, 1]
        assert (await keeper.set("door-3", "stall")).state == "stalled"
        assert (await keeper.set("door-2", "black")).faults == ["black"]
        with pytest.raises(InputError, match="gop: frames '0'"):
            await keeper.set("door-2", "gop", {"frames": "0"})
        assert (await keeper.set("door-2", "heal")).faults == []
        with pytest.raises(InputError, match="no camera 'x'"):
            await keeper.set("x", "stall")
        with pytest.raises(InputError, match="unknown verb 'burn'") as caught:
            await keeper.set("door-1", "burn")
        assert "offline" in caught.value.hint
        workers = [worker._process for worker in keeper._workers]
    assert [worker.returncode for worker in workers] == [0, 0]


async def test_a_worker_that_dies_is_noticed(cache_dir: Path) -> None:
    async with serve([DOOR], count=2, workers=2, cache_dir=cache_dir) as keeper:
        assert isinstance(keeper, Herd)
        process = keeper._workers[1]._process
        process.kill()
        await process.wait()
        for _ in range(2):
            with pytest.raises(EngineError, match=f"camera worker {process.pid} does not answer"):
                await keeper.rows()


# --- the control socket ---------------------------------------------------------------------------


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder with a short path: Unix domain sockets allow 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        yield Path(folder)


async def test_control_socket(fleet: Fleet, runtime: Path) -> None:
    path = runtime / "c.sock"
    async with ControlServer(fleet, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        listed = await control.ask(path, {"do": "list"})
        assert [row["name"] for row in listed["cameras"]] == ["door-1", "door-2"]
        request = {"do": "set", "camera": "door-1", "verb": "offline"}
        assert (await control.ask(path, request))["camera"]["state"] == "offline"
        assert (await fleet.rows())[0].state == "offline"
        lossy: dict[str, Any] = {**request, "verb": "loss", "with": {"rate": "0.5", "seed": 3}}
        assert (await control.ask(path, lossy))["camera"]["faults"] == ["offline", "loss"]
        assert Loss(rate=0.5, seed=3) in fleet.cameras["door-1"][1][0].faults
        with pytest.raises(InputError, match="loss: rate 'most'") as caught:
            await control.ask(path, {**lossy, "with": {"rate": "most"}})
        assert "a number, 0 to 1" in caught.value.hint
        verbs = (await control.ask(path, {"do": "verbs"}))["verbs"]
        assert verbs.keys() == VERBS.keys()
        assert verbs["gop"]["parameters"]["frames"] == {
            "says": "from one key frame to the next",
            "type": "int",
            "range": "a whole number, 1 to 36000 frames",
            "default": 300,
        }
        with pytest.raises(InputError, match="no camera 'x'"):
            await control.ask(path, {**request, "camera": "x"})
        with pytest.raises(InputError, match="is in use"):
            async with ControlServer(fleet, path):
                pass
        assert control.running(runtime) == []  # not named as one of ours
    assert not path.exists()
    with pytest.raises(InputError, match="no cameras answer"):
        await control.ask(path, {"do": "list"})


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"\xff\xfe", "not a JSON object"),
        (b"[" * 20_000, "not a JSON object"),
        (b'{"do": "dance"}', "unknown request 'dance'"),
        (b'{"do": "set"}', "set without a camera and a verb"),
        (b'{"do": "set", "camera": 1, "verb": "stall"}', "set without a camera"),
        (b'{"do": "set", "camera": "door-1", "verb": "stall", "with": []}', "set without"),
        (b'{"do": "set", "camera": "door-1", "verb": "stall", "with": {"a": {}}}', "set without"),
        (b'{"do": "set", "camera": "door-1", "verb": "stall", "with": {"a": 1}}', "wrong param"),
    ],
)
async def test_bad_requests_are_answered(fleet: Fleet, line: bytes, error: str) -> None:
    reply = json.loads(await desk.answer(fleet, line))
    assert reply["ok"] is False
    assert error in reply["error"]
    assert reply["hint"]
    with pytest.raises(InputError):
        desk.checked(reply)


async def test_the_socket_survives_rude_clients(fleet: Fleet, runtime: Path) -> None:
    path = runtime / "c.sock"
    async with ControlServer(fleet, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x" * (desk.REQUEST_BYTES_MAX * 3))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        many = [await asyncio.open_unix_connection(path) for _ in range(control.CLIENTS_MAX)]
        for _, other in many:
            other.write(b'{"do": "verbs"}\n')
        answers = [await asyncio.wait_for(one.readline(), 10) for one, _ in many]
        assert all(json.loads(answer)["ok"] for answer in answers)
        extra, more = await asyncio.open_unix_connection(path)
        assert await extra.read() == b""
        for _, other in (*many, (extra, more)):
            other.close()
            with contextlib.suppress(ConnectionError):
                await other.wait_closed()
        assert (await control.ask(path, {"do": "list"}))["ok"] is True
    assert not path.exists()


async def test_the_only_running_one_is_found(
    fleet: Fleet, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with pytest.raises(InputError, match="no cameras run"):
        control.find(None)
    folder = control.default_folder()
    async with ControlServer(fleet) as server:
        assert server.path.parent == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert control.find(None) == server.path
        with socket.socket(socket.AF_UNIX) as dead:  # of a process that was killed
            dead.bind(str(folder / f"1{control.SUFFIX}"))
        assert control.find(None) == server.path
        async with ControlServer(fleet, folder / f"1{control.SUFFIX}"):
            with pytest.raises(InputError, match="2 sets of cameras run"):
                control.find(None)


async def test_a_folder_that_others_can_enter_is_refused(
    fleet: Fleet, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    control.default_folder().mkdir(mode=0o755)
    control.default_folder().chmod(0o755)  # whatever the umask is
    with pytest.raises(InputError, match="not private"):
        async with ControlServer(fleet):
            pass


async def test_a_path_too_long_is_refused(fleet: Fleet, runtime: Path) -> None:
    with pytest.raises(InputError, match="too long"):
        async with ControlServer(fleet, runtime / ("x" * 120)):
            pass


async def test_nothing_listens_when_a_fleet_cannot_open(cache_dir: Path) -> None:
    post = Post("door", DOOR, "127.0.0.1", None)
    with pytest.raises(KeyError):
        async with open_fleet([post], {}):
            pass
