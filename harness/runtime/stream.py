"""One RTP stream on its way in: datagrams to access units, and all that is noticed of the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.runtime.assembler import Assembler
from harness.runtime.reception import Reception
from harness.runtime.reorder import Reorder
from harness.runtime.rtp import read_packet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.runtime.assembler import Unit
    from harness.runtime.reorder import Disorder, Ordered


class Stream:
    """Packets that are overtaken are waited for up to `hold_s`. Times are of one clock."""

    def __init__(self, hold_s: float) -> None:
        self.reception = Reception()
        self._reorder = Reorder(hold_s)
        self._assembler = Assembler()

    @property
    def disorder(self) -> Disorder:
        return self._reorder.seen

    @property
    def deadline_s(self) -> float | None:
        """When `due` may have something to give."""
        return self._reorder.deadline_s

    def take(self, data: bytes, now_s: float) -> list[Unit]:
        """The access units that are whole, or as whole as they will get, with this packet."""
        packet = read_packet(data)
        if packet is None:
            return []
        self.reception.take(packet, now_s)
        return self._assembled(self._reorder.push(packet, now_s))

    def due(self, now_s: float) -> list[Unit]:
        """Those that need not wait any longer for what is missing."""
        return self._assembled(self._reorder.due(now_s))

    def _assembled(self, ordered: Iterable[Ordered]) -> list[Unit]:
        return [unit for one in ordered for unit in self._assembler.feed(one)]
