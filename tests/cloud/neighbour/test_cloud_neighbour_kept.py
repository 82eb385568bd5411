"""What is kept of requests to the neighbours, when it is, and what is not done twice."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from botocore.exceptions import ClientError

from harness.cloud.neighbour.process import NEEDED, Keep, Neighbours
from harness.cloud.neighbour.secrets import CameraSecrets
from harness.cloud.storage import requests
from harness.cloud.storage.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the neighbouring services are not installed: pip install '.[neighbours]'",
)
WAIT_S = 30.0
TEMPLATE = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
CREATE_SECRET = {
    "Host": "a",
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "secretsmanager.CreateSecret",
    "Authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/secretsmanager/aws4_request",
}


async def test_a_change_is_kept_also_when_who_asked_has_gone(tmp_path: Path) -> None:
    async with Storage(tmp_path) as storage:
        log = storage.requests()
        secrets = CameraSecrets(())
        neighbours = Neighbours(tmp_path, time.time, log, storage.kept, secrets)
        await neighbours.ask("key", key="A")
        body = json.dumps({"Name": "door", "SecretString": "s"}).encode()
        create = functools.partial(
            neighbours.forward, "POST", "/", CREATE_SECRET, body, "123456789012", Keep.STATE
        )
        asked = asyncio.create_task(create())
        await asyncio.sleep(0)  # it has begun
        asked.cancel()
        assert (await create()).status == 400, "the first one has made it"
        assert len(log) == 1
        await neighbours.close()


async def test_a_request_that_breaks_moto_changes_nothing(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    stacks = boto("cloudformation", timeout_s=WAIT_S)
    await cloud.call(stacks, "create_stack", StackName="one", TemplateBody=TEMPLATE)
    with pytest.raises(ClientError, match="JSON not well-formed") as refused:
        await cloud.call(stacks, "create_stack", StackName="two", TemplateBody="{")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match="failed at this request") as broken:
        await cloud.call(stacks, "create_stack", StackName="three", TemplateBody="[1]")
    assert broken.value.response["Error"]["Code"] == "InternalFailure"
    found = (await cloud.call(stacks, "describe_stacks"))["Stacks"]
    assert [stack["StackName"] for stack in found] == ["one"]


async def test_subscribers_are_told_once(cloud: Any, boto: Callable[..., Any]) -> None:
    told: list[str] = []

    async def take(request: web.Request) -> web.Response:
        told.append((await request.json()).get("Message", ""))
        return web.Response()

    application = web.Application()
    application.router.add_post("/", take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        (port,) = {name[1] for name in runner.addresses}
        topics = boto("sns", timeout_s=WAIT_S)
        topic = (await cloud.call(topics, "create_topic", Name="alarms"))["TopicArn"]
        where = {"TopicArn": topic, "Protocol": "http", "Endpoint": f"http://127.0.0.1:{port}/"}
        await cloud.call(topics, "subscribe", **where)
        await cloud.call(topics, "publish", TopicArn=topic, Message="first")
        os.kill(cloud.server.neighbours.pid, signal.SIGKILL)
        await cloud.call(topics, "publish", TopicArn=topic, Message="second")
    finally:
        await runner.cleanup()
    assert [message for message in told if message in ("first", "second")] == ["first", "second"]


async def test_who_waits_for_messages_keeps_nobody_else_waiting(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    queues, topics = boto("sqs", timeout_s=WAIT_S), boto("sns", timeout_s=WAIT_S)
    url = (await cloud.call(queues, "create_queue", QueueName="mine"))["QueueUrl"]
    wait = functools.partial(cloud.call, queues, "receive_message", QueueUrl=url)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait(WaitTimeSeconds=20))
        await cloud.call(topics, "list_topics")
        await cloud.call(topics, "create_topic", Name="alarms")
        assert not waiting.done()
        await cloud.call(queues, "send_message", QueueUrl=url, MessageBody="come")
    assert [message["Body"] for message in waiting.result()["Messages"]] == ["come"]
    assert "Messages" not in await wait(WaitTimeSeconds=0)


async def test_at_the_limit_only_data_is_taken(
    cloud: Any, boto: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, iam = boto("cloudwatch", timeout_s=WAIT_S), boto("iam")
    monkeypatch.setattr(requests, "STATE_REQUESTS_MAX", 1)
    await cloud.call(iam, "create_user", UserName="ann")
    for client, operation, parameters in (
        (iam, "create_user", {"UserName": "eve"}),
        (boto("secretsmanager"), "create_secret", {"Name": "door"}),
    ):
        with pytest.raises(ClientError, match="LimitExceeded"):
            await cloud.call(client, operation, **parameters)
    datum = {"MetricName": "fps", "Value": 15.0}
    await cloud.call(metrics, "put_metric_data", Namespace="Mine", MetricData=[datum])
    assert len((await cloud.call(iam, "list_users"))["Users"]) == 1
