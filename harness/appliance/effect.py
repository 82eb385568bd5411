"""Effects: everything an appliance program can ask of the world.

A program is a generator. It yields an effect, a frozen value, and is resumed with the outcome,
or has a `PeerError` (or `StorageFull`) thrown into it. Engines turn effects into something:
virtual durations, sockets and files, containers, hardware. A power cut drops the generators;
what was synced to storage stays.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")
JSON: TypeAlias = Any


class Effect(msgspec.Struct, frozen=True, gc=False):
    """Base of all effects.

    A msgspec structure, since a frozen dataclass takes eight times as long to make and making
    effects was an eighth of the time of a fleet in virtual days.
    """


Program: TypeAlias = Generator[Effect, Any, T]

# --- time and chance -----------------------------------------------------------------------


class Sleep(Effect, frozen=True, gc=False):
    """Resume after `delay_s` seconds of device time. Outcome: None."""

    delay_s: float


class Now(Effect, frozen=True, gc=False):
    """Outcome: float seconds of a clock that is never set: what durations are measured by.

    It goes on through reboots and power cuts, so that a job can be timed across them.
    """


class Clock(Effect, frozen=True, gc=False):
    """Outcome: what the appliance takes for the time, float seconds since the Unix epoch.

    It may be wrong, and NTP sets it: certificates and log lines go by it, durations must not.
    """


class Draw(Effect, frozen=True, gc=False):
    """Outcome: a float in [0, 1) from the appliance's own random stream."""


# --- programs inside one appliance ---------------------------------------------------------


class Spawn(Effect, frozen=True, gc=False):
    """Start `program` beside this one; it has a mailbox called `name`. Outcome: None.

    A program that is already running under that name is ended first.
    """

    name: str
    program: Program[None]


class Post(Effect, frozen=True, gc=False):
    """Put `message` into the mailbox `to`; silently dropped when no such program runs."""

    to: str
    message: object


class Receive(Effect, frozen=True, gc=False):
    """Outcome: the oldest message of this program's mailbox, or None after `timeout_s`."""

    timeout_s: float | None = None


class ReceiveAll(Effect, frozen=True, gc=False):
    """Outcome: every message that waits in this program's mailbox, oldest first; at once."""


# --- storage -------------------------------------------------------------------------------


class Read(Effect, frozen=True, gc=False):
    """Outcome: `length` bytes of `partition` at `offset` (unsynced writes included)."""

    partition: str
    offset: int
    length: int


class Write(Effect, frozen=True, gc=False):
    """Write `data`; it survives a power cut only after `Sync`. Raises `StorageFull`."""

    partition: str
    offset: int
    data: bytes


class Sync(Effect, frozen=True, gc=False):
    """Make every write to `partition` durable."""

    partition: str


class Copy(Effect, frozen=True, gc=False):
    """Copy bulk content between partitions in steps of `chunk`, each synced before the next.

    Outcome: None. Raises `StorageFull`, `StorageReadOnly`.
    """

    source: str
    source_offset: int
    target: str
    offset: int
    size: int
    chunk: int = 1 << 20


class Erase(Effect, frozen=True, gc=False):
    """Discard all of a partition, durably; a cut may leave a part of it. Outcome: None."""

    partition: str


class Digest(Effect, frozen=True, gc=False):
    """Outcome: SHA-256 (hex) of `length` bytes of `partition` at `offset`."""

    partition: str
    offset: int
    length: int


class WatchStorage(Effect, frozen=True, gc=False):
    """Outcome: whether the data partition is in trouble now.

    From now on `StorageTrouble` is posted to `mailbox` when the kernel meets some.
    """

    mailbox: str


class ReadFuses(Effect, frozen=True, gc=False):
    """Outcome: the number of anti-rollback fuses blown."""


class BlowFuses(Effect, frozen=True, gc=False):
    """Blow fuses up to `level`. There is no way back. Outcome: None."""

    level: int


# --- network -------------------------------------------------------------------------------


class MakeKey(Effect, frozen=True, gc=False):
    """Make a device key. Outcome: `(private_key_pem, certificate_request_pem)`."""

    common_name: str


class UseIdentity(Effect, frozen=True, gc=False):
    """The TLS identity and the trusted authority of every later Connect, Get and Fetch."""

    certificate_pem: str
    private_key_pem: str
    ca_pem: str

    def __repr__(self) -> str:
        return "UseIdentity(...)"  # the key must not reach a log


class Connect(Effect, frozen=True, gc=False):
    """Open MQTT over mutual TLS. Messages and the loss of the link are posted to `mailbox`.

    `endpoint` is host:port. Outcome: None. Raises `LinkDown`, `PeerTimeout`, or `PeerRefused`
    (certificate or policy).
    """

    endpoint: str
    client_id: str
    mailbox: str
    timeout_s: float = 10.0


class Disconnect(Effect, frozen=True, gc=False):
    """Close the MQTT connection, if any. Outcome: None."""


