"""An appliance on files and sockets, without a control plane: power, reboots, programs."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import effect as fx
from harness.engine.process.link import Link
from harness.engine.process.machine import Machine
from harness.engine.process.nodes import Nodes
from harness.engine.process.uplink import Uplink
from harness.engine.stick import Stick
from harness.errors import EngineError, LinkDown, StorageFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from harness.scenario.plan import AppliancePlan

WAIT_S = 10.0
TIME_SCALE = 1000.0


@dataclass
class Log:
    """What the appliance put into the history."""

    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, _source: str, kind: str, values: Mapping[str, Any]) -> None:
        self.events.append((kind, values))
        self.news.set()

    def count(self, kind: str, **wanted: Any) -> int:
        return sum(
            found == kind and wanted.items() <= values.items() for found, values in self.events
        )

    async def until(self, kind: str, times: int = 1, **wanted: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.count(kind, **wanted) < times:
                self.news.clear()
                await self.news.wait()


@dataclass
class Bench:
    machine: Machine
    log: Log


@asynccontextmanager
async def bench_in(directory: Path, plan: AppliancePlan) -> AsyncIterator[Bench]:
    log = Log()
    async with asyncio.TaskGroup() as group:
        link = Link(group)
        home = directory / "north"
        (directory / "nodes").mkdir()
        nodes = Nodes(group, directory / "nodes", {}, log.note, lambda: 0.0, str, {})
        machine = Machine(
            group,
            plan,
            home,
            Uplink(group, link, home, TIME_SCALE),
            nodes,
            log.note,
            asyncio.get_running_loop().time,
            random.Random(1),
            5,
            TIME_SCALE,
        )
        try:
            yield Bench(machine, log)
        finally:
            await nodes.close()
            await machine.close()
            await link.close()


@pytest.fixture
async def bench(tmp_path: Path, make_plan: Any) -> AsyncIterator[Bench]:
    async with bench_in(tmp_path, make_plan("process").appliances[0]) as bench:
        yield bench


async def done(bench: Bench, program: fx.Program[Any]) -> Any:
    """The outcome of a program that runs on the machine."""
    outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def run() -> fx.Program[None]:
        try:
            outcome.set_result((yield from program))
        except Exception as error:
            outcome.set_exception(error)

    bench.machine._launch("test", run())
    async with asyncio.timeout(WAIT_S):
        return await outcome


async def test_it_boots_what_the_factory_flashed(bench: Bench) -> None:
    bench.machine.power_up()
    bench.machine.power_up()  # the button is pressed twice
    await bench.log.until("appliance.state", state="provisioning")
    assert bench.log.count("appliance.powered") == 1
    assert bench.log.count("appliance.booted", version="6.2.1", slot="a", committed=True) == 1


async def test_a_reboot_boots_again(bench: Bench) -> None:
    bench.machine.power_up()
    await bench.log.until("appliance.state", state="provisioning")
    bench.machine._launch("test", _restart())
    await bench.log.until("appliance.state", times=2, state="provisioning")
    kinds = [kind for kind, _ in bench.log.events]
    assert bench.log.count("appliance.stopped", reason="test") == 1
    assert kinds.index("appliance.stopped") < len(kinds) - 1 - kinds[::-1].index("appliance.booted")


def _restart() -> fx.Program[None]:
    yield fx.Restart("test")


async def test_power_lost_while_it_reboots_ends_the_reboot(bench: Bench) -> None:
    """The reboot that was under way must not boot a second time in the next life."""
    bench.machine.power_up()
    await bench.log.until("appliance.state", state="provisioning")
    bench.machine._launch("test", _restart())
    while not bench.machine._switching:  # noqa: ASYNC110 - as soon as the reboot is under way
        await asyncio.sleep(0)
    bench.machine.cut_power()
    bench.machine.power_up()
    await bench.log.until("appliance.state", times=2, state="provisioning")
    await asyncio.sleep(2 * bench.machine.profile.shutdown_s / TIME_SCALE)
    stops = [values["reason"] for kind, values in bench.log.events if kind == "appliance.stopped"]
    assert stops == ["power-cut"]
    assert bench.log.count("appliance.state", state="booting") == 2


async def test_a_halted_appliance_boots_when_power_is_cycled(bench: Bench) -> None:
    def halt() -> fx.Program[None]:
        yield fx.Halt("no-bootable-slot")

    bench.machine.power_up()
    await bench.log.until("appliance.state", state="provisioning")
    bench.machine._launch("test", halt())
    await bench.log.until("appliance.stopped", reason="no-bootable-slot")
    bench.machine.power_up()  # it has power: nothing happens
    assert bench.log.count("appliance.powered") == 1
    bench.machine.cut_power()
    bench.machine.cut_power()
    assert bench.log.count("appliance.stopped", reason="power-cut") == 1
    bench.machine.power_up()
    await bench.log.until("appliance.state", times=2, state="provisioning")


async def test_what_was_synced_survives_a_power_cut(bench: Bench) -> None:
    def write() -> fx.Program[None]:
        yield fx.Write("data", 1 << 20, b"durable")
        yield fx.Sync("data")

    bench.machine.power_up()
    await bench.log.until("appliance.state", state="provisioning")
    await done(bench, write())
    bench.machine.cut_power()
    assert bench.machine.disk["data"].read(1 << 20, 7) == b"durable"


async def test_errors_of_effects_are_thrown_into_their_program(bench: Bench) -> None:
    size = bench.machine.disk["data"].size

    def write() -> fx.Program[str]:
        try:
            yield fx.Write("data", size, b"x")
        except StorageFull as problem:
            return str(problem)
        return "written"

    assert "do not fit" in await done(bench, write())


async def test_a_program_that_asks_for_the_unknown_is_our_error(
    tmp_path: Path, make_plan: Any
) -> None:
    class Unknown(fx.Effect, frozen=True, gc=False):
        pass

    def ask() -> fx.Program[None]:
        yield Unknown()

    async def run() -> None:
        async with bench_in(tmp_path, make_plan("process").appliances[0]) as bench:
            bench.machine._launch("test", ask())
            await asyncio.sleep(WAIT_S)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(EngineError, match="no interpretation of Unknown")


@pytest.mark.parametrize("error", [None, LinkDown("gone")])
async def test_a_cancellation_that_a_library_swallows_ends_the_program_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: LinkDown | None
) -> None:
    """As `asyncio.wait_for` does before Python 3.12 when the answer comes in the same turn."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def publish(*_: object) -> None:
        asked.set()
        try:
            await asyncio.sleep(WAIT_S)
        except asyncio.CancelledError:
            answered.set()
            if error is not None:
                raise error from None

    monkeypatch.setattr(bench.machine.uplink, "publish", publish)

    def program() -> fx.Program[None]:
        while True:
            with suppress(LinkDown):
                yield fx.Publish("topic", {})
            yield fx.Receive()

    bench.machine._launch("talker", program())
    async with asyncio.timeout(WAIT_S):
        await asked.wait()
        tasks = bench.machine._cancel_programs()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert answered.is_set()


