"""Alarms: the vendor's two tables of missing data, and the whole way by boto3."""

from __future__ import annotations

import functools
import importlib.util
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.neighbour.alarm import ALARM, INSUFFICIENT, OK, Rule, evaluate
from harness.cloud.neighbour.process import NEEDED

if TYPE_CHECKING:
    from collections.abc import Callable

installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the neighbouring services are not installed: pip install '.[neighbours]'",
)
WAIT_S = 30.0
KEEP = "the state before"
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


def values(text: str) -> list[float | None]:
    return [{"-": None, "0": 0.0, "X": 2.0}[mark] for mark in text]


@pytest.mark.parametrize(
    ("needed", "data", "states"),
    [
        # three of three must breach
        (3, "0-X-X", (OK, OK, OK, OK)),
        (3, "----0", (OK, OK, OK, OK)),
        (3, "-----", (INSUFFICIENT, KEEP, ALARM, OK)),
        (3, "0XX-X", (ALARM, ALARM, ALARM, ALARM)),
        (3, "--X--", (ALARM, KEEP, ALARM, OK)),
        # two of three must breach
        (2, "0-X-X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "00X0X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "0-X--", (OK, OK, ALARM, OK)),
        (2, "----0", (OK, OK, ALARM, OK)),
        (2, "---X-", (ALARM, KEEP, ALARM, OK)),
    ],
)
def test_the_vendors_tables_of_missing_data(
    needed: int, data: str, states: tuple[str, ...]
) -> None:
    for treatment, expected in zip(TREATMENTS, states, strict=True):
        rule = Rule(60.0, 3, needed, 1.0, "GreaterThanThreshold", treatment)
        for before in (OK, ALARM, INSUFFICIENT):
            found = evaluate(rule, values(data), before)
            assert found.state == (before if expected == KEEP else expected), treatment


@pytest.mark.parametrize(
    ("comparison", "state"),
    [
        ("GreaterThanThreshold", OK),
        ("GreaterThanOrEqualToThreshold", ALARM),
        ("LessThanThreshold", OK),
        ("LessThanOrEqualToThreshold", ALARM),
    ],
)
def test_the_threshold_itself(comparison: str, state: str) -> None:
    found = evaluate(Rule(60.0, 1, 1, 1.0, comparison), [1.0], OK)
    assert found.state == state
    assert "out of the last 1 datapoints [1.0]" in found.reason
    assert found.values == (1.0,)


def test_reasons_say_what_was_missing() -> None:
    rule = Rule(60.0, 5, 5, 1.0, "LessThanThreshold", "breaching")
    found = evaluate(rule, [None] * 7, OK)
    assert found.reason == (
        "Threshold Crossed: no datapoints were received for 5 periods and "
        "5 missing datapoints were treated as [Breaching]."
    )
    rule = Rule(60.0, 1, 1, 1.0, "LessThanThreshold")
    assert evaluate(rule, [None], OK).reason == "Insufficient Data: 1 datapoint was unknown."


def test_short_periods_are_looked_at_more_often() -> None:
    assert Rule(10.0, 1, 1, 1.0, "LessThanThreshold").every_s == 10.0
    assert Rule(300.0, 1, 1, 1.0, "LessThanThreshold").every_s == 60.0


# --- by boto3 ------------------------------------------------------------------------------

DEVICE = [{"Name": "DeviceId", "Value": "device-a"}, {"Name": "DeviceName", "Value": "north"}]
GONE = {
    "AlarmName": "gone",
    "Namespace": "PanoramaDeviceMetrics",
    "MetricName": "DeviceActive",
    "Dimensions": DEVICE,
    "Statistic": "Average",
    "Period": 60,
    "EvaluationPeriods": 5,
    "Threshold": 1.0,
    "ComparisonOperator": "LessThanThreshold",
    "TreatMissingData": "breaching",
}


async def active(cloud: Any, metrics: Any, value: float = 1.0) -> None:
    datum = {"MetricName": "DeviceActive", "Dimensions": DEVICE, "Value": value}
    data = {"Namespace": "PanoramaDeviceMetrics", "MetricData": [datum]}
    await cloud.call(metrics, "put_metric_data", **data)


async def state(cloud: Any, metrics: Any, name: str = "gone") -> str:
    found = await cloud.call(metrics, "describe_alarms", AlarmNames=[name])
    return str(found["MetricAlarms"][0]["StateValue"])


