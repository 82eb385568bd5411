"""The application's end of the telemetry pipe: batched, bounded, never in the way.

Application threads append to a deque, which needs no lock; one thread writes every 200 ms. When
the harness reads too slowly the oldest messages go and are counted. The same thread listens to
the harness: lines ask for cameras to be paused, for other credentials, for pictures of the screen
and for an orderly stop of all (`control`); end of file means it is gone.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from harness.runtime import control
from harness.runtime.telemetry import Stopped, format_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set

    from harness.runtime.telemetry import Message

FLUSH_EVERY_S = 0.2
MESSAGES_MAX = 10_000
BATCH_MESSAGES = 256
LAST_FLUSH_S = 1.0
_CONTROL_BYTES = 1 << 12


class Emitter:
    """Owns the telemetry pipe `telemetry_fd` and listens on `control_fd`.

    `settle` is called before each flush: it emits what is due (counts); `close_sources` stops
    the cameras, `pause` those of some nodes, `login` changes the credentials of one, `show` sets
    the rate of pictures for the screen, `pace` how long models take.
    `on_orphaned` is called when the harness is gone.
    """

    def __init__(
        self,
        telemetry_fd: int,
        control_fd: int,
        *,
        settle: Callable[[], None],
        close_sources: Callable[[], None],
        pause: Callable[[Set[str]], None],
        login: Callable[[control.Login], None],
        show: Callable[[float], None],
        pace: Callable[[Mapping[str, tuple[float, float]]], None],
        on_orphaned: Callable[[], None],
    ) -> None:
        self._fd = telemetry_fd
        self._control_fd = control_fd
        self._settle = settle
        self._close_sources = close_sources
        self._pause = pause
        self._login = login
        self._show = show
        self._pace = pace
        self._heard = b""
        self._on_orphaned = on_orphaned
        self._messages: deque[Message] = deque(maxlen=MESSAGES_MAX)
        self._unsent = b""
        self._lost = 0
        self._ended = threading.Lock()
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        os.set_blocking(telemetry_fd, False)

    def start(self) -> None:
        self._thread.start()

    def emit(self, message: Message) -> None:
        """Queue `message`; from any thread, also from a destructor: takes no lock."""
        if len(self._messages) == MESSAGES_MAX:
            self._lost += 1
        self._messages.append(message)

    def end(self, reason: str) -> None:
        """Close the cameras, send everything and `Stopped`. Once; later calls do nothing."""
        if not self._ended.acquire(blocking=False):
            return
        self._close_sources()
        with self._sending:
            self._settle()
            self.emit(Stopped(time.monotonic(), reason, self._lost))
            deadline_s = time.monotonic() + LAST_FLUSH_S
            while not self._flush() and (left_s := deadline_s - time.monotonic()) > 0:
                select.select([], [self._fd], [], left_s)

    def _run(self) -> None:
        while not self._ended.locked():
            asked, _, _ = select.select([self._control_fd], [], [], FLUSH_EVERY_S)
            if asked and not self._obey(os.read(self._control_fd, _CONTROL_BYTES)):
                return
            with self._sending:
                if not self._ended.locked():
                    self._settle()
                    self._flush()

    def _obey(self, data: bytes) -> bool:
        """Do what the harness says; False when it has nothing more to say."""
        if not data:
            self._on_orphaned()
            return False
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            nodes, who = control.paused(line), control.logged_in(line)
            rate_fps, paces = control.displayed(line), control.paced(line)
            if nodes is not None:
                self._pause(nodes)
            elif who is not None:
                self._login(who)
            elif rate_fps is not None:
                self._show(rate_fps)
            elif paces is not None:
                self._pace(paces)
            elif line == control.STOP:
                self.end("asked")
                return False
        return True

    def _flush(self) -> bool:
        """Write what the pipe takes; True when nothing is left."""
        while self._unsent or self._messages:
            if not self._unsent:
                count = min(len(self._messages), BATCH_MESSAGES)
                batch = [self._messages.popleft() for _ in range(count)]
                self._unsent = b"".join(map(format_message, batch))
            try:
                self._unsent = self._unsent[os.write(self._fd, self._unsent) :]
            except BlockingIOError:
                return False
            except BrokenPipeError:
                self._on_orphaned()
                return True
        return True
