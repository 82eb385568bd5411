"""One appliance in virtual time: interprets the effects of its programs on a simpy clock.

Periodic heartbeats are accounted for, not stepped: while the link is up they are known to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.appliance import effect as fx
from harness.appliance.boot import power_on
from harness.appliance.firmware import Mailbox
from harness.appliance.release import release
from harness.appliance.storage import DATA, Blob, Disk, by_chance
from harness.engine.board import Board
from harness.engine.factory import REAL_BYTES_MAX, board, flash, sizes
from harness.engine.model.programs import WAIT, Programs, Running
from harness.engine.seal import KEY_BYTES, seal
from harness.engine.surroundings import Surroundings
from harness.engine.timekeeping import Timekeeper
from harness.engine.wiring import Wiring
from harness.errors import HarnessError, LinkDown, PeerRefused, PeerTimeout
from harness.record import kind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    import simpy

    from harness.engine.model.cloud import Cloud
    from harness.engine.model.video import Nodes
    from harness.scenario.plan import AppliancePlan

_CALL_S = 20e-6  # a system call, as a program's smallest step
SYSTEM_BYTES = 2 << 30  # estimate: JetPack 4 with its services, half of it or twice as much
LOG_BYTES_PER_S = 200.0  # estimate: of all of an appliance's own logs together
EPOCH_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z: virtual runs start on a fixed day
ANSWER_TIMEOUT_S = 10.0


class Transfer:
    """A bulk download in closed form: it ends at a known time unless the link breaks before."""

    __slots__ = ("began_s", "content", "program", "request")

    def __init__(self, program: Running, request: fx.Fetch, content: Any, began_s: float) -> None:
        self.program = program
        self.request = request
        self.content = content
        self.began_s = began_s


class Machine(Programs, Surroundings):
    """An appliance: its disk survives power cuts, everything else here does not."""

    def __init__(
        self,
        plan: AppliancePlan,
        env: simpy.Environment,
        cloud: Cloud,
        nodes: Nodes,
        note: Callable[[str, str, Mapping[str, Any]], None],
        draw: random.Random,
        seed: int,
    ) -> None:
        super().__init__(env)
        self.name = plan.name
        self.profile = plan.profile
        self.source = f"appliance/{plan.name}"
        self.board = board(plan.profile, seed, plan.name)
        self.disk = Disk(sizes(plan.profile))
        flash(self.disk, plan, seed, virtual=True)
        self.hardware = Board(plan, env.now, nodes.settled)
        self.cloud = cloud
        self.nodes = nodes
        self.note = note
        self.draw = draw
        self.powered = False
        self.halted = False  # it has power, and will do nothing more with it
        self._unanswered = False  # something was lost while nothing passed
        self.uplink = "up"  # or broken: connections are refused, or hushed: nothing passes
        self.blocked = frozenset(plan.blocked)  # by a firewall, which answers nothing
        self.wiring = Wiring(plan.network.layout, self.board.serial)
        self.time = Timekeeper(self._true_s, self._after, self.deliver, self._no_time)
        self.heartbeats = 0
        self._certificate = ""
        self._client = ""
        self._thing = ""  # the last client id the device connected as
        self._link_mailbox = ""
        self._beating: tuple[float, float] | None = None  # since when, every how many seconds
        self._subscriptions: frozenset[str] = frozenset()
        self._transfers: list[Transfer] = []
        self._leds: dict[str, tuple[str, str]] = {}
        self._life = 0
        self._hot = False  # as it was last told to the firmware of this life
        self._logged: tuple[float, float] = (env.now, 0.0)  # when they were so many bytes

    # --- power -----------------------------------------------------------------------------------

    def power_up(self, press: fx.Pressed | None = None) -> None:
        if self.powered:
            return
        self.powered, self.halted = True, False
        self.time.power_up()
        self.note(self.source, kind.POWERED, {})
        self._boot(press)

    def press(self, buttons: frozenset[str], held_s: float) -> None:
        """Hold buttons and release them; an appliance that is off powers on by that."""
        pressed = fx.Pressed(buttons, held_s)
        if self.powered and self.halted:
            self.cut_power("unplugged")  # it does not answer to buttons any more
        if self.powered:
            self.deliver("panel", pressed)
        else:
            self.power_up(pressed)

    def _boot(self, press: fx.Pressed | None = None) -> None:
        self.hardware.throttles = True
        self._start("main", power_on(self.board, release, press))

    def cut_power(self, reason: str = "power-cut") -> None:
        """Drop every program; of the unsynced writes each survives by chance."""
        if not self.powered:
            return
        self.powered = False
        self._drop_programs(reason)
        self.disk.cut(by_chance(self.draw.random))
        self.note(self.source, kind.STOPPED, {"reason": reason})

    def _restart(self, reason: str) -> None:
        self.disk.sync_all()
        self._drop_programs(reason)
        self.note(self.source, kind.STOPPED, {"reason": reason})
        life = self._life
        self._after(self.profile.shutdown_s, lambda: self._restarted(life))

    def _restarted(self, life: int) -> None:
        if self.powered and life == self._life:
            self._boot()

    def _drop_programs(self, reason: str) -> None:
        self._life += 1
        self.time.stop()
        self.nodes.stop_all(self.name, reason)
        self._hang_up()
        self._drop_all()
        self._transfers.clear()
        self._leds.clear()
        self._hot = False

    # --- the network, from outside ---------------------------------------------------------------

    def break_uplink(self) -> None:
        self.uplink = "broken"
        self.time.look()
        self._lose("connection reset")

    def hush_uplink(self, timeout_s: float) -> None:
        """Nothing passes; the client notices when its keep-alive is not answered."""
        self.uplink = "hushed"
        self.time.look()
        life = self._life
        client = self._client
        self._after(timeout_s, lambda: self._hushed(life, client))

    def _hushed(self, life: int, client: str) -> None:
        if life == self._life and client and client == self._client and self.uplink == "hushed":
            self._lose("keep-alive timed out")

    def restore_uplink(self) -> None:
        """A connection that something was lost on meanwhile is found to be broken."""
        self.uplink = "up"
        self.time.look()
        if self._unanswered:
            self._lose("what was sent meanwhile was never acknowledged")

    def rewired(self, cloud: str, cameras: str, reason: str) -> None:
        """What went another way before ends, or falls silent; what has a way again goes on."""
        if cloud and cloud != self.wiring.cloud:
            self._lose(reason)
        if cameras != self.wiring.cameras:
            self.nodes.rewired(self, lost=bool(cameras and self.wiring.cameras))
        self.time.look()

    def _no_time(self) -> str:
        return self.wiring.no_cloud or ("" if self.uplink == "up" else "no answer")

    def _lose(self, reason: str) -> None:
        for transfer in self._transfers:
            self._transferred(transfer)
        self._transfers.clear()
        mailbox = self._link_mailbox
        if self._client:
            self._hang_up()
            self.deliver(mailbox, fx.LinkLost(reason))

    def disconnected_by_peer(self, reason: str) -> None:
        self._lose(reason)

    def arrive(self, topic: str, payload: Mapping[str, Any]) -> None:
        """A message from the control plane, if this device subscribed to it."""
        if self._client and topic in self._subscriptions:
            life = self._life
            delay_s = self.profile.round_trip_s / 2
            self._after(delay_s, lambda: self._arrived(topic, payload, life))

    def _arrived(self, topic: str, payload: Mapping[str, Any], life: int) -> None:
        if life != self._life or not self._client:
            return
        if self.uplink == "hushed":
            self._unanswered = True
        elif self.uplink == "up":
            self.deliver(self._link_mailbox, fx.MessageArrived(topic, payload))

    def printed(self, instance: str, line: str) -> None:
        """An application wrote a line; the logs agent hears of it."""
        output = fx.NodeOutput(self.wall_s(), instance, "console_output", (line,))
        self.deliver(Mailbox.TELEMETRY, output)

    def feel(self, hot: bool, temperature_c: float) -> None:
        """The board's sensor, as firmware hears of it."""
        if hot != self._hot:
            self._hot = hot
            self.deliver(Mailbox.PANEL, fx.Heated(hot, temperature_c))

    def _hang_up(self) -> None:
        self._unanswered = False
        if self._beating is not None:
            since_s, every_s = self._beating
            self.heartbeats += int((self.env.now - since_s) / every_s)
            self._beating = None
        if self._client:
            client, self._client = self._client, ""
            self._subscriptions = frozenset()
            self.cloud.disconnected(client, self)

    # --- effects: time, chance, programs ---------------------------------------------------------

    def _sleep(self, program: Running, request: fx.Sleep) -> Any:
        return self._wait(program, request.delay_s)

    def _now(self, program: Running, _request: fx.Now) -> Any:
        return EPOCH_S + self.env.now + program.debt_s

    def _clock(self, program: Running, _request: fx.Clock) -> Any:
        return self.wall_s() + program.debt_s

    def wall_s(self) -> float:
        """What the appliance takes for the time."""
        return EPOCH_S + self.env.now + self.time.offset_s

    def _true_s(self) -> float:
        return EPOCH_S + self.env.now

    def _draw(self, _program: Running, _request: fx.Draw) -> Any:
        return self.draw.random()

    def _spawn(self, _program: Running, request: fx.Spawn) -> Any:
        self._launch(request.name, request.program)

    def _post(self, program: Running, request: fx.Post) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self.deliver(request.to, request.message)
        return None

    def _receive_all(self, program: Running, _request: fx.ReceiveAll) -> Any:
        messages = tuple(program.mailbox)
        program.mailbox.clear()
        return messages

    def _receive(self, program: Running, request: fx.Receive) -> Any:
        if program.mailbox:
            return program.mailbox.popleft()
        program.receiving = True
        if request.timeout_s is not None:
            return self._wait(program, request.timeout_s)
        return WAIT

    # --- effects: storage ------------------------------------------------------------------------

    def _read(self, program: Running, request: fx.Read) -> Any:
        program.debt_s += _CALL_S + request.length / self.profile.storage_read_bytes_per_s
        return self.disk[request.partition].read(request.offset, request.length)

    def _write(self, program: Running, request: fx.Write) -> Any:
        program.debt_s += _CALL_S
        self.disk[request.partition].write(request.offset, request.data)

    def _sync(self, program: Running, request: fx.Sync) -> Any:
        partition = self.disk[request.partition]
        pending = sum(len(c) for _, c in partition.pending if isinstance(c, bytes))
        program.debt_s += self.profile.sync_s + pending / self.profile.storage_write_bytes_per_s
        program.debt_s += partition.slow_s
        partition.sync()

    def _copy(self, program: Running, request: fx.Copy) -> Any:
        """Bulk work in closed form: it is all there at a known time, and nothing before."""
        program.wait += 1
        number = program.wait
        profile = self.profile
        rate = min(profile.storage_read_bytes_per_s, profile.storage_write_bytes_per_s)
        debt_s, program.debt_s = program.debt_s, 0.0

        def due(_event: object) -> None:
            if program.wait == number:
                content = self.disk[request.source].bulk(request.source_offset, request.size)
                target = self.disk[request.target]
                target.write(request.offset, content)
                target.sync()
                self._resume(program, None, None)

        self.env.timeout(debt_s + request.size / rate).callbacks.append(due)
        return WAIT

    def _erase(self, program: Running, request: fx.Erase) -> Any:
        program.debt_s += self.profile.sync_s
        partition = self.disk[request.partition]
        partition.erase(0, partition.size)

    def _digest(self, program: Running, request: fx.Digest) -> Any:
        program.debt_s += _CALL_S + request.length / self.profile.hash_bytes_per_s
        return self.disk[request.partition].digest(request.offset, request.length)

    def _watch_storage(self, _program: Running, _request: fx.WatchStorage) -> Any:
        return self.disk[DATA].troubled

    def _read_fuses(self, program: Running, _request: fx.ReadFuses) -> Any:
        program.debt_s += _CALL_S
        return self.disk.fuses

    def _blow_fuses(self, program: Running, request: fx.BlowFuses) -> Any:
        program.debt_s += self.profile.sync_s
        self.disk.blow(request.level)

    # --- effects: network ------------------------------------------------------------------------

    def _make_key(self, program: Running, request: fx.MakeKey) -> Any:
        program.debt_s += 0.01  # EC P-256 on one Carmel core, order of magnitude
        return f"symbolic key of {request.common_name}", f"request of {request.common_name}"

    def _use_identity(self, _program: Running, request: fx.UseIdentity) -> Any:
        self._certificate = request.certificate_pem

    def _connect(self, program: Running, request: fx.Connect) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._need_route(program, request.endpoint, request.timeout_s)
        self._hang_up()
        # TCP and TLS 1.3 take two round trips, MQTT CONNECT one more.
        program.debt_s += 3 * self.profile.round_trip_s
        refused = self.cloud.refusal(request.client_id, self._certificate)
        if refused:
            raise PeerRefused(f"{request.endpoint}: {refused}")
        self._client = self._thing = request.client_id
        self._link_mailbox = request.mailbox
        self.cloud.connected(request.client_id, self)
        return None

    def _need_route(self, program: Running, where: str, timeout_s: float) -> None:
        """Raise what a client sees of a broken uplink, after the time it takes to see it."""
        if self.wiring.no_cloud:
            raise LinkDown(f"{where}: {self.wiring.no_cloud}")
        if self.uplink == "broken":
            program.debt_s += self.profile.round_trip_s
            raise LinkDown(f"{where}: connection refused")
        if self.uplink == "hushed":
            program.debt_s += timeout_s
            raise PeerTimeout(f"{where}: no answer in {timeout_s:g} s")
        if self.time.offset_s:
            program.debt_s += 2 * self.profile.round_trip_s
            self.time.refuse_invalid(where)

    def _set_network(self, _program: Running, request: fx.SetNetwork) -> Any:
        return self.configure(request.configuration)

    def _keep_time(self, _program: Running, request: fx.KeepTime) -> Any:
        self.time.keep(request.servers, request.mailbox)

    def _disconnect(self, program: Running, request: fx.Disconnect) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._hang_up()
        return None

    def _subscribe(self, program: Running, request: fx.Subscribe) -> Any:
        self._need_link()
        self._subscriptions |= frozenset(request.topics)
        program.debt_s += self.profile.round_trip_s

    def _publish(self, program: Running, request: fx.Publish) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._need_link()
        self.cloud.receive(self._client, request.topic, request.payload)
        program.debt_s += self.profile.round_trip_s
        return None

    def _heartbeat(self, _program: Running, request: fx.Heartbeat) -> Any:
        self._need_link()
        self._beating = (self.env.now, request.every_s)
        self.cloud.heartbeat(self._client, request.topic, request.payload)

    def _upload(self, program: Running, request: fx.Upload) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._need_route(program, request.url, ANSWER_TIMEOUT_S)
        self.cloud.told(self._thing, request.document, self._certificate)
        size = len(msgspec.json.encode(request.document))
        program.debt_s += 2 * self.profile.round_trip_s + size / self.profile.uplink_bytes_per_s
        return None

    def _upload_every(self, _program: Running, request: fx.UploadEvery) -> Any:
        """Known to come while the link is up: the first stands for all of them."""
        self._need_link()
        self.cloud.told(self._thing, request.document, self._certificate)

    def _get(self, program: Running, request: fx.Get) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._need_route(program, request.url, ANSWER_TIMEOUT_S)
        content = self.cloud.content(request.url, self._thing, self._certificate)
        if content.size_bytes > request.limit:
            raise PeerRefused(f"{request.url}: larger than {request.limit} bytes")
        data = content.read(0, content.size_bytes)
        taken_s = 2 * self.profile.round_trip_s + len(data) / self.profile.uplink_bytes_per_s
        return self._wait(program, taken_s, value=data)

    def _reach(self, program: Running, request: fx.Reach) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._need_route(program, request.endpoint, request.timeout_s)
        program.debt_s += self.profile.round_trip_s
        if request.endpoint in self.blocked:
            program.debt_s += request.timeout_s
            raise PeerTimeout(f"{request.endpoint}: no answer in {request.timeout_s:g} s")
        return None

    def _fetch(self, program: Running, request: fx.Fetch) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._need_route(program, request.url, ANSWER_TIMEOUT_S)
        content = self.cloud.content(request.url, self._thing, self._certificate)
        if content.size_bytes != request.size:
            program.debt_s += 2 * self.profile.round_trip_s
            raise PeerRefused(f"{request.url}: {content.size_bytes} bytes, not {request.size}")
        transfer = Transfer(program, request, content, self.env.now)
        self._transfers.append(transfer)
        left = (request.until or request.size) - request.start
        program.wait += 1
        number = program.wait

        def due(_event: object) -> None:
            if program.wait == number and transfer in self._transfers:
                self._transfers.remove(transfer)
                self._transferred(transfer)

        taken_s = 2 * self.profile.round_trip_s + left / self._transfer_rate(request)
        self.env.timeout(taken_s).callbacks.append(due)
        return WAIT

    def _transferred(self, transfer: Transfer) -> None:
        """The program goes on with what is in place, or with what kept it from there."""
        try:
            done = self._put_content(transfer, self.env.now)
        except HarnessError as problem:
            self._resume(transfer.program, None, problem)
        else:
            self._resume(transfer.program, done, None)

    def _transfer_rate(self, request: fx.Fetch) -> float:
        profile = self.profile
        rate = min(profile.uplink_bytes_per_s, profile.storage_write_bytes_per_s)
        slow_s = self.disk[request.partition].slow_s
        return rate if not slow_s else request.chunk / (request.chunk / rate + slow_s)

    def _put_content(self, transfer: Transfer, now_s: float) -> int:
        """Write what has come by `now_s`, in whole steps. Outcome: bytes in place."""
        request, content = transfer.request, transfer.content
        elapsed_s = now_s - transfer.began_s - 2 * self.profile.round_trip_s
        came = int(max(0.0, elapsed_s + 1e-6) * self._transfer_rate(request))
        until = request.until or request.size
        done = min(until, request.start + came)
        if done < until:
            done = max(request.start, done - done % request.chunk)
        if done > 0:
            partition = self.disk[request.partition]
            digest = self.cloud.digest(content)
            if request.size <= REAL_BYTES_MAX:
                partition.write(request.offset, content.read(0, done))
            else:
                partition.write(request.offset, Blob(digest, request.size, done))
            partition.sync()
        return done

    def _need_link(self) -> None:
        if self._client and self.uplink == "hushed":
            self._unanswered = True
        if not self._client or self.uplink != "up" or self.wiring.no_cloud:
            raise LinkDown("no connection to the control plane")

    # --- effects: the box ------------------------------------------------------------------------

    def _read_stick(self, program: Running, _request: fx.ReadStick) -> Any:
        program.debt_s += _CALL_S
        return self.read_stick()

    def _write_stick(self, _program: Running, request: fx.WriteStick) -> Any:
        self.write_stick(request.name, request.data)

    def _seal(self, _program: Running, request: fx.Seal) -> Any:
        return seal(request.data, self.board.log_key, self.draw.randbytes(KEY_BYTES))

    def _panel(self, program: Running, request: fx.Panel) -> Any:
        light = (request.colour, request.pattern)
        if self._leds.get(request.led) == light:
            return None
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._leds[request.led] = light
        values = {"led": request.led, "colour": request.colour, "pattern": request.pattern}
        self.note(self.source, kind.LED, values)
        return None

    def _reboot(self, program: Running, request: fx.Restart) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self._restart(request.reason)
        return WAIT

    def _shutdown(self, program: Running, request: fx.Shutdown) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self.disk.sync_all()
        self._drop_programs(request.reason)
        life = self._life
        self._after(self.profile.shutdown_s, lambda: self._powered_off(life, request.reason))
        return WAIT

    def _powered_off(self, life: int, reason: str) -> None:
        if self.powered and life == self._life:
            self.powered = False
            self.note(self.source, kind.STOPPED, {"reason": reason})

    def _halt(self, _program: Running, request: fx.Halt) -> Any:
        self.halted = True
        self._drop_programs(request.reason)
        self.note(self.source, kind.STOPPED, {"reason": request.reason})
        return WAIT

    def free_bytes(self, resident: int) -> int:
        """Of memory, when applications hold `resident`; negative when it is not enough."""
        return self.profile.memory_bytes - SYSTEM_BYTES - resident

    def _measure(self, program: Running, _request: fx.Measure) -> Any:
        program.debt_s += _CALL_S
        resident, console = self.nodes.usage(self.name)
        return fx.Usage(
            memory_used=SYSTEM_BYTES + resident,
            memory_total=self.profile.memory_bytes,
            log=self._log_bytes(),
            console=console,
        )

    def _log_bytes(self) -> int:
        since_s, were = self._logged
        return int(were + (self.env.now - since_s) * LOG_BYTES_PER_S)

    def _trim_log(self, program: Running, request: fx.TrimLog) -> Any:
        program.debt_s += self.profile.sync_s
        self._logged = (self.env.now, float(min(self._log_bytes(), request.keep_bytes)))

    def _govern(self, _program: Running, request: fx.Govern) -> Any:
        self.hardware.throttles = request.throttle

    def _charge(self, program: Running, request: fx.Charge) -> Any:
        program.debt_s += self.cost_s(request.work) * request.amount

    def cost_s(self, work: str) -> float:
        """How long a named piece of work takes on this profile."""
        return {"boot": self.profile.boot_s, "self-test": 1.0}[work]

    def _note(self, program: Running, request: fx.Note) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self.note(self.source, request.kind, request.values)
        self.deliver(Mailbox.TELEMETRY, fx.Noted(self.wall_s(), request.kind, request.values))
        return None

    # --- effects: applications -------------------------------------------------------------------

    def _start_node(self, program: Running, request: fx.StartNode) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self.nodes.start(self, request, self.profile.model_load_s)
        return self._wait(program, self.profile.model_load_s)

    def _stop_node(self, program: Running, request: fx.StopNode) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self.nodes.stop(request.instance, "stopped")
        return None

    def _pause_cameras(self, program: Running, request: fx.PauseCameras) -> Any:
        if (waiting := self._again(program, request)) is not None:
            return waiting
        self.nodes.pause(request.instance, request.nodes)
        return None

    handlers: ClassVar[Mapping[type[fx.Effect], Callable[[Any, Running, Any], Any]]] = {
        fx.Sleep: _sleep,
        fx.Now: _now,
        fx.Clock: _clock,
        fx.Draw: _draw,
        fx.Spawn: _spawn,
        fx.Post: _post,
        fx.Receive: _receive,
        fx.ReceiveAll: _receive_all,
        fx.Read: _read,
        fx.Write: _write,
        fx.Sync: _sync,
        fx.Copy: _copy,
        fx.Erase: _erase,
        fx.Digest: _digest,
        fx.WatchStorage: _watch_storage,
        fx.ReadFuses: _read_fuses,
        fx.BlowFuses: _blow_fuses,
        fx.SetNetwork: _set_network,
        fx.KeepTime: _keep_time,
        fx.MakeKey: _make_key,
        fx.UseIdentity: _use_identity,
        fx.Connect: _connect,
        fx.Disconnect: _disconnect,
        fx.Subscribe: _subscribe,
        fx.Publish: _publish,
        fx.Heartbeat: _heartbeat,
        fx.Upload: _upload,
        fx.UploadEvery: _upload_every,
        fx.Get: _get,
        fx.Fetch: _fetch,
        fx.Reach: _reach,
        fx.ReadStick: _read_stick,
        fx.WriteStick: _write_stick,
        fx.Seal: _seal,
        fx.Panel: _panel,
        fx.Restart: _reboot,
        fx.Shutdown: _shutdown,
        fx.Halt: _halt,
        fx.Measure: _measure,
        fx.TrimLog: _trim_log,
        fx.Govern: _govern,
        fx.Charge: _charge,
        fx.Note: _note,
        fx.StartNode: _start_node,
        fx.StopNode: _stop_node,
        fx.PauseCameras: _pause_cameras,
    }
