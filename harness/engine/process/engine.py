"""Runs a plan on loopback: control plane, cameras, appliances and applications, all real."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.camera.picture.clip import ClipSpec, load_clip
from harness.camera.serve.server import CameraServer
from harness.cloud.front.client import ApiClient
from harness.cloud.front.server import CloudServer
from harness.cloud.service.core import Settings
from harness.engine import site
from harness.engine.commands import perform
from harness.engine.conduct import Conductor
from harness.engine.factory import catalogue
from harness.engine.process.hdmi import Hdmi
from harness.engine.process.link import FAULT, Link
from harness.engine.process.machine import Machine
from harness.engine.process.nodes import Nodes
from harness.engine.process.pacing import Pacing
from harness.engine.process.uplink import Uplink
from harness.engine.recorder import Recorder
from harness.engine.strikes import Strikes
from harness.errors import HarnessError
from harness.fault import FAULTS
from harness.fault.camera import SequenceReset
from harness.record import kind
from harness.record.rundir import RunDir
from harness.scenario.seed import derive

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from harness.fault.camera import CameraFault
    from harness.record.history import HistoryWriter
    from harness.scenario.plan import AppliancePlan, CameraPlan, Plan

POLL_S = 0.1
FAR = 0x8000  # of 16 bits: as far away as a sequence number can be
STOP_LOOK_S = 0.1


@dataclass(eq=False)
class ProcessSite(Strikes):
    """A site that runs; it is the `World` that faults act on."""

    plan: Plan
    recorder: Recorder
    cloud: CloudServer
    client: ApiClient
    cameras: dict[str, Camera]
    nodes: Nodes
    machines: dict[str, Machine]
    links: dict[str, Link]
    group: asyncio.TaskGroup

    def break_uplink(self, appliance: str) -> None:
        self.links[appliance].cut()
        self.machines[appliance].time.look()

    def hush_uplink(self, appliance: str) -> None:
        self.links[appliance].hush()
        self.machines[appliance].time.look()

    def restore_uplink(self, appliance: str) -> None:
        self.group.create_task(self.machines[appliance].restore_uplink(by=FAULT))

    def inject_camera(self, camera: str, fault: CameraFault) -> None:
        struck = self.cameras[camera]
        if isinstance(fault, SequenceReset):  # a small step would look like loss
            far = struck.sequence(struck.next_frame) + FAR & 0xFFFF
            fault = SequenceReset(first=far)
        struck.inject(fault)

    def heal_camera(self, camera: str, kind: type[CameraFault]) -> None:
        self.cameras[camera].heal(kind)

    def withhold_credentials(self, camera: str) -> None:
        self.nodes.withhold(camera)

    def return_credentials(self, camera: str) -> None:
        self.nodes.give_back(camera)

    def cut_power(self, appliance: str) -> None:
        self.machines[appliance].cut_power()

    def restore_power(self, appliance: str) -> None:
        self.machines[appliance].power_up()

    def kill_node(self, instance: str) -> None:
        self.nodes.kill(self.recorder.instance(instance))


class ProcessEngine:
    """Real time on loopback, grade L: our own fakes of camera and cloud on the far ends."""

    name = "process"
    grade = "L"
    epoch_s: float | None = None

    def run(self, plan: Plan, history: HistoryWriter, *, stop: threading.Event) -> None:
        asyncio.run(_run(plan, history, stop))


async def _run(plan: Plan, history: HistoryWriter, stop: threading.Event) -> None:
    began_s = time.monotonic()
    recorder = Recorder(history, lambda: time.monotonic() - began_s)
    try:
        with tempfile.TemporaryDirectory(prefix="hil-process-") as directory:
            async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
                await _course(group, stack, plan, recorder, Path(directory), stop)
    except BaseExceptionGroup as errors:
        error = _first(errors)
        values = {"outcome": "failed", "error": f"{type(error).__name__}: {error}"}
        recorder.note("scenario", kind.RUN_ENDED, values)
        raise error from None


async def _course(
    group: asyncio.TaskGroup,
    stack: AsyncExitStack,
    plan: Plan,
    recorder: Recorder,
    directory: Path,
    stop: threading.Event,
) -> None:
    """Bring the site up and carry out the plan, or as much of it as time and `stop` allow."""
    clips = await asyncio.to_thread(_clips, plan.cameras)
    world = await _BringUp(group, stack, plan, recorder, directory).site(clips)
    conductor = Conductor(plan, lambda camera: world.cameras[camera].url, directory / "assets")
    conductor.workspace.mkdir()
    course = group.create_task(interpret(world, conductor.run()))
    told = group.create_task(_told_to_stop(stop, recorder))
    await asyncio.wait(
        {course, told}, timeout=plan.stop_after_s, return_when=asyncio.FIRST_COMPLETED
    )
    if not course.done():
        course.cancel()
        await asyncio.wait({course})
        interrupted = told.done()
        why = "interrupted" if interrupted else f"not done after {plan.stop_after_s:g} s"
        await _cut_short(world, conductor, why, interrupted=interrupted)
    told.cancel()


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group of groups: what the others followed from."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def film(camera: CameraPlan) -> ClipSpec:
    """What a camera of a plan shows, in a loop."""
    return ClipSpec.of(
        camera,
        duration_s=camera.clip_s,
        objects=camera.objects,
        seed=camera.seed,
        slow_rate_fps=camera.slow_rate_fps,
        coding=camera.coding,
        look=camera.look,
    )


def _clips(cameras: tuple[CameraPlan, ...]) -> dict[str, Clip]:
    return {camera.name: load_clip(film(camera)) for camera in cameras}


@dataclass(frozen=True, slots=True)
class _BringUp:
    """Brings the parts of a site up, one on the other; `stack` takes them down again."""

    group: asyncio.TaskGroup
    stack: AsyncExitStack
    plan: Plan
    recorder: Recorder
    directory: Path
    started_s: float = field(default_factory=time.time)

    async def site(self, clips: dict[str, Clip]) -> ProcessSite:
        cloud = await self._cloud()
        cameras = await self._cameras(clips)
        client = await self.stack.enter_async_context(ApiClient(cloud.api_url, key=cloud.root_key))
        nodes = await self._nodes(cameras)
        links = {appliance.name: Link(self.group) for appliance in self.plan.appliances}
        machines = {
            appliance.name: self._machine(appliance, links[appliance.name], cloud, nodes)
            for appliance in self.plan.appliances
        }
        self.stack.push_async_callback(nodes.close)
        self._publish(cloud)
        return ProcessSite(
            self.plan, self.recorder, cloud, client, cameras, nodes, machines, links, self.group
        )

    def _service_clock(self) -> float:
        """The control plane's time: as fast as the appliances' modelled durations."""
        return self.started_s + self.recorder.elapsed() * self.plan.time_scale

    def _record(self, event_kind: str, values: Mapping[str, Any]) -> None:
        with suppress(Exception):  # the plane's probe must not raise; the recorder keeps it
            self.recorder.note("cloud", event_kind, values)

    async def _cloud(self) -> CloudServer:
        planned = self.plan.cloud
        server = CloudServer(
            state_dir=self.directory / "cloud",
            draw=random.Random(derive(self.plan.seed, "cloud")),
            record=self._record,
            clock=self._service_clock,
            settings=Settings(quotas=planned.quotas, certificate_s=planned.certificate_s),
            broker=planned.broker,
        )
        return await self.stack.enter_async_context(server)

    async def _cameras(self, clips: dict[str, Clip]) -> dict[str, Camera]:
        server = await self.stack.enter_async_context(CameraServer())
        cameras = {
            camera.name: server.add(
                camera.name,
                clips[camera.name],
                camera.path,
                camera.username,
                camera.password,
                own_port=True,
                scheme=camera.scheme,
                quirks=camera.quirks,
            )
            for camera in self.plan.cameras
        }
        for fault in self.plan.faults:
            wire = FAULTS[fault.kind].wire
            if wire is not None:
                await cameras[fault.target].prepare_fault(wire(fault.parameters))
        return cameras

    async def _nodes(self, cameras: Mapping[str, Camera]) -> Nodes:
        plan, recorder = self.plan, self.recorder
        (self.directory / "nodes").mkdir()
        pacing: Pacing | None = None
        if plan.timing == "jetson":
            pacing = Pacing(plan, recorder.note, recorder.elapsed, recorder.name)
            self.stack.callback(self.group.create_task(pacing.run()).cancel)
        display = RunDir(recorder.history.path.parent).display
        hdmi = Hdmi([one.name for one in plan.appliances], display, recorder.note, recorder.name)
        recorder.history.listen(hdmi.see)
        self.stack.push_async_callback(hdmi.close)
        await hdmi.serve()
        return Nodes(
            self.group,
            self.directory / "nodes",
            cameras,
            recorder.note,
            recorder.elapsed,
            recorder.name,
            {camera.name: camera.transport for camera in plan.cameras},
            hdmi,
            pacing,
        )

    def _machine(
        self, appliance: AppliancePlan, link: Link, cloud: CloudServer, nodes: Nodes
    ) -> Machine:
        home = self.directory / f"appliance-{appliance.name}"
        uplink = Uplink(
            self.group,
            link,
            home,
            self.plan.time_scale,
            services=cloud.https_url.removeprefix("https://"),
            blocked=frozenset(appliance.blocked),
        )
        machine = Machine(
            self.group,
            appliance,
            home,
            uplink,
            nodes,
            self.recorder.note,
            lambda: self.started_s + self.recorder.elapsed(),
            random.Random(appliance.seed),
            self.plan.seed,
            self.plan.time_scale,
        )
        self.stack.push_async_callback(link.close)
        self.stack.push_async_callback(machine.close)
        return machine

    def _publish(self, cloud: CloudServer) -> None:
        plan = self.plan
        boards = [appliance.profile.board for appliance in plan.appliances]
        offered = catalogue(plan.images, boards, plan.seed, self.started_s, virtual=False)
        for version, signed, payload in offered.images:
            cloud.publish_image(version, signed, payload)
        cloud.publish_metadata(offered.metadata)


async def interpret(world: ProcessSite, program: site.SiteProgram[None]) -> None:
    """Carry out site commands until the program ends."""
    value: Any = None
    error: HarnessError | None = None
    while True:
        try:
            command = program.send(value) if error is None else program.throw(error)
        except StopIteration:
            return
        value, error = None, None
        try:
            value = await _do(world, command)
        except HarnessError as problem:
            error = problem


async def _do(world: ProcessSite, command: site.Command) -> Any:
    match command:
        case site.Call(operation, parameters):
            return await world.client.call(operation, parameters)
        case site.PutObject(bucket, key, data):
            await world.client.put_object(bucket, key, data)
        case site.Pause(duration_s):
            await asyncio.sleep(duration_s)
        case site.Poll():
            await asyncio.sleep(POLL_S)
        case site.Fork(branches):
            await _fork(world, branches)
        case site.Account():
            await world.nodes.stop_all(None, "end of the run")
        case _:
            return perform(world, command)
    return None


async def _fork(world: ProcessSite, branches: tuple[site.SiteProgram[None], ...]) -> None:
    """Every branch runs to its end; then the first error, if any, is raised."""
    errors: list[HarnessError] = []

    async def run(branch: site.SiteProgram[None]) -> None:
        try:
            await interpret(world, branch)
        except HarnessError as error:
            errors.append(error)

    async with asyncio.TaskGroup() as group:
        for branch in branches:
            group.create_task(run(branch))
    if errors:
        raise errors[0]


async def _told_to_stop(stop: threading.Event, recorder: Recorder) -> None:
    """Returns when `stop` is set. Raises what keeps the recorder from writing."""
    while not stop.is_set():  # it is set by a signal handler's thread
        await asyncio.sleep(STOP_LOOK_S)
        if recorder.problem is not None:
            raise recorder.problem


async def _cut_short(
    world: ProcessSite, conductor: Conductor, why: str, *, interrupted: bool
) -> None:
    """Out of time, told to stop, or broken: heal, converge, account, and say so."""
    within_s = 0.0 if interrupted else world.plan.converge_within_s
    shortened = replace(conductor, plan=replace(world.plan, converge_within_s=within_s))
    await interpret(world, shortened.finish())
    outcome = "interrupted" if interrupted else "failed"
    world.recorder.note("scenario", kind.RUN_ENDED, {"outcome": outcome, "error": why})
