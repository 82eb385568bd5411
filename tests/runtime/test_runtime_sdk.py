"""The SDK as applications meet it: every member, in a real process, before real cameras."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from harness.camera.serve.server import CameraServer
from harness.record import framecode
from harness.runtime import telemetry
from harness.runtime.control import Login
from harness.runtime.process import CameraInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from harness.runtime.process import ModelFile
    from tests.runtime.conftest import Applications, Running

PRELUDE = """
import json, sys, threading, time
import numpy as np
import panoramasdk

def say(*values):
    print(json.dumps(values if len(values) > 1 else values[0]), flush=True)

def error(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except Exception as problem:
        return [type(problem).__name__, str(problem)]
    return None

class App(panoramasdk.node):
    def __init__(self):  # like most public programs: without super().__init__()
        self.mine = 1
"""


@pytest.fixture
async def cameras() -> AsyncIterator[CameraServer]:
    async with CameraServer() as server:
        yield server


def attach(camera: Camera, **changes: str) -> CameraInput:
    values = {
        "node": f"{camera.name}_node",
        "port": "video_in",
        "name": camera.name,
        "url": camera.url,
        "username": "",
        "password": "",
    }
    return CameraInput(**{**values, **changes})


def account(app: Running) -> dict[tuple[str, int], dict[str, Any]]:
    """The last account of each connection; every one must add up."""
    last = {(m["camera"], m["connection"]): m for m in app.of("Counts")}
    for counts in app.of("Counts"):
        parts = ("delivered", "skipped", "dropped_decoder", "in_flight")
        assert counts["packets"] == sum(counts[part] for part in parts)
        assert all(counts[part] >= 0 for part in parts)
    return last


async def test_a_program_loops_over_frames(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    camera = cameras.add("door", clip, path="/door", username="root", password="p@ss:w/rd")
    app = await applications.start(
        PRELUDE
        + """
app = App()
for _ in range(10):
    (frame,) = app.inputs.video_in.get()
    image = frame.image
    first = image[:, :, 0].copy()
    image[:] = 0
    frame.add_rect(0, 0, 1, 1)
    frame.add_label("person 0.93", 0, 0)
    app.outputs.video_out.put([frame])
say(image.shape, str(image.dtype), image is frame.image, int(frame.image.max()))
say(frame.is_cached, frame.stream_id, frame.stream_uri, len(frame.time_stamp))
say(frame.time_stamp[0] + frame.time_stamp[1] / 1e6 - time.time())
""",
        cameras=(attach(camera, username="root", password="p@ss:w/rd"),),
    )
    assert await app.end() == 0
    assert app.said[0] == [[360, 640, 3], "uint8", True, 0]
    assert app.said[1] == [False, "door_node", camera.url, 2]
    assert -5 < app.said[2] < 1
    frames = [telemetry.parse(message) for message in app.of("Frame")]
    assert len(frames) == 10
    for frame in frames:
        assert isinstance(frame, telemetry.Frame)
        assert frame.detections == (("person", 0.0, 0.0, 1.0, 1.0, 0.93),)
        assert frame.put_s is not None
        assert frame.arrived_s <= frame.got_s <= frame.put_s
        assert frame.clip_id == clip.id
        assert frame.index is not None
        assert frame.time_us is not None
        code = framecode.FrameCode(frame.clip_id, frame.index, frame.time_us)
        _, capture_s = framecode.resolve(code, camera.epoch_s, clip.duration_s, frame.arrived_s)
        assert frame.arrived_s - clip.duration_s < capture_s <= frame.arrived_s
    (counts,) = account(app).values()
    assert counts["delivered"] == 10
    kinds = [message["kind"] for message in app.messages]
    assert kinds[0] == "Started"
    assert kinds[-1] == "Stopped"
    assert app.messages[-1]["lost"] == 0
    assert "p@ss" not in str(app.messages) + "".join(app.application.last_lines)


async def test_a_slow_program_skips_frames_and_every_one_is_accounted_for(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    camera = cameras.add("door", clip, path="/door")
    app = await applications.start(
        PRELUDE
        + """
app = App()
while True:
    app.outputs.video_out.put(app.inputs.video_in.get())
    time.sleep(0.3)
""",
        cameras=(attach(camera),),
    )
    await app.until(lambda m: m["kind"] == "Counts" and m["delivered"] >= 4)
    await app.application.stop()
    (counts,) = account(app).values()
    assert counts["skipped"] > counts["delivered"]
    (session,) = camera.sessions
    assert 0 <= session.frames_sent - counts["packets"] <= 1  # one may be on its way at the end


async def test_cameras_without_a_new_frame_show_their_last_one(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    door, yard = (cameras.add(name, clip, path=f"/{name}") for name in ("door", "yard"))
    app = await applications.start(
        PRELUDE
        + """
app = App()
while len(app.inputs.video_in.get()) < 2:
    pass
say("both")
while True:
    frames = app.inputs.video_in.get()
    states = {f.stream_id: f.is_cached for f in frames}
    if states == {"door_node": False, "yard_node": True}:
        seen = [f for f in frames if f.is_cached]
        seen[0].image[:] = 0  # drawing into it does not spoil the next one
        again = [f for f in app.inputs.video_in.get() if f.stream_id == "yard_node"]
        if again[0].is_cached:
            say(int(again[0].image.max()) > 0)
            break
""",
        cameras=(attach(door), attach(yard)),
    )
    await app.until(lambda m: m["kind"] == "CameraConnected" and m["camera"] == "door")
    await app.until(lambda m: m["kind"] == "CameraConnected" and m["camera"] == "yard")
    yard.stall()
    assert await app.end() == 0
    assert app.said == ["both", True]


async def test_a_lost_camera_is_reported_and_comes_back(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    camera = cameras.add("door", clip, path="/door", own_port=True)
    app = await applications.start(
        PRELUDE + "app = App()\nwhile True: app.outputs.video_out.put(app.inputs.video_in.get())",
        cameras=(attach(camera),),
    )
    await app.until_kind("CameraConnected")
    camera.go_offline()
    lost = await app.until(lambda m: m["kind"] == "CameraLost" and m["connection"] == 0)
    assert lost["line"] == (
        "liveMedia0: Failed to get SDP description: Connection to server failed: "
        "Connection refused (-111)"
    )
    camera.go_online()
    await app.until(lambda m: m["kind"] == "CameraConnected" and m["connection"] == 2)
    await app.application.stop()
    assert app.of("CameraLost")[0]["connection"] == 1
    assert {key[1] for key in account(app)} == {1, 2}


async def test_a_paused_camera_delivers_nothing_until_it_is_resumed(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    door, yard = (cameras.add(name, clip, path=f"/{name}") for name in ("door", "yard"))
    app = await applications.start(
        PRELUDE + "app = App()\nwhile True: app.outputs.video_out.put(app.inputs.video_in.get())",
        cameras=(attach(door), attach(yard)),
    )
    for name in ("door", "yard"):
        await app.until(lambda m, name=name: m["kind"] == "Frame" and m["camera"] == name)  # type: ignore[misc]
    app.application.pause(["door_node"])
    paused = await app.until_kind("CameraPaused")
    assert (paused["camera"], paused["connection"]) == ("door", 1)
    (session,) = door.sessions
    async with asyncio.timeout(5):
        while session.ended_s is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    since = len(app.messages)
    seen = len([m for m in app.of("Frame") if m["camera"] == "yard"])
    await app.until(
        lambda _: len([m for m in app.of("Frame") if m["camera"] == "yard"]) >= seen + 15
    )
    later = [m for m in app.messages[since:] if m["kind"] == "Frame" and m["camera"] == "door"]
    assert [m for m in later if m["got_s"] > paused["at_s"]] == []
    app.application.pause([])
    await app.until(lambda m: m["kind"] == "CameraConnected" and m["connection"] == 2)
    await app.until(lambda m: m["kind"] == "Frame" and m["connection"] == 2)
    await app.application.stop()
    assert app.of("CameraLost") == []
    assert set(account(app)) == {("door", 1), ("door", 2), ("yard", 1)}


async def test_a_camera_is_read_over_udp(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    door = cameras.add("door", clip, path="/door")
    app = await applications.start(
        PRELUDE
        + """
app = App()
for _ in range(20):
    app.outputs.video_out.put(app.inputs.video_in.get())
""",
        cameras=(attach(door, transport="udp"),),
    )
    assert await app.end() == 0
    (connected,) = app.of("CameraConnected")
    assert connected["transport"] == "udp"
    (counts,) = account(app).values()
    (session,) = door.sessions
    assert session.transport == "udp"
    assert counts["delivered"] == 20
    assert 0 <= session.frames_sent - counts["packets"] - counts["lost"] <= 2  # on their way


async def test_credentials_that_were_missing_are_used_once_they_are_there(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    door = cameras.add("door", clip, path="/door", username="root", password="p@ss")
    app = await applications.start(
        PRELUDE + "app = App()\napp.inputs.video_in.get()",
        cameras=(dataclasses.replace(attach(door), username=None),),
    )
    await app.until_kind("CredentialsMissing")
    lost = await app.until_kind("CameraLost")
    assert lost["line"].endswith("401 Unauthorized; with the result code: 401")
    app.application.login(Login("door_node", "root", "p@ss"))
    assert await app.end() == 0
    assert "p@ss" not in str(app.messages) + "".join(app.application.last_lines)


async def test_a_camera_may_be_paused_from_the_start(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    door = cameras.add("door", clip, path="/door")
    app = await applications.start(
        PRELUDE
        + """
app = App()
say("up")
app.inputs.video_in.get()
say("frame")
""",
        cameras=(attach(door),),
        paused=("door_node",),
    )
    await app.until_kind("Started")
    assert list(door.sessions) == []
    app.application.pause([])
    assert await app.end() == 0
    assert app.said == ["up", "frame"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"url": "/nothing"}, "404 Not Found; with the result code: 404"),
        ({"username": "root", "password": "wrong"}, "401 Unauthorized; with the result code: 401"),
    ],
)
async def test_refusals_read_as_the_camera_node_logs_them(
    applications: Applications,
    cameras: CameraServer,
    clip: Clip,
    change: dict[str, str],
    line: str,
) -> None:
    camera = cameras.add("door", clip, path="/door", username="root", password="right")
    change = {k: camera.url.replace("/door", v) if k == "url" else v for k, v in change.items()}
    if "url" in change:
        change |= {"username": "root", "password": "right"}
    app = await applications.start(
        PRELUDE
        + """
app = App()
say(error(app.inputs.video_in.get, timeout=0.5)[0], panoramasdk.TimeoutException is TimeoutError)
""",
        cameras=(attach(camera, **change),),
    )
    lost = await app.until_kind("CameraLost")
    assert lost["line"] == f"liveMedia0: Failed to get SDP description: {line}"
    assert await app.end() == 0
    assert app.said == [["TimeoutError", True]]


async def test_ports_parameters_and_their_errors(applications: Applications) -> None:
    app = await applications.start(
        PRELUDE
        + """
app = App()
say([getattr(app.inputs, name).get() for name in ("text", "count", "limit", "flag")])
say(error(getattr, app.inputs, "video_inn"))
say(error(getattr, app.outputs, "video_in"))
say(error(app.outputs.video_out.put, []))
say(error(app.outputs.video_out.put, ["text"]))
say(error(app.call, {}, "nobody"))
bare = panoramasdk.node()
say(bare.inputs.count.get(), bare.mine if hasattr(bare, "mine") else None)
""",
        parameters={"text": "a", "count": 3, "limit": 0.5, "flag": True},
    )
    assert await app.end() == 0
    said = app.said
    assert said[0] == ["a", 3, 0.5, True]
    assert [type(value) for value in said[0]] == [str, int, float, bool]
    assert said[1] == [
        "AttributeError",
        "node has no port 'video_inn' among its inputs: count, flag, limit, text, video_in",
    ]
    assert said[2][1] == "node has no port 'video_in' among its outputs: video_out"
    assert said[3][0] == "ValueError"
    assert said[4] == ["TypeError", "outputs.video_out.put() takes a list of media, not str"]
    assert said[5][0] == "KeyError"
    assert said[6] == [3, None]
    assert len(app.of("Started")) == 1


async def test_calls_to_the_model(
    applications: Applications, cameras: CameraServer, clip: Clip, model_file: ModelFile
) -> None:
    camera = cameras.add("door", clip, path="/door")
    app = await applications.start(
        PRELUDE
        + """
app = App()
(frame,) = app.inputs.video_in.get()
zeros = np.zeros((1, 3, 360, 640), np.float32)
results = [
    app.call({"image": zeros}, "detector"),
    app.call("detector", {"image": zeros}),
    app.call(zeros, "detector"),
    app.call(frame, "detector"),
    app.call({"image": frame}, "detector", time_out=10),
]
say([type(result).__name__ for result in results], [result[0].shape for result in results])
say(error(app.call, {"picture": zeros}, "detector"))
say(error(app.call, {"image": zeros[:, :, :100]}, "detector"))
answers = []
threads = [threading.Thread(target=lambda: answers.append(app.call(zeros, "detector")))
           for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
say(len(answers))
""",
        cameras=(attach(camera),),
        models=(model_file,),
    )
    assert await app.end() == 0
    said = app.said
    assert said[0] == [["tuple"] * 5, [[1, 2, 180, 320]] * 5]
    assert "inputs ['picture'], the model takes ['image']" in said[1][1]
    assert "shape [1, 3, 100, 640], expected [1, 3, 360, 640]" in said[2][1]
    assert said[3] == 4
    assert len(app.of("Inference")) == 9
    assert all(m["node"] == "detector" and m["duration_ms"] > 0 for m in app.of("Inference"))


async def test_calls_take_as_long_as_they_are_paced(
    applications: Applications, model_file: ModelFile
) -> None:
    app = await applications.start(
        PRELUDE
        + """
node = App()
picture = np.zeros((1, 3, 360, 640), np.float32)
node.call({"image": picture}, "detector")
node.call({"image": picture}, "detector")
say(error(node.call, {"image": picture}, "detector", time_out=0.05)[0])
sys.stdin.read()
while True:
    node.call({"image": picture}, "detector")
""",
        models=(model_file,),
        paces={"detector": (200.0, 300.0)},
    )
    await app.until(lambda m: m["kind"] == "Inference" and m["target_ms"] == 200.0)
    first, second = app.of("Inference")[:2]
    assert (first["target_ms"], second["target_ms"]) == (500.0, 200.0)
    assert first["duration_ms"] >= 500.0 > first["host_ms"]
    assert second["duration_ms"] >= 200.0 > second["host_ms"]
    app.application.pace({"detector": (0.001, 0.0), "unknown": (1.0, 1.0)})
    late = await app.until(lambda m: m["kind"] == "Inference" and m["target_ms"] == 0.001)
    assert late["host_ms"] > late["target_ms"]
    assert app.said == ["TimeoutError"]


async def test_an_application_may_be_restarted_in_its_process(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    camera = cameras.add("door", clip, path="/door")
    app = await applications.start(
        PRELUDE
        + """
def life(result):
    app = App()
    for _ in range(3):
        result.append(len(app.inputs.video_in.get()))
result = []
for _ in range(2):
    thread = threading.Thread(target=life, args=(result,))
    thread.start()
    thread.join()
say(result)
""",
        cameras=(attach(camera),),
    )
    assert await app.end() == 0
    assert app.said == [[1] * 6]
    assert len(app.of("Started")) == len(app.of("CameraConnected")) == 1


async def test_frames_that_are_never_put_are_told_too(
    applications: Applications, cameras: CameraServer, clip: Clip
) -> None:
    camera = cameras.add("door", clip, path="/door")
    app = await applications.start(
        PRELUDE + "app = App()\nfor _ in range(5): app.inputs.video_in.get()\n",
        cameras=(attach(camera),),
    )
    assert await app.end() == 0
    assert [message["put_s"] for message in app.of("Frame")] == [None] * 5


async def test_an_input_without_cameras_waits(applications: Applications) -> None:
    app = await applications.start(
        PRELUDE + "app = App()\nsay(error(app.inputs.video_in.get, timeout=0.05)[0])"
    )
    assert await app.end() == 0
    assert app.said == ["TimeoutError"]


async def test_outside_the_harness_it_says_so(applications: Applications) -> None:
    app = await applications.start(
        "import os\ndel os.environ['HARNESS_APPLICATION_FILES']\n" + PRELUDE + "App()"
    )
    assert await app.end() == 1
    assert "this process was not started by the harness" in app.application.error_line


async def test_an_orphan_ends_itself(applications: Applications, cameras: CameraServer) -> None:
    """A copy that left the process group still notices that the harness's end is closed."""
    app = await applications.start(
        """
import os, time
import panoramasdk
_, telemetry, control, _ = map(int, os.environ["HARNESS_APPLICATION_FILES"].split(":"))
read, write = os.pipe()
os.dup2(read, control)  # its writing end is ours: closing it is what the harness's death does
panoramasdk.node()
os.close(read)
os.close(write)
time.sleep(60)
"""
    )
    assert await app.end() == -9
