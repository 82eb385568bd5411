"""Camera nodes inside the application process: one thread a camera, newest frame wins.

Reads H.264 over RTSP over TCP and decodes it with FFmpeg (PyAV). A dead peer is noticed within
seconds, and the camera is tried again for ever, as the appliance does. Failures are put into
the words of the appliance's camera node log (`harness.record.camera_log`).
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import av
import av.error
import numpy as np
from av.codec.context import Flags

from harness.record import camera_log, framecode
from harness.runtime.rtsp import NotH264, RtspBroken, RtspClient, RtspRefused
from harness.runtime.telemetry import CameraConnected, CameraLost, Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from harness.record.framecode import FrameCode
    from harness.runtime.spec import CameraInput
    from harness.runtime.telemetry import Message

TIMEOUT_S = 3.0  # to connect, for an answer, for the next byte of video
CLOCK_HZ = 90_000  # of RTP time stamps of H.264 (RFC 6184, 8.1)
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 4.0
CLOSE_WAIT_S = 0.5
PIXELS_MAX = 1920 * 1080  # 2 megapixels: above, streams are scaled to fit 1920 x 1080

_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)


@dataclass(slots=True)
class Account:
    """The frames of one connection; see `telemetry.Counts`. Guarded by the feed's condition."""

    camera: str
    connection: int
    packets: int = 0
    decoded: int = 0
    delivered: int = 0
    skipped: int = 0
    dropped_decoder: int = 0
    reported: Counts | None = None

    def counts(self) -> Counts:
        done = self.delivered + self.skipped + self.dropped_decoder
        return Counts(
            self.camera,
            self.connection,
            self.packets,
            self.decoded,
            self.delivered,
            self.skipped,
            self.dropped_decoder,
            self.packets - done,
        )


@dataclass(frozen=True, slots=True)
class Arrival:
    """A decoded frame; its picture is converted only when someone looks at it.

    `arrived_s` is monotonic, when the last byte was received; `taken_s` is Unix time by the
    stream's own clock.
    """

    camera: CameraInput
    account: Account
    frame: av.VideoFrame
    code: FrameCode | None
    arrived_s: float
    taken_s: float

    def picture(self) -> NDArray[np.uint8]:
        """H x W x 3 BGR, writable, a new array each time; above 2 megapixels scaled down."""
        width, height = fit(self.frame.width, self.frame.height)
        image = self.frame.to_ndarray(format="bgr24", width=width, height=height)
        return np.require(image, np.uint8, ["C", "W"])


def fit(width: int, height: int) -> tuple[int, int]:
    """The size the application sees: even, same aspect, within 1920 x 1080 if above 2 MP."""
    if width * height <= PIXELS_MAX:
        return width, height
    scale = min(1920 / width, 1080 / height)
    return round(width * scale / 2) * 2, round(height * scale / 2) * 2


@dataclass(slots=True)
class Slot:
    """The newest frame of one camera: `fresh` until the application got it."""

    camera: CameraInput
    newest: Arrival | None = None
    fresh: bool = False
    accounts: list[Account] = field(default_factory=list)


class Feed:
    """All cameras of one input port, and the place where the application waits for frames."""

    def __init__(self, cameras: list[CameraInput]) -> None:
        self.condition = threading.Condition()
        self.slots = [Slot(camera) for camera in cameras]

    def publish(self, slot: Slot, arrival: Arrival) -> None:
        """Make `arrival` the newest frame; an unread older one was skipped by the application."""
        with self.condition:
            if slot.fresh and slot.newest is not None:
                slot.newest.account.skipped += 1
            arrival.account.decoded += 1
            slot.newest, slot.fresh = arrival, True
            self.condition.notify_all()

    def take(self, timeout_s: float | None) -> list[tuple[Arrival, bool]]:
        """(frame, is new) of each camera that ever had one. Waits for at least one new frame.

        Raises `TimeoutError` after `timeout_s`.
        """
        with self.condition:
            if not self.condition.wait_for(lambda: any(s.fresh for s in self.slots), timeout_s):
                raise TimeoutError(f"no new frame within {timeout_s} s")
            taken = [(slot.newest, slot.fresh) for slot in self.slots if slot.newest is not None]
            for slot in self.slots:
                if slot.fresh and slot.newest is not None:
                    slot.newest.account.delivered += 1
                    slot.fresh = False
            return taken

    def settle(self, slot: Slot, account: Account) -> None:
        """The connection ended: what was not decoded by now was dropped by the decoder."""
        with self.condition:
            newest = slot.newest if slot.fresh else None
            waiting = newest is not None and newest.account is account
            done = account.delivered + account.skipped + waiting
            account.dropped_decoder = account.packets - done

    def changed(self) -> Iterator[Counts]:
        """Accounts that changed since they were last asked for; settled ones are let go."""
        with self.condition:
            for slot in self.slots:
                for account in slot.accounts:
                    counts = account.counts()
                    if counts != account.reported:
                        account.reported = counts
                        yield counts
                slot.accounts = [
                    a for a in slot.accounts[:-1] if a.counts().in_flight
                ] + slot.accounts[-1:]


