"""Provisioning from the archive on the USB stick, by a claim certificate valid for minutes.

The device makes its own key, has it signed over the claim connection (AWS IoT fleet
provisioning by claim), registers itself and keeps configuration and certificate in one atomic
transaction. Status LED: blue, slow, until registered.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.appliance import network, stick, topic
from harness.appliance.effect import (
    Connect,
    Disconnect,
    LinkLost,
    MakeKey,
    MessageArrived,
    Note,
    Now,
    Panel,
    Program,
    Publish,
    ReadStick,
    Receive,
    Sleep,
    StickPlugged,
    Subscribe,
    UseIdentity,
)
from harness.appliance.firmware import Mailbox
from harness.errors import Corrupt, LinkDown, PeerError, PeerRefused, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.firmware import Firmware

ANSWER_TIMEOUT_S = 30.0
RETRY_S = 10.0


def provision(firmware: Firmware) -> Program[None]:
    """Returns when the device has its own identity; retries for as long as it takes."""
    while True:
        began_s = yield Now()
        try:
            data = yield from _archive()
            if data is None:
                yield from _another_stick()
                continue
            yield Panel("status", "blue", "slow")
            device = yield from _register(firmware, stick.unpack(data))
            yield from firmware.journal.put({"device": device})
        except PeerError as problem:
            yield Panel("status", "red", "fast")
            line = f"ERROR provisioning: {problem}"
            yield Note("log.line", {"stream": "occ_log", "line": line})
            yield from stick.write_logs(firmware, _logs(firmware, line))
            yield Disconnect()
            if isinstance(problem, (PeerRefused, Corrupt)):
                # A spent, expired or damaged archive stays so.
                yield from _another_stick()
            else:
                yield Sleep(RETRY_S)
            continue
        line = f"INFO provisioning: registered as {device['thing']}"
        yield from stick.write_logs(firmware, _logs(firmware, line))
        duration_s = round((yield Now()) - began_s, 6)
        yield Note("provision.ended", {"device": device["thing"], "duration_s": duration_s})
        return


def _logs(firmware: Firmware, line: str) -> dict[str, list[str]]:
    """The provisioning logs, by the names that the vendor's change log gives for 4.3.23."""
    manifest, slot = firmware.manifest, firmware.slot
    return {
        "occ.log": [line],
        "ota_agent.log": [f"INFO ota: {manifest.version} runs from slot {slot}, no job"],
        "syslog.log": [f"INFO appliance: serial {firmware.board.serial}, {firmware.board.name}"],
        "kern.log": [f"INFO boot: slot {slot} verified, {firmware.fuses} fuses blown"],
    }


def _archive() -> Program[bytes | None]:
    """The archive on the stick; None without one. Raises `Corrupt`."""
    files: Mapping[str, bytes] = (yield ReadStick()) or {}
    name = stick.archive(files)
    return files[name] if name else None


def _another_stick() -> Program[None]:
    """What a connection leaves in the mailbox when it ends is no reason to try again."""
    while not isinstance((yield Receive()), StickPlugged):
        pass


def _register(firmware: Firmware, files: Mapping[str, bytes]) -> Program[dict[str, Any]]:
    try:
        config = json.loads(_text(files, "config.json"))
        endpoint, device_id = config["Endpoint"], config["DeviceId"]
        https = {"https": config["HttpsEndpoint"]} if "HttpsEndpoint" in config else {}
        networking = dict(config.get("NetworkingConfiguration") or {})
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"provisioning archive: config.json: {error}") from None
    authority = _text(files, "ca.pem")
    yield from network.bring_up(firmware, networking)
    yield UseIdentity(_text(files, "claim.cert.pem"), _text(files, "claim.key.pem"), authority)
    yield Connect(endpoint, f"claim-{device_id}", Mailbox.MAIN)
    certificate = topic.CREATE_CERTIFICATE
    register = topic.REGISTER_THING
    answers = (topic.ACCEPTED, topic.REJECTED)
    yield Subscribe(tuple(t + answer for t in (certificate, register) for answer in answers))
    key, request = yield MakeKey(device_id)
    signed = yield from _ask(certificate, {"certificateSigningRequest": request})
    registered = yield from _ask(
        register,
        {
            "certificateOwnershipToken": signed["certificateOwnershipToken"],
            "parameters": {"DeviceId": device_id},
        },
    )
    yield Disconnect()
    configuration = registered.get("deviceConfiguration", {})
    return {
        "thing": registered["thingName"],
        "endpoint": configuration.get("Endpoint", endpoint),
        **https,
        "certificate": signed["certificatePem"],
        "key": key,
        "authority": authority,
        "configuration": configuration,
        **(yield from _life(configuration)),
    }


def _life(configuration: Mapping[str, Any]) -> Program[dict[str, float]]:
    """When the certificate was issued and expires; nothing where it does not."""
    if "CertificateExpires" not in configuration:
        return {}
    return {"issued_s": (yield Now()), "expires_s": float(configuration["CertificateExpires"])}


def _text(files: Mapping[str, bytes], name: str) -> str:
    try:
        return files[name].decode()
    except UnicodeDecodeError as error:
        raise Corrupt(f"provisioning archive: {name}: {error}") from None


def _ask(request: str, payload: Mapping[str, Any]) -> Program[Mapping[str, Any]]:
    """Publish a request and wait for its answer."""
    yield Publish(request, payload)
    while True:
        message = yield Receive(ANSWER_TIMEOUT_S)
        if message is None:
            raise PeerTimeout(f"no answer on {request} in {ANSWER_TIMEOUT_S:.0f} s")
        if isinstance(message, LinkLost):
            raise LinkDown(f"connection lost while waiting on {request}: {message.reason}")
        if isinstance(message, MessageArrived):
            if message.topic == request + topic.ACCEPTED:
                return message.payload
            if message.topic == request + topic.REJECTED:
                raise PeerRefused(f"{request}: {message.payload.get('message', 'rejected')}")
