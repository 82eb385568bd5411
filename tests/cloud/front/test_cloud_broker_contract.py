"""What every broker must do for the control plane: one suite, the embedded one and Mosquitto.

Who gets in, whose topics are whose, how connections end, and that the services of devices are
reached over real TLS. What only one of them does is tested beside it.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest

from harness.appliance.topic import (
    ACCEPTED,
    REJECTED,
    job_get,
    job_next,
    job_notify,
    job_start,
    job_update,
    jobs_get,
    jobs_notify,
    shadow_get,
    shadow_topic,
    shadow_update,
)
from harness.cloud.front.brokers import KINDS
from harness.cloud.front.gate import MESSAGE_BYTES_MAX
from harness.cloud.front.mosquitto_files import program
from harness.cloud.front.server import CloudServer
from harness.cloud.front.x509 import X509Authority
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT_S = 5.0
SILENCE_S = 15.0  # Mosquitto looks for silent clients every few seconds
SHORT_S = 0.5  # aiomqtt notices a refused handshake only by its time-out


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest) -> str:
    kind = str(request.param)
    if kind == "mosquitto":
        try:
            program()
        except CapabilityMissing as missing:
            pytest.skip(str(missing))
    return kind


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something that must happen has happened."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - the condition has no event to wait on
            await asyncio.sleep(0.005)


async def message(client: aiomqtt.Client) -> tuple[str, Any]:
    async with asyncio.timeout(WAIT_S):
        found = await anext(aiter(client.messages))
    return str(found.topic), json.loads(bytes(found.payload))


async def ask(client: aiomqtt.Client, topic: str, **payload: Any) -> tuple[str, Any]:
    """Publish a request; the end of the topic that answers it, and the answer."""
    await client.subscribe([(topic + answer, 1) for answer in (ACCEPTED, REJECTED)])
    await client.publish(topic, json.dumps(payload), qos=1)
    while True:
        answered, answer = await message(client)
        if answered.startswith(topic):
            return answered.removeprefix(topic), answer


async def quiet(client: aiomqtt.Client, other: aiomqtt.Client, device: str) -> None:
    """Nothing waits for `client`, once an answer has come to `other` over the same broker."""
    await ask(other, job_next(device))
    assert len(client.messages) == 0


def is_connected(cloud: Any, device: str) -> bool:
    known = cloud.server.plane._core.store.devices.get(device)
    return known is not None and known.connected


# --- who gets in -----------------------------------------------------------------------------


async def test_a_device_registers_and_reports(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        report = {"state": {"reported": {"software": "6.2.1", "slot": "a"}}}
        await client.publish(shadow_update(device, "device"), json.dumps(report), qos=1)
        told, answer = await ask(client, shadow_get(device, "device"))
        assert told == ACCEPTED
        assert answer["state"]["reported"] == {"software": "6.2.1", "slot": "a"}
        assert cloud.server.clients == (device,)
        assert is_connected(cloud, device)
    await until(lambda: cloud.server.clients == ())
    assert not is_connected(cloud, device)
    statuses = [v["status"] for kind, v in cloud.events if kind == "cloud.device"]
    assert statuses == ["AWAITING_PROVISIONING", "PENDING", "OFFLINE", "ONLINE"]


async def test_a_registration_says_where_to_connect(cloud: Any) -> None:
    told: list[Any] = []
    core = cloud.server.plane._core
    publish = core.publish

    def listen(client_id: str, topic: str, payload: Any) -> None:
        told.append(payload)
        publish(client_id, topic, payload)

    core.publish = listen
    await cloud.register("north")
    (registered,) = [payload for payload in told if "deviceConfiguration" in payload]
    port = cloud.server.mqtt_port
    assert registered["deviceConfiguration"]["Endpoint"] == f"127.0.0.1:{port}"


async def test_without_a_certificate_nobody_gets_in(cloud: Any) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with cloud.mqtt("anyone", None, timeout_s=SHORT_S):
            pass
    assert cloud.server.clients == ()


async def test_without_tls_nobody_gets_in(cloud: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", cloud.server.mqtt_port)
    writer.write(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(4), WAIT_S)
    writer.close()


async def test_a_certificate_of_another_authority_is_refused(cloud: Any) -> None:
    device, _ = await cloud.register("north")
    foreign = X509Authority().issue_client(device)
    credentials = cloud.write("foreign", foreign.certificate_pem, foreign.private_key_pem)
    with pytest.raises(aiomqtt.MqttError):
        async with cloud.mqtt(device, credentials, timeout_s=SHORT_S):
            pass
    assert not is_connected(cloud, device)


async def test_old_tls_is_refused(cloud: Any) -> None:
    _, credentials = await cloud.register("north")
    context = credentials.context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.open_connection("127.0.0.1", cloud.server.mqtt_port, ssl=context)


async def test_forward_secrecy_is_not_optional(cloud: Any) -> None:
    _, credentials = await cloud.register("north")
    context = credentials.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-GCM-SHA384:AES128-GCM-SHA256")  # RSA key exchange
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.open_connection("127.0.0.1", cloud.server.mqtt_port, ssl=context)


async def test_a_name_that_is_not_the_certificates_disturbs_nobody(cloud: Any) -> None:
    """It is refused, or passes for whom the certificate names; never for the other."""
    north, credentials = await cloud.register("north")
    _, south = await cloud.register("south")
    async with cloud.mqtt(north, credentials) as client:
        with suppress(aiomqtt.MqttError):
            async with cloud.mqtt(north, south, timeout_s=SHORT_S) as impostor:
                report = {"state": {"reported": {"software": "6.6.6"}}}
                topic = shadow_update(north, "device")
                await impostor.publish(topic, json.dumps(report), qos=1, timeout=SHORT_S)
        assert (await ask(client, job_next(north)))[0] == ACCEPTED
        _, answer = await ask(client, shadow_get(north, "device"))
        assert answer["code"] == 404, "nothing was reported in its name"


# --- revocation ------------------------------------------------------------------------------


async def test_a_deleted_device_is_cut_off_and_stays_out(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        await ask(client, job_next(device))
        cloud.server.plane.call("DeleteDevice", {"DeviceId": device})
        with pytest.raises(aiomqtt.MqttError):
            await message(client)
    for _ in range(2):
        with pytest.raises(aiomqtt.MqttError):
            async with cloud.mqtt(device, credentials, timeout_s=SHORT_S):
                pass
    await until(lambda: cloud.server.clients == ())
    assert device not in cloud.server.plane._core.store.devices


async def test_a_resumed_session_does_not_get_round_a_revocation(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    context = credentials.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its sessions are known after the handshake

    def connect(session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
        plain = socket.create_connection(("127.0.0.1", cloud.server.mqtt_port), WAIT_S)
        with (
            plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secured,
        ):
            secured.sendall(connect_packet(device))
            return secured.recv(4), secured.session

    answer, session = await asyncio.to_thread(connect, None)
    assert answer == b"\x20\x02\x00\x00"
    await until(lambda: cloud.server.clients == ())
    cloud.server.plane.call("DeleteDevice", {"DeviceId": device})
    async with asyncio.timeout(WAIT_S):  # Mosquitto takes a tenth of a second to hear of it
        while answer == b"\x20\x02\x00\x00":
            try:
                answer, _ = await asyncio.to_thread(connect, session)
            except OSError:  # an alert, or the end of the connection
                answer = b""
    assert answer in (b"\x20\x02\x00\x05", b""), "not authorised, or nothing at all"
    assert cloud.server.clients == ()


async def test_other_devices_stay_connected_when_one_is_deleted(cloud: Any) -> None:
    north, credentials = await cloud.register("north")
    south, other = await cloud.register("south")
    async with cloud.mqtt(north, credentials), cloud.mqtt(south, other) as client:
        await ask(client, job_next(south))
        cloud.server.plane.call("DeleteDevice", {"DeviceId": north})
        await until(lambda: cloud.server.clients == (south,))
        assert (await ask(client, job_next(south)))[0] == ACCEPTED
    async with cloud.mqtt(south, other) as client:
        assert (await ask(client, job_next(south)))[0] == ACCEPTED


# --- whose topics are whose ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "$aws/things/{other}/jobs/notify-next", "$aws/things/{other}/#",
        "$aws/things/+/jobs/notify-next", "$aws/things/#", "$aws/#", "#", "+/#", "harness/#",
    ],
)  # fmt: skip
async def test_nothing_of_another_device_is_heard(cloud: Any, name: str) -> None:
    north, credentials = await cloud.register("north")
    south, other = await cloud.register("south")
    async with cloud.mqtt(north, credentials) as client, cloud.mqtt(south, other) as neighbour:
        with suppress(aiomqtt.MqttError):
            await client.subscribe(name.format(other=south), qos=1)
        await neighbour.subscribe(job_notify(south), qos=1)
        await ask(neighbour, job_next(south))
        await until(lambda: is_connected(cloud, south))
        job = {"DeviceIds": [south], "JobType": "REBOOT"}
        cloud.server.plane.call("CreateJobForDevices", job)
        topic, _ = await message(neighbour)
        assert topic == job_notify(south)
        await quiet(client, neighbour, south)


async def test_nobody_speaks_for_another_device(cloud: Any) -> None:
    north, credentials = await cloud.register("north")
    south, other = await cloud.register("south")
    report = json.dumps({"state": {"reported": {"software": "6.6.6"}}})
    async with cloud.mqtt(south, other) as neighbour:
        for retain in (False, True):
            async with cloud.mqtt(north, credentials) as client:
                with suppress(aiomqtt.MqttError):
                    await client.publish(
                        shadow_update(south, "device"), report, 1, retain, timeout=SHORT_S
                    )
        assert (await ask(neighbour, shadow_get(south, "device")))[1]["code"] == 404


async def test_no_last_will_speaks_for_another_device(cloud: Any) -> None:
    north, credentials = await cloud.register("north")
    south, other = await cloud.register("south")
    report = json.dumps({"state": {"reported": {"software": "6.6.6"}}})
    will = aiomqtt.Will(shadow_update(south, "device"), report, qos=1)
    async with cloud.mqtt(south, other) as neighbour:
        with suppress(aiomqtt.MqttError):
            async with cloud.mqtt(north, credentials, will=will) as client:
                await ask(client, job_next(north))
                client._client.socket().shutdown(socket.SHUT_RDWR)  # no DISCONNECT: the will counts
                await message(client)
        await until(lambda: cloud.server.clients == (south,))
        assert (await ask(neighbour, shadow_get(south, "device")))[1]["code"] == 404


async def test_nothing_is_retained(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    topic = f"$aws/things/{device}/note"
    async with cloud.mqtt(device, credentials) as client:
        with suppress(aiomqtt.MqttError):
            await client.publish(topic, '{"note": 1}', qos=1, retain=True, timeout=SHORT_S)
    async with cloud.mqtt(device, credentials) as client:
        await client.subscribe(topic, qos=1)
        await quiet(client, client, device)


# --- messages --------------------------------------------------------------------------------


async def test_messages_are_acknowledged_and_come_in_order(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        get = shadow_get(device, "device")
        await client.subscribe(get + ACCEPTED, qos=1)
        for number in range(20):
            report = {"state": {"reported": {"uptime_s": number}}}
            await client.publish(shadow_update(device, "device"), json.dumps(report), qos=1)
            await client.publish(get, qos=1)  # an empty message asks, too
        seen = [(await message(client))[1]["state"]["reported"]["uptime_s"] for _ in range(20)]
    assert seen == list(range(20))


async def test_quality_2_is_not_offered(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        with pytest.raises(aiomqtt.MqttError):
            await client.publish(job_next(device), "{}", qos=2, timeout=SHORT_S)
    await until(lambda: cloud.server.clients == ())


@pytest.mark.parametrize("payload", ["not json", "[1]", "[" * 5000, b"\xff\xfe"])
async def test_a_payload_that_is_no_object_is_rejected(cloud: Any, payload: str | bytes) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        await client.subscribe(job_next(device) + REJECTED, qos=1)
        await client.publish(job_next(device), payload, qos=1)
        _, answer = await message(client)
    assert answer["code"] == "InvalidJson"


async def test_an_oversized_message_ends_the_connection(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials, timeout_s=SHORT_S) as client:
        large = json.dumps({"state": "x" * (2 * MESSAGE_BYTES_MAX)})
        with pytest.raises(aiomqtt.MqttError):
            await client.publish(shadow_update(device, "device"), large, qos=1)
    await until(lambda: cloud.server.clients == ())


# --- connections -----------------------------------------------------------------------------


async def test_connecting_again_takes_the_place(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as first:
        await first.subscribe(job_notify(device), qos=1)
        async with cloud.mqtt(device, credentials) as second:
            with pytest.raises(aiomqtt.MqttError):
                await message(first)
            assert (await ask(second, job_next(device)))[0] == ACCEPTED
            assert is_connected(cloud, device)
        await until(lambda: not is_connected(cloud, device))


async def test_a_client_that_comes_back_is_served_anew(cloud: Any) -> None:
    """Its subscriptions are gone, and so is what was said while it was away."""
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        await client.subscribe(jobs_notify(device), qos=1)
        await ask(client, job_next(device))
    await until(lambda: not is_connected(cloud, device))
    config = {"OTAJobConfig": {"ImageVersion": "7.0.13"}}
    cloud.server.publish_image("7.0.13", b"manifest", Payload())
    job = {"DeviceIds": [device], "JobType": "OTA", "DeviceJobConfig": config}
    cloud.server.plane.call("CreateJobForDevices", job)
    async with cloud.mqtt(device, credentials) as client:
        told, answer = await ask(client, job_next(device))
        assert (told, answer["execution"]["jobId"]) == (ACCEPTED, f"{device}-0")
        assert len(client.messages) == 0


class Payload:
    """A firmware payload of one byte."""

    size_bytes = 1

    def read(self, offset: int, length: int) -> bytes:
        return b"x"[offset : offset + length]


async def test_a_client_can_be_cut_off_and_come_back(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    for _ in range(3):
        async with cloud.mqtt(device, credentials) as client:
            await ask(client, job_next(device))
            cloud.server.disconnect(device)
            with pytest.raises(aiomqtt.MqttError):
                await message(client)
        await until(lambda: cloud.server.clients == ())
        assert not is_connected(cloud, device)
    async with cloud.mqtt(device, credentials) as client:
        assert (await ask(client, job_next(device)))[0] == ACCEPTED
        await until(lambda: cloud.server.clients == (device,))


def connect_packet(client_id: str, keep_alive_s: int = 60) -> bytes:
    name = client_id.encode()
    variable = b"\x00\x04MQTT\x04\x02" + keep_alive_s.to_bytes(2, "big")
    variable += len(name).to_bytes(2, "big") + name
    return bytes([0x10, len(variable)]) + variable


async def test_silence_beyond_the_keep_alive_ends_the_connection(cloud: Any) -> None:
    """A peer that vanished without closing is found out."""
    device, credentials = await cloud.register("north")
    context = credentials.context()
    reader, writer = await asyncio.open_connection("127.0.0.1", cloud.server.mqtt_port, ssl=context)
    writer.write(connect_packet(device, keep_alive_s=1))
    assert await asyncio.wait_for(reader.readexactly(4), WAIT_S) == b"\x20\x02\x00\x00"
    assert await asyncio.wait_for(reader.read(1), SILENCE_S) == b""
    writer.close()
    await until(lambda: cloud.server.clients == ())


async def test_stopping_is_prompt_with_clients_connected(
    tmp_path: Path, cloud: Any, broker: str
) -> None:
    """Everything closes within moments although a client neither answers nor leaves."""
    before = asyncio.all_tasks()
    server = CloudServer(
        state_dir=tmp_path / "second",
        draw=random.Random(2),
        record=lambda *_: None,
        broker=broker,
    )
    async with server:
        cloud.server, kept = server, cloud.server
        device, credentials = await cloud.register("north")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.mqtt_port, ssl=credentials.context()
        )
        idle = socket.create_connection(("127.0.0.1", server.mqtt_port))
        writer.write(connect_packet(device))
        assert await asyncio.wait_for(reader.readexactly(4), WAIT_S) == b"\x20\x02\x00\x00"
        began_s = time.monotonic()
    took_s = time.monotonic() - began_s
    cloud.server = kept
    writer.close()
    idle.close()
    assert took_s < WAIT_S
    await until(lambda: asyncio.all_tasks() <= before)


# --- the services of devices -----------------------------------------------------------------


async def test_a_job_from_order_to_end(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        assert (await ask(client, job_start(device)))[1].keys() == {"timestamp"}
        await until(lambda: is_connected(cloud, device))
        await client.subscribe([(job_notify(device), 1), (jobs_notify(device), 1)])
        job = {"DeviceIds": [device], "JobType": "REBOOT"}
        made = cloud.server.plane.call("CreateJobForDevices", job)["Jobs"][0]["JobId"]
        told = dict([await message(client), await message(client)])
        assert told[job_notify(device)]["execution"]["jobId"] == made
        assert [entry["jobId"] for entry in told[jobs_notify(device)]["jobs"]["QUEUED"]] == [made]
        _, listed = await ask(client, jobs_get(device))
        assert [entry["jobId"] for entry in listed["queuedJobs"]] == [made]
        _, begun = await ask(client, job_start(device), clientToken="mine")
        assert (begun["execution"]["status"], begun["clientToken"]) == ("IN_PROGRESS", "mine")
        _, shown = await ask(client, job_get(device, made))
        assert shown["execution"] == begun["execution"]
        update = job_update(device, made)
        told_, refused = await ask(client, update, status="SUCCEEDED", expectedVersion=1)
        assert (told_, refused["code"]) == (REJECTED, "VersionMismatch")
        assert (await ask(client, update, status="SUCCEEDED", expectedVersion=2))[0] == ACCEPTED
        missing = await ask(client, job_get(device, "no-such-job"))
        assert (missing[0], missing[1]["code"]) == (REJECTED, "ResourceNotFound")
    shown = cloud.server.plane.call("DescribeDeviceJob", {"JobId": made})
    assert shown["Status"] == "COMPLETED"


@pytest.mark.parametrize("name", ["", "mode"])
async def test_a_shadow_from_first_to_last(cloud: Any, name: str) -> None:
    device, credentials = await cloud.register("north")

    def topic(verb: str) -> str:
        return shadow_topic(device, name, verb)

    async with cloud.mqtt(device, credentials) as client:
        told, answer = await ask(client, topic("get"), clientToken="t-1")
        assert (told, answer["code"], answer["clientToken"]) == (REJECTED, 404, "t-1")
        await client.subscribe([(topic("update") + end, 1) for end in ("/delta", "/documents")])
        state = {"desired": {"light": "on"}, "reported": {"light": "off"}}
        await ask(client, topic("update"), state=state, clientToken="t-2")
        followed = dict([await message(client), await message(client)])
        assert followed[topic("update") + "/delta"]["state"] == {"light": "on"}
        documents = followed[topic("update") + "/documents"]
        assert (documents["previous"]["version"], documents["current"]["version"]) == (0, 1)
        told, answer = await ask(client, topic("update"), state=state, version=7)
        assert (told, answer["code"], answer["message"]) == (REJECTED, 409, "Version conflict")
        told, answer = await ask(client, topic("get"))
        assert answer["state"] == {**state, "delta": {"light": "on"}}
        assert (await ask(client, topic("delete")))[0] == ACCEPTED
        assert (await ask(client, topic("get")))[1]["code"] == 404
