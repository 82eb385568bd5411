"""Served planes to be killed: imports everything once, then forks one for every line it reads.

Run as a program with the state directory as its argument. Each plane says on one line of stdout
where it is reached, and then serves until it is killed or the test has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

from harness.cloud.front.server import CloudServer

LOOK_S = 0.2  # how late a plane notices that the test has gone


async def serve(directory: Path) -> None:
    server = CloudServer(
        state_dir=directory,
        draw=random.SystemRandom(),
        record=lambda *_: None,
    )
    parent = os.getppid()
    async with server:
        found = {"pid": os.getpid(), "api_url": server.api_url, "mqtt_port": server.mqtt_port}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        while os.getppid() == parent:  # noqa: ASYNC110 - a parent that ends tells nobody
            await asyncio.sleep(LOOK_S)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those killed are not waited for
    for _ in iter(sys.stdin.readline, ""):
        if os.fork() == 0:
            asyncio.run(serve(Path(sys.argv[1])))
            os._exit(1)


if __name__ == "__main__":
    main()
