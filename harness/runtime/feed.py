"""Where camera nodes leave frames and the application fetches them: the newest one wins."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.runtime.telemetry import Counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av
    from numpy.typing import NDArray

    from harness.record.framecode import FrameCode
    from harness.runtime.spec import CameraInput

PIXELS_MAX = 1920 * 1080  # 2 megapixels: above, streams are scaled to fit 1920 x 1080


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
    lost: int = 0
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
            self.lost,
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

    def came(self, slot: Slot, account: Account, lost: int) -> None:
        """One more frame of the connection is here whole; `lost` before it are not."""
        with self.condition:
            if account.packets == 0:
                slot.accounts.append(account)
            account.packets += 1
            account.lost += lost

    def undecodable(self, account: Account) -> None:
        with self.condition:
            account.dropped_decoder += 1

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

    def withdraw(self, slot: Slot) -> None:
        """The camera is paused: its newest frame is not shown any more, read or not."""
        with self.condition:
            if slot.fresh and slot.newest is not None:
                slot.newest.account.skipped += 1
            slot.newest, slot.fresh = None, False

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
