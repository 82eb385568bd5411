"""What the bench of the control plane measures with: a client that counts, servers that answer."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harness.cloud.bench import client, mqtt, stage
from harness.errors import Corrupt, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

CORE = min(os.sched_getaffinity(0))


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, int]]:
    """A server whose connections give these answers in turn, whatever is asked."""
    up, stop = threading.Event(), threading.Event()
    ports: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in answers:
                if not await reader.read(4096):
                    break
                for part in (answer[:20], answer[20:]):  # in pieces, as a network may
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.01)
        except ConnectionError:
            pass  # the client had seen enough
        finally:
            writer.close()
            ended.set()

    ended = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        up.set()
        async with server:
            await asyncio.to_thread(stop.wait)
            await ended.wait()
            await asyncio.sleep(0.05)  # closed transports say so in a later turn of the loop

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(10.0)
    try:
        yield "127.0.0.1", ports[0]
    finally:
        stop.set()
        thread.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
NO = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"


def test_answers_and_refusals_are_counted_apart() -> None:
    with answering(OK, NO, OK) as address:
        load = client.each(address, [b"GET / HTTP/1.1\r\n\r\n"] * 3, connections=1)
    assert (load.answers, load.refused) == (3, 1)
    assert load.first_refusal.startswith(b"HTTP/1.1 403")
    assert load.latency_ms.count == 3


def test_a_server_that_closes_after_each_answer_is_connected_to_anew() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with answering(closing) as address:
        load = client.each(address, [b"GET / HTTP/1.1\r\n\r\n"] * 3, connections=1)
    assert (load.answers, load.refused) == (3, 0)


def test_an_answer_of_unknown_length_is_an_error() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\nabc") as address, pytest.raises(Corrupt):
        client.each(address, [b"GET / HTTP/1.1\r\n\r\n"], connections=1)


def test_a_server_that_hangs_up_is_an_error() -> None:
    with answering() as address, pytest.raises(PeerRefused):
        client.each(address, [b"GET / HTTP/1.1\r\n\r\n"], connections=1)


def test_the_plane_answers_what_the_bench_asks_of_it() -> None:
    with stage.plane(CORE, devices=3) as place:
        assert len(place.devices) == 3
        ask = place.signed("ListDevices", {"MaxResults": 25})
        load = client.repeat(place.address, ask, connections=4, span_s=0.5)
        assert load.answers > 0
        assert load.refused == 0, load.first_refusal
        jobs = client.each(place.address, [place.signed(*job) for job in place.jobs], 2)
        assert (jobs.answers, jobs.refused) == (3, 0), jobs.first_refusal
        again = client.each(place.address, [place.signed(*job) for job in place.jobs], 1)
        assert again.refused == 3  # a device has one job at a time


def test_devices_connect_and_report_over_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "DEVICES", 4)
    monkeypatch.setattr(mqtt, "SPAN_S", 0.5)
    with stage.plane(CORE, devices=4, identities=True) as place:
        figures = asyncio.run(mqtt._drive(place))
    assert figures["devices"] == 4
    assert figures["messages_per_s"] > 0
    assert figures["server_cpu_us_per_message"] > 0
    assert "PRIVATE KEY" not in repr(place)


def test_the_bare_peer_sends_as_many_bytes() -> None:
    with stage.bare(CORE, answer_bytes=1234) as place:
        load = client.repeat(place.address, place.plain("/"), connections=2, span_s=0.3)
    assert load.answer_bytes == 1234
    assert load.refused == 0
