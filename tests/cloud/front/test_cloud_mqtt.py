"""MQTT over mutual TLS: who gets in, which topics are whose, how connections end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest

from harness.appliance.topic import (
    ACCEPTED,
    CREATE_CERTIFICATE,
    REJECTED,
    job_next,
    shadow_update,
)
from harness.cloud.front.broker import SUBSCRIPTIONS_MAX
from harness.cloud.front.x509 import X509Authority

if TYPE_CHECKING:
    from collections.abc import Callable

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


async def test_subscriptions_are_bounded(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        names = [(f"$aws/things/{device}/x/{n}", 1) for n in range(SUBSCRIPTIONS_MAX + 1)]
        granted = await client.subscribe(names)
    codes = [code if isinstance(code, int) else code.value for code in granted]
    assert codes == [1] * SUBSCRIPTIONS_MAX + [0x80]