class CameraReader(threading.Thread):
    """Keeps `slot` supplied from its camera until closed."""

    def __init__(self, feed: Feed, slot: Slot, emit: Callable[[Message], None]) -> None:
        super().__init__(name=f"camera-{slot.camera.name}", daemon=True)
        self._feed = feed
        self._slot = slot
        self._camera = slot.camera
        self._emit = emit
        self._closed = threading.Event()
        self._client: RtspClient | None = None

    def close(self) -> None:
        """From any thread: the connection is given up at once."""
        self._closed.set()
        client = self._client
        if client is not None:
            client.close()

    def run(self) -> None:
        failures, connections = 0, 0
        while not self._closed.is_set():
            account = Account(self._camera.name, connections + 1)
            line = self._session(account)
            if self._closed.is_set():
                return
            connections += account.packets > 0
            failures = 0 if account.packets else failures + 1
            number = account.connection if account.packets else 0
            self._emit(CameraLost(self._camera.name, number, time.monotonic(), line))
            delay_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures, 8))
            self._closed.wait(delay_s * random.uniform(0.5, 1.0))

    def _session(self, account: Account) -> str:
        """One connection from opening to loss; the line that the camera node logs about it."""
        camera = self._camera
        client = RtspClient(camera.url, camera.username, camera.password, TIMEOUT_S)
        self._client = client
        try:
            self._read(client, account)
        except (OSError, RtspRefused, NotH264, av.error.FFmpegError) as error:
            return explain(error, connected=account.packets > 0)
        finally:
            client.release()
            self._feed.settle(self._slot, account)

    def _read(self, client: RtspClient, account: Account) -> NoReturn:
        track = client.open()
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count, decoder.thread_type = 1, "NONE"  # a frame in, a frame out
        decoder.flags |= Flags.low_delay
        prefix = b"".join(b"\x00\x00\x00\x01" + nal for nal in track.parameter_sets)
        clock = _Clock()
        for unit, stamp in client.access_units():
            if self._closed.is_set():
                raise RtspBroken("closed by us")
            arrived_s = time.monotonic()
            self._count_packet(account)
            packet = av.Packet(prefix + unit)
            prefix = b""
            try:
                frames = decoder.decode(packet)
            except av.error.InvalidDataError:
                with self._feed.condition:
                    account.dropped_decoder += 1
                continue
            for frame in frames:
                self._publish(frame, account, arrived_s, clock.unix_s(stamp))
        raise RtspBroken("closed by the camera")

    def _count_packet(self, account: Account) -> None:
        with self._feed.condition:
            account.packets += 1
            if account.packets == 1:
                self._slot.accounts.append(account)

    def _publish(
        self, frame: av.VideoFrame, account: Account, arrived_s: float, taken_s: float
    ) -> None:
        if account.decoded == 0:
            self._emit(CameraConnected(self._camera.name, account.connection, time.monotonic()))
        code = read_code(frame)
        self._feed.publish(
            self._slot, Arrival(self._camera, account, frame, code, arrived_s, taken_s)
        )


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
            step = (stamp - self._last) & 0xFFFFFFFF  # time stamps wrap
            self._ticks += step if step < 1 << 31 else step - (1 << 32)
        self._last = stamp
        return self._start_s + self._ticks / CLOCK_HZ


def read_code(frame: av.VideoFrame) -> FrameCode | None:
    """The frame code, read from the luma plane: no colour conversion needed."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
    return framecode.read(rows[: frame.height, : frame.width])


def explain(error: Exception, *, connected: bool) -> str:
    """What the camera node logs about `error`: never with an address or credentials in it."""
    if isinstance(error, NotH264):
        return camera_log.NOT_H264
    if isinstance(error, RtspRefused):
        return camera_log.refused(error.status, error.reason)
    if isinstance(error, TimeoutError):
        return camera_log.STALLED if connected else camera_log.TIMED_OUT
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return camera_log.unreachable(error.errno, os.strerror(error.errno))
    return camera_log.BROKEN_PIPE
