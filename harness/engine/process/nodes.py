"""Applications of the site as real processes: unpacked, wired to cameras, watched, accounted for.

An application gets what is installed on its appliance and nothing else: its assets are read
back from the appliance's storage, and it reaches cameras through a link of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

from harness.appliance import graph
from harness.appliance.effect import NodeEnded, NodeOutput
from harness.appliance.firmware import Mailbox
from harness.engine.process.hdmi import Hdmi
from harness.engine.process.link import Link
from harness.engine.process.role import RoleEndpoint
from harness.engine.process.tally import Tally
from harness.engine.wiring import CABLE
from harness.errors import Corrupt, EngineError, PeerError, PeerRefused, PeerTimeout
from harness.record import camera_log, kind
from harness.runtime import telemetry
from harness.runtime.console import Console
from harness.runtime.control import Login
from harness.runtime.guard import memory_max_bytes, usage, verdict
from harness.runtime.process import CODE_LOGS, CONSOLE, Application
from harness.runtime.requirements import installed
from harness.runtime.sandbox import Isolation, bubblewrap
from harness.runtime.session import SUFFIXES
from harness.runtime.spec import ApplicationSpec, CameraInput, ModelFile
from harness.runtime.tail import Tail
from harness.runtime.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from harness.appliance.effect import StartNode
    from harness.camera.serve.live import Camera
    from harness.engine.process.machine import Machine
    from harness.engine.process.pacing import Cost, Pacing
    from harness.runtime.sandbox import Sockets

START_TIMEOUT_S = 60.0
WINDOW_S = 1.0
GUARD_S = 0.5
LINE_MAX = 2000
GRACE_S = 5.0
CLOSE_GRACE_S = 1.0
REGION = "us-east-1"
LOOPBACK = "127.0.0.1"


@dataclass(eq=False)
class Node:
    """A running code node: an application has one, and before firmware 5.0.7 perhaps more."""

    instance: str
    code: str
    machine: Machine
    mailbox: str
    link: Link  # to cameras
    cloud: Link  # to its role's credentials and the service, by way of the appliance's uplink
    directory: Path
    doors: Link | None = None  # its inbound ports
    has_display: bool = False
    tiled: bool = True  # does the firmware show every stream of it
    cost: Cost | None = None  # of its calls on the appliance, where they are paced
    application: Application = field(default_factory=Application)
    role: RoleEndpoint | None = None
    tail: Tail | None = None
    tally: Tally | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    cameras: tuple[CameraInput, ...] = ()
    logs: dict[str, Console] = field(default_factory=dict)  # of its camera and model nodes
    unfetched: set[str] = field(default_factory=set)  # cameras whose lack of credentials is told
    watch: asyncio.Task[None] | None = None
    stopping: bool = False

    @property
    def streams(self) -> int:
        """How many there are to be shown."""
        return len(self.cameras)

    def show(self, rate_fps: float) -> None:
        """Pictures for the screen from now on (`harness.runtime.screen.Owner`)."""
        self.application.show(rate_fps)

    def pace(self, paces: Mapping[str, tuple[float, float]]) -> None:
        self.application.pace(paces)

    async def leave(self) -> None:
        """Give back what it holds outside its process."""
        for log in self.logs.values():
            log.close()
        for link in (self.link, self.cloud, self.doors):
            if link is not None:
                await link.close()
        if self.role is not None:
            await self.role.close()


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
        self.hdmi = hdmi or Hdmi((), directory, note, name)
        self.transports = transports
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
        resolved = _resolve(request.document)
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
            spec = await self._spec(node, request, resolved, code)
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
            routes = [route for route in resolved.routes if route.node == code.node]
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
                await self._ship(node)
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

    async def _ship(self, node: Node) -> None:
        """What the application said since the last time, to the appliance's logs agent."""
        assert node.tail is not None
        for stream, lines in (await asyncio.to_thread(node.tail.look)).items():
            output = NodeOutput(node.machine.wall_s(), node.instance, stream, tuple(lines))
            node.machine.deliver(Mailbox.TELEMETRY, output)

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
            with suppress(psutil.Error, PeerError):  # it may be about to start, or gone by now
                memory += psutil.Process(node.application.pid).memory_info().rss
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

    # --- what the process is started with ------------------------------------------------------

    async def _spec(
        self, node: Node, request: StartNode, resolved: graph.Graph, code: graph.Code
    ) -> ApplicationSpec:
        document = request.document
        packages = {package["name"]: package for package in document["packages"]}
        node.directory.mkdir(parents=True)
        container = _asset(packages[code.package], code.interface.asset)
        root = await self._unpack(node, request, container, "root")
        models = []
        for model in resolved.models:
            asset = _asset(packages[model.package], model.interface.asset)
            folder = await self._unpack(node, request, asset, f"model-{model.node}")
            models.append(
                ModelFile(model.node, _model_file(folder, asset["descriptor"]), asset["descriptor"])
            )
        paces: dict[str, tuple[float, float]] = {}
        if self.pacing is not None and models:
            cost = await asyncio.to_thread(
                self.pacing.cost, node.machine.name, request.instance, models
            )
            node.cost = cost
            paces = {name: (ms, cost.first_more_ms) for name, ms in cost.calls_ms.items()}
        entry = _entry(code.package, container["descriptor"])
        state = self.directory / "state" / self.name(request.instance)
        if len(resolved.codes) > 1:  # every container has its own file system
            state /= code.node
        cameras = [camera for camera in resolved.cameras if camera.code == code.node]
        return ApplicationSpec(
            instance=request.instance,
            root=root,
            entry=entry,
            cameras=tuple([await self._camera(node, document, c) for c in cameras]),
            parameters={p.port: p.value for p in resolved.parameters if p.code == code.node},
            models=tuple(models),
            outputs=tuple(port.name for port in code.interface.outputs),
            tiled=request.hosting.tiles,
            displays=tuple(sink.port for sink in resolved.sinks if sink.code == code.node),
            storage=state / "storage",
            logs=state / "logs",
            region=REGION,
            paused=request.paused,
            paces=paces,
            packages=await asyncio.to_thread(installed, root / "panorama"),
            environment=await self._role(node, document),
        )

    async def _role(self, node: Node, document: Mapping[str, Any]) -> Mapping[str, str]:
        """What the application gets of AWS: its role's credentials, or nothing at all."""
        if not document.get("role"):
            return {}
        node.role = RoleEndpoint(node.machine.uplink, document["credentials"])
        return await node.role.start(
            document["endpoint"], lambda port: node.cloud.port(LOOPBACK, port)
        )

    async def _camera(
        self, node: Node, document: Mapping[str, Any], camera: graph.Camera
    ) -> CameraInput:
        source = document["cameras"][camera.node]
        parts = urlsplit(source["url"])
        local = await node.link.port(parts.hostname or "", parts.port or 554)
        return CameraInput(
            node=camera.node,
            port=camera.port,
            name=camera.node,
            url=parts._replace(netloc=f"{node.link.host}:{local}").geturl(),
            username=source["username"],
            password=source["password"],
            transport=self.transports.get(camera.node, "tcp"),
        )

    async def _unpack(
        self, node: Node, request: StartNode, asset: Mapping[str, Any], name: str
    ) -> Path:
        """Read an asset back from the appliance's storage and unpack it."""
        partition, offset, size = request.assets[asset["sha256"]]
        target = node.directory / name

        def work() -> None:
            archive = node.directory / f"{name}.tar.gz"
            archive.write_bytes(node.machine.disk[partition].read(offset, size))
            unpack(archive, target)
            archive.unlink()

        await asyncio.to_thread(work)
        return target


