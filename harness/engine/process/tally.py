"""From application telemetry and camera accounts to frames: windows, scores, final accounts.

Latency is from the capture of a frame (its code in the picture and the camera's clock) to the
moment the application put it out with its boxes. A frame that a camera sent and the reader
never demuxed was lost on the network when its connection broke, or when the reader tells so of
the connection that is up; else it was in flight when the reader itself closed that, at its end or
because the camera was paused. What a fault took from a camera's frames on their way counts as
sent, and as lost on the network; a stalled camera sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.camera.picture.scene import Box
from harness.camera.picture.tracking import Sight, Tracker
from harness.fault.camera import Stall
from harness.record import framecode, kind
from harness.record.histogram import Histogram
from harness.runtime import telemetry
from harness.scenario.look import LABELS_KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.camera.serve.live import Camera
    from harness.camera.serve.outbox import SessionAccount

LATENCY_MAX_S = 60.0


@dataclass(slots=True)
class _Window:
    delivered: int = 0
    detected: int = 0
    missed: int = 0
    false: int = 0
    sight: Sight = field(default_factory=Sight)
    lost: int = 0
    troubles: set[str] = field(default_factory=set)
    latency: Histogram = field(default_factory=Histogram)
    inference: Histogram = field(default_factory=Histogram)
    paced: int = 0
    host_bound: int = 0


@dataclass(slots=True)
class _Reader:
    """One camera as one application process reads it."""

    camera: Camera
    counts: dict[int, telemetry.Counts] = field(default_factory=dict)
    connection: int | None = None  # the number of the one that is up
    first: bool = True
    missed: bool = False  # its loss has been told
    line: str = ""  # what its node logged last, since it was connected
    let_go: dict[int, SessionAccount] = field(default_factory=dict)  # by connection: paused
    troubles: set[str] = field(default_factory=set)  # those that are not over
    tracker: Tracker = field(default_factory=Tracker)
    draws: bool = False  # it has drawn a box
    labels: bool = False  # it has named what there is, and drawn no box
    told: int = 0  # frames the application had in hands, told one by one
    window: _Window = field(default_factory=_Window)


class Tally:
    """The frames of one application process, from its start to its end.

    `peers` holds the local addresses of this application's connections to cameras: what the
    camera server knows its readers by. `monotonic` is the clock frames are stamped with.
    """

    def __init__(
        self,
        instance: str,
        cameras: Mapping[str, Camera],
        peers: set[tuple[str, int]],
        note: Callable[[str, str, Mapping[str, Any]], None],
        elapsed: Callable[[], float],
    ) -> None:
        self.instance = instance
        self.source = f"app/{instance}"
        self._readers = {name: _Reader(camera) for name, camera in cameras.items()}
        self._peers = peers
        self._note = note
        self._elapsed = elapsed
        self._began_s = self._window_s = elapsed()

    def take(self, message: telemetry.Message) -> None:
        """Fold one message in; what is said of cameras that nobody gave it is passed over."""
        if isinstance(message, telemetry.Inference):
            # A call has no camera: it is counted with the first one.
            first = next(iter(self._readers.values()), None)
            if first is not None:
                _inference(first.window, message)
            return
        reader = self._readers.get(getattr(message, "camera", ""))
        if reader is None:
            return
        match message:
            case telemetry.Frame():
                self._frame(reader, message)
            case telemetry.Counts():
                before = reader.counts.get(message.connection)
                reader.window.lost += message.lost - (before.lost if before else 0)
                reader.counts[message.connection] = message
            case telemetry.Trouble():
                self._trouble(reader, message)
            case telemetry.CameraConnected():
                self._connected(reader, message)
            case telemetry.CameraLost():
                self._lost(reader, message)
            case telemetry.CameraPaused():
                self._paused(reader, message)

    def _connected(self, reader: _Reader, message: telemetry.CameraConnected) -> None:
        reader.connection = message.connection
        reader.missed, reader.line = False, ""
        values = {
            "camera": message.camera,
            "instance": self.instance,
            "transport": message.transport,
        }
        self._note(self.source, kind.CAMERA_CONNECTED, values)
        if reader.first:
            reader.first = False
            duration_s = round(self._elapsed() - self._began_s, 6)
            first = {"camera": message.camera, "duration_s": duration_s}
            self._note(self.source, kind.APP_FIRST_FRAME, first)

    def _lost(self, reader: _Reader, message: telemetry.CameraLost) -> None:
        # Each further try that fails says much the same: only the loss itself is an event.
        values = {"camera": message.camera, "instance": self.instance, "line": message.line}
        if message.line != reader.line:
            self._note(self.source, kind.LOG_LINE, {"stream": message.camera, **values})
        if not reader.missed:
            self._note(self.source, kind.CAMERA_LOST, values)
        reader.connection = None
        reader.missed, reader.line = True, message.line

    def _trouble(self, reader: _Reader, message: telemetry.Trouble) -> None:
        values: dict[str, Any] = {
            "camera": message.camera,
            "instance": self.instance,
            "trouble": message.trouble,
            "count": message.count,
        }
        if message.over:
            reader.troubles.discard(message.trouble)
            self._note(self.source, kind.CAMERA_CLEAR, {**values, "lasted_s": message.lasted_s})
        else:
            reader.troubles.add(message.trouble)
            reader.window.troubles.add(message.trouble)
            self._note(self.source, kind.CAMERA_TROUBLE, values)

    def _paused(self, reader: _Reader, message: telemetry.CameraPaused) -> None:
        """The reader closed the connection itself: what was under way then was not lost."""
        sessions = list(self._sessions(reader))
        if message.connection and sessions:
            reader.let_go[message.connection] = sessions[-1]
        reader.connection = None
        reader.missed, reader.line = False, ""

    def _frame(self, reader: _Reader, frame: telemetry.Frame) -> None:
        window = reader.window
        window.delivered += 1
        reader.told += 1
        if frame.put_s is None or frame.index is None or frame.time_us is None:
            return
        clip = reader.camera.clip
        code = framecode.FrameCode(frame.clip_id or 0, frame.index, frame.time_us)
        _, captured_s = framecode.resolve(
            code, reader.camera.epoch_s, clip.duration_s, frame.arrived_s
        )
        latency_s = frame.put_s - captured_s
        if 0.0 <= latency_s <= LATENCY_MAX_S:
            window.latency.record(latency_s * 1000.0)
        hits, false, missed = self._score(reader, frame, frame.index)
        window.detected += hits
        window.false += false
        window.missed += missed

    def _score(self, reader: _Reader, frame: telemetry.Frame, index: int) -> tuple[int, int, int]:
        """By boxes; by labels where an application names what there is and never draws a box."""
        there, sight = reader.camera.clip.truth(index), reader.window.sight
        claims = [one for one in frame.classes if one[0] in LABELS_KNOWN]
        reader.draws = reader.draws or bool(frame.detections)
        reader.labels = not reader.draws and (reader.labels or bool(claims))
        if reader.labels:
            return reader.tracker.see_labels(sight, index, claims, there)
        found = [Box(*entry[:5]) for entry in frame.detections]
        confidences = [entry[5] if len(entry) > 5 else 1.0 for entry in frame.detections]
        return reader.tracker.see(sight, index, found, confidences, there)

    def report(self) -> None:
        """Write the window that ends now, for every camera."""
        now_s = self._elapsed()
        for name, reader in self._readers.items():
            window, reader.window = reader.window, _Window(troubles=set(reader.troubles))
            values: dict[str, Any] = {
                "camera": name,
                "instance": self.instance,
                "from_s": round(self._window_s, 6),
                "to_s": round(now_s, 6),
                "delivered": window.delivered,
                "lost": window.lost,
                "troubles": sorted(window.troubles),
                "detected": window.detected,
                "missed": window.missed,
                "false": window.false,
                "sight": window.sight.to_json(),
                "latency_ms": window.latency.to_json(),
                "inference_ms": window.inference.to_json(),
            }
            if window.paced:
                values |= {"paced": window.paced, "host_bound": window.host_bound}
            self._note(self.source, kind.FRAMES, values)
        self._window_s = now_s

    def account(self) -> None:
        """The final account of every camera. Call it when the process is gone."""
        self.report()
        for name, reader in self._readers.items():
            counts = list(reader.counts.values())
            sent = sum(session.frames_sent for session in self._sessions(reader))
            taken = sum(map(_taken, self._sessions(reader)))
            # The last counts of a killed process may be older than the frames it told of.
            delivered = max(sum(c.delivered for c in counts), reader.told)
            skipped = sum(c.skipped for c in counts)
            dropped = sum(c.dropped_decoder for c in counts)
            seen = max(sum(c.packets for c in counts), delivered + skipped + dropped)
            unseen = self._unseen_before(reader) + self._missed_now(reader)
            lost = max(0, min(unseen, sent - seen)) + taken
            sent += taken
            values = {
                "camera": name,
                "instance": self.instance,
                "sent": sent,
                "delivered": delivered,
                "lost_network": lost,
                "dropped_decoder": dropped,
                "skipped_application": skipped,
                "in_flight": sent - delivered - lost - dropped - skipped,
            }
            self._note(self.source, kind.FRAME_ACCOUNT, values)

    def _unseen_before(self, reader: _Reader) -> int:
        """Frames sent on connections that broke, all but the one that is up, and never demuxed."""
        sessions, current = list(self._sessions(reader)), reader.connection
        if current is not None:
            sessions = sessions[:-1]
        seen = sum(c.packets for n, c in reader.counts.items() if current is None or n < current)
        let_go = sum(
            session.frames_sent - counts.packets - _missed(counts, session)
            for number, session in reader.let_go.items()
            if (counts := reader.counts.get(number)) is not None
        )
        return sum(session.frames_sent for session in sessions) - seen - let_go

    def _missed_now(self, reader: _Reader) -> int:
        """Frames that the reader misses on the connection that is up."""
        counts = reader.counts.get(reader.connection or 0)
        sessions = list(self._sessions(reader))
        return 0 if counts is None or not sessions else _missed(counts, sessions[-1])

    def _sessions(self, reader: _Reader) -> Iterable[SessionAccount]:
        return (s for s in reader.camera.sessions if s.peer in self._peers)


def _inference(window: _Window, call: telemetry.Inference) -> None:
    window.inference.record(call.duration_ms)
    if call.target_ms is not None and call.host_ms is not None:
        window.paced += 1
        window.host_bound += call.host_ms > call.target_ms


def _missed(counts: telemetry.Counts, session: SessionAccount) -> int:
    """Frames that never came whole, less those that were never handed to the network."""
    return max(0, counts.lost - session.frames_dropped_at_sender - _taken(session))


def _taken(session: SessionAccount) -> int:
    """Frames that a fault took wholly on their way to the network."""
    return sum(count for verb, count in session.frames_lost.items() if verb != Stall.verb)
