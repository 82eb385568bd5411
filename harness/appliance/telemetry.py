"""The logs agent: what the appliance and its applications say, and how they are, to the service.

It hears what programs note and what applications print, gathers lines for a while and sends them
together. Without a link they wait, the oldest giving way, and what was dropped is said. Names of
streams and metrics are those of the vendor's developer guide, "Monitoring resources".
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.appliance.effect import (
    NodeOutput,
    Noted,
    Now,
    Program,
    Receive,
    ReceiveAll,
    Sleep,
    Upload,
    UploadEvery,
)
from harness.appliance.firmware import Online
from harness.errors import PeerError, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.firmware import Firmware

PATH = "/telemetry"
GATHER_S = 10.0  # how long lines are gathered before they are sent together
ACTIVE_EVERY_S = 60.0
LINES_MAX = 2000  # that wait
LINE_LENGTH_MAX = 4096
PIECE_BYTES_MAX = 1 << 17  # of one upload
_LOUD = ("failed", "refused", "ended", "lost")
_OTA = ("ota.", "job.", "boot.", "restore.")


@dataclass(slots=True)
class Waiting:
    """What is to be sent: (application, stream, time, text), and crashes by application."""

    lines: deque[tuple[str, str, float, str]] = field(default_factory=deque)
    dropped: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def take(self, message: object) -> None:
        if isinstance(message, NodeOutput):
            for text in message.lines:
                self.add(message.instance, message.stream, message.at_s, text)
        elif isinstance(message, Noted):
            stream, text = line(message)
            self.add("", stream, message.at_s, text)
            if message.kind == "node.ended":
                instance = str(message.values["instance"])
                self.errors[instance] = self.errors.get(instance, 0) + 1

    def add(self, application: str, stream: str, at_s: float, text: str) -> None:
        if len(self.lines) >= LINES_MAX:
            self.lines.popleft()
            self.dropped += 1
        self.lines.append((application, stream, at_s, text[:LINE_LENGTH_MAX]))


def ship(firmware: Firmware) -> Program[None]:
    """Gather and send for ever. An appliance that does not know where to keeps silent."""
    url = firmware.journal.values["device"].get("https", "")
    waiting = Waiting()
    while True:
        first: object = yield Receive()
        if not url:
            continue
        if isinstance(first, Online):
            yield from _stay_active(url)
        yield Sleep(GATHER_S)
        for message in (first, *(yield ReceiveAll())):
            if isinstance(message, Online) and message is not first:
                yield from _stay_active(url)
            waiting.take(message)
        if firmware.online:
            yield from _send(url, waiting)


def _stay_active(url: str) -> Program[None]:
    """DeviceActive, from now until the link is lost."""
    active = [{"name": "DeviceActive", "value": 1.0}]
    with contextlib.suppress(PeerError):  # the link is lost already: the next one begins anew
        yield UploadEvery(url + PATH, {"sent_s": 0.0, "metrics": active}, ACTIVE_EVERY_S)


def _send(url: str, waiting: Waiting) -> Program[None]:
    """What waits, piece by piece; what could not be sent goes on waiting."""
    if waiting.dropped:
        text = f"WARN {waiting.dropped} lines were dropped while they waited"
        waiting.dropped = 0
        waiting.add("", "cloudwatch_agent_logs", (yield Now()), text)
    while waiting.lines or waiting.errors:
        lines = _piece(waiting)
        document = _document((yield Now()), lines, waiting.errors)
        try:
            yield Upload(url + PATH, document)
        except PeerRefused:
            pass  # it would be refused again: the application may have been removed meanwhile
        except PeerError:
            return
        waiting.errors.clear()
        for _ in lines:
            waiting.lines.popleft()


def _piece(waiting: Waiting) -> list[tuple[str, str, float, str]]:
    size = 0
    piece: list[tuple[str, str, float, str]] = []
    for entry in waiting.lines:
        size += len(entry[3])
        if piece and size > PIECE_BYTES_MAX:
            break
        piece.append(entry)
    return piece


def _document(
    now_s: float, lines: list[tuple[str, str, float, str]], errors: Mapping[str, int]
) -> dict[str, Any]:
    """As the service takes it."""
    streams: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for application, stream, at_s, text in lines:
        streams.setdefault((application, stream), []).append((at_s, text))
    return {
        "sent_s": now_s,
        "logs": [
            {"application": application, "stream": stream, "lines": told}
            for (application, stream), told in streams.items()
        ],
        "metrics": [
            {"name": "ApplicationErrors", "application": instance, "value": float(count)}
            for instance, count in errors.items()
        ],
    }


def line(noted: Noted) -> tuple[str, str]:
    """The stream that an event of the appliance is written to, and the line."""
    if noted.kind == "log.line":
        return str(noted.values["stream"]), str(noted.values["line"])
    stream = "ota_log" if noted.kind.startswith(_OTA) else "occ_log"
    level = "WARN" if noted.kind.endswith(_LOUD) else "INFO"
    told = "".join(f" {name}={value}" for name, value in noted.values.items())
    return stream, f"{level} {noted.kind}{told}"
