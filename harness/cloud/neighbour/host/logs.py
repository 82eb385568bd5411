"""Logs and metrics of devices put in, log events read out, past the services' own operations."""

from __future__ import annotations

import datetime
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.logs.models import logs_backends

EVENTS_MAX = 100_000  # of one stream: the oldest give way
EXPORT_EVENTS_MAX = 1_000_000


def put(
    account: str, region: str, logs: list[dict[str, Any]], metrics: list[dict[str, Any]]
) -> None:
    """`logs`: {"group", "stream", "events": [[time_ms, text]]}; `metrics`: namespace and data."""
    backend = logs_backends[account][region]
    for batch in logs:
        backend.ensure_log_group(batch["group"])
        backend.ensure_log_stream(batch["group"], batch["stream"])
        events = [{"timestamp": when, "message": text} for when, text in batch["events"]]
        stream = backend.groups[batch["group"]].streams[batch["stream"]]
        stream.put_log_events(events)
        del stream.events[:-EVENTS_MAX]
    for batch in metrics:
        data = [{**datum, "Timestamp": _time(datum["Timestamp"])} for datum in batch["data"]]
        cloudwatch_backends[account][region].put_metric_data(batch["namespace"], data)


def _time(time_s: float) -> Any:
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).replace(tzinfo=None)


def events(
    account: str, region: str, group: str, prefix: str, start_ms: int, end_ms: int
) -> dict[str, list[tuple[int, str]]] | None:
    """Events from `start_ms` to `end_ms` by stream, None when there is no such group."""
    found = logs_backends[account][region].groups.get(group)
    if found is None:
        return None
    return {
        name: [
            (event.timestamp, event.message)
            for event in sorted(stream.events, key=lambda event: event.timestamp)
            if start_ms <= event.timestamp < end_ms
        ][:EXPORT_EVENTS_MAX]
        for name, stream in found.streams.items()
        if name.startswith(prefix)
    }
