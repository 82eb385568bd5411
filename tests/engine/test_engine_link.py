"""Relays on loopback: what they pass, and what cutting, silencing and restoring does."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from harness.engine.process.link import BUFFER_BYTES, Link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WAIT_S = 10.0
LOOPBACK = "127.0.0.1"


@dataclass
class Target:
    """A server that echoes, and lets a test hold its connections back."""

    echoing: bool = True
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    readers: list[asyncio.StreamReader] = field(default_factory=list)
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.readers.append(reader)
        self.writers.append(writer)
        self.accepted.set()
        try:
            while self.echoing and (data := await reader.read(1 << 16)):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            if self.echoing:
                writer.close()


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    target = Target()
    server = await asyncio.start_server(target.serve, LOOPBACK, 0)
    target.port = server.sockets[0].getsockname()[1]
    yield target
    server.close()
    for writer in target.writers:
        writer.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    async with asyncio.TaskGroup() as group:
        link = Link(group)
        yield link
        await link.close()


async def through(link: Link, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection by way of the link, relayed as far as the target."""
    port = await link.port(LOOPBACK, target.port)
    known = len(target.writers)
    target.accepted.clear()
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    async with asyncio.timeout(WAIT_S):
        while len(target.writers) == known:
            target.accepted.clear()
            await target.accepted.wait()
    return reader, writer


async def said(reader: asyncio.StreamReader, length: int) -> bytes:
    async with asyncio.timeout(WAIT_S):
        return await reader.readexactly(length)


async def ended(reader: asyncio.StreamReader) -> None:
    """The connection is over, by whatever means."""
    async with asyncio.timeout(WAIT_S):
        try:
            while await reader.read(1 << 16):
                pass
        except ConnectionError:
            pass


async def settle() -> None:
    """Let everything happen that can happen at once: sockets on loopback need a few turns."""
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_bytes_pass_both_ways(link: Link, target: Target) -> None:
    data = random.Random(1).randbytes(3 << 20)
    reader, writer = await through(link, target)

    async def write() -> None:
        writer.write(data)
        await writer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        assert await said(reader, len(data)) == data
    writer.close()
    await writer.wait_closed()


async def test_the_end_of_either_side_ends_the_other(link: Link, target: Target) -> None:
    reader, writer = await through(link, target)
    target.writers[0].close()
    await ended(reader)
    writer.close()
    await writer.wait_closed()
    target.echoing = False
    _, writer = await through(link, target)
    writer.close()
    await ended(target.readers[1])
    await settle()
    assert link.halves == set()


async def test_what_was_sent_before_a_close_arrives(link: Link, target: Target) -> None:
    target.echoing = False
    reader, writer = await through(link, target)
    target.writers[0].write(b"x" * 100_000)
    target.writers[0].close()
    assert await said(reader, 100_000) == b"x" * 100_000
    writer.close()
    await writer.wait_closed()


async def test_a_slow_reader_holds_the_writer_back(link: Link, target: Target) -> None:
    """The relay keeps about a buffer and no more; the rest waits at its source."""
    target.echoing = False
    reader, writer = await through(link, target)
    target.readers[0]._transport.pause_reading()  # type: ignore[attr-defined]
    writer.transport.set_write_buffer_limits(high=0)
    total = 64 << 20
    writer.write(bytes(total))
    await settle()
    assert _relayed_backlog(link) <= 2 * BUFFER_BYTES
    assert writer.transport.get_write_buffer_size() > total // 2
    target.readers[0]._transport.resume_reading()  # type: ignore[attr-defined]
    assert len(await said(target.readers[0], total)) == total
    writer.close()
    await ended(reader)


async def test_silence_does_not_undo_back_pressure(link: Link, target: Target) -> None:
    target.echoing = False
    _, writer = await through(link, target)
    target.readers[0]._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(bytes(64 << 20))
    await settle()
    link.hush()
    await link.restore()
    await settle()
    assert _relayed_backlog(link) <= 2 * BUFFER_BYTES
    writer.transport.abort()


def _relayed_backlog(link: Link) -> int:
    return sum(
        half.transport.get_write_buffer_size() for half in link.halves if half.transport is not None
    )


async def test_a_port_is_kept_for_its_target(link: Link, target: Target) -> None:
    port = await link.port(LOOPBACK, target.port)
    assert await link.port(LOOPBACK, target.port) == port
    assert await link.port(LOOPBACK, 1) != port


async def test_many_connections_at_once(link: Link, target: Target) -> None:
    port = await link.port(LOOPBACK, target.port)

    async def talk(number: int) -> bytes:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(f"hello {number:04}".encode())
        answer = await said(reader, 10)
        writer.close()
        await writer.wait_closed()
        return answer

    answers = await asyncio.gather(*(talk(number) for number in range(200)))
    assert answers == [f"hello {number:04}".encode() for number in range(200)]
    await settle()
    assert link.halves == set()


async def test_cut_resets_and_refuses_until_restored(link: Link, target: Target) -> None:
    reader, writer = await through(link, target)
    writer.write(b"hello")
    assert await said(reader, 5) == b"hello"
    link.cut()
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    await ended(target.readers[0])
    port = await link.port(LOOPBACK, target.port)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, port)
    writer.close()
    await link.restore()
    assert await link.port(LOOPBACK, target.port) == port
    reader, writer = await through(link, target)
    writer.write(b"again")
    assert await said(reader, 5) == b"again"
    writer.close()


async def test_a_target_first_asked_for_while_cut_is_refused_too(
    link: Link, target: Target
) -> None:
    link.cut()
    port = await link.port(LOOPBACK, target.port)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, port)
    await link.restore()
    reader, writer = await through(link, target)
    writer.write(b"hello")
    assert await said(reader, 5) == b"hello"
    writer.close()


