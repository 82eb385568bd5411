"""What an application in its sandbox sees, reaches and leaves behind."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.camera.serve.server import CameraServer
from harness.engine.process.link import Link
from harness.errors import EngineError
from harness.runtime import sandbox
from harness.runtime.process import Application, CameraInput
from harness.runtime.sandbox import Isolation, bubblewrap

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.camera.picture.clip import Clip
    from harness.runtime.sandbox import Sockets
    from tests.runtime.conftest import Applications, Running

PROGRAM, WHY_NOT = bubblewrap()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=WHY_NOT)

SAY = "import json, os, socket, sys\ndef say(*values): print(json.dumps(values), flush=True)\n"


async def nothing(_sockets: Sockets) -> None:
    """Bring nothing in."""


def isolated(enter: Callable[[Sockets], Awaitable[None]] = nothing) -> Isolation:
    assert PROGRAM is not None
    return Isolation(PROGRAM, enter)


async def until_said(app: Running, count: int = 1) -> list[object]:
    async with asyncio.timeout(15):
        while len(app.said) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return app.said[count - 1]  # type: ignore[no-any-return]


async def test_it_sees_the_containers_files_and_none_of_this_machines(
    applications: Applications,
) -> None:
    app = await applications.start(
        SAY
        + f"""
say(os.getcwd(), sorted(os.listdir("/")), os.listdir("/panorama"), os.path.exists({__file__!r}))
say(sorted(os.environ), socket.gethostname(), os.listdir("/tmp"))
say([pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 9])
say(socket.getaddrinfo("localhost", 1, socket.AF_INET)[0][4][0])
""",
        isolation=isolated(),
    )
    assert await app.end() == 0, app.application.last_lines
    paths, own, processes, localhost = app.said
    assert paths[0] == "/"
    assert {"panorama", "opt", "usr", "proc", "dev", "tmp"} <= set(paths[1])
    assert not {"boot", "mnt", "srv", "sys"} & set(paths[1])
    assert paths[2:] == [["application.py"], False]
    # Of a checkout below /tmp it sees the way to this Python, and nothing else.
    python = Path(sys.prefix).parts
    assert own[1:] == ["panorama", [python[2]] if python[:2] == ("/", "tmp") else []]
    assert not {"HOSTNAME", "USER", "PYTEST_CURRENT_TEST"} & set(own[0])
    assert processes == [[]]
    assert localhost == ["127.0.0.1"]


async def test_storage_and_logs_stay_and_all_else_goes(applications: Applications) -> None:
    source = (
        SAY
        + """
found = [os.path.exists(p + "/kept") for p in
         ("/opt/aws/panorama/storage", "/tmp", "/var/tmp", "/run", "/")]
for place in ("/opt/aws/panorama/storage", "/opt/aws/panorama/logs", "/tmp", "/run", "/"):
    open(place + "/kept", "w").write("state")
say(found)
"""
    )
    app = await applications.start(source, isolation=isolated())
    assert await app.end() == 0, app.application.last_lines
    again = Application()
    await again.start(app.spec, lambda message: None, isolation=isolated())
    assert await again.wait() == 0
    assert again.last_lines == ("[[true, false, false, false, false]]",)
    assert (app.spec.storage / "kept").read_text() == "state"
    assert (app.spec.logs / "code/kept").read_text() == "state"
    assert "kept" not in os.listdir("/")


async def test_system_directories_cannot_be_written(applications: Applications) -> None:
    app = await applications.start(
        SAY
        + """
def error(path):
    try:
        open(path, "w")
    except OSError as problem:
        return problem.errno
say([error("/usr/own"), error("/etc/hosts"), error("/bin/own")])
""",
        isolation=isolated(),
    )
    assert await app.end() == 0
    assert app.said == [[[errno.EROFS] * 3]]


async def test_it_reaches_nothing_but_what_is_brought_in(applications: Applications) -> None:
    with socket.create_server(("127.0.0.1", 0)) as secret:
        port = secret.getsockname()[1]
        app = await applications.start(
            SAY
            + f"""
def error(address):
    try:
        socket.create_connection(address, 5)
    except OSError as problem:
        return problem.errno
