"""Alarms of moto's CloudWatch evaluated, with their history and their actions.

Nobody can see a state but by asking, so the evaluations that were due since the last request are
made up for when the next one comes, each as of its own time.
"""

from __future__ import annotations

import bisect
import datetime
import json
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.cloudwatch.models import (
    Alarm,
    CloudWatchBackend,
    MetricAggregatedDatum,
    MetricDatum,
    MetricDatumBase,
    Statistics,
    cloudwatch_backends,
)
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.sns.models import sns_backends

from harness.cloud.neighbour.alarm import COMPARISONS, INSUFFICIENT, Rule, evaluate
from harness.cloud.neighbour.host import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

HISTORY_MAX = 1000  # items of one account and region
STEPS_MAX = 5000  # evaluations of one alarm at a time; a clock that leaps further leaves some out
METRIC_DATA_MAX = 200_000
_PAGE_MAX = 100
_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - as moto has its times


@dataclass(slots=True)
class Watch:
    """What is remembered of an alarm beside moto's own."""

    evaluated_s: float


@dataclass(slots=True)
class Book:
    """Alarms and history of one account and region."""

    watches: dict[str, Watch] = field(default_factory=dict)
    history: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=HISTORY_MAX))


_books: dict[tuple[str, str], Book] = {}


def book_of(account: str, region: str) -> Book:
    return _books.setdefault((account, region), Book())