class Subscribe(Effect, frozen=True, gc=False):
    """Subscribe at QoS 1 and wait for the acknowledgement. Raises `LinkDown`."""

    topics: tuple[str, ...]


class Publish(Effect, frozen=True, gc=False):
    """Publish `payload` (a JSON object) at QoS 1 and wait for PUBACK. Raises `LinkDown`."""

    topic: str
    payload: Mapping[str, JSON]


class Heartbeat(Effect, frozen=True, gc=False):
    """Publish `payload` every `every_s` until the link is lost. Outcome: None, at once."""

    topic: str
    payload: Mapping[str, JSON]
    every_s: float


class Get(Effect, frozen=True, gc=False):
    """HTTPS GET of a small document with the device certificate. Outcome: bytes.

    Raises `LinkDown`, `PeerTimeout`, `NotFound`, `PeerRefused` (status, or larger than `limit`).
    """

    url: str
    limit: int = 1 << 20


class Fetch(Effect, frozen=True, gc=False):
    """HTTPS GET of bulk content straight into `partition` at `offset`, in steps of `chunk`.

    The content is `size` bytes long; of these, what lies from `start` to before `until` is fetched
    by a range request, and every step is synced before the next. Outcome: the number of bytes in
    place, `until` (or `size`) when all came, fewer when the link broke on the way. Never more
    than that is read. Raises `LinkDown` or `PeerTimeout` when nothing could be transferred,
    `PeerRefused` (status, or a content that is said to have another length), `StorageFull`.
    """

    url: str
    partition: str
    offset: int
    size: int
    start: int = 0
    until: int | None = None
    chunk: int = 1 << 20


class Reach(Effect, frozen=True, gc=False):
    """Connect to `endpoint`, host:port, and hang up. Outcome: None.

    Raises `LinkDown` (refused) or `PeerTimeout` (no answer, as behind a firewall).
    """

    endpoint: str
    timeout_s: float = 10.0


class Upload(Effect, frozen=True, gc=False):
    """HTTPS POST of a JSON object with the device certificate. Outcome: None.

    Raises `LinkDown`, `PeerTimeout`, `PeerRefused` (status).
    """

    url: str
    document: Mapping[str, JSON]


class UploadEvery(Effect, frozen=True, gc=False):
    """Upload `document` now and every `every_s` until the MQTT link is lost. Outcome: None.

    The outcome comes at once; what gets lost on the way is not sent again. Raises `LinkDown`.
    """

    url: str
    document: Mapping[str, JSON]
    every_s: float


class SetNetwork(Effect, frozen=True, gc=False):
    """Configure the Ethernet ports as `configuration`, a NetworkPayload of the service, says.

    Outcome: a `PortState` of each. From now on `PortsChanged` is posted to `mailbox` when a cable
    comes or goes.
    """

    configuration: Mapping[str, JSON]
    mailbox: str


class KeepTime(Effect, frozen=True, gc=False):
    """From now on set the clock by NTP (RFC 5905) from the first of `servers` that answers.

    Outcome: None, at once. `TimeAnswered` and `TimeUnanswered` are posted to `mailbox` when it
    begins or ceases to work, `ClockJumped` when something else sets the clock.
    """

    servers: tuple[str, ...]
    mailbox: str


# --- the box -------------------------------------------------------------------------------


class ReadStick(Effect, frozen=True, gc=False):
    """Outcome: the files on the USB stick `{name: bytes}`, or None when none is plugged in.

    A name that ends in a slash is an empty folder. Raises `Corrupt` when the stick cannot be
    used: its format, its size, the port it is in.
    """


class WriteStick(Effect, frozen=True, gc=False):
    """Write a file to the USB stick, whole or not at all. Outcome: None.

    Raises `LinkDown` when the stick was pulled, `StorageReadOnly`, `StorageFull`, `Corrupt`.
    """

    name: str
    data: bytes


class Seal(Effect, frozen=True, gc=False):
    """Outcome: `data` encrypted for the vendor's support, which alone can read it."""

    data: bytes


class Panel(Effect, frozen=True, gc=False):
    """Set an LED: `led` status | network; `pattern` steady | slow (3 s) | fast (1 s) | off."""

    led: str
    colour: str
    pattern: str


class Restart(Effect, frozen=True, gc=False):
    """Reboot: all programs end, unsynced writes are flushed as an orderly shutdown does."""

    reason: str = "reboot"


class Shutdown(Effect, frozen=True, gc=False):
    """Power off in good order: all programs end, unsynced writes are flushed."""

    reason: str


class Halt(Effect, frozen=True, gc=False):
    """Stop for good until power is cycled."""

    reason: str


class Measure(Effect, frozen=True, gc=False):
    """Outcome: `Usage`, what the box uses at this moment."""


class TrimLog(Effect, frozen=True, gc=False):
    """Drop the oldest lines of the appliance's own log files down to `keep_bytes`."""

    keep_bytes: int


class Govern(Effect, frozen=True, gc=False):
    """Whether clocks are taken away when the module is too hot. Outcome: None.

    They are, unless firmware says otherwise; a module that is not governed ends at its shutdown
    trip.
    """

    throttle: bool