async def test_a_cut_while_restoring_stays_a_cut(link: Link, target: Target) -> None:
    ports = [await link.port(LOOPBACK, target.port), await link.port(LOOPBACK, 1)]
    link.cut()
    restoring = asyncio.ensure_future(link.restore())
    await asyncio.sleep(0)  # the first port is being opened
    link.cut()
    await restoring
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, port)


async def test_reset_all_ends_connections_and_takes_new_ones(link: Link, target: Target) -> None:
    reader, writer = await through(link, target)
    link.reset_all()
    await ended(reader)
    writer.close()
    reader, writer = await through(link, target)
    writer.write(b"hello")
    assert await said(reader, 5) == b"hello"
    writer.close()


async def test_a_target_that_refuses_is_refused_here_until_it_accepts(
    link: Link, target: Target
) -> None:
    """The first connection is accepted before anybody can know: it is reset."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        host, number = listener.getsockname()
    port = await link.port(host, number)
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    await ended(reader)
    writer.close()
    await settle()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, port)
    server = await asyncio.start_server(target.serve, host, number)
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
    writer.write(b"hello")
    assert await said(reader, 5) == b"hello"
    writer.close()
    server.close()


async def test_who_leaves_while_a_target_is_silent_leaves_nothing_behind(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def silent(*arguments: object, **options: object) -> object:
        if 9 in arguments:
            await asyncio.sleep(3600)
        return await connect(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(loop, "create_connection", silent)
    port = await link.port(LOOPBACK, 9)
    _, writer = await asyncio.open_connection(LOOPBACK, port)
    await settle()
    assert len(link._dialling) == 1
    writer.close()
    async with asyncio.timeout(WAIT_S):
        while link._dialling:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert link.halves == set()


async def test_hush_passes_nothing_and_keeps_connections(link: Link, target: Target) -> None:
    reader, writer = await through(link, target)
    writer.write(b"one")
    assert await said(reader, 3) == b"one"
    link.hush()
    writer.write(b"two")
    target.writers[0].write(b"three")
    read = asyncio.ensure_future(reader.read(100))
    await settle()
    assert not read.done()
    await link.restore()
    answer = bytearray(await read)
    answer += await said(reader, 8 - len(answer))
    assert sorted(answer) == sorted(b"twothree")
    writer.close()


async def test_a_connection_made_in_silence_waits(link: Link, target: Target) -> None:
    port = await link.port(LOOPBACK, target.port)
    link.hush()
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(b"hello")
    await settle()
    assert target.writers == []
    await link.restore()
    assert await said(reader, 5) == b"hello"
    writer.close()


async def test_silence_that_falls_while_dialling_passes_nothing(
    link: Link, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.echoing = False
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def connect_and_hush(*arguments: object, **options: object) -> object:
        made = await connect(*arguments, **options)  # type: ignore[call-overload]
        if target.port in arguments:
            link.hush()
        return made

    port = await link.port(LOOPBACK, target.port)
    monkeypatch.setattr(loop, "create_connection", connect_and_hush)
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(b"hello")
    async with asyncio.timeout(WAIT_S):
        await target.accepted.wait()
    target.writers[0].write(b"welcome")
    heard = asyncio.ensure_future(reader.read(100))
    told = asyncio.ensure_future(target.readers[0].read(100))
    await settle()
    assert not heard.done()
    assert not told.done()
    monkeypatch.undo()
    await link.restore()
    async with asyncio.timeout(WAIT_S):
        assert (await heard, await told) == (b"welcome", b"hello")
    writer.close()


async def test_a_cut_in_silence_is_a_cut(link: Link, target: Target) -> None:
    reader, writer = await through(link, target)
    link.hush()
    link.cut()
    await ended(reader)
    writer.close()
    await link.restore()
    reader, writer = await through(link, target)
    writer.write(b"hello")
    assert await said(reader, 5) == b"hello"
    writer.close()


async def test_a_dead_target_is_a_reset(link: Link) -> None:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = await link.port(LOOPBACK, free.getsockname()[1])
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await ended(reader)
        writer.close()
    await settle()
    assert link.halves == set()


async def test_opened_tells_the_address_the_target_sees(target: Target) -> None:
    told: list[tuple[tuple[str, int], tuple[str, int]]] = []
    async with asyncio.TaskGroup() as group:
        link = Link(group, opened=lambda where, address: told.append((where, address)))
        _, writer = await through(link, target)
        await settle()
        seen = target.writers[0].get_extra_info("peername")
        assert told == [((LOOPBACK, target.port), seen)]
        writer.close()
        await link.close()


async def test_close_leaves_no_sockets(target: Target) -> None:
    async with asyncio.TaskGroup() as group:
        link = Link(group)
        port = await link.port(LOOPBACK, target.port)
        pairs = [await through(link, target) for _ in range(5)]
        link.hush()
        waiting = await asyncio.open_connection(LOOPBACK, port)
        await settle()
        await link.close()
        await settle()
        assert link.halves == set()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, port)
        for reader, writer in (*pairs, waiting):
            await ended(reader)
            writer.close()


async def test_nothing_is_dialled_for_a_link_that_was_cut(link: Link, target: Target) -> None:
    """A connection that was accepted in the moment of the cut gets nowhere."""
    port = await link.port(LOOPBACK, target.port)
    with socket.create_connection((LOOPBACK, port)) as client:
        client.sendall(b"hello")
        client.setblocking(False)
        link.cut()  # the loop has not had a turn to accept it
        await settle()
        assert target.writers == []
        assert link.halves == set()
