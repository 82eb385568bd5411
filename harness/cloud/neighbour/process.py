"""The process of the neighbouring services as its parent sees it: started when first needed.

Its state is in memory and ends with it, so every request that changed something is kept, and sent
again in order when it starts anew, as of the time and with the chance it had. The process ends
with this one, however that ends: it reads a pipe that nobody else holds the other end of. Nobody
but this process can use it: it listens on loopback and wants a word with every request that only
the two know.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import importlib.util
import itertools
import json
import logging
import os
import secrets
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

import harness
from harness.cloud.neighbour.kept import kept_form
from harness.cloud.neighbour.protocol import (
    ACCOUNT_HEADER,
    AGAIN_HEADER,
    PATH,
    SEED_HEADER,
    TIME_HEADER,
    WALL_HEADER,
    WORD_HEADER,
)
from harness.cloud.storage.requests import ChangingRequest
from harness.errors import CapabilityMissing, LinkDown, PeerError, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from harness.cloud.neighbour.secrets import CameraSecrets
    from harness.cloud.storage.requests import RequestLog

_logger = logging.getLogger(__name__)

NEEDED = ("moto", "flask", "flask_cors", "openapi_spec_validator")
ANSWER_TIMEOUT_S = 60.0  # of which starting takes a few
ANSWER_BYTES_MAX = 64 << 20
FINISH_S = 5.0  # what was asked may take so long when the end has come
STOP_S = 2.0
LOG = "neighbours.log"
UNTOLD_MAX = 2000
_BACKLOG = 64
_READ_AT_ONCE = 100
_SEED_BITS = 128
_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
)


class Keep(enum.Enum):
    """What becomes of a request that succeeds."""

    NOTHING = enum.auto()  # it changes nothing
    DATA = enum.auto()  # it only adds data, and gives way to newer ones
    STATE = enum.auto()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Ended(LinkDown):
    """The process is no more."""


class Neighbours:
    """`clock` is the service's. What the process complains of goes to `directory`.

    What is kept goes to `log`; it is on disk when the caller has waited for `kept`.
    """

    def __init__(
        self,
        directory: Path,
        clock: Callable[[], float],
        log: RequestLog,
        kept: Callable[[], Awaitable[None]],
        secrets_made: CameraSecrets,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._log = log
        self._kept = kept
        self._secrets = secrets_made
        self._word = secrets.token_urlsafe(32)
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._url = ""
        self._untold: deque[tuple[int, ChangingRequest]] = deque(maxlen=UNTOLD_MAX)
        self._work: set[asyncio.Task[Answer]] = set()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def known(self) -> bool:
        """Whether there is anything to ask for: something was made, now or before."""
        return self.running or (self._log.holds_state and not _missing())

    @property
    def full(self) -> bool:
        """Whether no more can be kept of what changes state."""
        return self._log.full

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def close(self) -> None:
        """Nothing is left running."""
        if self._work:
            await asyncio.wait(self._work, timeout=FINISH_S)
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        async with self._lock:
            await self._stop()

    async def forward(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        account: str,
        keep: Keep = Keep.NOTHING,
    ) -> Answer:
        """A request as it came, to the services of an account.

        Raises `CapabilityMissing` when they are not installed, `PeerTimeout` or `LinkDown`.
        """
        sent = {name: value for name, value in headers.items() if name.lower() not in _HOP}
        sent[ACCOUNT_HEADER] = account
        return await self._finish(self._carry_out(method, target, sent, body, keep))

    async def ask(self, question: str, **asked: Any) -> Any:
        """A question that only this process may put. Raises as `forward`."""
        body = json.dumps(asked).encode()
        answer = await self._finish(
            self._carry_out("POST", PATH + question, {}, body, Keep.NOTHING)
        )
        if answer.status != 200:
            raise LinkDown(f"neighbouring services: {question}: {answer.status}")
        return json.loads(answer.body)

    def tell(self, question: str, **asked: Any) -> None:
        """Data for the services to have when they are next asked something."""
        body = json.dumps(asked).encode()
        request = self._request("POST", PATH + question, {}, body, Keep.DATA)
        self._untold.append((self._log.append(request), request))

    async def _finish(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Also when who asked has gone: what was changed must be kept."""
        task = asyncio.create_task(work, name="neighbouring services")
        self._work.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Answer]) -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # who asked has had it, or has gone

    def _request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, keep: Keep
    ) -> ChangingRequest:
        seed = secrets.randbits(_SEED_BITS) if keep is not Keep.NOTHING else 0
        now_s, wall_s = self._clock(), time.time()
        data = keep is Keep.DATA
        return ChangingRequest(method, target, dict(headers), body, now_s, wall_s, seed, data)

    async def _carry_out(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, keep: Keep
    ) -> Answer:
        """One request at a time: moto was not made for more."""
        async with self._lock:
            try:
                request, answer = await self._answered(method, target, headers, body, keep)
            except _Ended:  # and with it whatever it had changed
                request, answer = await self._answered(method, target, headers, body, keep)
            if keep is not Keep.NOTHING and answer.status >= 500:
                await self._stop()  # what it has changed by then nobody knows
            elif keep is not Keep.NOTHING and answer.status < 400:
                kept = kept_form(request, answer.body)
                if kept is not None:
                    self._log.append(kept)
            return answer

    async def _answered(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, keep: Keep
    ) -> tuple[ChangingRequest, Answer]:
        await self._start_once()
        await self._tell_secrets()
        while self._untold:
            await self._send(self._untold.popleft()[1])
        request = self._request(method, target, headers, body, keep)
        return request, await self._send(request)

    async def _tell_secrets(self) -> None:
        if untold := self._secrets.untold():
            body = json.dumps({"secrets": untold}).encode()
            await self._send(self._request("POST", PATH + "secrets", {}, body, Keep.NOTHING))

    async def _send(self, request: ChangingRequest, *, again: bool = False) -> Answer:
        """A process that fails is stopped: what it knows may be more than what is kept."""
        try:
            return await self._exchange(request, again=again)
        except PeerError:
            await self._stop()
            raise

    async def _exchange(self, request: ChangingRequest, *, again: bool) -> Answer:
        sent = {**request.headers, WORD_HEADER: self._word, TIME_HEADER: repr(request.time_s)}
        if request.seed:
            sent[SEED_HEADER] = str(request.seed)
        if again or (request.seed and not request.data):  # who waits for messages needs real time
            sent[WALL_HEADER] = repr(request.wall_s)
        if again:
            sent[AGAIN_HEADER] = "yes"
        url = URL(self._url + request.target, encoded=True)
        what = f"neighbouring services: {request.method} {url.path}"
        assert self._session is not None
        try:
            async with self._session.request(
                request.method, url, headers=sent, data=request.body, allow_redirects=False
            ) as response:
                data = await response.content.read(ANSWER_BYTES_MAX + 1)
                while more := await response.content.read(ANSWER_BYTES_MAX + 1 - len(data)):
                    data += more
                kept = {k: v for k, v in response.headers.items() if k.lower() not in _HOP}
        except TimeoutError:
            raise PeerTimeout(f"{what}: no answer") from None
        except aiohttp.ClientError as error:
            raise _Ended(f"{what}: {error}") from None
        if len(data) > ANSWER_BYTES_MAX:
            raise LinkDown(f"{what}: answer above {ANSWER_BYTES_MAX} bytes")
        return Answer(response.status, kept, data)

    # --- the process --------------------------------------------------------------------

    async def _start_once(self) -> None:
        if not self.running or self._session is None:
            await self._stop()
            try:
                await self._start()
                await self._remember()
            except BaseException:  # it must not be asked with half of what it should know
                await self._stop()
                raise

    async def _remember(self) -> None:
        """Send again what is kept."""
        self._secrets.forget()
        await self._tell_secrets()
        await self._kept()
        last, refused, began_s = self._log.last, 0, time.monotonic()
        rows = self._log.read()
        while batch := await asyncio.to_thread(list, itertools.islice(rows, _READ_AT_ONCE)):
            for _, request in batch:
                answer = await self._send(request, again=True)
                refused += answer.status >= 400
        while self._untold and self._untold[0][0] <= last:
            self._untold.popleft()
        took_s = time.monotonic() - began_s
        if refused:
            _logger.warning(
                "neighbouring services: %d of %d requests are now refused", refused, len(self._log)
            )
        elif self._log.holds_state:
            _logger.info("neighbouring services: %d requests in %.1f s", len(self._log), took_s)

    async def _start(self) -> None:
        if missing := _missing():
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


def _missing() -> list[str]:
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def _environment() -> dict[str, str]:
    """Nothing of this process's own, credentials above all."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "PYTHONPATH": str(Path(harness.__file__).parent.parent),
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    }