async def _all(stops: Iterable[Awaitable[None]]) -> None:
    """Every one is stopped before the first error is raised."""
    for error in await asyncio.gather(*stops, return_exceptions=True):
        if error is not None:
            raise error


def _resolve(document: Mapping[str, Any]) -> graph.Graph:
    manifests = {package["name"]: package["manifest"] for package in document["packages"]}
    try:
        parsed = graph.parse(document["manifest"], document["overrides"])
        return graph.resolve(parsed, manifests)
    except graph.GraphInvalid as error:
        raise Corrupt(f"deployment document: {error}") from None


def _why(code: int, error_line: str) -> str:
    """Why a process ended: a signal says nothing by itself, a traceback does in its last line."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return error_line or f"exit code {code}"


def _asset(package: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for asset in package["assets"]:
        if asset["name"] == name:
            found: Mapping[str, Any] = asset
            return found
    raise Corrupt(f"package {package['name']}: no asset {name!r}")


def _entry(package: str, descriptor: Any) -> tuple[str, str]:
    """The program and its file, as descriptor.json names them."""
    try:
        entry = descriptor["runtimeDescriptor"]["entry"]
        return str(entry["path"]), str(entry["name"])
    except (KeyError, TypeError):
        raise Corrupt(
            f"package {package}: descriptor.json has no runtimeDescriptor.entry",
            hint='it must hold {"path": "python3", "name": "/panorama/..."}',
        ) from None


def _model_file(folder: Path, descriptor: Any) -> Path:
    """The one file of the archive that something here runs."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    if len(files) == 1:
        return files[0]
    described = descriptor.get("mlModelDescriptor", {}) if isinstance(descriptor, dict) else {}
    raise Corrupt(
        f"model archive of {described.get('framework', 'an unnamed framework')} holds {len(files)}"
        f" files of {', '.join(SUFFIXES)}",
        hint="it must hold one: an ONNX file, or TorchScript; export other frameworks to ONNX",
    )
