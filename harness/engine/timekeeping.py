"""The clock of an appliance, apart from the engine's time, and NTP that sets it.

The clock is the true time plus an offset. Polls are accounted for, not stepped: an answer comes a
moment after there is a way to a server, and its lack is noticed at the next poll.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.appliance.effect import ClockJumped, TimeAnswered, TimeUnanswered
from harness.errors import LinkDown

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 64.0  # RFC 5905: the minimum poll exponent is 6 for most clients
ANSWER_S = 0.5
JUMP_S = 1.0  # less than this is slewed, and nobody hears of it
CERTIFICATES_END_S = 2_524_607_999.0  # 2049-12-31: where AWS IoT's device certificates end


class Timekeeper:
    """`true_s` is the engine's time of day; `after` calls back, of which stale calls are ignored.

    `way` says why NTP cannot be reached over the network; empty when it can.
    """

    def __init__(
        self,
        true_s: Callable[[], float],
        after: Callable[[float, Callable[[], None]], object],
        deliver: Callable[[str, object], None],
        way: Callable[[], str],
    ) -> None:
        self.offset_s = 0.0
        self.answers = True  # whether the servers answer at all
        self.rtc_empty = False  # nothing keeps the time while the power is off
        self.valid_s = (true_s() - 86400.0, CERTIFICATES_END_S)  # of the service's certificates
        self._true_s, self._after, self._deliver, self._way = true_s, after, deliver, way
        self._servers: tuple[str, ...] = ()
        self._mailbox = ""
        self._synchronised: bool | None = None
        self._turn = 0

    def power_up(self) -> None:
        """What the clock shows at first."""
        if self.rtc_empty:
            self.offset_s = -self._true_s()
            self.rtc_empty = False

    def stop(self) -> None:
        """No program runs that would keep the time."""
        self._mailbox = ""
        self._synchronised = None
        self._turn += 1

    def keep(self, servers: tuple[str, ...], mailbox: str) -> None:
        self._servers, self._mailbox, self._synchronised = servers, mailbox, None
        self.look()

    def step(self, by_s: float) -> None:
        """Somebody or something sets the clock wrong."""
        self.offset_s += by_s
        self._synchronised = None if self._mailbox else self._synchronised
        if self._mailbox:
            self._deliver(self._mailbox, ClockJumped(by_s))
        self._later(POLL_S)

    def look(self) -> None:
        """The way to a server may have changed."""
        if self._mailbox and (self._why() == "") != self._synchronised:
            self._later(ANSWER_S if self._synchronised is None else POLL_S)

    def refuse_invalid(self, where: str) -> None:
        """Raises `LinkDown` when the certificate at `where` is not valid by this clock."""
        now_s = self._true_s() + self.offset_s
        if not self.valid_s[0] <= now_s <= self.valid_s[1]:
            day = datetime.fromtimestamp(now_s, UTC).date()
            when = "not valid yet" if now_s < self.valid_s[0] else "expired"
            raise LinkDown(f"{where}: certificate {when}, the clock says {day}")

    def _why(self) -> str:
        if not self._servers:
            return "no NTP server is configured"
        return self._way() or ("" if self.answers else f"{self._servers[0]} does not answer")

    def _later(self, delay_s: float) -> None:
        if self._mailbox:
            self._turn += 1
            turn = self._turn
            self._after(delay_s, lambda: self._due(turn))

    def _due(self, turn: int) -> None:
        if turn != self._turn or not self._mailbox:
            return
        why = self._why()
        if not why:
            set_by_s, self.offset_s = -self.offset_s, 0.0
            if not self._synchronised:
                self._synchronised = True
                set_by_s = set_by_s if abs(set_by_s) >= JUMP_S else 0.0
                self._deliver(self._mailbox, TimeAnswered(self._servers[0], set_by_s))
        elif self._synchronised is not False:
            self._synchronised = False
            self._deliver(self._mailbox, TimeUnanswered(why))
