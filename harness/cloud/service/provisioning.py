"""Provisioning by claim: the archive for the stick, temporary credentials, registration.

The flow is AWS IoT's fleet provisioning by claim: over a connection with the claim certificate
the device has its own request signed, then registers with the ownership token it was given.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

from harness.appliance.topic import (
    ACCEPTED,
    CREATE_CERTIFICATE,
    REGISTER_THING,
    REJECTED,
    certificate_renew,
)
from harness.cloud.api.error import conflict, over_quota, validation
from harness.cloud.service.applications import SHADOW
from harness.cloud.service.devices import CLAIM_PREFIX
from harness.cloud.service.quota import full
from harness.cloud.service.shadow import told
from harness.cloud.service.state import Claim, Device
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.cloud.service.core import Answer, Core, Parameters
    from harness.cloud.service.devices import Devices

TEMPLATE = "panorama"
_ZIP_EPOCH = (2021, 10, 20, 0, 0, 0)  # fixed, so that the same archive has the same bytes


class Provisioning:
    def __init__(self, core: Core, devices: Devices, wall: Callable[[], float]) -> None:
        self._core = core
        self._wall = wall
        self._devices = devices

    def provision(self, parameters: Parameters) -> Answer:
        core, name = self._core, parameters["Name"]
        _check_network(parameters.get("NetworkingConfiguration") or {})
        taken = core.store.device_names.get(name)
        if taken is not None:
            message = f"A device named {name} exists already."
            raise conflict("DEVICE", taken, message, "DeviceNameTaken", Name=name)
        most = core.settings.quotas.devices
        if full(len(core.store.devices), most):
            message = f"You've reached the maximum of {most} registered devices."
            raise over_quota("DEVICE", name, "registered-devices", message)
        identifier = core.new_id("device")
        valid_s, now_s = core.settings.claim_valid_s, core.clock()
        identity = core.authority.issue_claim(identifier, valid_s)
        claim = Claim(core.authority.certificate_id(identity.certificate_pem), now_s + valid_s)
        device = Device(
            identifier, name, core.arn(f"device/{identifier}"), now_s, claim,
            description=parameters.get("Description"),
            networking=parameters.get("NetworkingConfiguration"),
            tags=dict(parameters.get("Tags") or {}),
        )  # fmt: skip
        self._devices.add(device)
        files = {
            "config.json": json.dumps(self._configuration(device), indent=2).encode(),
            "claim.cert.pem": identity.certificate_pem.encode(),
            "claim.key.pem": identity.private_key_pem.encode(),
            "ca.pem": identity.ca_pem.encode(),
        }
        return {
            "DeviceId": identifier,
            "Arn": device.arn,
            "Status": device.provisioning,
            "IotThingName": identifier,
            "Certificates": _archive(files),
        }

    def refusal(self, client_id: str, certificate_id: str | None) -> str:
        """Why this client may not connect with this certificate; empty when it may.

        None: one that was made for it and is not revoked, whichever it is.
        """
        device = self._core.store.devices.get(client_id.removeprefix(CLAIM_PREFIX))
        if device is None or device.provisioning == "DELETING":
            return "no such thing: never provisioned, or deleted"
        if not client_id.startswith(CLAIM_PREFIX):
            return self._certificate_problem(device, certificate_id)
        if device.claim.certificate_id != certificate_id:
            return "claim certificate is not of this device"
        return self._claim_problem(device)

    def _certificate_problem(self, device: Device, certificate_id: str | None) -> str:
        active = device.certificate_id
        if active is None or certificate_id not in (None, active, *device.certificates):
            return "certificate is not active"
        expires_s = device.certificates.get(certificate_id or active)
        expired = expires_s is not None and self._wall() >= expires_s
        return "certificate has expired" if expired else ""

    def renew(self, device: Device, payload: Mapping[str, Any]) -> None:
        """Certify another key of a registered device. The old certificate ends when it would."""
        core, topic = self._core, certificate_renew(device.id)
        lasts_s = core.settings.certificate_s
        try:
            if lasts_s is None:
                raise Corrupt("device certificates do not expire here")
            request = str(payload.get("certificateSigningRequest", ""))
            certificate = core.authority.sign(request, device.id)
        except Corrupt as problem:
            answer = {"code": "InvalidRequest", "message": str(problem)}
            core.publish(device.id, topic + REJECTED, answer)
            return
        now_s = self._wall()
        identifier = core.authority.certificate_id(certificate)
        device.serials[identifier] = core.authority.serial(certificate)
        device.certificate_id = identifier
        good = {name: at_s for name, at_s in device.certificates.items() if at_s > now_s}
        device.certificates = {**good, identifier: now_s + lasts_s}
        told = {"certificatePem": certificate, "expires": now_s + lasts_s}
        core.publish(device.id, topic + ACCEPTED, told)

    def _claim_problem(self, device: Device) -> str:
        if device.provisioning == "DELETING":
            return "the device is being deleted"
        if device.claim.spent:
            return "claim certificate was used already"
        if self._core.clock() >= device.claim.expires_s:
            return "claim certificate has expired"
        return ""

    def receive(self, device: Device, topic: str, payload: Mapping[str, Any]) -> None:
        """A message over the claim connection: sign a request, then register the thing."""
        problem = self._claim_problem(device)
        if problem:
            self._reject(device, topic, "Forbidden", problem)
        elif topic == CREATE_CERTIFICATE:
            self._create_certificate(device, payload)
        elif topic == REGISTER_THING:
            self._register(device, payload)

    def garbled(self, device: Device, topic: str) -> None:
        """A message over the claim connection that is not a JSON object."""
        if topic in (CREATE_CERTIFICATE, REGISTER_THING):
            self._reject(device, topic, "InvalidPayload", "not a JSON object")

    def _create_certificate(self, device: Device, payload: Mapping[str, Any]) -> None:
        core = self._core
        try:
            request = str(payload.get("certificateSigningRequest", ""))
            certificate = core.authority.sign(request, device.id)
        except Corrupt as problem:
            self._fail(device, CREATE_CERTIFICATE, "InvalidRequest", str(problem))
            return
        certificate_id = core.authority.certificate_id(certificate)
        device.serials[certificate_id] = core.authority.serial(certificate)
        token = core.new_id("token")
        device.pending = {token: certificate_id}
        device.provisioning = "PENDING"
        self._devices.refresh(device)
        answer = {
            "certificateId": certificate_id,
            "certificatePem": certificate,
            "certificateOwnershipToken": token,
        }
        core.publish(CLAIM_PREFIX + device.id, CREATE_CERTIFICATE + ACCEPTED, answer)

    def _register(self, device: Device, payload: Mapping[str, Any]) -> None:
        core = self._core
        certificate_id = device.pending.get(str(payload.get("certificateOwnershipToken")))
        parameters = payload.get("parameters")
        named = parameters.get("DeviceId") if isinstance(parameters, dict) else None
        if certificate_id is None:
            self._fail(device, REGISTER_THING, "Forbidden", "ownership token is not known")
            return
        if named != device.id:
            self._fail(device, REGISTER_THING, "Forbidden", f"claim is not for {named}")
            return
        device.certificate_id = certificate_id
        device.pending = {}
        life = {}
        if core.settings.certificate_s is not None:
            expires_s = self._wall() + core.settings.certificate_s
            device.certificates = {certificate_id: expires_s}
            life = {"CertificateExpires": expires_s}
        superseded = [serial for name, serial in device.serials.items() if name != certificate_id]
        if superseded:
            core.authority.revoke(superseded)
            device.serials = {certificate_id: device.serials[certificate_id]}
        device.claim.spent = True
        device.provisioning = "SUCCEEDED"
        device.shadow(SHADOW).desired = {"instances": {}}
        told(core, device, SHADOW)
        self._devices.refresh(device)
        answer = {
            "thingName": device.id,
            "deviceConfiguration": {
                "DeviceName": device.name,
                "Endpoint": core.endpoints.mqtt,
                **(device.networking or {}),
                **life,
            },
        }
        core.publish(CLAIM_PREFIX + device.id, REGISTER_THING + ACCEPTED, answer)

    def _fail(self, device: Device, topic: str, code: str, message: str) -> None:
        """A registration that goes wrong is an error until it is tried again, or the claim ends."""
        device.provisioning = "ERROR"
        self._devices.refresh(device)
        self._reject(device, topic, code, message)

    def _reject(self, device: Device, topic: str, code: str, message: str) -> None:
        answer = {"code": code, "message": message}
        self._core.publish(CLAIM_PREFIX + device.id, topic + REJECTED, answer)

    def _configuration(self, device: Device) -> dict[str, Any]:
        endpoints = self._core.endpoints
        return {
            "DeviceId": device.id,
            "DeviceName": device.name,
            "ThingName": device.id,
            "Endpoint": endpoints.claims,
            "HttpsEndpoint": endpoints.https_url,
            "Region": self._core.region,
            "ProvisioningTemplate": TEMPLATE,
            "NetworkingConfiguration": device.networking,
        }


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), data)
    return buffer.getvalue()


def _check_network(given: Mapping[str, Any]) -> None:
    """A static address has to be told, or the appliance would never come up. Ours."""
    problems = [
        (f"NetworkingConfiguration.{port}.StaticIpConnectionInfo", "is required for STATIC_IP")
        for port in ("Ethernet0", "Ethernet1")
        if (given.get(port) or {}).get("ConnectionType") == "STATIC_IP"
        and not given[port].get("StaticIpConnectionInfo")
    ]
    if problems:
        raise validation("A static IP connection needs its address.", problems)
