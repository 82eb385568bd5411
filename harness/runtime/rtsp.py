"""A small RTSP 1.0 client for camera nodes: H.264 over TCP or UDP, whole access units out.

Why not FFmpeg's: its demuxer hands a frame on only when the next one begins, which adds one
frame time (33-67 ms) to every latency this harness measures; here the RTP marker ends a frame.
It also tells exactly what was refused and what was lost, and a waiting read can be ended from
another thread. RFC 2326 (RTSP), 3550 (RTP).
"""

from __future__ import annotations

import contextlib
import enum
import re
import select
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.runtime.assembler import FrameTooLarge
from harness.runtime.challenge import authorize, is_stale, read_challenge
from harness.runtime.datagram import PortPair, receive
from harness.runtime.message import Answer, Inbox, Interleaved, RtspBroken, SaidGoodbye
from harness.runtime.sdp import Track, find_video
from harness.runtime.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.runtime.assembler import Unit

TCP, UDP = "tcp", "udp"
PORT = 554
ANSWER_S_MAX = 10.0  # of a camera that answers byte by byte
SESSION_TIMEOUT_S = 60.0  # RFC 2326, 12.37: of a camera that names none
KEEP_ALIVE_S_MIN = 1.0
REPORT_EVERY_S = 5.0  # RFC 3550, 6.2; the first one comes after half of it
REORDER_HOLD_S = 0.1  # as long as live555 waits for a packet that was overtaken
DATAGRAMS_A_TURN = 64
_RECEIVE_BYTES = 64 << 10
_UNSUPPORTED_TRANSPORT, _UNAUTHORIZED, _NO_SESSION = 461, 401, 454
_UNKNOWN_METHOD = (405, 501, 551)
_CHANNELS = re.compile(r"interleaved\s*=\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?", re.IGNORECASE)
_SERVER_PORTS = re.compile(r"server_port\s*=\s*(\d{1,5})(?:\s*-\s*(\d{1,5}))?", re.IGNORECASE)
_TIMEOUT = re.compile(r"timeout\s*=\s*(\d{1,6})", re.IGNORECASE)


