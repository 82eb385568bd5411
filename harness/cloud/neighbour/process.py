"""The process of the neighbouring services as its parent sees it: started when first needed.

Its state is in memory and ends with it. The process ends with this one, however that ends: it
reads a pipe that nobody else holds the other end of. Nobody but this process can use it: it
listens on loopback and wants a word with every request that only the two know.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

import harness
from harness.cloud.neighbour.protocol import ACCOUNT_HEADER, PATH, TIME_HEADER, WORD_HEADER
from harness.errors import CapabilityMissing, LinkDown, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NEEDED = ("moto", "flask", "flask_cors", "openapi_spec_validator")
ANSWER_TIMEOUT_S = 60.0  # of which starting takes a few
ANSWER_BYTES_MAX = 64 << 20
STOP_S = 2.0
LOG = "neighbours.log"
_BACKLOG = 64
_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Neighbours:
    """`clock` is the service's. What the process complains of goes to `directory`."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock
        self._word = secrets.token_urlsafe(32)
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._url = ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def close(self) -> None:
        """Nothing is left running."""
        async with self._lock:
            await self._stop()

    async def forward(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, account: str
    ) -> Answer:
        """A request as it came, to the services of an account.

        Raises `CapabilityMissing` when they are not installed, `PeerTimeout` or `LinkDown`.
        """
        sent = {name: value for name, value in headers.items() if name.lower() not in _HOP}
        return await self._send(method, target, {**sent, ACCOUNT_HEADER: account}, body)

    async def ask(self, question: str, **asked: Any) -> Any:
        """A question that only this process may put. Raises as `forward`."""
        answer = await self._send("POST", PATH + question, {}, json.dumps(asked).encode())
        if answer.status != 200:
            raise LinkDown(f"neighbouring services: {question}: {answer.status}")
        return json.loads(answer.body)

    async def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """One request at a time: moto was not made for more."""
        async with self._lock:
            session = await self._started()
            sent = {**headers, WORD_HEADER: self._word, TIME_HEADER: repr(self._clock())}
            url = URL(self._url + target, encoded=True)
            try:
                async with session.request(
                    method, url, headers=sent, data=body, allow_redirects=False
                ) as response:
                    data = await response.content.read(ANSWER_BYTES_MAX + 1)
                    while more := await response.content.read(ANSWER_BYTES_MAX + 1 - len(data)):
                        data += more
                    kept = {k: v for k, v in response.headers.items() if k.lower() not in _HOP}
            except TimeoutError:
                raise PeerTimeout(f"neighbouring services: {method} {target}: no answer") from None
            except aiohttp.ClientError as error:
                raise LinkDown(f"neighbouring services: {method} {target}: {error}") from None
        if len(data) > ANSWER_BYTES_MAX:
            raise LinkDown(f"neighbouring services: answer above {ANSWER_BYTES_MAX} bytes")
        return Answer(response.status, kept, data)

    # --- the process --------------------------------------------------------------------

    async def _started(self) -> aiohttp.ClientSession:
        if not self.running or self._session is None:
            await self._stop()
            await self._start()
        assert self._session is not None
        return self._session

    async def _start(self) -> None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise CapabilityMissing(
                f"the neighbouring services need {', '.join(missing)}, not installed here",
                hint="pip install 'edge-hil-harness[neighbours]'",
            )
        listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        log = os.open(self._directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "harness.cloud.neighbour.host", str(listener.fileno()),
                stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
                pass_fds=(listener.fileno(),), env=_environment(), start_new_session=True,
            )  # fmt: skip
        finally:
            listener.close()
            os.close(log)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._word}\n".encode())
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)

    async def _stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await process.wait()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _environment() -> dict[str, str]:
    """Nothing of this process's own, credentials above all."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "PYTHONPATH": str(Path(harness.__file__).parent.parent),
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    }
