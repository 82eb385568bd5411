"""Applications and their cameras in virtual time: frames are counted in closed form.

A camera makes frame k at `epoch + k / rate`. Between two changes (a camera lost, an application
stopped, the end of a window) the numbers of frames sent, handed over and skipped follow from
times and rates alone; only latencies are drawn, one per delivered frame, around the profile's
costs. What this rung cannot know, whether a box was found, it does not say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.appliance.effect import NodeEnded
from harness.record import camera_log, kind
from harness.record.histogram import Histogram

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    import simpy

    from harness.appliance.effect import StartNode
    from harness.engine.model.machine import Machine
    from harness.scenario.plan import CameraPlan

WINDOW_S = 10.0
CONNECT_S = 0.25  # RTSP handshake and the wait for a key frame
RETRY_S = 1.0  # how often a camera node tries again
STALL_S = 5.0  # silence after which a camera node gives a session up
JITTER = 0.15  # relative spread of a frame's cost


@dataclass(slots=True)
class VirtualCamera:
    """A camera: on or off the network, sending or stalled."""

    plan: CameraPlan
    epoch_s: float
    online: bool = True
    stalled: bool = False

    def frames(self, from_s: float, to_s: float) -> int:
        """Frames made in (from_s, to_s]."""
        rate = self.plan.rate_fps
        return math.floor((to_s - self.epoch_s) * rate) - math.floor((from_s - self.epoch_s) * rate)


@dataclass(slots=True)
class Stream:
    """One camera as one application reads it."""

    camera: VirtualCamera
    since_s: float | None = None  # counted up to here while connected
    paused: bool = False
    first: bool = True
    stall_number: int = 0
    sent: int = 0
    delivered: int = 0
    skipped: int = 0
    window_delivered: int = 0
    latency: Histogram = field(default_factory=Histogram)
    inference: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class Node:
    """A running application."""

    instance: str
    machine: Machine
    mailbox: str
    streams: dict[str, Stream]
    started_s: float
    window_s: float
    alive: bool = True


class Nodes:
    """All applications of a site, and the cameras they read."""

    def __init__(
        self,
        env: simpy.Environment,
        cameras: tuple[CameraPlan, ...],
        note: Callable[[str, str, Mapping[str, Any]], None],
        draw: random.Random,
        name: Callable[[str], str],
    ) -> None:
        """`name` gives the scenario's name of an application instance id."""
        self.env = env
        self.note = note
        self.draw = draw
        self.name = name
        self.cameras = {plan.name: VirtualCamera(plan, env.now) for plan in cameras}
        self.nodes: dict[str, Node] = {}

    # --- applications ------------------------------------------------------------------------

    def start(self, machine: Machine, request: StartNode, after_s: float) -> None:
        """Frames flow `after_s` from now: that long a model takes to load."""
        cameras = [self.cameras[name] for name in request.document.get("cameras", {})]
        node = Node(
            instance=request.instance,
            machine=machine,
            mailbox=request.mailbox,
            streams={
                camera.plan.name: Stream(camera, paused=camera.plan.name in request.paused)
                for camera in cameras
            },
            started_s=self.env.now,
            window_s=self.env.now + after_s,
        )
        self.nodes[request.instance] = node
        self._after(after_s, lambda: self._started(node))

    def _started(self, node: Node) -> None:
        if not node.alive:
            return
        for stream in node.streams.values():
            if stream.camera.plan.readable:
                self._try_camera(node, stream)
            else:
                self._tell_lost(node, stream, camera_log.NOT_H264)
        self._after(WINDOW_S, lambda: self._window(node))

    def stop(self, instance: str, _reason: str) -> None:
        node = self.nodes.pop(instance, None)
        if node is not None:
            self._close(node)

    def stop_all(self, appliance: str, reason: str) -> None:
        for instance in [i for i, n in self.nodes.items() if n.machine.name == appliance]:
            self.stop(instance, reason)

    def kill(self, instance: str) -> None:
        """The process gets SIGKILL; its appliance is told."""
        node = self.nodes.pop(instance, None)
        if node is not None:
            self._close(node)
            node.machine.deliver(node.mailbox, NodeEnded(instance, -9, "killed by SIGKILL"))

    def account_all(self) -> None:
        for instance in list(self.nodes):
            self.stop(instance, "end of the run")

    def _close(self, node: Node) -> None:
        node.alive = False
        self._report_window(node)
        for camera, stream in node.streams.items():
            self.note(
                self._source(node),
                kind.FRAME_ACCOUNT,
                {
                    "camera": camera,
                    "instance": self.name(node.instance),
                    "sent": stream.sent,
                    "delivered": stream.delivered,
                    "lost_network": 0,
                    "dropped_decoder": 0,
                    "skipped_application": stream.skipped,
                    "in_flight": stream.sent - stream.delivered - stream.skipped,
                },
            )

    # --- cameras -----------------------------------------------------------------------------

    def camera_offline(self, name: str) -> None:
        self.cameras[name].online = False
        self._each_stream(
            name, lambda node, stream: self._lost(node, stream, camera_log.BROKEN_PIPE)
        )

    def camera_online(self, name: str) -> None:
        self.cameras[name].online = True

    def camera_stall(self, name: str) -> None:
        """Readers notice after a time-out, if the camera has not resumed by then."""
        camera = self.cameras[name]
        camera.stalled = True

        def stall(node: Node, stream: Stream) -> None:
            self._count(node, stream)
            stream.stall_number += 1
            number = stream.stall_number
            self._after(STALL_S, lambda: self._stalled(node, stream, number))

        self._each_stream(name, stall)

    def camera_resume(self, name: str) -> None:
        camera = self.cameras[name]
        camera.stalled = False

        def resume(_node: Node, stream: Stream) -> None:
            stream.stall_number += 1
            if stream.since_s is not None:
                stream.since_s = self.env.now

        self._each_stream(name, resume)

    def _each_stream(self, name: str, act: Callable[[Node, Stream], None]) -> None:
        for node in list(self.nodes.values()):
            if name in node.streams:
                act(node, node.streams[name])

    def pause(self, instance: str, cameras: tuple[str, ...]) -> None:
        """The application lets go of these cameras, and takes all its others up again."""
        node = self.nodes.get(instance)
        if node is None:
            return
        for name, stream in node.streams.items():
            was, stream.paused = stream.paused, name in cameras
            if stream.paused and not was:
                self._count(node, stream)
                stream.since_s = None
            elif was and not stream.paused:
                self._try_camera(node, stream)

    def _stalled(self, node: Node, stream: Stream, number: int) -> None:
        if stream.stall_number == number and stream.camera.stalled:
            self._lost(node, stream, camera_log.STALLED)

    def _try_camera(self, node: Node, stream: Stream) -> None:
        if not node.alive or stream.since_s is not None or stream.paused:
            return
        if stream.camera.online and not stream.camera.stalled:
            self._after(CONNECT_S, lambda: self._connected(node, stream))
        else:
            self._after(RETRY_S, lambda: self._try_camera(node, stream))

    def _connected(self, node: Node, stream: Stream) -> None:
        if not node.alive or stream.since_s is not None or stream.paused:
            return
        if not stream.camera.online or stream.camera.stalled:
            self._try_camera(node, stream)
            return
        stream.since_s = self.env.now
        camera = stream.camera.plan.name
        values = {
            "camera": camera,
            "instance": self.name(node.instance),
            "transport": stream.camera.plan.granted,
        }
        self.note(self._source(node), kind.CAMERA_CONNECTED, values)
        if stream.first:
            stream.first = False
            duration_s = round(self.env.now - node.started_s, 6)
            first = {"camera": camera, "duration_s": duration_s}
            self.note(self._source(node), kind.APP_FIRST_FRAME, first)

    def _lost(self, node: Node, stream: Stream, line: str) -> None:
        if stream.since_s is None or not node.alive:
            return
        self._count(node, stream)
        stream.since_s = None
        self._tell_lost(node, stream, line)
        self._after(RETRY_S, lambda: self._try_camera(node, stream))

    def _tell_lost(self, node: Node, stream: Stream, line: str) -> None:
        values = {
            "camera": stream.camera.plan.name,
            "instance": self.name(node.instance),
            "line": line,
        }
        self.note(self._source(node), kind.CAMERA_LOST, values)

    # --- frames ------------------------------------------------------------------------------

    def _window(self, node: Node) -> None:
        if node.alive:
            self._report_window(node)
            self._after(WINDOW_S, lambda: self._window(node))

    def _report_window(self, node: Node) -> None:
        now_s = self.env.now
        if now_s <= node.window_s:
            return
        for camera, stream in node.streams.items():
            self._count(node, stream)
            values = {
                "camera": camera,
                "instance": self.name(node.instance),
                "from_s": round(node.window_s, 6),
                "to_s": round(now_s, 6),
                "delivered": stream.window_delivered,
                "lost": 0,
                "detected": 0,
                "missed": 0,
                "false": 0,
                "latency_ms": stream.latency.to_json(),
                "inference_ms": stream.inference.to_json(),
            }
            self.note(self._source(node), kind.FRAMES, values)
            stream.window_delivered = 0
            stream.latency = Histogram()
            stream.inference = Histogram()
        node.window_s = now_s

    def _count(self, node: Node, stream: Stream) -> None:
        """Bring the counts of a connected stream up to now."""
        now_s = self.env.now
        if stream.since_s is None or now_s <= stream.since_s or stream.camera.stalled:
            return
        made = stream.camera.frames(stream.since_s, now_s)
        sustained = (now_s - stream.since_s) * self._capacity_fps(node)
        delivered = min(made, math.ceil(sustained))
        stream.since_s = now_s
        stream.sent += made
        stream.delivered += delivered
        stream.skipped += made - delivered
        stream.window_delivered += delivered
        profile = node.machine.profile
        gauss = self.draw.gauss
        for _ in range(delivered):
            spread = max(0.3, gauss(1.0, JITTER))
            inference_ms = profile.inference_ms * max(0.3, gauss(1.0, JITTER))
            stream.inference.record(inference_ms)
            stream.latency.record((profile.decode_ms + profile.host_ms) * spread + inference_ms)

    def _capacity_fps(self, node: Node) -> float:
        """Frames per second and camera that one application loop sustains on the profile."""
        profile = node.machine.profile
        per_frame_ms = profile.host_ms + profile.inference_ms
        return 1000.0 / (per_frame_ms * max(1, len(node.streams)))

    def _source(self, node: Node) -> str:
        return f"app/{self.name(node.instance)}"

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        self.env.timeout(delay_s).callbacks.append(lambda _event: act())
