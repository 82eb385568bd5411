"""What a scenario does to cameras, and what becomes of silent readers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from harness.camera.serve.dialogue import REPORT_EVERY_S
from harness.camera.serve.server import SESSION_TIMEOUT_S, CameraServer
from harness.camera.serve.session import Flow
from harness.camera.wire.rtp import SenderReport
from harness.camera.wire.rtsp import Interleaved

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip
    from tests.camera.conftest import Connect, Until

TCP = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")


# --- what a scenario does -------------------------------------------------------------------------


async def test_stall_and_resume(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    await client.play(camera.url)
    before = await client.take(3)
    camera.stall()
    sent = camera.sessions[0].frames_sent
    frame = camera.next_frame
    await until(lambda: time.monotonic() > camera.captured_s(frame + 10))
    for _ in range(3):
        assert (await client.ask("GET_PARAMETER", camera.url)).status == 200
    assert camera.sessions[0].frames_sent == sent
    camera.resume()
    await until(lambda: camera.sessions[0].frames_sent >= sent + 3)
    assert camera.sessions[0].frames_dropped_at_sender == 0
    client_frames = before + await client.take(sent + 3 - len(before))
    assert (client_frames[sent] - client_frames[sent - 1]) & 0xFFFFFFFF > 1500 * 5


async def test_own_port_offline_refuses_and_comes_back(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door", own_port=True)
    other = server.add("yard", clip, "/door")
    assert camera.url != other.url
    watcher, neighbour = await connect(camera.url), await connect(other.url)
    await watcher.play(camera.url)
    await neighbour.play(other.url)
    await watcher.take(2)
    camera.go_offline()
    camera.go_offline()
    with pytest.raises(ConnectionResetError):
        await watcher.drain()
    assert camera.sessions[0].ended_s is not None
    with pytest.raises(ConnectionRefusedError):
        await connect(camera.url)
    assert len(await neighbour.take(3)) == 3
    url = camera.url
    camera.go_online()
    camera.go_online()
    assert camera.url == url
    watcher = await connect(url)
    await watcher.play(url)
    assert len(await watcher.take(3)) == 3


async def test_shared_port_offline_resets(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    door, yard = server.add("door", clip, "/door"), server.add("yard", clip, "/yard")
    watcher, neighbour = await connect(door.url), await connect(yard.url)
    await watcher.play(door.url)
    await neighbour.play(yard.url)
    door.go_offline()
    with pytest.raises(ConnectionResetError):
        await watcher.drain()
    late = await connect(door.url)
    with pytest.raises(ConnectionResetError):
        await late.ask("DESCRIBE", door.url)
    assert len(await neighbour.take(3)) == 3
    door.go_online()
    watcher = await connect(door.url)
    await watcher.play(door.url)
    assert len(await watcher.take(3)) == 3


# --- time-outs ------------------------------------------------------------------------------------


async def test_silent_connections_time_out(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door")
    client, idle = await connect(camera.url), await connect(camera.url)
    answer = await client.ask("SETUP", f"{camera.url}/trackID=0", TCP)
    assert (answer.header("Session") or "").endswith(f";timeout={SESSION_TIMEOUT_S:.0f}")
    await idle.ask("OPTIONS", "*")
    connections = tuple(server._listeners[None].connections)
    assert len(connections) == 2
    heard_s = max(connection.heard_s for connection in connections)
    for connection in connections:
        connection.sweep(heard_s + SESSION_TIMEOUT_S - 1)
    assert server.connections == 2
    for connection in connections:
        connection.sweep(heard_s + SESSION_TIMEOUT_S + 1)
    assert server.connections == 0
    assert await client.hung_up()
    assert camera.sessions[0].ended_s is not None


async def test_reading_and_receiver_reports_count_as_life(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True)
    client = await connect(camera.url)
    await client.play(camera.url)
    await client.take(2)
    (connection,) = server._listeners[None].connections
    connection.sweep(connection.heard_s + SESSION_TIMEOUT_S + 1)  # it fetches its frames
    assert server.connections == 1
    camera.stall()
    assert connection.session is not None
    connection.session.flow = Flow.STARTING
    before_s = connection.heard_s = 5.0
    client.send(b"$\x01\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x01")  # an empty receiver report
    await until(lambda: connection.heard_s > before_s)


async def test_sender_reports_go_on(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door", fast_start=True)
    client = await connect(camera.url)
    await client.play(camera.url)
    await client.take(2)
    (connection,) = server._listeners[None].connections
    connection.sweep(time.monotonic() + REPORT_EVERY_S + 1)
    while not isinstance(data := await client.packet(), Interleaved) or data.channel != 1:
        pass
    assert SenderReport.from_bytes(data.payload).packets > 0
