"""The server under measurement: cameras in a process of its own, which says how it is."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.camera.bench.child import receive
from harness.camera.bench.machine import open_files, rss_kb
from harness.camera.picture.clip import load_clip
from harness.camera.serve.capacity import raise_file_limit, settle
from harness.camera.serve.server import CameraServer

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from harness.camera.picture.clip import ClipSpec
    from harness.camera.serve.live import Camera


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment. What only our own server knows of itself is 0 for others.

    `accounts` counts sessions remembered, ended ones too; `frames` and `dropped` are over all.
    """

    cpu_s: float
    rss_kb: int
    frames: int = 0
    dropped: int = 0
    files: int = 0
    tasks: int = 0
    connections: int = 0
    accounts: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What the process says once its cameras are up."""

    port: int
    pid: int
    rss_kb: int


def serve(
    pipe: Connection, count: int, spec: ClipSpec, cache_dir: Path | None, segment: bool | None
) -> None:
    """`count` cameras until the pipe is closed; a `Sample` for whatever comes by it."""
    asyncio.run(_serve(pipe, count, spec, cache_dir, segment))


def sample(pipe: Connection) -> Sample:
    """Ask the process at the other end."""
    pipe.send(None)
    answer = receive(pipe)
    assert isinstance(answer, Sample)
    return answer


async def _serve(
    pipe: Connection, count: int, spec: ClipSpec, cache_dir: Path | None, segment: bool | None
) -> None:
    raise_file_limit()
    clip = load_clip(spec, cache_dir)
    async with CameraServer(segment=segment) as server:
        cameras = []
        for number in range(count):
            camera = server.add(f"camera-{number}", clip, f"/camera-{number}", fast_start=True)
            camera.run_ahead(number / count)
            cameras.append(camera)
        settle()
        pipe.send(Standing(server.port, os.getpid(), rss_kb()))
        while await asyncio.to_thread(_asked, pipe):
            pipe.send(_sample(server, cameras))


def _asked(pipe: Connection) -> bool:
    try:
        pipe.recv()
    except (EOFError, OSError):
        return False
    return True


def _sample(server: CameraServer, cameras: list[Camera]) -> Sample:
    accounts = [account for camera in cameras for account in camera.sessions]
    return Sample(
        cpu_s=time.process_time(),
        rss_kb=rss_kb(),
        frames=sum(account.frames_sent for account in accounts),
        dropped=sum(account.frames_dropped_at_sender for account in accounts),
        files=open_files(),
        tasks=len(asyncio.all_tasks()),
        connections=server.connections,
        accounts=len(accounts),
    )
