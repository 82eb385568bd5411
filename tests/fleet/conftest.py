"""A control plane that is served for real, in a thread of its own, and what loads it."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING

import pytest

from harness.cloud.front.server import CloudServer
from harness.cloud.service.core import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[CloudServer]:
    up, stop = threading.Event(), threading.Event()
    servers: list[CloudServer] = []

    async def serve() -> None:
        async with CloudServer(
            state_dir=tmp_path / "cloud",
            draw=random.Random(1),
            record=lambda _kind, _values: None,
            settings=Settings(),
        ) as server:
            servers.append(server)
            up.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert up.wait(30.0)
        yield servers[0]
    finally:
        stop.set()
        thread.join()
