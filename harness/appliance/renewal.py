"""The device certificate is renewed when two thirds of its life are over.

The new key is made on the device; the old certificate stays good until its own end, so a cut at
any moment leaves one that may connect. What was renewed is used from the next connection on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance import topic
from harness.appliance.effect import (
    MakeKey,
    MessageArrived,
    Note,
    Now,
    Program,
    Publish,
    Receive,
    Sleep,
    Subscribe,
)
from harness.errors import LinkDown, PeerError, PeerRefused, PeerTimeout

if TYPE_CHECKING:
    from harness.appliance.firmware import Firmware

RENEW_AT = 2 / 3  # of its life
LOOK_S = 86_400.0  # at least once a day: clocks are set meanwhile
LEAST_S = 1.0  # where sleeping is hastened and the clock is not, the rest takes many of these
RETRY_S = 600.0
ANSWER_TIMEOUT_S = 30.0


def renew(firmware: Firmware) -> Program[None]:
    """For ever, or not at all where certificates do not expire."""
    while True:
        device = firmware.journal.values["device"]
        if "expires_s" not in device:
            return
        life_s = device["expires_s"] - device["issued_s"]
        left_s = device["issued_s"] + life_s * RENEW_AT - (yield Now())
        if left_s > 0.0:
            yield Sleep(max(min(left_s, LOOK_S), LEAST_S))
            continue
        try:
            yield from _renew(firmware, device)
        except PeerError as problem:
            line = f"WARN certificate: not renewed: {problem}"
            yield Note("log.line", {"stream": "occ_log", "line": line})
            yield Sleep(RETRY_S)


def _renew(firmware: Firmware, device: dict[str, Any]) -> Program[None]:
    """Raises `PeerError` when the control plane cannot be asked, or refuses."""
    if not firmware.online:
        raise LinkDown("no connection to the control plane")
    ask = topic.certificate_renew(firmware.thing)
    yield Subscribe((ask + topic.ACCEPTED, ask + topic.REJECTED))
    key, request = yield MakeKey(firmware.thing)
    yield Publish(ask, {"certificateSigningRequest": request})
    answer = yield Receive(ANSWER_TIMEOUT_S)
    if not isinstance(answer, MessageArrived):
        raise PeerTimeout(f"no answer on {ask} in {ANSWER_TIMEOUT_S:.0f} s")
    if answer.topic.endswith(topic.REJECTED):
        raise PeerRefused(str(answer.payload.get("message", "refused")))
    renewed = {
        **device,
        "certificate": answer.payload["certificatePem"],
        "key": key,
        "issued_s": (yield Now()),
        "expires_s": answer.payload["expires"],
    }
    yield from firmware.journal.put({"device": renewed})
    yield Note("certificate.renewed", {"expires_s": renewed["expires_s"]})