@installed
async def test_an_alarm_fires_when_a_device_is_silent_for_five_minutes(
    paced: Any, boto: Callable[..., Any]
) -> None:
    """By the service's clock, which the test sets; nobody waits.

    Data up to two periods older than those evaluated counts before a missing period does, so the
    alarm comes after seven silent minutes, as CloudWatch's does.
    """
    cloud, now = paced
    boto = functools.partial(boto, timeout_s=WAIT_S)
    sns, sqs, metrics = boto("sns"), boto("sqs"), boto("cloudwatch")
    topic = (await cloud.call(sns, "create_topic", Name="told"))["TopicArn"]
    queue = (await cloud.call(sqs, "create_queue", QueueName="told"))["QueueUrl"]
    endpoint = {"Protocol": "sqs", "Endpoint": "arn:aws:sqs:us-east-1:123456789012:told"}
    await cloud.call(sns, "subscribe", TopicArn=topic, **endpoint)
    await cloud.call(metrics, "put_metric_alarm", AlarmActions=[topic], **GONE)
    assert await state(cloud, metrics) == INSUFFICIENT
    for _ in range(3):
        await active(cloud, metrics)
        now[0] += 60.0
    assert await state(cloud, metrics) == OK
    now[0] += 240.0
    assert await state(cloud, metrics) == OK
    now[0] += 3600.0
    assert await state(cloud, metrics) == ALARM
    await active(cloud, metrics)
    now[0] += 60.0
    assert await state(cloud, metrics) == OK
    history = await cloud.call(
        metrics, "describe_alarm_history", AlarmName="gone", ScanBy="TimestampAscending"
    )
    items = history["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in items] == [
        'Alarm "gone" created',
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from OK to ALARM",
        f"Successfully executed action {topic}",
        "Alarm updated from ALARM to OK",
    ]
    fired = next(item for item in items if "to ALARM" in item["HistorySummary"])
    silent_s = fired["Timestamp"].timestamp() - (now[0] - 3600.0 - 60.0 - 240.0)
    assert silent_s == 420.0, "as of its own time, not of the question's"
    assert "5 missing datapoints were treated as [Breaching]" in fired["HistoryData"]
    newest = await cloud.call(
        metrics, "describe_alarm_history", HistoryItemType="StateUpdate", MaxRecords=1
    )
    assert newest["AlarmHistoryItems"][0]["HistorySummary"].endswith("from ALARM to OK")
    assert newest["NextToken"]
    (message,) = (await cloud.call(sqs, "receive_message", QueueUrl=queue))["Messages"]
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == ("gone", ALARM)


@installed
async def test_an_alarm_that_is_changed_keeps_its_state(
    paced: Any, boto: Callable[..., Any]
) -> None:
    cloud, now = paced
    metrics = boto("cloudwatch", timeout_s=WAIT_S)
    await cloud.call(metrics, "put_metric_alarm", **GONE)
    now[0] += 60.0
    assert await state(cloud, metrics) == ALARM
    await cloud.call(metrics, "put_metric_alarm", **{**GONE, "TreatMissingData": "ignore"})
    now[0] += 600.0
    assert await state(cloud, metrics) == ALARM
    told = {"AlarmName": "gone", "StateValue": OK, "StateReason": "by hand"}
    await cloud.call(metrics, "set_alarm_state", **told)
    history = await cloud.call(metrics, "describe_alarm_history", AlarmName="gone")
    assert history["AlarmHistoryItems"][0]["HistorySummary"] == "Alarm updated from ALARM to OK"


@installed
async def test_an_alarm_in_a_template(paced: Any, boto: Callable[..., Any]) -> None:
    cloud, now = paced
    boto = functools.partial(boto, timeout_s=WAIT_S)
    properties = {
        "MetricName": "ApplicationErrors",
        "Namespace": "PanoramaDeviceMetrics",
        "Statistic": "Sum",
        "Period": "60",
        "EvaluationPeriods": "1",
        "Threshold": "0",
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    template: dict[str, Any] = {
        "Resources": {"Errors": {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}},
        "Outputs": {
            "Name": {"Value": {"Ref": "Errors"}},
            "Arn": {"Value": {"Fn::GetAtt": ["Errors", "Arn"]}},
        },
    }
    stacks, metrics = boto("cloudformation"), boto("cloudwatch")
    named = {"StackName": "alarms"}
    await cloud.call(stacks, "create_stack", TemplateBody=json.dumps(template), **named)
    (stack,) = (await cloud.call(stacks, "describe_stacks", **named))["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    assert outputs["Arn"].endswith(f":alarm:{outputs['Name']}")
    now[0] += 60.0
    assert await state(cloud, metrics, outputs["Name"]) == OK
    data = {"Namespace": "PanoramaDeviceMetrics", "MetricName": "ApplicationErrors"}
    datum = {"MetricName": data["MetricName"], "Value": 1.0}
    await cloud.call(metrics, "put_metric_data", Namespace=data["Namespace"], MetricData=[datum])
    now[0] += 60.0
    assert await state(cloud, metrics, outputs["Name"]) == ALARM
    properties["Threshold"] = "5"
    await cloud.call(stacks, "update_stack", TemplateBody=json.dumps(template), **named)
    found = await cloud.call(metrics, "describe_alarms")
    assert [alarm["Threshold"] for alarm in found["MetricAlarms"]] == [5.0]
    await cloud.call(stacks, "delete_stack", **named)
    assert (await cloud.call(metrics, "describe_alarms"))["MetricAlarms"] == []


@pytest.fixture
def paced(cloud: Any) -> tuple[Any, list[float]]:
    """A cloud whose service clock stands still unless the test moves it, on a full minute."""
    now = [float(int(time.time()) // 60 * 60)]
    cloud.server.neighbours._clock = lambda: now[0]
    return cloud, now
