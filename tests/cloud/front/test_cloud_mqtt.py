"""MQTT over mutual TLS: who gets in, which topics are whose, how connections end."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest

from harness.appliance.topic import (
    ACCEPTED,
    CREATE_CERTIFICATE,
    REJECTED,
    job_next,
    job_notify,
    shadow_get,
    shadow_update,
)
from harness.cloud.front.broker import SUBSCRIPTIONS_MAX
from harness.cloud.front.gate import MESSAGE_BYTES_MAX
from harness.cloud.front.server import CloudServer
from harness.cloud.front.x509 import X509Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT_S = 5.0
SHORT_S = 0.5  # aiomqtt notices a refused handshake only by its time-out


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something that must happen has happened."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - the condition has no event to wait on
            await asyncio.sleep(0.005)


async def message(client: aiomqtt.Client) -> tuple[str, Any]:
    async with asyncio.timeout(WAIT_S):
        found = await anext(aiter(client.messages))
    return str(found.topic), json.loads(bytes(found.payload))


async def refused(
    cloud: Any, client: aiomqtt.Client, topic: str, payload: Any, qos: int = 1
) -> None:
    """A message that is not acknowledged, and ends the connection."""
    with pytest.raises(aiomqtt.MqttError):
        await client.publish(topic, payload, qos=qos, timeout=SHORT_S)
    await until(lambda: cloud.server.clients == ())


async def test_a_device_registers_and_reports(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        get = shadow_get(device, "device")
        await client.subscribe(get + ACCEPTED, qos=1)
        report = {"state": {"reported": {"software": "6.2.1", "slot": "a"}}}
        await client.publish(shadow_update(device, "device"), json.dumps(report), qos=1)
        await client.publish(get, "{}", qos=1)
        topic, answer = await message(client)
        assert topic == get + ACCEPTED
        assert answer["state"]["reported"] == {"software": "6.2.1", "slot": "a"}
    statuses = [v["status"] for kind, v in cloud.events if kind == "cloud.device"]
    assert statuses == ["AWAITING_PROVISIONING", "PENDING", "OFFLINE", "ONLINE"]
    await until(lambda: cloud.server.clients == ())


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
    foreign = X509Authority().issue_claim(device, 300.0)
    credentials = cloud.write("foreign", foreign.certificate_pem, foreign.private_key_pem)
    with pytest.raises(aiomqtt.MqttError):
        async with cloud.mqtt(f"claim-{device}", credentials, timeout_s=SHORT_S):
            pass


async def test_a_client_must_be_who_its_certificate_says(cloud: Any) -> None:
    north, _ = await cloud.register("north")
    _, south = await cloud.register("south")
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori[sz]ed"):
        async with cloud.mqtt(north, south):
            pass


async def test_an_impostor_does_not_disturb_the_connected_client(cloud: Any) -> None:
    north, credentials = await cloud.register("north")
    _, south = await cloud.register("south")
    async with cloud.mqtt(north, credentials) as client:
        await client.subscribe(job_next(north) + ACCEPTED, qos=1)
        with pytest.raises(aiomqtt.MqttError):
            async with cloud.mqtt(north, south):
                pass
        await client.publish(job_next(north), "{}", qos=1)
        assert (await message(client))[0] == job_next(north) + ACCEPTED


async def test_a_claim_is_used_once(cloud: Any) -> None:
    device, claim = cloud.claim("north")
    cloud.server.plane._core.store.devices[device].claim.spent = True
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori[sz]ed"):
        async with cloud.mqtt(f"claim-{device}", claim):
            pass


async def test_a_bad_request_for_a_certificate_is_rejected(cloud: Any) -> None:
    device, claim = cloud.claim("north")
    async with cloud.mqtt(f"claim-{device}", claim) as client:
        await client.subscribe(CREATE_CERTIFICATE + REJECTED, qos=1)
        await client.publish(CREATE_CERTIFICATE, '{"certificateSigningRequest": "x"}', qos=1)
        _, answer = await message(client)
    assert answer["code"] == "InvalidRequest"


async def test_a_deleted_device_is_cut_off_and_stays_out(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        await client.subscribe(job_notify(device), qos=1)
        cloud.server.plane.call("DeleteDevice", {"DeviceId": device})
        with pytest.raises(aiomqtt.MqttError):
            await message(client)
    with pytest.raises(aiomqtt.MqttError):
        async with cloud.mqtt(device, credentials):
            pass


@pytest.mark.parametrize(
    "name",
    ["$aws/things/{other}/jobs/notify-next", "$aws/things/+/jobs/notify-next", "#", "$aws/#"],
)
async def test_topics_of_others_cannot_be_subscribed(cloud: Any, name: str) -> None:
    device, credentials = await cloud.register("north")
    other, _ = await cloud.register("south")
    async with cloud.mqtt(device, credentials) as client:
        granted = await client.subscribe(name.format(other=other), qos=1)
    assert [code if isinstance(code, int) else code.value for code in granted] == [0x80]


async def test_publishing_for_another_device_ends_the_connection(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    other, _ = await cloud.register("south")
    async with cloud.mqtt(device, credentials) as client:
        report = {"state": {"reported": {"software": "6.6.6"}}}
        await refused(cloud, client, shadow_update(other, "device"), json.dumps(report))
    described = cloud.server.plane.call("DescribeDevice", {"DeviceId": other})
    assert "CurrentSoftware" not in described


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


async def test_subscriptions_are_bounded(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        names = [(f"$aws/things/{device}/x/{n}", 1) for n in range(SUBSCRIPTIONS_MAX + 1)]
        granted = await client.subscribe(names)
    codes = [code if isinstance(code, int) else code.value for code in granted]
    assert codes == [1] * SUBSCRIPTIONS_MAX + [0x80]


async def test_messages_come_in_order(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        get = shadow_get(device, "device")
        await client.subscribe(get + ACCEPTED, qos=1)
        for number in range(20):
            report = {"state": {"reported": {"uptime_s": number}}}
            await client.publish(shadow_update(device, "device"), json.dumps(report), qos=1)
            await client.publish(get, "{}", qos=1)
        seen = [(await message(client))[1]["state"]["reported"]["uptime_s"] for _ in range(20)]
    assert seen == list(range(20))


async def test_connecting_again_takes_the_place(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as first:
        await first.subscribe(job_notify(device), qos=1)
        async with cloud.mqtt(device, credentials) as second:
            with pytest.raises(aiomqtt.MqttError):
                await message(first)
            await second.subscribe(job_next(device) + ACCEPTED, qos=1)
            await second.publish(job_next(device), "{}", qos=1)
            assert (await message(second))[0] == job_next(device) + ACCEPTED
            assert cloud.server.plane._core.store.devices[device].connected
        await until(lambda: not cloud.server.plane._core.store.devices[device].connected)


async def test_a_client_can_be_cut_off(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        cloud.server.disconnect(device)
        with pytest.raises(aiomqtt.MqttError):
            await message(client)
    await until(lambda: cloud.server.clients == ())
    async with cloud.mqtt(device, credentials):
        assert cloud.server.clients == (device,)


async def test_silence_beyond_the_keep_alive_ends_the_connection(cloud: Any) -> None:
    """A peer that vanished without closing is found out; amqtt alone would wait for ever."""
    device, credentials = await cloud.register("north")
    context = credentials.context()
    reader, writer = await asyncio.open_connection("127.0.0.1", cloud.server.mqtt_port, ssl=context)
    name = device.encode()
    variable = b"\x00\x04MQTT\x04\x02\x00\x01" + len(name).to_bytes(2, "big") + name
    writer.write(bytes([0x10, len(variable)]) + variable)
    assert await asyncio.wait_for(reader.readexactly(4), WAIT_S) == b"\x20\x02\x00\x00"
    assert await asyncio.wait_for(reader.read(1), WAIT_S) == b""
    writer.close()
    await until(lambda: cloud.server.clients == ())


async def test_old_tls_is_refused(cloud: Any) -> None:
    _, credentials = await cloud.register("north")
    context = credentials.context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.open_connection("127.0.0.1", cloud.server.mqtt_port, ssl=context)


async def test_stopping_is_prompt_with_clients_connected(tmp_path: Path, cloud: Any) -> None:
    """Everything closes within moments although a client neither answers nor leaves."""
    before = asyncio.all_tasks()
    server = CloudServer(
        state_dir=tmp_path / "second", draw=random.Random(2), record=lambda *_: None
    )
    async with server:
        cloud.server, kept = server, cloud.server
        device, credentials = await cloud.register("north")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.mqtt_port, ssl=credentials.context()
        )
        idle = socket.create_connection(("127.0.0.1", server.mqtt_port))
        name = device.encode()
        variable = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name
        writer.write(bytes([0x10, len(variable)]) + variable)
        assert await asyncio.wait_for(reader.readexactly(4), WAIT_S) == b"\x20\x02\x00\x00"
        began_s = time.monotonic()
    took_s = time.monotonic() - began_s
    cloud.server = kept
    writer.close()
    idle.close()
    assert took_s < WAIT_S
    await until(lambda: asyncio.all_tasks() <= before)
