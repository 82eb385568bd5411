"""What the application runtime costs, measured with real cameras, processes and inference.

`path`: an application in front of one 720p camera does nothing but `get`, `call` and `put`, and
stamps each step itself, as the SDK's parts hand frames on. `get_ms` is from the decoded frame to
`get()` having returned it, `decode_ms` from the last byte to the decoded frame, `call_ms` is
`call()` less what ONNX Runtime takes inside. `bare_wake_ms` is what it takes to wake a bare thread
in the same process at the same time: where that alone is over the target, the machine is too busy
to tell, and the verdict is unknown. `eight`: the sample application in front of eight 720p15
cameras, and whether every frame of every camera is accounted for. `start`: a deployment of it,
from the request to the first frame, by parts.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.camera.picture.clip import ClipSpec, load_clip
from harness.camera.serve.server import CameraServer
from harness.engine.process.engine import ProcessEngine
from harness.errors import InputError, PeerError
from harness.record import kind
from harness.record.head import Head
from harness.record.history import History, HistoryWriter
from harness.runtime.package import read_json
from harness.runtime.process import Application
from harness.runtime.sandbox import bubblewrap
from harness.runtime.spec import ApplicationSpec, CameraInput, ModelFile
from harness.scenario import compile_plan, from_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.scenario.plan import Plan

SAMPLE = Path("fixtures/apps/people-counter")
SPEC = ClipSpec(
    width_px=1280,
    height_px=720,
    rate_fps=30.0,
    duration_s=8.0,
    gop_frames=60,
    bitrate_kbps=2000,
    objects=3,
    seed=1,
)
CAMERAS = 8
OBSERVE = "10s"
RUN_TIMEOUT_S = 120.0
TARGET_MS = 2.0  # of the SDK's own part, at the 99th percentile
# Stamps by wrapping the SDK's own parts: the way of a frame is what it is without the bench.
PROGRAM = """
import json, threading, time
import numpy as np
import panoramasdk
from harness.runtime.feed import Feed
from harness.runtime.inference import Model

decoded, inside = {}, []
publish, take = Feed.publish, Feed.take

def published(self, slot, arrival):
    decoded[id(arrival)] = time.monotonic()
    publish(self, slot, arrival)

Feed.publish = published
told = {"decode_ms": [], "get_ms": [], "bare_wake_ms": [], "call_ms": [], "put_ms": []}
bell, rung = threading.Condition(), []

def ring():
    while True:
        time.sleep(1 / 30)
        with bell:
            rung.append(time.monotonic())
            bell.notify_all()

def listen():
    while True:
        with bell:
            bell.wait_for(lambda: rung)
            at = rung.pop()
        told["bare_wake_ms"].append((time.monotonic() - at) * 1e3)

node = panoramasdk.node()
model = node._world.models["detector"]
planes = np.zeros((1, 3, 360, 640), np.float32)
node.call({"image": planes}, "detector")
session = model._session
run = session.run

def timed(feeds, timeout_s=None):
    began = time.perf_counter()
    outputs = run(feeds, timeout_s)
    inside.append(time.perf_counter() - began)
    return outputs

session.run = timed
for work in (ring, listen):
    threading.Thread(target=work, daemon=True).start()
while len(told["get_ms"]) < FRAMES:
    (frame,) = node.inputs.video_in.get()
    got = time.monotonic()
    arrival = frame._sighting.arrival
    at = decoded.pop(id(arrival), None)
    decoded.clear()
    if at is None:
        continue
    told["decode_ms"].append((at - arrival.arrived_s) * 1e3)
    told["get_ms"].append((got - at) * 1e3)
    began = time.perf_counter()
    node.call({"image": planes}, "detector")
    told["call_ms"].append((time.perf_counter() - began - inside[-1]) * 1e3)
    began = time.perf_counter()
    node.outputs.video_out.put([frame])
    told["put_ms"].append((time.perf_counter() - began) * 1e3)
open("/opt/aws/panorama/storage/told", "w").write(json.dumps(told))
"""


def run(frames: int = 600) -> dict[str, Any]:
    """Measure all three. The verdict is that of the SDK's own part, and of the accounts."""
    if not SAMPLE.is_dir():
        raise InputError(f"no application at {SAMPLE}", hint="run it in a checkout of the harness")
    path = asyncio.run(_path(frames))
    eight = _eight()
    good = path["get_ms"]["p99"] < TARGET_MS and path["call_ms"]["p99"] < TARGET_MS
    busy = path["bare_wake_ms"]["p99"] >= TARGET_MS
    return {
        "path": path,
        **eight,
        "isolated": bubblewrap()[0] is not None,
        "verdict": _verdict(good=good, busy=busy, agree=eight["eight"]["accounts_agree"]),
    }


def _verdict(*, good: bool, busy: bool, agree: bool) -> str:
    if not agree:
        return "fail"
    if good:
        return "pass"
    return "unknown" if busy else "fail"