say([error(("127.0.0.1", {port})), error(("192.0.2.1", 80))])
""",
            isolation=isolated(),
        )
        assert await app.end() == 0
    assert app.said == [[[errno.ECONNREFUSED, errno.ENETUNREACH]]]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_cameras_are_read_through_the_link_alone(
    applications: Applications, clip: Clip, transport: str
) -> None:
    async with CameraServer() as server, asyncio.TaskGroup() as group:
        camera = server.add("door", clip, path="/door")
        link = Link(group, media=True, inside=True)
        port = await link.port("127.0.0.1", int(camera.url.split(":")[2].split("/")[0]))
        source = CameraInput(
            *("node", "video_in", "door", f"rtsp://127.0.0.1:{port}/door", "", ""), transport
        )
        app = await applications.start(
            "import panoramasdk\nnode = panoramasdk.node()\n"
            "while True: node.outputs.video_out.put(node.inputs.video_in.get())\n",
            cameras=(source,),
            isolation=isolated(link.enter),
        )
        connected = await app.until_kind("CameraConnected")
        assert connected["transport"] == transport
        link.cut()
        await app.until(lambda m: m["kind"] == "CameraLost" and m["connection"] == 1)
        await link.restore()
        again = await app.until(lambda m: m["kind"] == "CameraConnected" and m["connection"] == 2)
        assert again["transport"] == transport
        await app.application.stop()
        await link.close()


async def test_an_inbound_port_leads_into_the_sandbox(applications: Applications) -> None:
    async with asyncio.TaskGroup() as group:
        doors: list[Link] = []

        async def enter(sockets: Sockets) -> None:
            doors.append(Link(group, reach=sockets))

        app = await applications.start(
            SAY
            + """
server = socket.create_server(("0.0.0.0", 80))
say("ready")
while True:
    connection, _ = server.accept()
    connection.sendall(b"inside: " + connection.recv(100))
    connection.close()
""",
            isolation=isolated(enter),
        )
        await until_said(app)
        port = await doors[0].port("127.0.0.1", 80)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.read() == b"inside: hello"
        writer.close()
        await doors[0].close()
        app.application.kill()


async def test_signals_and_exit_codes_are_those_of_the_application(
    applications: Applications,
) -> None:
    app = await applications.start("raise SystemExit(7)", isolation=isolated())
    assert await app.end() == 7
    app = await applications.start("import os; os.abort()", isolation=isolated())
    assert await app.end() == -signal.SIGABRT
    waits = SAY + "say('up')\nimport time\ntime.sleep(60)"
    app = await applications.start(waits, isolation=isolated())
    await until_said(app)
    assert await app.application.stop(grace_s=10) == -signal.SIGTERM
    app = await applications.start(waits, isolation=isolated())
    await until_said(app)
    os.kill(app.application.pid, signal.SIGKILL)
    assert await app.end() == -signal.SIGKILL


async def test_children_that_left_its_group_end_with_it(applications: Applications) -> None:
    app = await applications.start(
        SAY
        + """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        say("child")
        import time
        time.sleep(60)
    os._exit(0)
os.wait()
import time
time.sleep(60)
""",
        isolation=isolated(),
    )
    await until_said(app)
    family = psutil.Process(app.application.outer_pid).children(recursive=True)
    assert len(family) >= 3
    os.kill(app.application.pid, signal.SIGKILL)
    assert await app.end() == -signal.SIGKILL
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 10)
    assert alive == []


async def test_waiting_for_children_does_not_meet_the_helper(applications: Applications) -> None:
    app = await applications.start(
        "import os\ntry:\n os.wait()\nexcept ChildProcessError:\n print('none')",
        isolation=isolated(),
    )
    assert await app.end() == 0
    assert app.application.last_lines == ("none",)


async def test_one_who_does_not_enter_is_gone(applications: Applications) -> None:
    async def refuse(_sockets: Sockets) -> None:
        raise EngineError("no port left")

    with pytest.raises(EngineError, match="no port left"):
        await applications.start("print('ran')", isolation=isolated(refuse))


async def test_a_sandbox_that_does_not_come_up_says_why(applications: Applications) -> None:
    broken = Isolation("/bin/false", nothing)
    with pytest.raises(EngineError, match="sandbox did not come up"):
        await applications.start("print('ran')", isolation=broken)


def test_without_bubblewrap_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    bubblewrap.cache_clear()
    try:
        assert sandbox.bubblewrap() == (None, "bubblewrap (bwrap) is not installed")
    finally:
        monkeypatch.undo()
        bubblewrap.cache_clear()
