"""What a camera answers to the requests of one reader, and the session that comes of them.

States of a session (RFC 2326, appendix A.2); a request that has no entry is answered 455:
"""

from __future__ import annotations

import re
import secrets
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from harness.camera.serve import quirk, sdp
from harness.camera.serve.playback import npt_range
from harness.camera.serve.session import TcpCarrier
from harness.camera.serve.trouble import Conduct, Late
from harness.camera.serve.udp import UdpCarrier
from harness.camera.wire import uri
from harness.camera.wire.auth import Challenger
from harness.camera.wire.rtsp import Request, Response
from harness.camera.wire.transport import TCP, ClientPorts, Interleave, choose

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from harness.camera.serve.live import Camera
    from harness.camera.serve.outbox import Outbox
    from harness.camera.serve.session import Carrier, Session
    from harness.camera.serve.trouble import Reaction

    Answer: TypeAlias = tuple[Response, Callable[[], None] | None]  # and what comes after it

INIT, READY, PLAYING = "init", "ready", "playing"
TRANSITIONS: Mapping[tuple[str, str], str] = {
    (INIT, "SETUP"): READY,
    (READY, "SETUP"): READY,  # of another track
    (READY, "PLAY"): PLAYING,
    (READY, "PAUSE"): READY,
    (READY, "TEARDOWN"): INIT,
    (PLAYING, "PLAY"): PLAYING,  # live: a change of range changes nothing
    (PLAYING, "PAUSE"): READY,
    (PLAYING, "TEARDOWN"): INIT,
}
OPEN_TO_ALL = ("OPTIONS",)  # answered without credentials
STATELESS = ("OPTIONS", "DESCRIBE", "GET_PARAMETER", "SET_PARAMETER")
PUBLIC = ", ".join((*STATELESS, "SETUP", "PLAY", "PAUSE", "TEARDOWN"))
REPORT_EVERY_S = 5.0
HELD_MAX = 16  # requests that wait behind one whose answer is late


class Site(Protocol):
    """What a dialogue needs of its server."""

    session_timeout_s: float
    segment: bool

    def find(self, path: str) -> Camera | None:
        """The camera at `path` on the port that the connection came to."""


class Link(Protocol):
    """What a dialogue needs of its connection."""

    peer: tuple[str, int]
    outbox: Outbox

    @property
    def here(self) -> str:
        """The address that the reader came to."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the server."""

    @property
    def wrapped(self) -> bool:
        """Inside TLS or HTTP: media beside it would be readable, or not arrive."""

    def alive(self) -> None:
        """The reader was heard of."""

    def abort(self) -> None:
        """Close with a reset."""

    def break_off(self) -> None:
        """End it in such a way that the reader's next send() fails."""

    def hush(self, camera: Camera) -> None:
        """Send nothing any more and answer nothing, because of `camera`."""


class _Refused(Exception):
    """A request that is answered with this response and nothing else."""

    def __init__(self, status: int, *headers: tuple[str, str]) -> None:
        super().__init__(status)
        self.response = Response(headers, status=status)


