"""Camera nodes inside the application process: one thread a camera.

Reads H.264 over RTSP and decodes it with FFmpeg (PyAV). A dead peer is noticed within seconds,
and the camera is tried again for ever, as the appliance does. Failures are put into the words of
the appliance's camera node log (`harness.record.camera_log`).
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import av.error

from harness.record import camera_log
from harness.runtime.control import Login
from harness.runtime.decoder import Decoder
from harness.runtime.feed import Account, Arrival
from harness.runtime.message import RtspBroken, SaidGoodbye
from harness.runtime.rtp import CLOCK_HZ, ticks_between
from harness.runtime.rtsp import Phase, RtspClient, RtspRefused
from harness.runtime.sdp import NotH264
from harness.runtime.telemetry import CameraConnected, CameraLost, CameraPaused, CredentialsMissing
from harness.runtime.watch import Inspector, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.runtime.decoder import Picture
    from harness.runtime.feed import Feed, Slot
    from harness.runtime.telemetry import Message

TIMEOUT_S = 3.0  # to connect, for an answer, for the next byte of video
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 4.0
CLOSE_WAIT_S = 0.5

_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)


class CameraReader(threading.Thread):
    """Keeps `slot` supplied from its camera, except while it is paused, until closed."""

    def __init__(self, feed: Feed, slot: Slot, emit: Callable[[Message], None]) -> None:
        super().__init__(name=f"camera-{slot.camera.name}", daemon=True)
        self._feed = feed
        self._slot = slot
        self._camera = slot.camera
        self._emit = emit
        self._watch = Watch(slot.camera.name, emit)
        self._closed = threading.Event()
        self._pausing = threading.Lock()
        self._wanted = threading.Event()
        self._wanted.set()
        self._let_go = False  # of the connection that is up, because it was asked for
        self._client: RtspClient | None = None
        camera = slot.camera
        self._who = Login(camera.node, camera.username, camera.password)

    @property
    def node(self) -> str:
        return self._camera.node

    def close(self) -> None:
        """From any thread: the connection is given up at once."""
        self._closed.set()
        self._wanted.set()
        self._hang_up()

    def pause(self, *, paused: bool) -> None:
        """From any thread: let go of the camera, or take it up again."""
        with self._pausing:
            if not paused:
                self._wanted.set()
            elif self._wanted.is_set():
                self._wanted.clear()
                self._let_go = True
                self._hang_up()
                self._feed.withdraw(self._slot)

    def login(self, who: Login) -> None:
        """From any thread: these are the credentials for connections from now on."""
        self._who = who

    def _hang_up(self) -> None:
        client = self._client
        if client is not None:
            client.close()

    def run(self) -> None:
        failures, connections = 0, 0
        while not self._closed.is_set():
            self._wanted.wait()
            with self._pausing:
                if not self._wanted.is_set():
                    continue
                self._let_go = False
            account = Account(self._camera.name, connections + 1)
            line = self._session(account)
            if self._closed.is_set():
                return
            connections += account.packets > 0
            failures = 0 if account.packets else failures + 1
            number = account.connection if account.packets else 0
            if self._let_go:
                self._feed.withdraw(self._slot)
                self._emit(CameraPaused(self._camera.name, number, time.monotonic()))
                continue
            self._emit(CameraLost(self._camera.name, number, time.monotonic(), line))
            delay_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures, 8))
            self._closed.wait(delay_s * random.uniform(0.5, 1.0))

    def _session(self, account: Account) -> str:
        """One connection from opening to loss; the line that the camera node logs about it."""
        camera, who = self._camera, self._who
        if who.username is None:
            self._emit(CredentialsMissing(camera.name, time.monotonic()))
        client = RtspClient(
            camera.url, who.username or "", who.password, TIMEOUT_S, camera.transport
        )
        self._client = client
        try:
            self._read(client, account)
        except (OSError, RtspRefused, NotH264, av.error.FFmpegError) as error:
            return explain(error, client.phase)
        finally:
            client.release()
            self._feed.settle(self._slot, account)

    def _read(self, client: RtspClient, account: Account) -> NoReturn:
        decoder = Decoder(client.open().parameter_sets)
        inspector = Inspector(self._watch, client.stream)
        clock = _Clock()
        for unit in client.units():
            if self._closed.is_set() or self._let_go:
                raise RtspBroken("closed by us")
            arrived_s = time.monotonic()
            self._feed.came(self._slot, account, unit.lost)
            inspector.unit(unit, arrived_s)
            try:
                for picture in decoder.decode(unit, arrived_s):
                    inspector.picture(picture)
                    taken_s = clock.unix_s(picture.timestamp)
                    self._publish(client, account, picture, taken_s)
            except av.error.InvalidDataError:
                self._feed.undecodable(account)
                inspector.undecodable(arrived_s)
        raise RtspBroken("closed by the camera")

    def _publish(
        self, client: RtspClient, account: Account, picture: Picture, taken_s: float
    ) -> None:
        if account.decoded == 0:
            name, now_s = self._camera.name, time.monotonic()
            self._emit(CameraConnected(name, account.connection, now_s, client.transport))
        arrival = Arrival(
            self._camera, account, picture.frame, picture.code, picture.arrived_s, taken_s
        )
        self._feed.publish(self._slot, arrival)


class _Clock:
    """Unix time of frames by their RTP time stamps, counted from when the first one came."""

    def __init__(self) -> None:
        self._start_s = 0.0
        self._ticks = 0
        self._last = -1

    def unix_s(self, stamp: int) -> float:
        if self._last < 0:
            self._start_s = time.time()
        else:
            self._ticks += ticks_between(self._last, stamp)
        self._last = stamp
        return self._start_s + self._ticks / CLOCK_HZ


def explain(error: Exception, phase: Phase) -> str:
    """What the camera node logs about `error`: never with an address or credentials in it."""
    playing = phase is Phase.PLAYING
    if isinstance(error, NotH264):
        return camera_log.NOT_H264
    if isinstance(error, RtspRefused):
        return camera_log.refused(error.status, error.reason)
    if isinstance(error, SaidGoodbye):
        return camera_log.GOODBYE
    if isinstance(error, TimeoutError):
        return camera_log.STALLED if playing else camera_log.TIMED_OUT
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return camera_log.unreachable(error.errno, os.strerror(error.errno))
    if phase is Phase.CONNECTING and not isinstance(error, BrokenPipeError):
        return camera_log.unreachable(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return camera_log.CLOSED if playing else camera_log.BROKEN_PIPE
