"""A device of a load test: registers, connects over MQTT with mutual TLS, reports, does its jobs.

It says what an appliance says and nothing behind it is real. Blocking, over paho: under locust
each of its waits is a greenlet's. Every exchange is timed by the caller.
"""

from __future__ import annotations

import io
import json
import queue
import ssl
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from harness.appliance import topic
from harness.cloud.service.devices import CLAIM_PREFIX
from harness.errors import LinkDown, PeerRefused, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

KEEPALIVE_S = 30
ANSWER_S = 30.0
SOFTWARE = "6.2.1"


class Device:
    """`archive` is what ProvisionDevice answered with. Everything else is on the wire."""

    def __init__(self, archive: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            files = {name: opened.read(name) for name in opened.namelist()}
        config = json.loads(files["config.json"])
        self.thing: str = config["DeviceId"]
        self._host, _, port = config["Endpoint"].rpartition(":")
        self._port = int(port)
        self._files = files
        self._identity: tuple[bytes, bytes] | None = None
        self._client: mqtt.Client | None = None
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.jobs: queue.SimpleQueue[str] = queue.SimpleQueue()  # that it was told of

    def register(self) -> None:
        """Trade the claim for a certificate of its own (fleet provisioning by claim)."""
        asks = (topic.CREATE_CERTIFICATE, topic.REGISTER_THING)
        claim = (self._files["claim.cert.pem"], self._files["claim.key.pem"])
        self._open(f"{CLAIM_PREFIX}{self.thing}", claim)
        self._subscribe([a + end for a in asks for end in (topic.ACCEPTED, topic.REJECTED)])
        key, request = _key_and_request(self.thing)
        signed = self._ask(asks[0], {"certificateSigningRequest": request})
        token = signed["certificateOwnershipToken"]
        parameters = {"DeviceId": self.thing}
        self._ask(asks[1], {"certificateOwnershipToken": token, "parameters": parameters})
        self.hang_up()
        self._identity = (signed["certificatePem"].encode(), key)

    def connect(self) -> None:
        """With its own certificate; then it hears of jobs."""
        assert self._identity is not None, "register first"
        self._open(self.thing, self._identity)
        self._subscribe([topic.job_notify(self.thing), topic.job_next(self.thing) + topic.ACCEPTED])

    def report(self) -> None:
        """A status update; returns when the broker has acknowledged it."""
        state = {"reported": {"software": SOFTWARE, "slot": "a"}}
        self._publish(topic.shadow_update(self.thing, "device"), {"state": state})

    def report_job(self, job: str, status: str, progress: str) -> None:
        details = {"progress": progress, "reason": ""}
        message = {"status": status, "statusDetails": details}
        self._publish(topic.job_update(self.thing, job), message)

    def ask_for_jobs(self) -> None:
        self._publish(topic.job_next(self.thing), {})

    def hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def drop(self) -> None:
        """As when the network goes: the socket is gone without a word."""
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            sock = client.socket()
            client.loop_stop()
            if sock is not None:
                sock.close()

    # --- the wire ------------------------------------------------------------------------------

    def _open(self, client_id: str, identity: tuple[bytes, bytes]) -> None:
        self.hang_up()
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False
        )
        client.tls_set_context(_context(self._files["ca.pem"], identity))
        connected = threading.Event()
        refused: list[str] = []

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
            if reason.is_failure:
                refused.append(str(reason))
            connected.set()

        client.on_connect = on_connect
        client.on_message = self._arrived
        try:
            client.connect(self._host, self._port, KEEPALIVE_S)
        except OSError as error:
            raise LinkDown(f"{client_id}: {error}") from error
        client.loop_start()
        self._client = client
        if not connected.wait(ANSWER_S):
            self.drop()
            raise PeerTimeout(f"{client_id}: no CONNACK in {ANSWER_S:g} s")
        if refused:
            self.drop()
            raise PeerRefused(f"{client_id}: {refused[0]}")

    def _arrived(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        payload = json.loads(message.payload)
        if "/jobs/" in message.topic:
            execution = payload.get("execution")
            if execution and execution["status"] == "QUEUED":
                self.jobs.put(execution["jobId"])
        else:
            self._inbox.put((message.topic, payload))

    def _subscribe(self, topics: list[str]) -> None:
        client = self._linked()
        done = threading.Event()

        def on_subscribe(_c: Any, _d: Any, _mid: Any, _reasons: Any, _properties: Any) -> None:
            done.set()

        client.on_subscribe = on_subscribe
        client.subscribe([(name, 1) for name in topics])
        if not done.wait(ANSWER_S):
            raise PeerTimeout(f"{self.thing}: no SUBACK in {ANSWER_S:g} s")

    def _publish(self, at: str, payload: Mapping[str, Any]) -> None:
        told = self._linked().publish(at, json.dumps(payload), qos=1)
        try:
            told.wait_for_publish(ANSWER_S)
        except (RuntimeError, ValueError) as error:
            raise LinkDown(f"{self.thing}: {error}") from error
        if not told.is_published():
            raise PeerTimeout(f"{self.thing}: no PUBACK in {ANSWER_S:g} s")

    def _ask(self, at: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        self._publish(at, payload)
        while True:
            try:
                answered, message = self._inbox.get(timeout=ANSWER_S)
            except queue.Empty:
                raise PeerTimeout(f"{self.thing}: no answer on {at}") from None
            if answered == at + topic.REJECTED:
                raise PeerRefused(f"{self.thing}: {message.get('message', 'rejected')}")
            if answered == at + topic.ACCEPTED:
                accepted: dict[str, Any] = message
                return accepted

    def _linked(self) -> mqtt.Client:
        if self._client is None:
            raise LinkDown(f"{self.thing}: no connection")
        return self._client


def _context(ca_pem: bytes, identity: tuple[bytes, bytes]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_pem.decode())
    with tempfile.TemporaryDirectory(prefix="hil-load-") as directory:  # ssl reads files alone
        certificate, key = (Path(directory) / name for name in ("certificate.pem", "key.pem"))
        for path, content in zip((certificate, key), identity, strict=True):
            path.touch(0o600)
            path.write_bytes(content)
        context.load_cert_chain(str(certificate), str(key))
    return context


def _key_and_request(name: str) -> tuple[bytes, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private, request.decode()