async def test_messages_wait_in_order_and_a_timeout_is_none(bench: Bench) -> None:
    def receive() -> fx.Program[list[object]]:
        yield fx.Post("test", "one")
        yield fx.Post("test", "two")
        yield fx.Post("nobody", "lost")
        return [
            (yield fx.Receive()),
            (yield fx.Receive(0.01)),
            (yield fx.Receive(0.01)),
        ]

    assert await done(bench, receive()) == ["one", "two", None]


async def test_a_program_of_the_same_name_takes_the_place_of_the_first(bench: Bench) -> None:
    ended: list[str] = []

    def first() -> fx.Program[None]:
        try:
            yield fx.Receive()
        finally:
            ended.append("first")

    def spawn() -> fx.Program[None]:
        yield fx.Spawn("twin", first())
        yield fx.Sleep(1.0)
        yield fx.Spawn("twin", second())
        yield fx.Sleep(1.0)

    def second() -> fx.Program[None]:
        yield fx.Note("seen", {})

    await done(bench, spawn())
    assert ended == ["first"]
    assert bench.log.count("seen") == 1


async def test_leds_are_told_when_they_change(bench: Bench) -> None:
    def lights() -> fx.Program[None]:
        for pattern in ("slow", "slow", "fast"):
            yield fx.Panel("status", "blue", pattern)

    await done(bench, lights())
    assert [v["pattern"] for kind, v in bench.log.events if kind == "panel.led"] == [
        "slow",
        "fast",
    ]


async def test_the_stick_is_read_and_written(bench: Bench) -> None:
    def use() -> fx.Program[Any]:
        before = yield fx.ReadStick()
        try:
            yield fx.WriteStick("log", b"something")
        except LinkDown:
            return before, "pulled"
        return before, (yield fx.ReadStick())

    assert await done(bench, use()) == (None, "pulled")
    bench.machine.plug(Stick({"config.json": b"{}"}))
    after = {"config.json": b"{}", "log": b"something"}
    assert await done(bench, use()) == ({"config.json": b"{}"}, after)
    bench.machine.pull()
    assert await done(bench, use()) == (None, "pulled")


async def test_fuses_are_one_way(bench: Bench) -> None:
    def blow() -> fx.Program[tuple[int, int]]:
        before = yield fx.ReadFuses()
        yield fx.BlowFuses(before + 2)
        yield fx.BlowFuses(before)
        return before, (yield fx.ReadFuses())

    before, after = await done(bench, blow())
    assert after == before + 2


def _unplug(bench: Bench, *, connected: bool) -> None:
    for port in ("eth0", "eth1"):
        bench.machine.set_cable(port, connected=connected)


async def _settled(bench: Bench) -> None:
    """Until everything that a cable set off has been done."""
    await asyncio.gather(*bench.machine._rewiring)


async def test_a_cable_that_is_in_again_is_in_when_the_power_goes(bench: Bench) -> None:
    bench.machine.power_up()
    _unplug(bench, connected=False)
    assert bench.machine.uplink.link.broken
    _unplug(bench, connected=True)
    bench.machine.cut_power()
    await _settled(bench)
    assert not bench.machine.uplink.link.broken


async def test_a_cable_that_is_out_again_at_once_stays_out(bench: Bench) -> None:
    _unplug(bench, connected=False)
    _unplug(bench, connected=True)
    _unplug(bench, connected=False)
    await _settled(bench)
    assert bench.machine.uplink.link.broken
    _unplug(bench, connected=True)
    await _settled(bench)
    assert not bench.machine.uplink.link.broken


async def test_a_cable_and_a_fault_break_the_same_link_apart(bench: Bench) -> None:
    link = bench.machine.uplink.link
    link.cut()
    _unplug(bench, connected=False)
    await link.restore()
    assert link.broken
    _unplug(bench, connected=True)
    await _settled(bench)
    assert not link.broken
