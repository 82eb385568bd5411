"""One appliance on real sockets and files: interprets the effects of its programs in asyncio.

Modelled durations (boot, back-off, waiting) pass `time_scale` times faster than on the device;
whatever is real here (network, storage, video, inference) takes the time it takes. A power cut
cancels the programs and drops what was not synced.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from harness.appliance import effect as fx
from harness.appliance.boot import power_on
from harness.appliance.firmware import Mailbox
from harness.appliance.release import release
from harness.appliance.storage import DATA, by_chance
from harness.engine.factory import board, flash, sizes
from harness.engine.process.disk import FileDisk
from harness.engine.seal import KEY_BYTES, seal
from harness.engine.surroundings import Surroundings
from harness.engine.timekeeping import Timekeeper
from harness.engine.wiring import CABLE, Wiring
from harness.errors import EngineError, HarnessError, LinkDown, PeerTimeout
from harness.record import kind

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path

    from harness.appliance.storage import Partition
    from harness.engine.process.nodes import Nodes
    from harness.engine.process.uplink import Uplink
    from harness.scenario.plan import AppliancePlan

INBOX_MAX = 1024
TRANSFER_TIMEOUT_S = 30.0


@dataclass(eq=False)
class Running:
    """A program with its mailbox and the task that interprets it."""

    name: str
    program: fx.Program[None]
    mailbox: deque[object] = field(default_factory=lambda: deque(maxlen=INBOX_MAX))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Machine(Surroundings):
    """An appliance; its tasks belong to `group`.

    `clock` is wall time in seconds since the epoch, and the appliance's own: time-outs of a
    program that waits for others pass at that pace, its own pacing `time_scale` times faster.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        plan: AppliancePlan,
        directory: Path,
        uplink: Uplink,
        nodes: Nodes,
        note: Callable[[str, str, Mapping[str, Any]], None],
        clock: Callable[[], float],
        draw: random.Random,
        seed: int,
        time_scale: float,
    ) -> None:
        self.name = plan.name
        self.profile = plan.profile
        self.source = f"appliance/{plan.name}"
        self.board = board(plan.profile, seed, plan.name)
        directory.mkdir()
        self.disk = FileDisk(sizes(plan.profile), directory)
        flash(self.disk, plan, seed, virtual=False)
        self.uplink = uplink
        self.nodes = nodes
        self.note = note
        self.clock = clock
        self.draw = draw
        self.time_scale = time_scale
        self.powered = False
        self.halted = False  # it has power, and will do nothing more with it
        self.wiring = Wiring(plan.network.layout, self.board.serial)
        self.time = Timekeeper(clock, self._after, self.deliver, self._no_time)
        self._group = group
        self._programs: dict[str, Running] = {}
        self._leds: dict[str, tuple[str, str]] = {}
        self._switching: set[asyncio.Task[None]] = set()
        self._rewiring: set[asyncio.Task[None]] = set()  # goes on when the power goes
        self._link_mailbox = ""
        self._log_bytes = 0  # of what its programs noted

    # --- power -------------------------------------------------------------------------------

    def power_up(self, press: fx.Pressed | None = None) -> None:
        if not self.powered:
            self.powered, self.halted = True, False
            self.time.power_up()
            self.note(self.source, kind.POWERED, {})
            self._launch("main", power_on(self.board, release, press))

    def press(self, buttons: frozenset[str], held_s: float) -> None:
        """Hold buttons and release them; an appliance that is off powers on by that."""
        pressed = fx.Pressed(buttons, held_s)
        if self.powered and self.halted:
            self.cut_power("unplugged")  # it does not answer to buttons any more
        if self.powered:
            self.deliver("panel", pressed)
        else:
            self.power_up(pressed)

    def cut_power(self, reason: str = "power-cut") -> None:
        """Everything that runs is gone at once; of the unsynced writes each survives by chance."""
        if not self.powered:
            return
        self.powered = False
        self._drop_programs()
        self._drop_switching()
        self.disk.cut(by_chance(self.draw.random))
        self.note(self.source, kind.STOPPED, {"reason": reason})
        self._switch(self.nodes.stop_all(self.name, reason, grace_s=0.0))

    async def _restart(self, reason: str) -> None:
        """An orderly reboot. Runs beside the programs, since it ends them."""
        self._drop_programs()
        await self.nodes.stop_all(self.name, reason)
        await asyncio.to_thread(self.disk.sync_all)
        self.note(self.source, kind.STOPPED, {"reason": reason})
        await asyncio.sleep(self.profile.shutdown_s / self.time_scale)
        if self.powered:
            self._launch("main", power_on(self.board, release))

    async def _power_off(self, reason: str) -> None:
        self._drop_programs()
        await self.nodes.stop_all(self.name, reason)
        await asyncio.to_thread(self.disk.sync_all)
        await asyncio.sleep(self.profile.shutdown_s / self.time_scale)
        self.powered = False
        self.note(self.source, kind.STOPPED, {"reason": reason})

    async def _stop(self, reason: str) -> None:
        self.halted = True
        self._drop_programs()
        await self.nodes.stop_all(self.name, reason)
        self.note(self.source, kind.STOPPED, {"reason": reason})

    def _drop_programs(self) -> None:
        self.time.stop()
        self.uplink.drop()
        self._cancel_programs()
        self._leds.clear()

    def _cancel_programs(self) -> list[asyncio.Task[None]]:
        programs, self._programs = self._programs, {}
        tasks = [running.task for running in programs.values() if running.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    def _drop_switching(self) -> list[asyncio.Task[None]]:
        """A reboot under way ends with the power: it must not go on in the next life."""
        tasks = list(self._switching)
        for task in tasks:
            task.cancel()
        return tasks

    async def close(self) -> None:
        """The end of the run: nothing is left behind."""
        self.powered = False
        tasks = self._cancel_programs() + self._drop_switching() + list(self._rewiring)
        for task in self._rewiring:
            task.cancel()
        await self.uplink.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.disk.close()

    def _switch(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what ends programs beside them."""
        self._beside(work, self._switching)

    def _beside(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        try:
            task = self._group.create_task(work)
        except RuntimeError:  # the group is ending, and all that runs with it
            work.close()
            return
        among.add(task)
        task.add_done_callback(among.discard)

    # --- programs ----------------------------------------------------------------------------

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s / self.time_scale, act)

    # --- the network, from outside -----------------------------------------------------------

    def rewired(self, cloud: str, cameras: str, reason: str) -> None:
        """What went another way before ends, or falls silent; what has a way again goes on."""
        link = self.uplink.link
        if self.wiring.no_cloud:
            link.cut(by=CABLE)
        elif not cloud:
            self._beside(self.restore_uplink(by=CABLE), self._rewiring)
        elif cloud != self.wiring.cloud:
            link.reset_all()
        if cameras != self.wiring.cameras:
            lost = bool(cameras and self.wiring.cameras)
            self._beside(self.nodes.rewired(self, lost=lost), self._rewiring)
        self.time.look()

    async def restore_uplink(self, by: str) -> None:
        if by == CABLE and self.wiring.no_cloud:
            return  # it is out again meanwhile
        await self.uplink.link.restore(by)
        self.time.look()

    def _no_time(self) -> str:
        link = self.uplink.link
        return self.wiring.no_cloud or ("no answer" if link.broken or link.hushed else "")

    def deliver(self, mailbox: str, message: object) -> None:
        running = self._programs.get(mailbox)
        if running is not None:
            running.mailbox.append(message)
            running.arrived.set()

    def arrive(self, message: object) -> None:
        """From the uplink: a message, or its loss."""
        self.deliver(self._link_mailbox, message)

    def _launch(self, name: str, program: fx.Program[None]) -> None:
        previous = self._programs.get(name)
        if previous is not None and previous.task is not None:
            previous.task.cancel()
        running = Running(name, program)
        self._programs[name] = running
        running.task = self._group.create_task(self._interpret(running))
        running.task.add_done_callback(lambda _task: self._ended(running))

    def _ended(self, running: Running) -> None:
        running.program.close()
        if self._programs.get(running.name) is running:
            del self._programs[running.name]

    async def _interpret(self, running: Running) -> None:
        program, task = running.program, asyncio.current_task()
        assert task is not None
        value: Any = None
        error: HarnessError | None = None
        while True:
            try:
                request = program.send(value) if error is None else program.throw(error)
            except StopIteration:
                return
            value, error = None, None
            handler = _HANDLERS.get(type(request))
            if handler is None:
                raise EngineError(f"no interpretation of {request!r}")
            try:
                value = await handler(self, running, request)
            except HarnessError as problem:
                error = problem
            if task.cancelling():
                # Before Python 3.12 `wait_for` swallows a cancellation that comes together with
                # what was waited for; the program would then wait for ever.
                raise asyncio.CancelledError

    # --- effects: time, chance, programs -------------------------------------------------------

    async def _sleep(self, _running: Running, request: fx.Sleep) -> None:
        await asyncio.sleep(request.delay_s / self.time_scale)

    async def _now(self, _running: Running, _request: fx.Now) -> float:
        return self.clock()

    async def _clock(self, _running: Running, _request: fx.Clock) -> float:
        return self.wall_s()

    def wall_s(self) -> float:
        """What the appliance takes for the time."""
        return self.clock() + self.time.offset_s

    async def _draw(self, _running: Running, _request: fx.Draw) -> float:
        return self.draw.random()

    async def _spawn(self, _running: Running, request: fx.Spawn) -> None:
        self._launch(request.name, request.program)

    async def _post(self, _running: Running, request: fx.Post) -> None:
        self.deliver(request.to, request.message)

    async def _receive(self, running: Running, request: fx.Receive) -> object:
        try:
            async with asyncio.timeout(request.timeout_s):
                while not running.mailbox:
                    running.arrived.clear()
                    await running.arrived.wait()
        except TimeoutError:
            return None
        return running.mailbox.popleft()

    async def _receive_all(self, running: Running, _request: fx.ReceiveAll) -> object:
        messages = tuple(running.mailbox)
        running.mailbox.clear()
        return messages

    # --- effects: storage ----------------------------------------------------------------------

    async def _read(self, _running: Running, request: fx.Read) -> bytes:
        return self.disk[request.partition].read(request.offset, request.length)

    async def _write(self, _running: Running, request: fx.Write) -> None:
        self.disk[request.partition].write(request.offset, request.data)

    async def _sync(self, _running: Running, request: fx.Sync) -> None:
        await self._synced(self.disk[request.partition])

    async def _synced(self, partition: Partition) -> None:
        if partition.slow_s:
            await asyncio.sleep(partition.slow_s)
        await asyncio.to_thread(partition.sync)

    async def _copy(self, _running: Running, request: fx.Copy) -> None:
        source, target = self.disk[request.source], self.disk[request.target]
        for done in range(0, request.size, request.chunk):
            size = min(request.chunk, request.size - done)
            chunk = await asyncio.to_thread(source.read, request.source_offset + done, size)
            target.write(request.offset + done, chunk)
            await asyncio.to_thread(target.sync)

    async def _erase(self, _running: Running, request: fx.Erase) -> None:
        partition = self.disk[request.partition]
        await asyncio.to_thread(partition.erase, 0, partition.size)

    async def _digest(self, _running: Running, request: fx.Digest) -> str:
        partition = self.disk[request.partition]
        return await asyncio.to_thread(partition.digest, request.offset, request.length)

    async def _watch_storage(self, _running: Running, _request: fx.WatchStorage) -> bool:
        return self.disk[DATA].troubled

    async def _read_fuses(self, _running: Running, _request: fx.ReadFuses) -> int:
        return self.disk.fuses

    async def _blow_fuses(self, _running: Running, request: fx.BlowFuses) -> None:
        self.disk.blow(request.level)

    # --- effects: network ----------------------------------------------------------------------

    async def _make_key(self, _running: Running, request: fx.MakeKey) -> tuple[str, str]:
        return await asyncio.to_thread(self.uplink.make_key, request.common_name)

    async def _use_identity(self, _running: Running, request: fx.UseIdentity) -> None:
        await self.uplink.use_identity(
            request.certificate_pem, request.private_key_pem, request.ca_pem
        )

    async def _connect(self, _running: Running, request: fx.Connect) -> None:
        self._need_route(request.endpoint)
        self._link_mailbox = request.mailbox
        await self.uplink.connect(
            request.endpoint, request.client_id, request.timeout_s, self.arrive
        )

    def _need_route(self, where: str) -> None:
        if self.wiring.no_cloud:
            raise LinkDown(f"{where}: {self.wiring.no_cloud}")
        self.time.refuse_invalid(where)

    async def _set_network(self, _running: Running, request: fx.SetNetwork) -> Any:
        return self.configure(request.configuration)

    async def _keep_time(self, _running: Running, request: fx.KeepTime) -> None:
        self.time.keep(request.servers, request.mailbox)

    async def _disconnect(self, _running: Running, _request: fx.Disconnect) -> None:
        await self.uplink.disconnect()

    async def _subscribe(self, _running: Running, request: fx.Subscribe) -> None:
        await self.uplink.subscribe(request.topics)

    async def _publish(self, _running: Running, request: fx.Publish) -> None:
        await self.uplink.publish(request.topic, request.payload)

    async def _heartbeat(self, _running: Running, request: fx.Heartbeat) -> None:
        self.uplink.beat(request.topic, request.payload, request.every_s / self.time_scale)

    async def _upload(self, _running: Running, request: fx.Upload) -> None:
        self._need_route(request.url)
        await self.uplink.post(request.url, request.document)

    async def _upload_every(self, _running: Running, request: fx.UploadEvery) -> None:
        self.uplink.post_every(request.url, request.document, request.every_s / self.time_scale)

    async def _get(self, _running: Running, request: fx.Get) -> bytes:
        self._need_route(request.url)
        return await self.uplink.get(request.url, request.limit)

    async def _reach(self, _running: Running, request: fx.Reach) -> None:
        self._need_route(request.endpoint)
        await self.uplink.reach(request.endpoint, request.timeout_s)

    async def _fetch(self, _running: Running, request: fx.Fetch) -> int:
        """Stream to storage a step at a time; what was synced before a break stays."""
        self._need_route(request.url)
        partition = self.disk[request.partition]
        done = request.start
        until = request.until or request.size
        try:
            async for chunk in self.uplink.stream(
                request.url, done, until, request.size, request.chunk
            ):
                partition.write(request.offset + done, chunk)
                await self._synced(partition)
                done += len(chunk)
        except (LinkDown, PeerTimeout):
            if done == request.start:
                raise
        return done

    # --- effects: the box ----------------------------------------------------------------------

    async def _read_stick(
        self, _running: Running, _request: fx.ReadStick
    ) -> Mapping[str, bytes] | None:
        return self.read_stick()

    async def _write_stick(self, _running: Running, request: fx.WriteStick) -> None:
        self.write_stick(request.name, request.data)

    async def _seal(self, _running: Running, request: fx.Seal) -> bytes:
        return seal(request.data, self.board.log_key, os.urandom(KEY_BYTES))

    async def _panel(self, _running: Running, request: fx.Panel) -> None:
        light = (request.colour, request.pattern)
        if self._leds.get(request.led) != light:
            self._leds[request.led] = light
            values = {"led": request.led, "colour": request.colour, "pattern": request.pattern}
            self.note(self.source, kind.LED, values)

    async def _reboot(self, _running: Running, request: fx.Restart) -> None:
        self._switch(self._restart(request.reason))
        await _for_ever()

    async def _shutdown(self, _running: Running, request: fx.Shutdown) -> None:
        self._switch(self._power_off(request.reason))
        await _for_ever()

    async def _halt(self, _running: Running, request: fx.Halt) -> None:
        self._switch(self._stop(request.reason))
        await _for_ever()

    async def _measure(self, _running: Running, _request: fx.Measure) -> fx.Usage:
        memory, console = self.nodes.usage(self.name)
        return fx.Usage(
            memory_used=memory,
            memory_total=self.profile.memory_bytes,
            log=self._log_bytes,
            console=console,
        )

    async def _trim_log(self, _running: Running, request: fx.TrimLog) -> None:
        self._log_bytes = min(self._log_bytes, request.keep_bytes)

    async def _govern(self, _running: Running, _request: fx.Govern) -> None:
        """This rung knows no heat."""

    async def _charge(self, _running: Running, request: fx.Charge) -> None:
        cost_s = {"boot": self.profile.boot_s, "self-test": 1.0}[request.work]
        await asyncio.sleep(cost_s * request.amount / self.time_scale)

    async def _note(self, _running: Running, request: fx.Note) -> None:
        self.note(self.source, request.kind, request.values)
        self._log_bytes += len(msgspec.json.encode(request.values))
        self.deliver(Mailbox.TELEMETRY, fx.Noted(self.wall_s(), request.kind, request.values))

    # --- effects: applications -----------------------------------------------------------------

    async def _start_node(self, _running: Running, request: fx.StartNode) -> None:
        await self.nodes.start(self, request)

    async def _stop_node(self, _running: Running, request: fx.StopNode) -> None:
        await self.nodes.stop(request.instance, "stopped")

    async def _pause_cameras(self, _running: Running, request: fx.PauseCameras) -> None:
        self.nodes.pause(request.instance, request.nodes)


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


_HANDLERS: dict[type[fx.Effect], Callable[[Machine, Running, Any], Awaitable[Any]]] = {
    fx.Sleep: Machine._sleep,
    fx.Now: Machine._now,
    fx.Clock: Machine._clock,
    fx.Draw: Machine._draw,
    fx.Spawn: Machine._spawn,
    fx.Post: Machine._post,
    fx.Receive: Machine._receive,
    fx.ReceiveAll: Machine._receive_all,
    fx.Read: Machine._read,
    fx.Write: Machine._write,
    fx.Sync: Machine._sync,
    fx.Copy: Machine._copy,
    fx.Erase: Machine._erase,
    fx.Digest: Machine._digest,
    fx.WatchStorage: Machine._watch_storage,
    fx.ReadFuses: Machine._read_fuses,
    fx.BlowFuses: Machine._blow_fuses,
    fx.SetNetwork: Machine._set_network,
    fx.KeepTime: Machine._keep_time,
    fx.MakeKey: Machine._make_key,
    fx.UseIdentity: Machine._use_identity,
    fx.Connect: Machine._connect,
    fx.Disconnect: Machine._disconnect,
    fx.Subscribe: Machine._subscribe,
    fx.Publish: Machine._publish,
    fx.Heartbeat: Machine._heartbeat,
    fx.Upload: Machine._upload,
    fx.UploadEvery: Machine._upload_every,
    fx.Get: Machine._get,
    fx.Fetch: Machine._fetch,
    fx.Reach: Machine._reach,
    fx.ReadStick: Machine._read_stick,
    fx.WriteStick: Machine._write_stick,
    fx.Seal: Machine._seal,
    fx.Panel: Machine._panel,
    fx.Restart: Machine._reboot,
    fx.Shutdown: Machine._shutdown,
    fx.Halt: Machine._halt,
    fx.Measure: Machine._measure,
    fx.TrimLog: Machine._trim_log,
    fx.Govern: Machine._govern,
    fx.Charge: Machine._charge,
    fx.Note: Machine._note,
    fx.StartNode: Machine._start_node,
    fx.StopNode: Machine._stop_node,
    fx.PauseCameras: Machine._pause_cameras,
}