class RtspRefused(Exception):
    """The camera answered with a status other than 200."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class Phase(enum.Enum):
    """How far a client has come with its camera."""

    CONNECTING = "nothing was answered yet"
    ASKING = "it answers"
    PLAYING = "it was told to send"


class RtspClient:
    """One connection to one camera. `url` is without credentials; times out after `timeout_s`.

    `transport` is what is asked for; after `open` it says what the camera gave. `phase` tells
    where it failed if it did.
    """

    def __init__(
        self, url: str, username: str, password: str, timeout_s: float, transport: str = TCP
    ) -> None:
        self.transport = transport
        self.phase = Phase.CONNECTING
        self.stream = Stream(0.0)
        self._url = url
        self._username = username
        self._password = password
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._ports: PortPair | None = None
        self._inbox = Inbox()
        self._sequence = 0
        self._challenge: dict[str, str] = {}
        self._session = ""
        self._channels = (0, 1)  # of RTP and RTCP, where they come inside the connection
        self._alive_method = "OPTIONS"
        self._alive_every_s = SESSION_TIMEOUT_S / 2

    def close(self) -> None:
        """From any thread: a read that waits ends with `RtspBroken`."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it was down already
                self._socket.shutdown(socket.SHUT_RD)

    def release(self) -> None:
        """Say goodbye as far as that is possible, and give the sockets back.

        By the thread that reads, when it is done.
        """
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setblocking(False)
                self._leave()
            self._socket.close()
        if self._ports is not None:
            self._ports.close()

    def open(self) -> Track:
        """Connect, DESCRIBE, SETUP, PLAY. Raises `OSError`, `RtspRefused` or `NotH264`."""
        parts = urlsplit(self._url)
        address = (parts.hostname or "", parts.port or PORT)
        self._socket = socket.create_connection(address, self._timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._learn_methods()
        described = self._ask("DESCRIBE", self._url, {"Accept": "application/sdp"})
        base = described.header("content-base") or described.header("content-location") or self._url
        track = find_video(described.body.decode(errors="replace"), base)
        self._set_up(track)
        self._ask("PLAY", base, {"Range": "npt=0.000-"})
        self.phase = Phase.PLAYING
        return track

    def units(self) -> Iterator[Unit]:
        """Access units as they come, for ever.

        Raises `RtspBroken` when the camera ends it, `TimeoutError` when nothing comes.
        """
        now_s = media_s = alive_s = time.monotonic()
        report_s = now_s + REPORT_EVERY_S / 2
        wait_s = 0.0  # what came behind the answer to PLAY is there already
        while True:
            for control, data in self._receive(wait_s):
                now_s = time.monotonic()
                if control:
                    self._hear(data, now_s)
                else:
                    media_s = now_s
                    yield from self._take(data, now_s)
            now_s = time.monotonic()
            yield from self.stream.due(now_s)
            if now_s >= report_s:
                report_s = now_s + REPORT_EVERY_S
                self._report(self.stream.reception.report(now_s))
            if now_s >= alive_s + self._alive_every_s:
                alive_s = now_s
                self._send(self._alive_method, self._url, {})
            if now_s >= media_s + self._timeout_s:
                raise TimeoutError("no video")
            ends = [media_s + self._timeout_s, report_s, alive_s + self._alive_every_s]
            if self.stream.deadline_s is not None:
                ends.append(self.stream.deadline_s)
            wait_s = max(0.0, min(ends) - now_s)

    # --- opening ------------------------------------------------------------------------------

    def _learn_methods(self) -> None:
        """What keeps a session alive: GET_PARAMETER where it is offered, else OPTIONS."""
        try:
            answer = self._ask("OPTIONS", self._url, {})
        except RtspRefused as refused:
            if refused.status == _UNAUTHORIZED:
                raise
            return  # some know no OPTIONS, and stream all the same
        if "GET_PARAMETER" in answer.header("public").upper():
            self._alive_method = "GET_PARAMETER"

    def _set_up(self, track: Track) -> None:
        """SETUP over UDP where that was asked for; over TCP where the camera has no UDP."""
        if self.transport == UDP:
            try:
                self._set_up_udp(track)
                return
            except RtspRefused as refused:
                if refused.status != _UNSUPPORTED_TRANSPORT:
                    raise
        offer = "RTP/AVP/TCP;unicast;interleaved=0-1"
        answer = self._ask("SETUP", track.control, {"Transport": offer})
        self._begin(answer, TCP)
        if match := _CHANNELS.search(answer.header("transport")):
            media = int(match[1])
            self._channels = (media, int(match[2]) if match[2] else media + 1)

    def _set_up_udp(self, track: Track) -> None:
        assert self._socket is not None
        ports = PortPair(str(self._socket.getsockname()[0]))
        try:
            offer = f"RTP/AVP;unicast;client_port={ports.port}-{ports.port + 1}"
            answer = self._ask("SETUP", track.control, {"Transport": offer})
            if match := _SERVER_PORTS.search(answer.header("transport")):
                media = int(match[1])
                control = int(match[2]) if match[2] else media + 1
                ports.connect(str(self._socket.getpeername()[0]), media, control)
        except BaseException:
            ports.close()
            raise
        self._ports = ports
        self._begin(answer, UDP)

    def _begin(self, answer: Answer, transport: str) -> None:
        """A session on the way that the camera granted. Inside TCP nothing is overtaken."""
        self.transport = transport
        self.stream = Stream(REORDER_HOLD_S if transport == UDP else 0.0)
        session = answer.header("session")
        self._session = session.partition(";")[0].strip()
        if match := _TIMEOUT.search(session):
            self._alive_every_s = max(KEEP_ALIVE_S_MIN, int(match[1]) / 2)

    # --- media --------------------------------------------------------------------------------

    def _take(self, data: bytes, now_s: float) -> list[Unit]:
        try:
            return self.stream.take(data, now_s)
        except FrameTooLarge as error:
            raise RtspBroken(str(error)) from None

    def _hear(self, data: bytes, now_s: float) -> None:
        if self.stream.reception.hear(data, now_s):
            raise SaidGoodbye("the camera said goodbye")

    def _receive(self, wait_s: float) -> list[tuple[bool, bytes]]:
        """(is RTCP, packet) of all that comes within `wait_s`, as soon as there is any."""
        assert self._socket is not None
        waiting = select.poll()
        sources = [self._socket]
        if self._ports is not None:
            sources += [self._ports.media, self._ports.control]
        for source in sources:
            waiting.register(source, select.POLLIN)
        ready = {descriptor for descriptor, _ in waiting.poll(wait_s * 1000)}
        found = []
        if self._ports is not None:
            for control, sock in enumerate((self._ports.media, self._ports.control)):
                if sock.fileno() in ready:
                    found += [(bool(control), d) for d in receive(sock, DATAGRAMS_A_TURN)]
        if self._socket.fileno() in ready:
            self._fill()
        found += self._interleaved()
        return found

    def _interleaved(self) -> list[tuple[bool, bytes]]:
        """Media inside the connection that is there whole; answers between it are looked at."""
        found = []
        while (message := self._inbox.take()) is not None:
            if isinstance(message, Answer):
                self._answered(message)
            elif message.channel in self._channels:
                found.append((message.channel == self._channels[1], message.data))
        return found

    def _answered(self, answer: Answer) -> None:
        """What a camera says to a sign of life."""
        if answer.status == _NO_SESSION:
            raise RtspBroken("the camera has forgotten the session")
        if answer.status in _UNKNOWN_METHOD:
            self._alive_method = "OPTIONS"
        elif answer.status == _UNAUTHORIZED and self._learn_challenge(answer):
            self._send(self._alive_method, self._url, {})

    def _report(self, report: bytes) -> None:
        if self._ports is not None:
            self._ports.report(report)
        elif self._socket is not None:
            self._socket.sendall(Interleaved(self._channels[1], report).to_bytes())

    def _leave(self) -> None:
        if self._session:
            goodbye = self.stream.reception.report(time.monotonic(), goodbye=True)
            self._report(goodbye)
            self._send("TEARDOWN", self._url, {})

    # --- requests -----------------------------------------------------------------------------

    def _ask(self, method: str, url: str, headers: dict[str, str]) -> Answer:
        for _ in range(2):  # once more with credentials when asked for them
            self._send(method, url, headers)
            answer = self._receive_answer()
            if answer.status == 200:
                return answer
            if answer.status != _UNAUTHORIZED or not self._learn_challenge(answer):
                break
        raise RtspRefused(answer.status, answer.reason)

    def _learn_challenge(self, answer: Answer) -> bool:
        """Whether it is worth to ask again: with credentials, or with a nonce that is fresh."""
        challenges = answer.headers.get("www-authenticate", [])
        if not self._username or not challenges:
            return False
        known, challenge = self._challenge, read_challenge(challenges)
        self._challenge = challenge
        return not known or is_stale(challenge)

    def _send(self, method: str, url: str, headers: dict[str, str]) -> None:
        assert self._socket is not None
        self._sequence += 1
        fields = {"CSeq": str(self._sequence), **headers}
        if self._session:
            fields["Session"] = self._session
        if self._challenge:
            fields["Authorization"] = authorize(
                self._challenge, method, url, self._username, self._password, self._sequence
            )
        lines = [f"{method} {url} RTSP/1.0", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode())

    def _receive_answer(self) -> Answer:
        """The next answer, past any media. It may take long, but not for ever."""
        until_s = time.monotonic() + ANSWER_S_MAX
        while not isinstance(message := self._inbox.take(), Answer):
            if time.monotonic() > until_s:
                raise TimeoutError("no answer")
            if message is None:
                self._fill()
        if self.phase is Phase.CONNECTING:
            self.phase = Phase.ASKING
        return message

    def _fill(self) -> None:
        """Receive what there is, or wait for it."""
        assert self._socket is not None
        data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise RtspBroken("closed by the camera")
        self._inbox.feed(data)
