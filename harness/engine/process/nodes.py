"""Applications of the site as real processes: unpacked, wired to cameras, watched, accounted for.

An application gets what is installed on its appliance and nothing else: its assets are read
back from the appliance's storage, and it reaches cameras through a link of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.appliance.effect import NodeEnded
from harness.engine.process.hdmi import Hdmi
from harness.engine.process.link import Link
from harness.engine.process.node import Node
from harness.engine.process.tally import Tally
from harness.engine.process.wiring import LOOPBACK, Wiring, resolve
from harness.engine.wiring import CABLE
from harness.errors import Corrupt, EngineError, PeerError, PeerRefused, PeerTimeout
from harness.record import camera_log, kind
from harness.runtime import telemetry
from harness.runtime.console import Console
from harness.runtime.control import Login
from harness.runtime.guard import memory_max_bytes, usage, verdict
from harness.runtime.process import CODE_LOGS, CONSOLE
from harness.runtime.sandbox import Isolation, bubblewrap
from harness.runtime.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from harness.appliance import graph
    from harness.appliance.effect import StartNode
    from harness.camera.serve.live import Camera
    from harness.engine.process.machine import Machine
    from harness.engine.process.pacing import Pacing
    from harness.runtime.sandbox import Sockets
    from harness.runtime.spec import ApplicationSpec, CameraInput

START_TIMEOUT_S = 60.0
WINDOW_S = 1.0
GUARD_S = 0.5
LINE_MAX = 2000
GRACE_S = 5.0
CLOSE_GRACE_S = 1.0


class Nodes:
    """All applications of a site. `name` gives the scenario's name of an instance id."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        directory: Path,
        cameras: Mapping[str, Camera],
        note: Callable[[str, str, Mapping[str, Any]], None],
        elapsed: Callable[[], float],
        name: Callable[[str], str],
        transports: Mapping[str, str],
        hdmi: Hdmi | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        """`transports` says what appliances ask for a camera's stream over: tcp or udp."""
        self.pacing = pacing
        self.wiring = Wiring(directory, transports, pacing)
        self.hdmi = hdmi or Hdmi((), directory, note, name)
        self.group = group
        self.directory = directory
        self.cameras = cameras
        self.note = note
        self.elapsed = elapsed
        self.name = name
        self._nodes: dict[tuple[str, str], Node] = {}  # by instance and code node
        self._withheld: set[str] = set()  # cameras whose credentials cannot be fetched
        self._starts = 0
        self._addresses: dict[str, int] = {}

    async def start(self, machine: Machine, request: StartNode) -> None:
        """Returns when the application's SDK is up. Raises `PeerError` naming why it is not."""
        await self.stop(request.instance, "replaced")
        resolved = resolve(request.document)
        try:
            for code in resolved.codes:
                await self._start(machine, request, resolved, code)
        except PeerError:  # all of an application or nothing
            await self.stop(request.instance, "another of its code nodes did not start")
            raise

    async def _start(
        self, machine: Machine, request: StartNode, resolved: graph.Graph, code: graph.Code
    ) -> None:
        self._starts += 1
        directory = self.directory / f"{self.name(request.instance)}-{self._starts}"
        peers: set[tuple[str, int]] = set()
        program, why_not = bubblewrap()
        inside = program is not None
        link = Link(
            self.group,
            opened=lambda _target, address: peers.add(address),
            media=True,
            inside=inside,
        )
        if not machine.wiring.cameras:
            link.hush(by=CABLE)
        cloud = Link(self.group, inside=inside)
        node = Node(request.instance, code.node, machine, request.mailbox, link, cloud, directory)
        self._nodes[node.instance, node.code] = node
        try:
            spec = await self.wiring.spec(node, request, resolved, code)
            cameras = {camera.name: self.cameras[camera.name] for camera in spec.cameras}
            name = self.name(request.instance)
            node.tally = Tally(name, cameras, peers, self.note, self.elapsed)
            node.cameras = spec.cameras
            names = (*(c.name for c in spec.cameras), *(m.node for m in spec.models))
            logs = {name: spec.logs / f"{name}.log" for name in names}
            node.logs = {name: Console(path) for name, path in logs.items()}
            streams = {"console_output": spec.logs / CONSOLE, **logs}
            node.tail = Tail(streams, node.code, spec.logs / CODE_LOGS)
            node.has_display, node.tiled = bool(spec.displays), spec.tiled
            routes = [
                route
                for route in resolved.routes
                if route.node == code.node and request.hosting.opens_ports
            ]
            await node.application.start(
                self._as_fetched(spec),
                lambda message: self._take(node, message),
                lambda jpeg: self.hdmi.picture(machine.name, node, jpeg),
                Isolation(program, lambda sockets: self._enter(node, routes, sockets))
                if program is not None
                else None,
            )
            if program is None:
                self._tell_unisolated(node, why_not)
                await self._open(node, routes, None)
        except BaseException as error:
            self._nodes.pop((node.instance, node.code), None)
            await self._clear(node)
            if isinstance(error, EngineError):  # its sandbox or its ports, which are its own
                name = self.name(node.instance)
                raise PeerRefused(f"application {name} did not start: {error}") from None
            raise
        node.watch = self.group.create_task(self._watch(node))
        await self._until_started(node)

    async def _enter(self, node: Node, routes: Iterable[graph.Route], sockets: Sockets) -> None:
        """All that the application reaches and is reached by, before its first instruction."""
        await node.link.enter(sockets)
        await node.cloud.enter(sockets)
        await self._open(node, routes, sockets)

    async def _open(
        self, node: Node, routes: Iterable[graph.Route], sockets: Sockets | None
    ) -> None:
        """The inbound ports that package, manifest and override document agree on."""
        address = self._address(node.machine)
        for route in routes:
            if node.doors is None:
                node.doors = Link(self.group, host=address, reach=sockets)
            try:
                await node.doors.port(LOOPBACK, route.container_port, at=route.host_port)
            except EngineError as error:
                raise PeerRefused(f"inbound port {route.host_port}: {error}") from None
            if sockets is not None and route.host_port != route.container_port:
                # An application may ask its own appliance, at the address others know it by.
                await node.cloud.port(address, route.host_port, at=route.host_port)
            values = {
                "instance": node.instance,
                "node": node.code,
                "address": address,
                "port": route.host_port,
                "container_port": route.container_port,
            }
            self.note(node.machine.source, kind.PORT_OPENED, values)

    def _address(self, machine: Machine) -> str:
        """Every appliance has an address of its own, as all of them may open the same ports."""
        number = self._addresses.setdefault(machine.name, len(self._addresses) + 1)
        return f"127.0.{1 + number // 256}.{number % 256}"

    def _tell_unisolated(self, node: Node, why: str) -> None:
        values = {
            "stream": "syslog",
            "line": f"application {self.name(node.instance)} is not isolated: {why}",
            "instance": node.instance,
        }
        self.note(node.machine.source, kind.LOG_LINE, values)

    async def _until_started(self, node: Node) -> None:
        assert node.watch is not None
        started = self.group.create_task(node.started.wait())
        try:
            await asyncio.wait(
                {started, node.watch},
                timeout=START_TIMEOUT_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            # Whoever waited is gone, by power loss or the end of the run: the rest ends by itself.
            node.stopping = True
            node.application.kill()
            raise
        finally:
            started.cancel()
        if node.started.is_set():
            return
        name = self.name(node.instance)
        if node.stopping:  # the run ended meanwhile: nothing is known against the application
            raise PeerRefused(f"application {name} was stopped before it had started")
        if node.watch.done():
            why = _why(await node.application.wait(), node.application.error_line)
            raise PeerRefused(f"application {name} ended at its start: {why}")
        await self._stop(node, GRACE_S)
        raise PeerTimeout(f"application {name} made no node in {START_TIMEOUT_S:g} s")

    async def _watch(self, node: Node) -> None:
        """Windows while it runs; its end is told to the appliance and accounted for."""
        ending = self.group.create_task(node.application.wait())
        guarding = self.group.create_task(self._guard(node))
        try:
            while not ending.done():
                await asyncio.wait({ending}, timeout=WINDOW_S)
                await node.ship()
                if node.tally is not None and not ending.done():
                    node.tally.report()
            code = ending.result()
        finally:
            ending.cancel()
            guarding.cancel()
        if self._nodes.get((node.instance, node.code)) is node:
            del self._nodes[node.instance, node.code]
        self.hdmi.stopped(node.machine.name, node)
        if self.pacing is not None:
            self.pacing.stopped(node.machine.name, node)
        await self._clear(node)
        if not node.stopping and node.started.is_set():
            reason = _why(code, node.application.error_line)
            values = {"instance": node.instance, "line": reason, "code": code}
            self.note(f"app/{self.name(node.instance)}", kind.APP_ERROR, values)
            node.machine.deliver(node.mailbox, NodeEnded(node.instance, code, reason))

    async def _guard(self, node: Node) -> None:
        """Kill an application that would take this machine with it."""
        most = memory_max_bytes(node.machine.profile.memory_bytes)
        while True:
            await asyncio.sleep(GUARD_S)
            used = await asyncio.to_thread(usage, node.application.outer_pid, most)
            line = verdict(used, node.application.pid, most)
            if line is not None:
                node.application.kill()
                values = {"stream": "kern_log", "line": line, "instance": node.instance}
                self.note(node.machine.source, kind.LOG_LINE, values)
                return

    async def _clear(self, node: Node) -> None:
        await node.leave()
        if node.tally is not None and node.application.spawned:
            node.tally.account()
        await asyncio.to_thread(shutil.rmtree, node.directory, True)

    def _of(self, instance: str) -> list[Node]:
        return [node for node in self._nodes.values() if node.instance == instance]

    def kill(self, instance: str) -> None:
        for node in self._of(instance):
            node.application.kill()

    def pause(self, instance: str, cameras: tuple[str, ...]) -> None:
        for node in self._of(instance):
            node.application.pause(cameras)

    async def rewired(self, machine: Machine, *, lost: bool) -> None:
        """The way of an appliance to its cameras is another, is gone, or is there again."""
        for node in [node for node in self._nodes.values() if node.machine is machine]:
            if lost:
                node.link.reset_all()
            elif machine.wiring.cameras:
                await node.link.restore(by=CABLE)
            else:
                node.link.hush(by=CABLE)

    def withhold(self, camera: str) -> None:
        """No camera node gets the credentials of `camera` any more when it connects anew."""
        self._withheld.add(camera)
        self._log_in(camera, lambda own: Login(own.node, None))

    def give_back(self, camera: str) -> None:
        self._withheld.discard(camera)
        self._log_in(camera, lambda own: Login(own.node, own.username, own.password))

    def _log_in(self, camera: str, who: Callable[[CameraInput], Login]) -> None:
        for node in self._nodes.values():
            node.unfetched.discard(camera)
            for own in node.cameras:
                if own.name == camera:
                    node.application.login(who(own))

    def _as_fetched(self, spec: ApplicationSpec) -> ApplicationSpec:
        """With the credentials that can be fetched now."""
        cameras = (
            replace(own, username=None, password="") if own.name in self._withheld else own
            for own in spec.cameras
        )
        return replace(spec, cameras=tuple(cameras))

    async def stop(self, instance: str, _reason: str, grace_s: float = GRACE_S) -> None:
        """Stop in good order; with no grace at all, as power loss does."""
        await _all(self._stop(node, grace_s) for node in self._of(instance))

    async def _stop(self, node: Node, grace_s: float) -> None:
        if node.watch is None:
            return
        node.stopping = True
        if grace_s > 0.0:
            await node.application.stop(grace_s)
        else:
            node.application.kill()
        await asyncio.wait({node.watch})

    async def stop_all(self, appliance: str | None, reason: str, grace_s: float = GRACE_S) -> None:
        chosen = {
            node.instance
            for node in self._nodes.values()
            if appliance is None or node.machine.name == appliance
        }
        await _all(self.stop(instance, reason, grace_s) for instance in sorted(chosen))

    def usage(self, appliance: str) -> tuple[int, int]:
        """Bytes of memory of its applications' processes, and of the largest console log."""
        mine = [one for one in self._nodes.values() if one.machine.name == appliance]
        memory = 0
        for node in mine:
            if node.application.spawned:
                memory += usage(node.application.outer_pid, sys.maxsize).resident_bytes
        return memory, max((one.application.console_bytes for one in mine), default=0)

    async def close(self) -> None:
        """The end of the run, in good order or not: no process and no socket is left."""
        try:
            await self.stop_all(None, "end of the run", CLOSE_GRACE_S)
        finally:
            for node in self._nodes.values():  # those whose watch failed or was cancelled
                await node.leave()

    # --- what the process tells -----------------------------------------------------------------

    def _take(self, node: Node, message: dict[str, Any]) -> None:
        try:
            parsed = telemetry.parse(message)
        except Corrupt:  # the pipe is the application's, too: what it writes ends no run
            node.application.malformed += 1
            return
        if isinstance(parsed, telemetry.Started):
            node.started.set()
            if node.has_display:
                self.hdmi.started(node.machine.name, node)
            if self.pacing is not None and node.cost is not None:
                names = [camera.name for camera in node.cameras]
                self.pacing.started(node.machine.name, node, node.cost, names)
            return
        if isinstance(parsed, telemetry.CameraLost) and parsed.camera in node.logs:
            node.logs[parsed.camera].write(f"{self.elapsed():.3f} {parsed.line}\n".encode())
        if isinstance(parsed, telemetry.ModelFailed):
            self._tell_failed(node, parsed)
        elif isinstance(parsed, telemetry.CredentialsMissing):
            self._tell_unfetched(node, parsed.camera)
        elif node.tally is not None:
            node.tally.take(parsed)

    def _tell_failed(self, node: Node, failed: telemetry.ModelFailed) -> None:
        """Into the model node's own log, and the history."""
        if failed.node not in node.logs:
            return
        line = failed.line[:LINE_MAX]
        node.logs[failed.node].write(f"{self.elapsed():.3f} {line}\n".encode())
        values = {"stream": failed.node, "line": line, "instance": node.instance}
        self.note(f"app/{self.name(node.instance)}", kind.LOG_LINE, values)

    def _tell_unfetched(self, node: Node, camera: str) -> None:
        if camera in node.unfetched:
            return
        node.unfetched.add(camera)
        values = {
            "stream": "occ_log",
            "line": camera_log.CREDENTIALS,
            "camera": camera,
            "instance": self.name(node.instance),
        }
        self.note(node.machine.source, kind.LOG_LINE, values)


async def _all(stops: Iterable[Awaitable[None]]) -> None:
    """Every one is stopped before the first error is raised."""
    for error in await asyncio.gather(*stops, return_exceptions=True):
        if error is not None:
            raise error


def _why(code: int, error_line: str) -> str:
    """Why a process ended: a signal says nothing by itself, a traceback does in its last line."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return error_line or f"exit code {code}"