def advance() -> None:
    """Evaluate every alarm as often as was due until now."""
    for account, backends in list(cloudwatch_backends.items()):
        for region, backend in list(backends.items()):
            if backend.alarms:
                _advance(account, region, backend)
            if len(backend.metric_data) > METRIC_DATA_MAX:
                del backend.metric_data[: METRIC_DATA_MAX // 4]


def _advance(account: str, region: str, backend: CloudWatchBackend) -> None:
    book, now_s = book_of(account, region), clock.now_s()
    for name, alarm in list(backend.alarms.items()):
        rule = _rule(alarm)
        if rule is None:
            continue
        watch = book.watches.setdefault(name, Watch(now_s))
        due = math.floor(now_s / rule.every_s)
        last = max(math.floor(watch.evaluated_s / rule.every_s), due - STEPS_MAX)
        if due > last:
            series = _series(alarm, backend)
            for step in range(last + 1, due + 1):
                _evaluate(account, region, alarm, rule, series, step * rule.every_s)
            watch.evaluated_s = now_s
    for name in book.watches.keys() - backend.alarms.keys():
        del book.watches[name]


def _rule(alarm: Alarm) -> Rule | None:
    """None for alarms over expressions or other alarms, which are not evaluated."""
    if alarm.rule is not None or not alarm.metric_name or not alarm.period:
        return None
    if alarm.comparison_operator not in COMPARISONS:
        return None
    return Rule(
        float(alarm.period),
        int(alarm.evaluation_periods),
        int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        float(alarm.threshold),
        alarm.comparison_operator,
        alarm.treat_missing_data or "missing",
    )


def _series(alarm: Alarm, backend: CloudWatchBackend) -> list[tuple[float, MetricDatumBase]]:
    """The data of the alarm's metric, by time."""
    wanted = {(one.name, one.value) for one in alarm.dimensions}
    found = [
        ((datum.timestamp.replace(tzinfo=None) - _EPOCH).total_seconds(), datum)
        for datum in backend.metric_data
        if datum.namespace == alarm.namespace
        and datum.name == alarm.metric_name
        and (alarm.unit is None or datum.unit == alarm.unit)
        and {(one.name, one.value) for one in datum.dimensions} == wanted
    ]
    found.sort(key=lambda entry: entry[0])
    return found


def _evaluate(
    account: str,
    region: str,
    alarm: Alarm,
    rule: Rule,
    series: list[tuple[float, MetricDatumBase]],
    at_s: float,
) -> None:
    times = [entry[0] for entry in series]
    values: list[float | None] = []
    for back in range(rule.looked_at, 0, -1):
        start = bisect.bisect_left(times, at_s - back * rule.period_s)
        end = bisect.bisect_left(times, at_s - (back - 1) * rule.period_s)
        values.append(_statistic(alarm, [entry[1] for entry in series[start:end]]))
    found = evaluate(rule, values, alarm.state_value)
    if found.state == alarm.state_value:
        return
    data = {
        "version": "1.0",
        "queryDate": _iso(at_s),
        "statistic": alarm.statistic or alarm.extended_statistic,
        "period": int(rule.period_s),
        "recentDatapoints": found.values,
        "threshold": rule.threshold,
    }
    before = alarm.state_value
    with clock.set_to(at_s):
        alarm.update_state(found.reason, json.dumps(data), found.state)
        _act(account, region, alarm, before)


def _statistic(alarm: Alarm, data: list[MetricDatumBase]) -> float | None:
    if not data:
        return None
    if alarm.extended_statistic:
        return _percentile(float(alarm.extended_statistic[1:]), data)
    statistics = Statistics([alarm.statistic], clock.utcnow())
    statistics.metric_data = data
    value = statistics.get_statistics_for_type(alarm.statistic)
    return float(value) if value is not None else None


def _percentile(percent: float, data: list[MetricDatumBase]) -> float | None:
    """By nearest rank, over single values: sets of statistics have no percentiles."""
    values = sorted(datum.value for datum in data if isinstance(datum, MetricDatum))
    if not values or any(isinstance(datum, MetricAggregatedDatum) for datum in data):
        return None
    return values[max(0, math.ceil(percent / 100.0 * len(values)) - 1)]


# --- history and actions -------------------------------------------------------------------


def _record(account: str, region: str, alarm: Alarm, kind: str, summary: str, data: Any) -> None:
    item = {
        "AlarmName": alarm.name,
        "AlarmType": "CompositeAlarm" if alarm.rule is not None else "MetricAlarm",
        "Timestamp": clock.utcnow(),
        "HistoryItemType": kind,
        "HistorySummary": summary,
        "HistoryData": json.dumps(data),
    }
    book_of(account, region).history.append(item)


def _act(account: str, region: str, alarm: Alarm, before: str) -> None:
    """Tell the topics that the alarm names for its new state."""
    actions = {
        "OK": alarm.ok_actions,
        "ALARM": alarm.alarm_actions,
        INSUFFICIENT: alarm.insufficient_data_actions,
    }[alarm.state_value]
    for arn in actions if alarm.actions_enabled else ():
        topics = sns_backends[account][region].topics
        if arn in topics:
            subject = f'{alarm.state_value}: "{alarm.name}" in {region}'
            topics[arn].publish(_message(account, region, alarm, before), subject=subject)
            summary, state = f"Successfully executed action {arn}", "Succeeded"
        else:
            summary, state = f"Failed to execute action {arn}", "Failed"
        data = {"actionState": state, "notificationResource": arn}
        _record(account, region, alarm, "Action", summary, data)


def _message(account: str, region: str, alarm: Alarm, before: str) -> str:
    return json.dumps(
        {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": account,
            "AlarmArn": alarm.alarm_arn,
            "NewStateValue": alarm.state_value,
            "NewStateReason": alarm.state_reason,
            "StateChangeTime": _iso(clock.now_s()),
            "Region": region,
            "OldStateValue": before,
            "Trigger": {
                "MetricName": alarm.metric_name,
                "Namespace": alarm.namespace,
                "Dimensions": [{"name": one.name, "value": one.value} for one in alarm.dimensions],
                "Period": alarm.period,
                "EvaluationPeriods": alarm.evaluation_periods,
                "ComparisonOperator": alarm.comparison_operator,
                "Threshold": alarm.threshold,
            },
        }
    )


def _iso(time_s: float) -> str:
    moment = datetime.datetime.fromtimestamp(time_s, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


# --- put in moto's place -------------------------------------------------------------------

_update_state = Alarm.update_state
_put_metric_alarm = CloudWatchBackend.put_metric_alarm


def _updated(alarm: Alarm, reason: str, reason_data: str, state_value: str) -> None:
    """As moto's, by the evaluation or SetAlarmState, and into the history."""
    before = alarm.state_value
    _update_state(alarm, reason, reason_data, state_value)
    if before != state_value:
        account = alarm.alarm_arn.split(":")[4]
        states = {"oldState": {"stateValue": before}, "newState": {"stateValue": state_value}}
        states["newState"]["stateReason"] = reason
        summary = f"Alarm updated from {before} to {state_value}"
        _record(account, alarm.region_name, alarm, "StateUpdate", summary, states)


def _put(backend: CloudWatchBackend, name: str, *given: Any, **named: Any) -> Alarm:
    """A new alarm has no data yet; one that is changed keeps its state."""
    before = backend.alarms.get(name)
    alarm = _put_metric_alarm(backend, name, *given, **named)
    if before is None:
        alarm.state_value = INSUFFICIENT
        book_of(backend.account_id, backend.region_name).watches[name] = Watch(clock.now_s())
    else:
        alarm.state_value, alarm.state_reason = before.state_value, before.state_reason
        alarm.state_updated_timestamp = before.state_updated_timestamp
    verb = "created" if before is None else "updated"
    summary = f'Alarm "{name}" {verb}'
    data = {"type": "Create" if before is None else "Update", "version": "1.0"}
    _record(backend.account_id, backend.region_name, alarm, "ConfigurationUpdate", summary, data)
    return alarm


def _describe_alarm_history(response: CloudWatchResponse) -> ActionResult:
    """The operation that moto lacks: newest first unless asked otherwise, page by page."""
    items = list(_selected(response))
    if response._get_param("ScanBy") != "TimestampAscending":
        items.reverse()
    start = int(response._get_param("NextToken") or 0)
    end = start + min(int(response._get_param("MaxRecords") or _PAGE_MAX), _PAGE_MAX)
    token = str(end) if end < len(items) else None
    return ActionResult({"AlarmHistoryItems": items[start:end], "NextToken": token})


def _selected(response: CloudWatchResponse) -> Iterator[dict[str, Any]]:
    name, kind = response._get_param("AlarmName"), response._get_param("HistoryItemType")
    start, end = response._get_param("StartDate"), response._get_param("EndDate")
    for item in book_of(response.current_account, response.region).history:
        when = item["Timestamp"]
        if (
            (name is None or item["AlarmName"] == name)
            and (kind is None or item["HistoryItemType"] == kind)
            and (start is None or when >= start.replace(tzinfo=None))
            and (end is None or when <= end.replace(tzinfo=None))
        ):
            yield item


def install() -> None:
    """Evaluate, remember and act, where moto only stores."""
    setattr(Alarm, "update_state", _updated)  # noqa: B010
    setattr(CloudWatchBackend, "put_metric_alarm", _put)  # noqa: B010
    setattr(CloudWatchResponse, "describe_alarm_history", _describe_alarm_history)  # noqa: B010
