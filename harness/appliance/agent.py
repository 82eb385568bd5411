"""The connection to the control plane: connect, report, dispatch, reconnect with jitter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.appliance import network, topic
from harness.appliance.effect import (
    Connect,
    Draw,
    Heartbeat,
    LinkLost,
    MessageArrived,
    Note,
    Now,
    Post,
    Program,
    Publish,
    Receive,
    Sleep,
    Subscribe,
    UseIdentity,
)
from harness.appliance.firmware import Mailbox, Online
from harness.errors import PeerError

if TYPE_CHECKING:
    from harness.appliance.firmware import Firmware

HEARTBEAT_S = 30.0
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
DOUBLINGS_MAX = 30


def agent(firmware: Firmware) -> Program[None]:
    """Keeps the link up for ever; everything the cloud says goes to the program it concerns."""
    identity = None
    attempt = 0
    since_s = yield Now()
    while True:
        attempt += 1
        device = firmware.journal.values["device"]  # its certificate may have been renewed
        if identity != device["certificate"]:
            identity = device["certificate"]
            yield UseIdentity(identity, device["key"], device["authority"])
        try:
            yield from _connect(firmware, device["endpoint"])
        except PeerError as problem:
            yield Note("link.refused", {"attempt": attempt, "reason": str(problem)})
            yield Sleep((yield from backoff(attempt)))
            continue
        duration_s = round((yield Now()) - since_s, 6)
        yield Note("link.connected", {"attempt": attempt, "duration_s": duration_s})
        yield Note("appliance.state", {"state": "online"})
        firmware.online = True
        yield network.light(firmware)
        yield from network.report(firmware)
        yield Post(Mailbox.UPDATER, Online())
        yield Post(Mailbox.APPLICATIONS, Online())
        yield Post(Mailbox.TELEMETRY, Online())
        reason = yield from _dispatch(firmware.thing)
        firmware.online = False
        since_s = yield Now()
        attempt = 0
        yield Note("link.lost", {"reason": reason})
        yield Note("appliance.state", {"state": "offline"})
        yield network.light(firmware)


def backoff(attempt: int) -> Program[float]:
    """Exponential with full jitter over its upper half, so that a fleet does not march in step."""
    doublings = min(attempt - 1, DOUBLINGS_MAX)  # a box may be alone for weeks
    ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**doublings)
    chance = yield Draw()
    return ceiling_s * (0.5 + 0.5 * float(chance))


def _connect(firmware: Firmware, endpoint: str) -> Program[None]:
    thing = firmware.thing
    # What the connection before this one left behind, its loss above all, is not about this one.
    while (yield Receive(0.0)) is not None:
        pass
    yield Connect(endpoint, thing, Mailbox.MAIN)
    yield Subscribe(
        (
            topic.job_notify(thing),
            topic.job_next(thing) + topic.ACCEPTED,
            topic.shadow_get(thing, "applications") + topic.ACCEPTED,
            topic.shadow_delta(thing, "applications"),
        )
    )
    runs = {"software": firmware.manifest.version, "slot": firmware.slot}
    facts = {**runs, **_facts(firmware), "network": (yield from network.status(firmware))}
    device = topic.shadow_update(thing, "device")
    yield Publish(device, {"state": {"reported": facts}})
    yield Heartbeat(device, {"state": {"reported": runs}}, HEARTBEAT_S)


def _facts(firmware: Firmware) -> dict[str, str]:
    """What is printed on its label."""
    board = firmware.board
    facts = {"serial": board.serial, "brand": board.brand, "type": board.device_type}
    return {name: value for name, value in facts.items() if value}


def _dispatch(thing: str) -> Program[str]:
    """Hand messages on until the link is lost. Outcome: the reason."""
    jobs, renewal = f"$aws/things/{thing}/jobs/", topic.certificate_renew(thing)
    while True:
        message = yield Receive()
        if isinstance(message, LinkLost):
            return message.reason
        if isinstance(message, MessageArrived):
            to = Mailbox.UPDATER if message.topic.startswith(jobs) else Mailbox.APPLICATIONS
            yield Post(Mailbox.RENEWAL if message.topic.startswith(renewal) else to, message)
