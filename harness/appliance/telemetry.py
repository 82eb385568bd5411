"""The logs agent: what the appliance and its applications say, and how they are, to the service.

It hears what programs note and what applications print, gathers lines for a while and sends them
together. Without a link they wait, the oldest giving way, and what was dropped is said. Names of
streams and metrics are those of the vendor's developer guide, "Monitoring resources"; what is
written to them is ours, and says what has happened.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.appliance.effect import (
    Clock,
    NodeOutput,
    Noted,
    Program,
    Receive,
    ReceiveAll,
    Sleep,
    Upload,
    UploadEvery,
)
from harness.appliance.firmware import Online
from harness.appliance.image import version_key
from harness.errors import PeerError, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.appliance.firmware import Firmware

PATH = "/telemetry"
GATHER_S = 10.0  # how long lines are gathered before they are sent together
ACTIVE_EVERY_S = 60.0
LINES_MAX = 2000  # that wait
LINE_LENGTH_MAX = 4096
PIECE_BYTES_MAX = 1 << 17  # of one upload
KERN_LOG_SINCE = "4.3.45"  # the vendor's change log
STREAMS = (
    "occ_log", "ota_log", "syslog", "kern_log", "logging_setup_logs", "cloudwatch_agent_logs",
    "shadow_log",
)  # fmt: skip
_SHADOW = {  # the status that is reported when an event is noted
    "app.installed": "STARTING",
    "app.install-failed": "INSTALL_ERROR",
    "node.started": "RUNNING",
}
_MEDIA = {  # what an event means to the media service of an application
    "node.started": "INFO streams are opened",
    "node.ended": "WARN streams are closed",
    "node.signalled": "INFO streams are",
}
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
            for application, stream, text in lines(message):
                self.add(application, stream, message.at_s, text)
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
    if url:
        begun_s = yield Clock()
        for stream, text in beginning(firmware):
            waiting.add("", stream, begun_s, text)
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


def beginning(firmware: Firmware) -> Iterator[tuple[str, str]]:
    """Streams and lines of an appliance that has booted."""
    version = firmware.manifest.version
    streams = list(STREAMS)
    if version_key(version) < version_key(KERN_LOG_SINCE):
        streams.remove("kern_log")
    else:
        yield "kern_log", f"INFO root is slot {firmware.slot}, verified, of {version}"
        yield "kern_log", f"INFO fuse level is {firmware.fuses}"
    yield "logging_setup_logs", f"INFO streams are {', '.join(streams)}"
    agent = f"INFO started for {firmware.thing}; sends every {GATHER_S:g} s"
    yield "cloudwatch_agent_logs", agent


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
        waiting.add("", "cloudwatch_agent_logs", (yield Clock()), text)
    while waiting.lines or waiting.errors:
        lines = _piece(waiting)
        document = _document((yield Clock()), lines, waiting.errors)
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


def lines(noted: Noted) -> Iterator[tuple[str, str, str]]:
    """Application (or ""), stream and text of what is written of an event of the appliance."""
    kind, values = noted.kind, noted.values
    if kind == "log.line":
        yield "", str(values["stream"]), str(values["line"])
        return
    level = "WARN" if kind.endswith(_LOUD) else "INFO"
    told = "".join(f" {name}={value}" for name, value in values.items())
    yield "", "ota_log" if kind.startswith(_OTA) else "occ_log", f"{level} {kind}{told}"
    instance = str(values.get("instance", ""))
    if kind in _SHADOW:
        text = f"INFO applications: reported instance={instance} status={_SHADOW[kind]}"
        yield "", "shadow_log", text
    elif kind == "node.signalled":
        text = f"INFO applications: desired instance={instance} paused={values['paused']}"
        yield "", "shadow_log", text
    elif kind == "link.connected":
        yield "", "shadow_log", "INFO device: reported; applications: subscribed"
    elif kind == "link.lost":
        yield "", "cloudwatch_agent_logs", "WARN no link: lines wait"
    if kind in _MEDIA:
        rest = "".join(f" {name}={value}" for name, value in values.items() if name != "instance")
        yield instance, "mds", f"{_MEDIA[kind]}{rest}"