class Dialogue:
    """Requests in, responses out; owns the reader's session."""

    def __init__(self, site: Site, link: Link) -> None:
        self._site = site
        self._link = link
        self._challenger = Challenger()
        self._state = INIT
        self._next_report_s = 0.0
        self._silent = False
        self._held: deque[Request] = deque()  # the first one's answer is late
        self._held_by: Camera | None = None
        self._late: asyncio.TimerHandle | None = None
        self.session: Session | None = None

    @property
    def timeout_s(self) -> float:
        """After how long a silence the reader is taken for gone."""
        own_s = self.session.camera.quirks.session_timeout_s if self.session is not None else 0.0
        return own_s or self._site.session_timeout_s

    @property
    def busy(self) -> bool:
        """Whether the reader waits for an answer that is late."""
        return bool(self._held)

    def report(self, now_s: float) -> None:
        """Sender reports, where they are due."""
        session = self.session
        if session is not None and self._state == PLAYING and now_s >= self._next_report_s:
            self._next_report_s = now_s + REPORT_EVERY_S
            session.report()

    def end(self, *, goodbye: bool = False) -> None:
        """End the session; with `goodbye` the reader is told by RTCP."""
        session = self.session
        self.session, self._state = None, INIT
        self._take_held()
        if session is not None:
            if goodbye:
                session.goodbye()
            session.close()

    def receive_control(self, channel: int, data: bytes) -> None:
        """Interleaved data of the reader: its receiver reports, when they are any."""
        for carrier in self._carriers():
            if isinstance(carrier, TcpCarrier) and carrier.control == channel:
                self._heard(data)
                return

    def _heard(self, data: bytes) -> None:
        if self.session is not None and self.session.receive_control(data):
            self._link.alive()

    def _carriers(self) -> Iterable[Carrier]:
        return () if self.session is None else self.session.carriers()

    # --- requests ---------------------------------------------------------------------------

    def answer(self, request: Request) -> None:
        """Answer, or do what a camera does instead that has a fault."""
        if self._silent:
            return
        if self._held:
            self._hold(request)
            return
        camera = self._camera(request)
        reaction = self._reaction(request, camera)
        if camera is not None and isinstance(reaction, Late):
            self._hold(request)
            self._held_by = camera
            self._late = self._link.loop.call_later(reaction.delay_s, self._release)
            camera.trouble.waiting.add(self._release)
        else:
            self._act(request, camera, reaction)

    def _reaction(self, request: Request, camera: Camera | None) -> Reaction:
        if camera is None:
            return None
        return camera.trouble.react(request, in_session=self.session is not None)

    def _act(self, request: Request, camera: Camera | None, reaction: Reaction) -> None:
        if reaction is Conduct.RESET:
            self._link.abort()
        elif reaction is Conduct.SILENCE:
            assert camera is not None
            self._link.hush(camera)
        else:
            response, then = self._response(request, camera, reaction)
            if reaction is not Conduct.BREAK or not response.body:
                self._link.outbox.send(response.to_bytes())
            if then is not None:
                then()
            if reaction is Conduct.BREAK:
                self._link.break_off()

    def _response(self, request: Request, camera: Camera | None, reaction: Reaction) -> Answer:
        """The answer, and what happens when it is out."""
        sequence = request.header("CSeq")
        if sequence is None or not (sequence.isascii() and sequence.isdigit()):
            return Response(status=400), None
        then: Callable[[], None] | None = None
        try:
            heard = request if camera is None else quirk.hear(camera.quirks, request)
            if isinstance(reaction, Response):
                response = reaction
            elif isinstance(heard, Response):
                response = heard
            else:
                response, then = self._handle(heard, camera)
        except _Refused as refused:
            response = refused.response
        response = replace(response, headers=(("CSeq", sequence), *response.headers))
        if camera is not None:
            response = quirk.dress(camera.quirks, response)
        return response, then

    # --- late answers, and none ---------------------------------------------------------------

    def _hold(self, request: Request) -> None:
        """What comes while an answer is late waits behind it."""
        if len(self._held) >= HELD_MAX:
            self._link.abort()
        else:
            self._held.append(request)

    def _release(self) -> None:
        """The time is over, or the fault is: answer what waits."""
        held = self._take_held()
        first = held.popleft()
        camera = self._camera(first)
        reaction = self._reaction(first, camera)
        self._act(first, camera, None if isinstance(reaction, Late) else reaction)
        for request in held:
            if not self._link.outbox.closed:
                self.answer(request)

    def _take_held(self) -> deque[Request]:
        """The requests that wait, which nothing waits for any more."""
        if self._late is not None and self._held_by is not None:
            self._late.cancel()
            self._held_by.trouble.waiting.discard(self._release)
        self._late = self._held_by = None
        held, self._held = self._held, deque()
        return held

    def hush(self) -> None:
        """Answer nothing any more."""
        self._silent = True
        self._take_held()

    def _camera(self, request: Request) -> Camera | None:
        path = uri.path_of(request.uri)
        return None if path == "*" else self._site.find(path)

    def _handle(self, request: Request, camera: Camera | None) -> Answer:
        method = request.method
        handler = _HANDLERS.get(method)
        if handler is None:
            raise _Refused(501, ("Public", PUBLIC))
        if method in OPEN_TO_ALL:
            return Response((("Public", PUBLIC),), status=200), None
        if camera is None:
            if method in STATELESS and request.uri == "*":
                return Response(status=200), None
            raise _Refused(404)
        given = request.header("Authorization")
        challenges = self._challenger.refusal(camera.credentials, given, method, request.uri)
        if challenges:
            raise _Refused(401, *(("WWW-Authenticate", challenge) for challenge in challenges))
        if method not in STATELESS:
            self._require_state(request)
        return handler(self, request, camera)

    def _require_state(self, request: Request) -> None:
        given = (request.header("Session") or "").partition(";")[0].strip()
        known = self.session is not None and given == self.session.id
        if not known and (request.method != "SETUP" or given):
            raise _Refused(454)
        if (self._state, request.method) not in TRANSITIONS:
            raise _Refused(455, ("Allow", PUBLIC))
        if request.method == "SETUP" and self.session is not None and not known:
            raise _Refused(455, ("Allow", PUBLIC))  # one session a connection

    def _describe(self, request: Request, camera: Camera) -> Answer:
        accept = request.header("Accept")
        if accept is not None and not re.search(r"application/(sdp|\*)|\*/\*", accept.lower()):
            raise _Refused(406)
        headers = (
            ("Content-Type", "application/sdp"),
            ("Content-Base", f"{request.uri.rstrip('/')}/"),
        )
        body = sdp.describe(
            camera.offered,
            camera.name,
            self._link.here,
            range_text=camera.range_text,
            tracks=camera.tracks,
        )
        return Response(headers, body=body, status=200), None

    # --- tracks -----------------------------------------------------------------------------

    def _setup(self, request: Request, camera: Camera) -> Answer:
        track = self._track(request, camera)
        session = self.session
        if session is not None and (session.camera is not camera or track in session.tracks):
            raise _Refused(455, ("Allow", PUBLIC))
        allowed = (TCP,) if self._link.wrapped else camera.transports
        offer = choose(request.header("Transport") or "", allowed)
        if offer is None:
            raise _Refused(461)
        if session is None and not camera.places.free:
            raise _Refused(453)
        if isinstance(offer, ClientPorts):
            carrier, transport = self._beside(offer)
        else:
            carrier, transport = self._inside(offer)
        if session is None:
            session = camera.open(secrets.token_hex(8), self._link.peer)
        session.attach(track, carrier)
        self.session, self._state = session, TRANSITIONS[self._state, "SETUP"]
        transport += f";ssrc={session.ssrc_of(track):08X}"
        headers = (("Transport", transport), self._session_header(session))
        return Response(headers, status=200), None

    def _track(self, request: Request, camera: Camera) -> int:
        track = uri.track_of(request.uri)
        if track is None:
            if len(camera.tracks) > 1:
                raise _Refused(459)
            track = camera.tracks[0]
        if track not in camera.tracks:
            raise _Refused(404)
        return track

    def _inside(self, offer: Interleave) -> tuple[Carrier, str]:
        """A carrier in this connection, on the channels asked for or the next free ones."""
        taken = {
            channel
            for carrier in self._carriers()
            if isinstance(carrier, TcpCarrier)
            for channel in (carrier.channel, carrier.control)
        }
        channel = offer.channel
        if channel is None:
            channel = next(c for c in range(0, 256, 2) if c not in taken and c + 1 not in taken)
        control = channel + 1 if offer.control is None else offer.control
        if channel in taken or control in taken:
            raise _Refused(461)
        transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{control}"
        return TcpCarrier(self._link.outbox, channel, control), transport

    def _beside(self, offer: ClientPorts) -> tuple[Carrier, str]:
        """A carrier by UDP, to the address this connection comes from and no other."""
        try:
            carrier = UdpCarrier(
                self._link.loop,
                self._link.here,
                self._link.peer[0],
                offer,
                self._heard,
                segment=self._site.segment,
            )
        except OSError:
            raise _Refused(503) from None  # no port or no file descriptor left
        ours = f"{carrier.ports[0]}-{carrier.ports[1]}"
        theirs = f"{offer.rtp}-{offer.rtcp}"
        return carrier, f"RTP/AVP;unicast;client_port={theirs};server_port={ours}"

    # --- playing ----------------------------------------------------------------------------

    def _play(self, request: Request, camera: Camera) -> Answer:
        session = self._own(request, camera)
        wanted = None
        if camera.ranged and (text := request.header("Range")) is not None:
            try:
                wanted = npt_range(text)
            except ValueError:
                raise _Refused(457) from None
            if wanted is not None and (wanted[0] or 0.0) >= camera.clip.duration_s:
                raise _Refused(457)
        self._state = TRANSITIONS[self._state, "PLAY"]
        start = session.prepare(wanted)
        self._next_report_s = time.monotonic() + REPORT_EVERY_S
        base = uri.without_track(request.uri)
        info = ",".join(
            f"url={base}/{uri.CONTROL.format(track)};seq={sequence};rtptime={start.timestamp}"
            for track, sequence in session.sequences(start)
        )
        headers = (self._session_header(session), ("Range", start.range), ("RTP-Info", info))
        return Response(headers, status=200), lambda: session.play(start)

    def _pause(self, request: Request, camera: Camera) -> Answer:
        session = self._own(request, camera)
        self._state = TRANSITIONS[self._state, "PAUSE"]
        session.pause()
        return Response((self._session_header(session),), status=200), None

    def _teardown(self, request: Request, camera: Camera) -> Answer:
        """Of everything, or of one track; the session ends with its last track."""
        track = uri.track_of(request.uri)
        session = self._own(request, camera, aggregate=False)
        if track is not None and track not in session.tracks:
            raise _Refused(404)
        if track is not None and len(session.tracks) > 1:
            session.detach(track)
            return Response((self._session_header(session),), status=200), None
        self.end(goodbye=True)
        camera.places.part(session.id)
        return Response(status=200), None

    def _parameter(self, request: Request, _camera: Camera) -> Answer:
        """Without a body it keeps the session alive; there are no parameters to get or set."""
        if request.body.strip():
            raise _Refused(451)
        headers = () if self.session is None else (self._session_header(self.session),)
        return Response(headers, status=200), None

    def _own(self, request: Request, camera: Camera, *, aggregate: bool = True) -> Session:
        """The session, which must be one with `camera`; PLAY and PAUSE are for all its tracks."""
        session = self.session
        if session is None or session.camera is not camera:
            raise _Refused(454)
        if aggregate and uri.track_of(request.uri) is not None and len(session.tracks) > 1:
            raise _Refused(460)
        return session

    def _session_header(self, session: Session) -> tuple[str, str]:
        return "Session", f"{session.id};timeout={round(self._site.session_timeout_s)}"


_HANDLERS = {
    "OPTIONS": Dialogue._parameter,
    "DESCRIBE": Dialogue._describe,
    "SETUP": Dialogue._setup,
    "PLAY": Dialogue._play,
    "PAUSE": Dialogue._pause,
    "TEARDOWN": Dialogue._teardown,
    "GET_PARAMETER": Dialogue._parameter,
    "SET_PARAMETER": Dialogue._parameter,
}
