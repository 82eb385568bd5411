"""The smallest engine there is: one appliance, one thread, virtual time, every effect a step.

An engine has to do what is here and nothing more: resume a generator with the outcome of the
effect it yielded, or throw the error into it; keep mailboxes; pass time when nobody can go on;
and, when power is lost, drop the generators and whatever was not synced. Programs take turns
after every effect, the hardest schedule an engine may choose; `schedule` makes it a random one.

Power can be lost before any *moment*: an effect, and inside a `Fetch` the write and the sync of
every step. `cut_at` names the moment, `keeps` says what survives of unsynced writes; `watch` is
called at every moment and may look at what a cut would leave (`after_cut`).
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.appliance import effect as fx
from harness.appliance.boot import power_on
from harness.appliance.firmware import Board, Mailbox
from harness.appliance.release import release
from harness.appliance.storage import DATA, PAGE_BYTES, Blob, Survival
from harness.engine.seal import KEY_BYTES, seal
from harness.engine.surroundings import Surroundings
from harness.engine.sweep.cloud import BOARD, EPOCH_S, LOG_KEY, ROOT_KEY, UPDATE_ROOT, Cloud
from harness.engine.timekeeping import Timekeeper
from harness.engine.wiring import PORTS, SINGLE, Wiring
from harness.errors import (
    EngineError,
    HarnessError,
    LinkDown,
    NotFound,
    PeerError,
    PeerRefused,
    PeerTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.appliance.firmware import Steps
    from harness.appliance.image import Manifest
    from harness.appliance.storage import Disk

MOMENTS_MAX = 1_000_000  # a run that takes more does not end by itself
SHUTDOWN_S = 10.0
BOOT_S = 60.0
_WAIT = object()


class PowerLost(Exception):
    """Raised inside the box at the chosen moment; never seen outside."""


@dataclass(eq=False, slots=True)
class Running:
    """A program and its mailbox; a timer of an earlier wait finds `ticket` changed."""

    name: str
    generator: fx.Program[None]
    mailbox: deque[object] = field(default_factory=deque)
    receiving: bool = False
    ticket: int = 0


class Box(Surroundings):
    """The appliance on a bench: what can be seen of it and done to it."""

    def __init__(self, disk: Disk, cloud: Cloud) -> None:
        self.disk = disk
        self.cloud = cloud
        self.release: Callable[[Manifest], Steps] = release
        self.board = Board(
            BOARD, ROOT_KEY, UPDATE_ROOT, "serial-1", disk["slot-a"].size, disk[DATA].size, LOG_KEY
        )
        self.now_s = 0.0
        self.powered = False
        self.halted = ""
        self.stopped = ""  # why it powered off in good order
        self.uplink = "up"  # or "broken": connections are refused
        self.blocked: set[str] = set()  # endpoints that a firewall does not let through
        self.break_after_steps: int | None = None  # steps of downloads until the link breaks
        self.notes: list[tuple[str, Mapping[str, Any]]] = []
        self.leds: list[tuple[str, str, str]] = []
        self.restarts: list[str] = []
        self.nodes: dict[str, Mapping[str, bytes]] = {}  # running: instance -> asset bytes
        self.paused: dict[str, tuple[str, ...]] = {}  # camera nodes of those that run
        self.crashes: dict[str, int] = {}  # how often an instance still crashes after its start
        self.unstartable: set[str] = set()
        self.fetches: list[tuple[str, int]] = []  # url, and the byte it went on from
        self.moments = 0
        self.cut_at: int | None = None
        self.keeps: Callable[[str, int], int] = lambda _partition, _index: Survival.LOST
        self.watch: Callable[[Box], None] | None = None
        self.schedule: random.Random | None = None
        self.seed = 7
        self.draw = random.Random(self.seed)
        self._programs: dict[str, Running] = {}
        self._ready: list[tuple[Running, Any, HarnessError | None]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.wiring = Wiring(SINGLE, self.board.serial)
        self.time = Timekeeper(
            lambda: EPOCH_S + self.now_s, self._after, self.deliver, lambda: self.wiring.no_cloud
        )
        self._link = ""  # the mailbox of the connection, when there is one
        self._topics: set[str] = set()

    # --- from outside --------------------------------------------------------------------------

    def power_up(self, press: fx.Pressed | None = None) -> None:
        if not self.powered:
            self.time.power_up()
        self.powered, self.halted = True, ""
        self._launch("main", power_on(self.board, self.release, press))

    def press(self, *buttons: str, held_s: float = 1.0) -> None:
        """Hold buttons and release them; an appliance that is off powers on by that."""
        pressed = fx.Pressed(frozenset(buttons), held_s)
        if self.powered:
            self.deliver("panel", pressed)
        else:
            self.power_up(pressed)

    def cut_power(self, keeps: Callable[[str, int], int] | None = None) -> None:
        """Programs are gone at once; of the unsynced writes survives what `keeps` says."""
        self.powered = False
        self._drop()
        self.disk.cut(keeps or self.keeps)

    def break_link(self, reason: str = "connection reset") -> None:
        """The connection is lost and new ones are refused until `mend_link`."""
        self.uplink = "broken"
        mailbox = self._link
        self._hang_up()
        self.deliver(mailbox, fx.LinkLost(reason))

    def mend_link(self) -> None:
        self.uplink = "up"

    def rewired(self, cloud: str, cameras: str, reason: str) -> None:
        """Connections end that went another way before."""
        if cloud and cloud != self.wiring.cloud and self._link:
            mailbox = self._link
            self._hang_up()
            self.deliver(mailbox, fx.LinkLost(reason))
        self.time.look()

    def spoil(self, trouble: str) -> None:
        """The data partition is `read_only` or `full` from now on."""
        setattr(self.disk[DATA], trouble, True)
        self.deliver(Mailbox.STORAGE, fx.StorageTrouble())

    def mend(self) -> None:
        """Cables, servers of the time and storage are as they should be."""
        for port in PORTS:
            if not self.wiring.cables[port]:
                self.set_cable(port, connected=True)
        self.time.answers = True
        self.time.look()
        data = self.disk[DATA]
        data.read_only = data.full = False

    def crash(self, instance: str, code: int = 1) -> None:
        """The application's process ends by itself."""
        del self.nodes[instance]
        self.deliver("applications", fx.NodeEnded(instance, code, f"exit code {code}"))

    def fork(self) -> Box:
        """A twin of a box that is off; it shares nothing with this one."""
        if self.powered:
            raise EngineError("a box with power cannot be forked: cut it first, or use after_cut")
        return self._twin(self.disk.fork())

    def after_cut(self, survivors: Mapping[str, Sequence[Survival]]) -> Box:
        """What a power cut would leave at this moment: a box that is off. This one goes on.

        `survivors` gives for each partition with unsynced writes what is left of each.
        """
        return self._twin(self.disk.after_cut(lambda name, index: survivors[name][index]))

    def _twin(self, disk: Disk) -> Box:
        twin = Box(disk, self.cloud.twin())
        twin.release, twin.now_s = self.release, self.now_s
        twin.stick = None if self.stick is None else self.stick.copy()
        # Drawn from where it was cut, not from this box's chance: looking changes nothing.
        twin.seed = (self.seed * 1_000_003 + self.moments) & 0xFFFFFFFF
        twin.draw = random.Random(twin.seed)
        twin.time.offset_s = self.time.offset_s
        return twin

    def run(self, until: Callable[[], bool] | None = None, *, for_s: float = 3600.0) -> bool:
        """Go on until `until` holds, power is lost, or `for_s` have passed. Outcome: `until`."""
        end_s = self.now_s + for_s
        try:
            while not (until is not None and until()):
                if self._ready:
                    self._advance()
                elif self._timers and self._timers[0][0] <= end_s:
                    self.now_s, _, act = heapq.heappop(self._timers)
                    act()
                else:
                    self.now_s = end_s
                    return False
        except PowerLost:
            self.cut_power()
            return False
        return True

    def noted(self, kind: str) -> list[Mapping[str, Any]]:
        return [values for noted, values in self.notes if noted == kind]

    @property
    def connected(self) -> bool:
        return bool(self._link)

    @property
    def online(self) -> bool:
        return self.connected and "updater" in self._programs

    @property
    def idle(self) -> bool:
        """Nothing can go on before time passes or somebody says something."""
        return not self._ready

    # --- programs ------------------------------------------------------------------------------

    def _launch(self, name: str, generator: fx.Program[None]) -> None:
        if name in self._programs:
            self._programs[name].generator.close()
        self._programs[name] = Running(name, generator)
        self._ready.append((self._programs[name], None, None))

    def deliver(self, mailbox: str, message: object) -> None:
        running = self._programs.get(mailbox)
        if running is not None:
            running.mailbox.append(message)
            if running.receiving:
                self._resume(running, running.mailbox.popleft())

    def _resume(self, running: Running, value: Any) -> None:
        running.receiving = False
        running.ticket += 1
        self._ready.append((running, value, None))

    def _drop(self) -> None:
        self._hang_up()
        self.time.stop()
        for running in self._programs.values():
            running.generator.close()
        self._programs.clear()
        self._ready.clear()
        self._timers.clear()
        self.nodes.clear()

    def _hang_up(self) -> None:
        self._link = ""
        self._topics.clear()
        self.cloud.hang_up()

    def _moment(self) -> None:
        if self.moments == self.cut_at:
            raise PowerLost
        if self.watch is not None:
            self.watch(self)
        self.moments += 1
        if self.moments >= MOMENTS_MAX:
            raise EngineError(f"the box does not come to rest in {MOMENTS_MAX} moments")

    def _advance(self) -> None:
        """One effect of one program."""
        turn = 0 if self.schedule is None else self.schedule.randrange(len(self._ready))
        running, value, error = self._ready.pop(turn)
        if self._programs.get(running.name) is not running:
            return
        try:
            request = running.generator.send(value) if error is None else _throw(running, error)
        except StopIteration:
            del self._programs[running.name]
            return
        self._moment()
        try:
            value, error = _HANDLERS[type(request)](self, running, request), None
        except HarnessError as problem:
            value, error = None, problem
        if value is not _WAIT:
            self._ready.append((running, value, error))

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now_s + delay_s, next(self._numbers), act))

    def _wait(self, running: Running, delay_s: float) -> object:
        running.ticket += 1
        ticket = running.ticket

        def due() -> None:
            if running.ticket == ticket and self._programs.get(running.name) is running:
                self._resume(running, None)

        self._after(delay_s, due)
        return _WAIT

    # --- time, chance, programs ----------------------------------------------------------------

    def _sleep(self, running: Running, request: fx.Sleep) -> object:
        return self._wait(running, request.delay_s)

    def _receive_all(self, running: Running, _request: fx.ReceiveAll) -> object:
        messages = tuple(running.mailbox)
        running.mailbox.clear()
        return messages

    def _receive(self, running: Running, request: fx.Receive) -> object:
        if running.mailbox:
            return running.mailbox.popleft()
        running.receiving = True
        return _WAIT if request.timeout_s is None else self._wait(running, request.timeout_s)

    # --- network -------------------------------------------------------------------------------

    def _connect(self, _running: Running, request: fx.Connect) -> None:
        self._need_route()
        refused = self.cloud.refusal(request.client_id)
        if refused:
            raise PeerRefused(refused)
        self._hang_up()
        self._link = request.mailbox
        self.cloud.say = self._arrive

    def _arrive(self, topic: str, message: Mapping[str, Any]) -> None:
        if topic in self._topics:
            self.deliver(self._link, fx.MessageArrived(topic, message))

    def _need_route(self) -> None:
        if self.wiring.no_cloud:
            raise LinkDown(self.wiring.no_cloud)
        if self.time.offset_s:
            self.time.refuse_invalid("control plane")
        if self.uplink != "up":
            raise LinkDown("connection refused")

    def _need_link(self) -> None:
        if not self._link:
            raise LinkDown("no connection to the control plane")

    def _subscribe(self, _running: Running, request: fx.Subscribe) -> None:
        self._need_link()
        self._topics.update(request.topics)

    def _publish(self, _running: Running, request: fx.Publish) -> None:
        self._need_link()
        self.cloud.receive(request.topic, request.payload)

    def _content(self, url: str) -> bytes | Blob:
        self._need_route()
        if url not in self.cloud.content:
            raise NotFound(f"{url}: 404 Not Found")
        return self.cloud.content[url]

    def _get(self, _running: Running, request: fx.Get) -> bytes:
        content = self._content(request.url)
        if isinstance(content, Blob):
            raise EngineError(f"{request.url}: bulk content is fetched, not got")
        if len(content) > request.limit:
            raise PeerRefused(f"{request.url}: larger than {request.limit} bytes")
        return content

    def _reach(self, _running: Running, request: fx.Reach) -> None:
        self._need_route()
        if request.endpoint in self.blocked:
            raise PeerTimeout(f"{request.endpoint}: no answer in {request.timeout_s:g} s")

    def _fetch(self, _running: Running, request: fx.Fetch) -> int:
        """Step by step: write, sync, and perhaps the link or the power goes in between."""
        content, partition = self._content(request.url), self.disk[request.partition]
        size = content.size if isinstance(content, Blob) else len(content)
        if size != request.size:
            raise PeerRefused(f"{request.url}: {size} bytes, not {request.size}")
        self.fetches.append((request.url, request.start))
        done, until = request.start, request.until or size
        if self._unobserved and isinstance(content, Blob):
            self._pass_steps(until - done, request.chunk)
            done = until - 1
        while done < until:
            if self.break_after_steps == 0:
                self.break_after_steps = None
                self.break_link()
                return done
            if self.break_after_steps is not None:
                self.break_after_steps -= 1
            step = min(request.chunk, until - done)
            if isinstance(content, Blob):
                partition.write(request.offset, Blob(content.digest, size, done + step))
            else:
                partition.write(request.offset + done, content[done : done + step])
            self._moment()
            partition.sync()
            self._moment()
            done += step
        return done

    @property
    def _unobserved(self) -> bool:
        """Nothing can happen inside a step, and nobody looks: the last one says it all."""
        looked = self.watch is not None or self.cut_at is not None
        return not looked and self.break_after_steps is None

    def _pass_steps(self, size: int, chunk: int) -> None:
        """Count the moments of all steps but the last, which is taken."""
        self.moments += 2 * ((size - 1) // chunk)

    def _copy(self, _running: Running, request: fx.Copy) -> None:
        """Step by step, as a download; bulk content is known to be the same all along."""
        source, target = self.disk[request.source], self.disk[request.target]
        content = source.bulk(request.source_offset, request.size)
        first = 0
        if self._unobserved and isinstance(content, Blob):
            self._pass_steps(request.size, request.chunk)
            first = request.size - 1
        for done in range(first, request.size, request.chunk):
            end = min(done + request.chunk, request.size)
            if isinstance(content, Blob):
                there = min(end, content.length)
                target.write(request.offset, content.upto(there))
            else:
                target.write(request.offset + done, content[done:end])
            self._moment()
            target.sync()
            self._moment()

    def _erase(self, _running: Running, request: fx.Erase) -> None:
        """In two parts, between which power may go."""
        partition = self.disk[request.partition]
        places = sorted({*(n * PAGE_BYTES for n in partition.current), *partition.blobs, 0})
        half = places[len(places) // 2]  # the middle of the content, not of all that is empty
        partition.erase(half, partition.size)
        self._moment()
        partition.erase(0, half)

    # --- the box -------------------------------------------------------------------------------

    def _seal(self, _running: Running, request: fx.Seal) -> bytes:
        return seal(request.data, self.board.log_key, self.draw.randbytes(KEY_BYTES))

    def _panel(self, _running: Running, request: fx.Panel) -> None:
        self.leds.append((request.led, request.colour, request.pattern))

    def _restart(self, _running: Running, request: fx.Restart) -> object:
        self.restarts.append(request.reason)
        self.disk.sync_all()
        self._drop()
        self._after(SHUTDOWN_S, self.power_up)
        return _WAIT

    def _shutdown(self, _running: Running, request: fx.Shutdown) -> object:
        self.disk.sync_all()
        self._drop()
        self.powered = False
        self.stopped = request.reason
        return _WAIT

    def _halt(self, _running: Running, request: fx.Halt) -> object:
        self.halted = request.reason
        self._drop()
        return _WAIT

    def _charge(self, running: Running, request: fx.Charge) -> object:
        cost_s = {"boot": BOOT_S, "self-test": 1.0}[request.work]
        return self._wait(running, cost_s * request.amount)

    # --- applications --------------------------------------------------------------------------

    def _start_node(self, _running: Running, request: fx.StartNode) -> None:
        instance = request.instance
        if instance in self.unstartable:
            raise PeerError(f"{instance}: cannot be executed")
        places = {name: self.disk[p].read(at, n) for name, (p, at, n) in request.assets.items()}
        self.nodes[instance] = places
        self.paused[instance] = request.paused
        if self.crashes.get(instance, 0) > 0:
            self.crashes[instance] -= 1
            self._after(1.0, lambda: self.crash(instance))

    def _pause_cameras(self, _running: Running, request: fx.PauseCameras) -> None:
        if request.instance in self.nodes:
            self.paused[request.instance] = request.nodes

    def _stop_node(self, _running: Running, request: fx.StopNode) -> None:
        self.nodes.pop(request.instance, None)


def _throw(running: Running, error: HarnessError) -> fx.Effect:
    return running.generator.throw(error)


_HANDLERS: dict[type[fx.Effect], Callable[[Box, Running, Any], Any]] = {
    fx.Sleep: Box._sleep,
    fx.Now: lambda box, _running, _request: EPOCH_S + box.now_s,
    fx.Clock: lambda box, _running, _request: EPOCH_S + box.now_s + box.time.offset_s,
    fx.Draw: lambda box, _running, _request: box.draw.random(),
    fx.Spawn: lambda box, _running, request: box._launch(request.name, request.program),
    fx.Post: lambda box, _running, request: box.deliver(request.to, request.message),
    fx.Receive: Box._receive,
    fx.ReceiveAll: Box._receive_all,
    fx.Read: lambda box, _running, r: box.disk[r.partition].read(r.offset, r.length),
    fx.Write: lambda box, _running, r: box.disk[r.partition].write(r.offset, r.data),
    fx.Sync: lambda box, _running, r: box.disk[r.partition].sync(),
    fx.Digest: lambda box, _running, r: box.disk[r.partition].digest(r.offset, r.length),
    fx.Copy: Box._copy,
    fx.Erase: Box._erase,
    fx.WatchStorage: lambda box, _running, _request: box.disk[DATA].troubled,
    fx.ReadFuses: lambda box, _running, _request: box.disk.fuses,
    fx.BlowFuses: lambda box, _running, request: box.disk.blow(request.level),
    fx.MakeKey: lambda _box, _running, request: (f"key of {request.common_name}", "request"),
    fx.UseIdentity: lambda _box, _running, _request: None,
    fx.Connect: Box._connect,
    fx.Disconnect: lambda box, _running, _request: box._hang_up(),
    fx.SetNetwork: lambda box, _running, r: box.configure(r.configuration),
    fx.KeepTime: lambda box, _running, r: box.time.keep(r.servers, r.mailbox),
    fx.Subscribe: Box._subscribe,
    fx.Publish: Box._publish,
    fx.Heartbeat: lambda box, _running, _request: box._need_link(),
    fx.Upload: lambda box, _running, _request: box._need_route(),
    fx.UploadEvery: lambda box, _running, _request: box._need_link(),
    fx.Get: Box._get,
    fx.Fetch: Box._fetch,
    fx.Reach: Box._reach,
    fx.ReadStick: lambda box, _running, _request: box.read_stick(),
    fx.WriteStick: lambda box, _running, r: box.write_stick(r.name, r.data),
    fx.Seal: Box._seal,
    fx.Panel: Box._panel,
    fx.Restart: Box._restart,
    fx.Shutdown: Box._shutdown,
    fx.Halt: Box._halt,
    fx.Charge: Box._charge,
    fx.Measure: lambda _box, _running, _request: fx.Usage(1 << 30, 32 << 30, 0, 0),
    fx.TrimLog: lambda _box, _running, _request: None,
    fx.Govern: lambda _box, _running, _request: None,
    fx.Note: lambda box, _running, request: box.notes.append((request.kind, request.values)),
    fx.StartNode: Box._start_node,
    fx.StopNode: Box._stop_node,
    fx.PauseCameras: Box._pause_cameras,
}
