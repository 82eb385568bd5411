"""A process with a share of a fleet: `python -m harness.camera.fleet.worker`, started by `herd.py`.

stdin: one line with the posts, then requests (`desk.py`); stdout: one reply a line, the first
one when the cameras are up. The end of stdin ends the process, so it never outlives its parent.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.camera.fleet import desk
from harness.camera.fleet.cameras import load_clips, open_fleet
from harness.camera.fleet.post import Share
from harness.camera.serve.capacity import settle
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable


async def run(reader: asyncio.StreamReader, reply: Callable[[bytes], object]) -> int:
    """Serve until `reader` ends. Gives the exit code."""
    share = msgspec.json.decode(await reader.readline(), type=Share)
    cache_dir = None if share.cache_dir is None else Path(share.cache_dir)
    async with AsyncExitStack() as stack:
        try:
            clips = await asyncio.to_thread(load_clips, share.posts, cache_dir=cache_dir)
            fleet = await stack.enter_async_context(
                open_fleet(share.posts, clips, share.port, cache_dir=cache_dir)
            )
        except HarnessError as error:
            reply(desk.encode({"ok": False, **desk.problem(error)}))
            return error.exit_code
        settle()
        reply(await desk.answer(fleet, b'{"do": "list"}'))
        while line := await reader.readline():
            reply(await desk.answer(fleet, line))
    return 0


async def _main() -> int:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is for the parent to act on
    reader = asyncio.StreamReader(limit=desk.REPLY_BYTES_MAX)
    pipe, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    loop.add_signal_handler(signal.SIGTERM, reader.feed_eof)

    def reply(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    try:
        return await run(reader, reply)
    finally:
        pipe.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
