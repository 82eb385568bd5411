"""A bare loop that sends the same bytes over TCP: no protocol, no headers, no clock.

What Python's `send` costs is the ceiling of what any server in Python can reach.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Any

from harness.camera.bench.child import ANSWER_TIMEOUT_S, child, receive
from harness.camera.picture.clip import load_clip
from harness.camera.reader.drain import BUFFER_BYTES
from harness.camera.serve.packed import PackedClip

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from harness.camera.bench.level import Terms
    from harness.camera.picture.clip import ClipSpec

SESSIONS = 200
SECONDS_MAX = 3.0


def measure_bare(terms: Terms) -> dict[str, Any]:
    """The loop on the server's core, drained as fast as it sends."""
    buffer = bytearray(BUFFER_BYTES)
    seconds = min(terms.seconds, SECONDS_MAX)
    arguments = (SESSIONS, seconds, terms.spec, terms.cache_dir)
    with child(_send, terms.server_core, *arguments) as pipe:
        port = receive(pipe)
        readers = {}
        with select.epoll() as epoll:
            for _ in range(SESSIONS):
                reader = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S)
                readers[reader.fileno()] = reader
                epoll.register(reader.fileno(), select.EPOLLIN)
            while readers:
                for number, _ in epoll.poll(ANSWER_TIMEOUT_S):
                    if readers[number].recv_into(buffer) == 0:
                        epoll.unregister(number)
                        readers.pop(number).close()
        sent = receive(pipe)
    cost_us = sent["cpu_s"] / sent["frames"] * 1e6
    return {
        "sessions": SESSIONS,
        "frames": sent["frames"],
        "cpu_us_per_frame": round(cost_us, 2),
        "sessions_ceiling": int(1e6 / cost_us / terms.spec.rate_fps),
    }


def _send(
    pipe: Connection, count: int, seconds: float, spec: ClipSpec, cache_dir: Path | None
) -> None:
    units = PackedClip.pack(load_clip(spec, cache_dir)).units
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
        pipe.send(listener.getsockname()[1])
        writers = [listener.accept()[0] for _ in range(count)]
    frames = 0
    cpu_s, until_s = time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until_s:
        for unit in units:
            blob = unit.blob
            for writer in writers:
                writer.send(blob)
            frames += count
            if time.monotonic() >= until_s:
                break
    cpu_s = time.process_time() - cpu_s
    for writer in writers:
        writer.close()
    pipe.send({"frames": frames, "cpu_s": cpu_s})