class Charge(Effect, frozen=True, gc=False):
    """Pass the time that `work` takes on this hardware (`boot`, `verify`, ...). Outcome: None."""

    work: str
    amount: float = 1.0


class Note(Effect, frozen=True, gc=False):
    """Put an event into the history, from this appliance. Outcome: None.

    The logs agent hears of it too: it is posted to the mailbox `telemetry` as `Noted`.
    """

    kind: str
    values: Mapping[str, JSON]


# --- applications --------------------------------------------------------------------------


CONSOLE_BYTES_MAX = 11 * 1_000_000  # "at most 11 MB since 4.3.55" (vendor's change log)


class Hosting(msgspec.Struct, frozen=True, gc=False):
    """How the firmware runs an application: its camera nodes, its display and its console.

    `retry_for_s`: how long a camera that cannot be reached is tried again, None for ever;
    `session_s`: when a camera node's session breaks by itself; `survives` what a camera node may
    meet without taking the application with it: `codec` (not H.264), `refusal` (401, 404 and
    their like); `tiles`: every stream has a tile of the display, else the first alone;
    `resolves`: names are found by name servers that were configured, not by those of DHCP alone;
    `opens_ports`: inbound ports lead to it.
    """

    retry_for_s: float | None = None
    session_s: float | None = None
    survives: frozenset[str] = frozenset({"codec", "refusal"})
    tiles: bool = True
    resolves: bool = True
    opens_ports: bool = True
    console_bytes_max: int | None = CONSOLE_BYTES_MAX


SOUND_HOSTING = Hosting()


class StartNode(Effect, frozen=True, gc=False):
    """Start the application `instance` from its installed assets.

    `document` is the deployment document; `assets` maps asset SHA-256 to
    `(partition, offset, size)`. Its end is posted to `mailbox` as `NodeEnded`. The camera nodes
    in `paused` deliver nothing from the start. Raises `PeerError` when it cannot be started.
    Virtual time alone knows of other `hosting` than the sound one, `tiles` aside.
    """

    instance: str
    document: Mapping[str, JSON]
    assets: Mapping[str, tuple[str, int, int]]
    mailbox: str
    paused: tuple[str, ...] = ()
    hosting: Hosting = SOUND_HOSTING


class PauseCameras(Effect, frozen=True, gc=False):
    """From now on no frames of these camera `nodes` of `instance`, and of all its others again.

    Outcome: None, also when the instance does not run.
    """

    instance: str
    nodes: tuple[str, ...]


class StopNode(Effect, frozen=True, gc=False):
    """Stop `instance`: SIGTERM, then SIGKILL. Outcome: None."""

    instance: str


# --- outcomes, and what arrives in mailboxes -----------------------------------------------


class Usage(msgspec.Struct, frozen=True, gc=False):
    """In bytes: memory in use and in all, the appliance's own logs, the largest console log."""

    memory_used: int
    memory_total: int
    log: int
    console: int


class MessageArrived(msgspec.Struct, frozen=True, gc=False):
    topic: str
    payload: Mapping[str, JSON]


class LinkLost(msgspec.Struct, frozen=True, gc=False):
    reason: str


class NodeEnded(msgspec.Struct, frozen=True, gc=False):
    instance: str
    code: int
    reason: str


class Pressed(msgspec.Struct, frozen=True, gc=False):
    """Buttons were held and released: `power`, `reset` or both, for `held_s`."""

    buttons: frozenset[str]
    held_s: float


class Heated(msgspec.Struct, frozen=True, gc=False):
    """The module is too hot and loses clocks, or is cool again."""

    hot: bool
    temperature_c: float


class StickPlugged(msgspec.Struct, frozen=True, gc=False):
    pass


class PortState(msgspec.Struct, frozen=True, gc=False):
    """An Ethernet port: `eth0` or `eth1`, its address (empty: none) and its hardware address."""

    name: str
    cable: bool
    address: str
    hardware: str


class PortsChanged(msgspec.Struct, frozen=True, gc=False):
    ports: tuple[PortState, ...]


class TimeAnswered(msgspec.Struct, frozen=True, gc=False):
    """The clock was set by this server; `set_by_s` is 0 when it was right before."""

    server: str
    set_by_s: float


class TimeUnanswered(msgspec.Struct, frozen=True, gc=False):
    reason: str


class ClockJumped(msgspec.Struct, frozen=True, gc=False):
    by_s: float


class StorageTrouble(msgspec.Struct, frozen=True, gc=False):
    """Writes to the data partition fail, or wait."""


class Noted(msgspec.Struct, frozen=True, gc=False):
    """An event that a program noted, at a time of the appliance's clock."""

    at_s: float
    kind: str
    values: Mapping[str, JSON]


class NodeOutput(msgspec.Struct, frozen=True, gc=False):
    """Lines that an application printed, or wrote into its log files, until `at_s`."""

    at_s: float
    instance: str
    stream: str
    lines: tuple[str, ...]
