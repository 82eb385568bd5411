"""Applications and their cameras in virtual time: frames are counted in closed form.

A camera makes frame k at `epoch + k / rate`. Between two changes (a camera lost, an application
stopped, the end of a window) the numbers of frames sent, handed over and skipped follow from
times and rates alone; only latencies are drawn, one per delivered frame, around the profile's
costs. What this rung cannot know, whether a box was found, it does not say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.appliance.demand import Demand
from harness.appliance.effect import NodeEnded
from harness.engine.board import LOOK_S
from harness.engine.model.camera import VirtualCamera, takes_s
from harness.engine.model.epoch import Epoch
from harness.fault import camera as faults
from harness.jetson.load import Pace
from harness.record import camera_log, kind, trouble
from harness.record.histogram import Histogram

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    import simpy

    from harness.appliance.effect import Hosting, StartNode
    from harness.engine.model.machine import Machine
    from harness.fault.camera import CameraFault
    from harness.jetson.load import Settled
    from harness.scenario.plan import CameraPlan, WorkPlan

WINDOW_S = 10.0
CONNECT_S = 0.25  # RTSP handshake and the wait for a key frame
RETRY_S = 1.0  # how often a camera node tries again
STALL_S = 5.0  # silence after which a camera node gives a session up
JITTER = 0.15  # relative spread of a frame's cost
CLEAR_S = 1.5  # frames without loss after which a camera node calls a stream clear
ROUNDING = 1e-9  # of sums of rates over time
UNRESOLVED = "socket.gaierror: [Errno -3] Temporary failure in name resolution"
IDLE = Pace(loop_fps=0.0, frame_s=0.0, inference_s=0.0, decoded=1.0)


@dataclass(slots=True)
class Stream:
    """One camera as one application reads it."""

    camera: VirtualCamera
    since_s: float | None = None  # counted up to here while connected
    paused: bool = False
    first: bool = True
    missed: bool = False  # its loss has been told
    line: str = ""  # what its node logged last, since it was connected
    unfetched: bool = False  # the lack of credentials has been told
    silences: int = 0
    down_s: float | None = None  # since when it is not connected
    sessions: int = 0
    troubled_s: float | None = None  # since frames were first seen to be missing
    sent: int = 0
    delivered: int = 0
    skipped: int = 0
    lost: int = 0
    dropped: int = 0
    credit: float = 1.0  # frames that the loop has had time for; the first one is taken at once
    undecoded: float = 0.0  # frames that the video engine did not get done
    window_delivered: int = 0
    window_lost: int = 0
    latency: Histogram = field(default_factory=Histogram)
    inference: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class Node:
    """A running application. `blocked_s` is until when its first inference keeps it."""

    instance: str
    machine: Machine
    mailbox: str
    streams: dict[str, Stream]
    started_s: float
    window_s: float
    work: WorkPlan
    epoch: Epoch
    hosting: Hosting
    ports: tuple[int, ...] = ()
    pace: Pace = IDLE
    frames: int = 0
    blocked_s: float = 0.0
    milestone: int = 0  # number of the timer that is waited for
    alive: bool = True

    @property
    def live(self) -> list[Stream]:
        return [one for one in self.streams.values() if one.since_s is not None]

    def console_bytes(self, now_s: float) -> int:
        """How large its console log is, oldest lines dropped where the firmware says so."""
        written = int(self.work.console_bytes_per_s * max(0.0, now_s - self.started_s))
        most = self.hosting.console_bytes_max
        return written if most is None else min(written, most)

    @property
    def cost(self) -> WorkPlan:
        """What a frame costs now: more as long as the application is cold."""
        if self.frames < self.work.cold_frames:
            return replace(self.work, host_s=self.work.cold_host_s)
        return self.work


class Nodes:
    """All applications of a site, and the cameras they read."""

    def __init__(
        self,
        env: simpy.Environment,
        cameras: tuple[CameraPlan, ...],
        note: Callable[[str, str, Mapping[str, Any]], None],
        draw: random.Random,
        name: Callable[[str], str],
        works: Mapping[str, WorkPlan],
    ) -> None:
        """`name` gives the scenario's name of an application instance id, `works` their costs."""
        self.env = env
        self.note = note
        self.draw = draw
        self.name = name
        self.cameras = {plan.name: VirtualCamera(plan, env.now) for plan in cameras}
        self.nodes: dict[str, Node] = {}
        self.works = works
        self.settled: dict[object, Settled] = {}
        self._watched: set[str] = set()  # appliances whose heat is looked at

    # --- applications ------------------------------------------------------------------------

    def start(self, machine: Machine, request: StartNode, after_s: float) -> None:
        """Frames flow `after_s` from now: that long a model takes to load."""
        cameras = [self.cameras[name] for name in request.document.get("cameras", {})]
        work = self.works.get(self.name(request.instance)) or machine.hardware.usual()
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
            work=work,
            epoch=Epoch(work.epoch_frames),
            hosting=request.hosting,
            ports=Demand.read(request.document).ports,
        )
        self.nodes[request.instance] = node
        self._after(after_s, lambda: self._started(node))

    def _started(self, node: Node) -> None:
        if not node.alive:
            return
        if self._out_of_memory(node):
            return
        self._watch(node.machine)
        self._show(node)
        for port in node.ports if node.hosting.opens_ports else ():
            opened = {"instance": self.name(node.instance), "port": port}
            self.note(node.machine.source, kind.PORT_OPENED, opened)
        if not node.hosting.resolves and node.machine.wiring.own_name_servers:
            self.note(self._source(node), kind.APP_ERROR, {"line": UNRESOLVED, "code": 0})
        for stream in node.streams.values():
            self._try_camera(node, stream)
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
        self._crash(instance, -9, "killed by SIGKILL")

    def usage(self, appliance: str) -> tuple[int, int]:
        """Bytes of memory that applications hold there, and of the largest console log."""
        mine = [one for one in self.nodes.values() if one.machine.name == appliance]
        return sum(one.work.resident_bytes for one in mine), max(
            (one.console_bytes(self.env.now) for one in mine), default=0
        )

    def _crash(self, instance: str, code: int, reason: str) -> None:
        node = self.nodes.pop(instance, None)
        if node is not None:
            self._close(node)
            node.machine.deliver(node.mailbox, NodeEnded(instance, code, reason))

    def _out_of_memory(self, node: Node) -> bool:
        """The kernel ends the largest application when there is no more memory for all."""
        machine = node.machine
        if machine.free_bytes(self.usage(machine.name)[0]) >= 0:
            return False
        mine = [one for one in self.nodes.values() if one.machine is machine]
        largest = max(mine, key=lambda one: one.work.resident_bytes)
        name, size = self.name(largest.instance), largest.work.resident_bytes >> 10
        line = f"Out of memory: Killed process ({name}) anon-rss:{size}kB"
        self.note(machine.source, kind.LOG_LINE, {"stream": "kern_log", "line": line})
        self._crash(largest.instance, -9, "out of memory")
        return largest is node

    def _show(self, node: Node) -> None:
        """The application that started last has the display, with a tile for every stream."""
        streams = len(node.streams)
        shown = {
            "owner": self.name(node.instance),
            "streams": streams,
            "tiles": streams if node.hosting.tiles else min(streams, 1),
        }
        self.note(node.machine.source, kind.DISPLAY, shown)

    def account_all(self) -> None:
        for instance in list(self.nodes):
            self.stop(instance, "end of the run")

    def _close(self, node: Node) -> None:
        self._report_window(node)
        node.alive = False
        self._settle(node.machine)
        for camera, stream in node.streams.items():
            self.note(
                self._source(node),
                kind.FRAME_ACCOUNT,
                {
                    "camera": camera,
                    "instance": self.name(node.instance),
                    "sent": stream.sent,
                    "delivered": stream.delivered,
                    "lost_network": stream.lost,
                    "dropped_decoder": stream.dropped,
                    "skipped_application": stream.skipped,
                    "in_flight": 0,
                },
            )

    # --- cameras -----------------------------------------------------------------------------

    def inject(self, name: str, fault: CameraFault) -> None:
        """What readers that are connected notice at once, and later."""
        camera = self.cameras[name]
        self._each_stream(name, self._count)
        if not fault.momentary:
            camera.acting[type(fault)] = fault
        match fault:
            case faults.Offline():
                self._each_stream(name, lambda n, s: self._lost(n, s, camera_log.CLOSED))
            case faults.Teardown():
                self._each_stream(name, lambda n, s: self._lost(n, s, camera_log.GOODBYE))
            case faults.Stall() | faults.HalfOpen():
                self._each_stream(name, self._fall_silent)
            case faults.Loss():
                self._each_stream(name, self._watch_loss)

    def heal(self, name: str, kind: type[CameraFault]) -> None:
        self._each_stream(name, self._count)
        camera = self.cameras[name]
        camera.acting.pop(kind, None)
        if kind in (faults.Stall, faults.HalfOpen) and not camera.silent:
            self._each_stream(name, self._speak)
        if kind is faults.HalfOpen:  # it knows nothing of connections that it was silent on
            self._each_stream(name, lambda n, s: self._lost(n, s, camera_log.CLOSED))
        if kind is faults.Loss:
            self._each_stream(name, lambda n, s: self._after(CLEAR_S, lambda: self._clear(n, s)))

    def withhold(self, name: str, *, withheld: bool) -> None:
        """Whether appliances cannot fetch the credentials of the camera."""
        self.cameras[name].withheld = withheld

        def forget(_node: Node, stream: Stream) -> None:
            stream.unfetched = False

        self._each_stream(name, forget)

    def rewired(self, machine: Machine, *, lost: bool) -> None:
        """The way of an appliance to its cameras is another, is gone, or is there again."""
        for node in [node for node in self.nodes.values() if node.machine is machine]:
            for stream in node.streams.values():
                if lost:
                    self._lost(node, stream, camera_log.CLOSED)
                elif stream.camera.silent:
                    continue
                elif machine.wiring.cameras:
                    self._speak(node, stream)
                else:
                    self._count_on(node, stream)
                    self._fall_silent(node, stream)

    def _silent(self, node: Node, stream: Stream) -> bool:
        return stream.camera.silent or not node.machine.wiring.cameras

    def _barrier(self, node: Node, stream: Stream) -> str:
        if not node.machine.wiring.cameras:
            return camera_log.TIMED_OUT
        return stream.camera.barrier

    def _fall_silent(self, node: Node, stream: Stream) -> None:
        """Readers notice after a time-out, if the camera has not resumed by then."""
        stream.silences += 1
        number = stream.silences
        self._after(STALL_S, lambda: self._gave_up(node, stream, number))

    def _gave_up(self, node: Node, stream: Stream, number: int) -> None:
        if stream.silences == number and self._silent(node, stream):
            self._lost(node, stream, camera_log.STALLED)

    def _speak(self, _node: Node, stream: Stream) -> None:
        stream.silences += 1
        if stream.since_s is not None:
            stream.since_s = self.env.now

    def _watch_loss(self, node: Node, stream: Stream) -> None:
        """When the first frame is missing that a reader gets to know of."""
        share = stream.camera.loss
        if share <= 0.0 or stream.since_s is None or stream.troubled_s is not None:
            return
        frames = 1 + math.floor(math.log1p(-self.draw.random()) / math.log1p(-min(share, 1 - 1e-9)))
        self._after(frames / stream.camera.plan.rate_fps, lambda: self._miss(node, stream))

    def _miss(self, node: Node, stream: Stream) -> None:
        connected = node.alive and stream.since_s is not None
        if connected and stream.troubled_s is None and stream.camera.loss > 0.0:
            stream.troubled_s = self.env.now
            values = {**self._about(node, stream), "trouble": trouble.FRAMES_LOST, "count": 1}
            self.note(self._source(node), kind.CAMERA_TROUBLE, values)

    def _clear(self, node: Node, stream: Stream) -> None:
        if not node.alive or stream.troubled_s is None or stream.camera.loss > 0.0:
            return
        if stream.since_s is None:  # no frames come that it could be clear of them
            self._after(CLEAR_S, lambda: self._clear(node, stream))
            return
        lasted_s = round(self.env.now - CLEAR_S - stream.troubled_s, 6)
        stream.troubled_s = None
        values = {
            **self._about(node, stream),
            "trouble": trouble.FRAMES_LOST,
            "count": max(1, stream.lost),
            "lasted_s": max(0.0, lasted_s),
        }
        self.note(self._source(node), kind.CAMERA_CLEAR, values)

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
                self._settle(node.machine)
            elif was and not stream.paused:
                self._try_camera(node, stream)

    def _try_camera(self, node: Node, stream: Stream) -> None:
        if not node.alive or stream.since_s is not None or stream.paused:
            return
        camera = stream.camera
        if stream.down_s is None:
            stream.down_s = self.env.now
        if camera.withheld and not stream.unfetched:
            stream.unfetched = True
            values = {"stream": "occ_log", "line": camera_log.CREDENTIALS}
            source = f"appliance/{node.machine.name}"
            self.note(source, kind.LOG_LINE, {**values, **self._about(node, stream)})
        barrier = self._barrier(node, stream)
        if not barrier:
            self._after(CONNECT_S, lambda: self._connected(node, stream))
        else:
            self._after(takes_s(barrier), lambda: self._failed(node, stream))

    def _failed(self, node: Node, stream: Stream) -> None:
        """A try that met what it met before it began, unless that is over by now."""
        if not node.alive or stream.since_s is not None or stream.paused:
            return
        barrier = self._barrier(node, stream)
        if barrier:
            self._tell_lost(node, stream, barrier)
            if camera_log.meaning(barrier) not in (*node.hosting.survives, ""):
                self._crash(node.instance, 139, f"media gateway: {barrier}")
                return
        if stream.camera.plan.readable and self._goes_on(node, stream):  # else nothing changes
            self._after(RETRY_S, lambda: self._try_camera(node, stream))

    def _goes_on(self, node: Node, stream: Stream) -> bool:
        """Whether the camera node tries again to connect."""
        limit_s, since_s = node.hosting.retry_for_s, stream.down_s
        return limit_s is None or since_s is None or self.env.now - since_s < limit_s

    def _connected(self, node: Node, stream: Stream) -> None:
        if not node.alive or stream.since_s is not None or stream.paused:
            return
        if self._barrier(node, stream):
            self._try_camera(node, stream)
            return
        stream.since_s = self.env.now
        stream.missed, stream.line, stream.down_s = False, "", None
        stream.sessions += 1
        if node.hosting.session_s is not None:
            number = stream.sessions
            self._after(node.hosting.session_s, lambda: self._broke(node, stream, number))
        if not node.frames and not node.blocked_s:
            node.blocked_s = self.env.now + node.work.first_inference_s
            node.epoch.since_s = self.env.now
        self._settle(node.machine)
        values = {**self._about(node, stream), "transport": stream.camera.plan.granted}
        self.note(self._source(node), kind.CAMERA_CONNECTED, values)
        if stream.first:
            stream.first = False
            duration_s = round(self.env.now - node.started_s, 6)
            first = {"camera": stream.camera.plan.name, "duration_s": duration_s}
            self.note(self._source(node), kind.APP_FIRST_FRAME, first)
        self._watch_loss(node, stream)

    def _broke(self, node: Node, stream: Stream, number: int) -> None:
        if stream.sessions == number:
            self._lost(node, stream, camera_log.STALLED)

    def _lost(self, node: Node, stream: Stream, line: str) -> None:
        if stream.since_s is None or not node.alive:
            return
        self._count(node, stream)
        stream.since_s = None
        self._settle(node.machine)
        self._tell_lost(node, stream, line)
        stream.down_s = self.env.now
        if self._goes_on(node, stream):
            self._after(RETRY_S, lambda: self._try_camera(node, stream))

    def _tell_lost(self, node: Node, stream: Stream, line: str) -> None:
        """Further tries that fail are told only where the node's log says something new."""
        values = {**self._about(node, stream), "line": line}
        if line != stream.line:
            log = {"stream": stream.camera.plan.name, **values}
            self.note(self._source(node), kind.LOG_LINE, log)
        if not stream.missed:
            self.note(self._source(node), kind.CAMERA_LOST, values)
        stream.missed, stream.line = True, line

    def _about(self, node: Node, stream: Stream) -> dict[str, Any]:
        return {"camera": stream.camera.plan.name, "instance": self.name(node.instance)}

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
                "lost": stream.window_lost,
                "troubles": [] if stream.troubled_s is None else [trouble.FRAMES_LOST],
                "detected": 0,
                "missed": 0,
                "false": 0,
                "latency_ms": stream.latency.to_json(),
                "inference_ms": stream.inference.to_json(),
            }
            self.note(self._source(node), kind.FRAMES, values)
            stream.window_delivered = stream.window_lost = 0
            stream.latency = Histogram()
            stream.inference = Histogram()
        node.window_s = now_s

    def _count(self, node: Node, stream: Stream) -> None:
        """Bring the counts of a connected stream up to now."""
        if not self._silent(node, stream):
            self._count_on(node, stream)

    def _count_on(self, node: Node, stream: Stream) -> None:
        now_s = self.env.now
        if stream.since_s is None or now_s <= stream.since_s:
            return
        made, share = stream.camera.frames(stream.since_s, now_s), stream.camera.loss
        running_s = max(0.0, now_s - max(stream.since_s, node.blocked_s))
        lost = sum(self.draw.random() < share for _ in range(made)) if share else 0
        came = made - lost
        stream.since_s = now_s
        stream.sent += made
        stream.lost += lost
        stream.window_lost += lost
        stream.undecoded += came * (1.0 - node.pace.decoded)
        dropped = min(came, int(stream.undecoded))
        stream.undecoded -= dropped
        stream.credit += running_s * node.pace.loop_fps
        delivered = min(came - dropped, int(stream.credit + ROUNDING))
        stream.credit = min(stream.credit - delivered, 1.0)
        stream.dropped += dropped
        stream.delivered += delivered
        stream.skipped += came - dropped - delivered
        stream.window_delivered += delivered
        for _ in range(delivered):
            self._frame(node, stream)

    def _frame(self, node: Node, stream: Stream) -> None:
        """Draw what one frame took; it waited while the loop was with the other cameras."""
        pace, gauss = node.pace, self.draw.gauss
        host_ms = (pace.frame_s - pace.inference_s) * 1e3 * max(0.3, gauss(1.0, JITTER))
        inference_ms = pace.inference_s * 1e3 * max(0.3, gauss(1.0, JITTER))
        if not node.frames:
            inference_ms += node.work.first_inference_s * 1e3
        waited_ms = self.draw.random() * (len(node.live) - 1) * pace.frame_s * 1e3
        node.frames += 1
        node.epoch.add(inference_ms, host_ms + inference_ms)
        stream.inference.record(inference_ms)
        decode_ms = node.machine.profile.decode_ms
        stream.latency.record(decode_ms + waited_ms + host_ms + inference_ms)

    # --- the appliance ---------------------------------------------------------------------------

    def _settle(self, machine: Machine) -> None:
        """Something has changed: count up to now, then find how fast everybody runs from now on."""
        nodes = [node for node in self.nodes.values() if node.machine is machine and node.alive]
        for node in nodes:
            for stream in node.streams.values():
                self._count(node, stream)
        if not nodes:
            machine.hardware.rest(self.env.now)
            return
        loads = [(node.cost, [one.camera.plan for one in node.live]) for node in nodes]
        for node, pace in zip(nodes, machine.hardware.paces(loads), strict=True):
            node.pace = pace
            self._await_milestone(node)

    def _await_milestone(self, node: Node) -> None:
        """Wake when the application is warm, or has an epoch to tell."""
        node.milestone += 1
        number = node.milestone
        wanted = [node.epoch.length - node.epoch.frames] if node.epoch.length else []
        if node.frames < node.work.cold_frames:
            wanted.append(node.work.cold_frames - node.frames)
        rate = sum(node.pace.delivered_fps(one.camera.plan.rate_fps) for one in node.live)
        if wanted and rate > 0:
            held_s = max(0.0, node.blocked_s - self.env.now)
            self._after(held_s + max(min(wanted), 1) / rate, lambda: self._reached(node, number))

    def _reached(self, node: Node, number: int) -> None:
        if not node.alive or number != node.milestone:
            return
        for stream in node.live:
            self._count(node, stream)
        if node.epoch.full:
            told = {"instance": self.name(node.instance), **node.epoch.told(self.env.now)}
            self.note(self._source(node), kind.APP_EPOCH, told)
            node.machine.printed(node.instance, f"epoch {told['number']}: {told['duration_s']} s")
        self._settle(node.machine)

    def _watch(self, machine: Machine) -> None:
        if machine.name not in self._watched:
            self._watched.add(machine.name)
            machine.hardware.look(self.env.now, powered=True)
            self._after(LOOK_S, lambda: self._look(machine))

    def _look(self, machine: Machine) -> None:
        """Every 10 s while applications run: heat, and what it does to the clocks."""
        was = machine.hardware.heat.throttled
        idle = not any(node.machine is machine for node in self.nodes.values())
        if idle and not (machine.powered and was):  # what is hot is looked at until it is cool
            self._watched.discard(machine.name)
            return
        changed = machine.hardware.look(self.env.now, powered=True)
        window = machine.hardware.window()
        if window is not None:
            self.note(machine.source, kind.BOARD, window)
        now = machine.hardware.heat
        if now.throttled != was:
            told = kind.THROTTLED if now.throttled else kind.UNTHROTTLED
            self.note(machine.source, told, {"temperature_c": round(now.temperature_c, 3)})
        machine.feel(now.throttled, now.temperature_c)
        if machine.hardware.too_hot:
            machine.cut_power("overheating")
        elif changed:
            self._settle(machine)
        self._after(LOOK_S, lambda: self._look(machine))

    def _source(self, node: Node) -> str:
        return f"app/{self.name(node.instance)}"

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        self.env.timeout(delay_s).callbacks.append(lambda _event: act())