async def _path(frames: int) -> dict[str, Any]:
    clip = await asyncio.to_thread(load_clip, SPEC)
    with tempfile.TemporaryDirectory(prefix="hil-bench-") as directory:
        home = Path(directory)
        program = home / "root/panorama/application.py"
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM.replace("FRAMES", str(frames)), encoding="utf-8")
        async with CameraServer() as server:
            camera = server.add("door", clip, path="/door")
            application = Application()
            source = CameraInput("door", "video_in", "door", camera.url, "", "")
            await application.start(_spec(home, source), lambda _message: None)
            try:
                async with asyncio.timeout(RUN_TIMEOUT_S):
                    code = await application.wait()
            finally:
                application.kill()
                await application.wait()
        if code:
            raise PeerError(f"the bench's application ended with {code}: {application.error_line}")
        told = json.loads((home / "storage/told").read_text(encoding="utf-8"))
    return {name: _summary(values) for name, values in told.items()}


def _spec(home: Path, camera: CameraInput) -> ApplicationSpec:
    package = next((SAMPLE / "packages").glob("*model*"))
    model = ModelFile(
        "detector",
        (package / "model.onnx").resolve(),
        read_json(package / "descriptor.json"),
    )
    return ApplicationSpec(
        instance="bench",
        root=home / "root",
        entry=("python3", "/panorama/application.py"),
        cameras=(camera,),
        parameters={},
        models=(model,),
        outputs=("video_out",),
        storage=home / "storage",
        logs=home / "logs",
        region="us-east-1",
        displays=("video_out",),
    )


def _summary(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)

    def quantile(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    return {"p50": quantile(0.5), "p99": quantile(0.99), "max": round(ordered[-1], 3)}


def _eight() -> dict[str, Any]:
    """One run of the engine tells of eight cameras and of a start."""
    history = _ran(_plan())
    accounts = [event.values for _, event in history.of(kind.FRAME_ACCOUNT)]
    parts = ("delivered", "lost_network", "dropped_decoder", "skipped_application", "in_flight")
    totals = {part: sum(one[part] for one in accounts) for part in ("sent", *parts)}
    agree = len(accounts) == CAMERAS and all(
        one["sent"] == sum(one[part] for part in parts) and min(one[part] for part in parts) >= 0
        for one in accounts
    )
    windows = [event.values for _, event in history.of(kind.FRAMES)]
    seconds = sum(w["to_s"] - w["from_s"] for w in windows) / CAMERAS
    rate = sum(w["delivered"] for w in windows) / seconds / CAMERAS if seconds else 0.0
    eight = {**totals, "accounts_agree": agree, "delivered_fps_a_camera": round(rate, 2)}
    return {"eight": eight, "start_s": _start(history)}


def _start(history: History) -> dict[str, float]:
    """Seconds from the request, and of each part of the way to the first frame."""

    def first(what: str, **values: str) -> float:
        return next(
            event.t_s for _, event in history.of(what) if values.items() <= event.values.items()
        )

    asked = first(kind.STEP_STARTED, action="deploy")
    marks = [
        ("upload_and_register", first(kind.CLOUD_INSTANCE, status="DEPLOYMENT_PENDING")),
        ("tell_the_appliance", first(kind.CLOUD_INSTANCE, status="DEPLOYMENT_IN_PROGRESS")),
        ("download_and_verify", first(kind.INSTALLED)),
        ("sandbox_process_and_sdk", first(kind.NODE_STARTED)),
        ("first_frame", first(kind.APP_FIRST_FRAME)),
    ]
    found, before = {}, asked
    for name, at in sorted(marks, key=lambda mark: mark[1]):
        found[name], before = round(at - before, 3), at
    return {**found, "total": round(before - asked, 3)}


def _plan() -> Plan:
    cameras = [f"c{number}" for number in range(1, CAMERAS + 1)]
    data = {
        "schema": 1,
        "name": "bench-runtime",
        "seed": 1,
        "time_scale": 30,
        "site": {
            "appliances": {"north": {"profile": "panorama-appliance", "firmware": "6.2.1"}},
            "cameras": {name: {"profile": "generic-720p15", "objects": 3} for name in cameras},
        },
        "applications": {"sample": str(SAMPLE.resolve())},
        "bring_up": [
            {"provision": "north"},
            {
                "deploy": {
                    "application": "sample",
                    "as": "counter",
                    "on": "north",
                    "inputs": {"camera_in": cameras},
                }
            },
        ],
        "workload": [{"observe": OBSERVE}],
        "checks": ["steps"],
        "stop_after": "10m",
        "converge_within": "30s",
    }
    return compile_plan(from_mapping(data, folder=Path.cwd()), engine="process")


def _ran(plan: Plan) -> History:
    engine = ProcessEngine()
    now = datetime.now(UTC)
    head = Head(plan.scenario, plan.seed, "process", engine.grade, plan.digest, now, versions={})
    with tempfile.TemporaryDirectory(prefix="hil-bench-") as directory:
        path = Path(directory) / "history.jsonl"
        with HistoryWriter(path, head) as history:
            engine.run(plan, history, stop=threading.Event())
        return History.load(path)
