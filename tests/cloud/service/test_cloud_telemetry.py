"""Telemetry as the plane takes it: names, times, whose it is, bounds."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cloud.service.telemetry import BATCHES_MAX, LINE_BYTES_MAX, LINES_MAX
from harness.errors import Corrupt


def logs(stream: str, *lines: tuple[float, str], application: str = "") -> dict[str, Any]:
    return {"application": application, "stream": stream, "lines": list(lines)}


@pytest.fixture
def deployed(core: Any, application: Any) -> tuple[str, str]:
    """A device, and an application instance on it."""
    device = core.online()
    application.install(core, "door")
    made = core.call("CreateApplicationInstance", **application.request(device, "door"))
    return device, made["ApplicationInstanceId"]


def test_groups_streams_and_dimensions_are_the_vendors(
    core: Any, deployed: tuple[str, str]
) -> None:
    device, instance = deployed
    told = {
        "sent_s": 50.0,
        "logs": [
            logs("occ_log", (49.0, "second"), (45.5, "first")),
            logs("code_node", (50.0, "mine"), application=instance),
        ],
        "metrics": [
            {"name": "DeviceActive", "value": 1.0},
            {"name": "ApplicationErrors", "application": instance, "value": 2.0},
        ],
    }
    core.plane.told(device, told)
    batches, metrics = core.plane.telemetry.collect()
    now_ms = int(core.now_s * 1000)
    assert [(batch.group, batch.stream, batch.lines) for batch in batches] == [
        (
            f"/aws/panorama/devices/{device}", "occ_log",
            ((now_ms - 4500, "first"), (now_ms - 1000, "second")),
        ),
        (
            f"/aws/panorama/devices/{device}/applications/{instance}", "code_node",
            ((now_ms, "mine"),),
        ),
    ]  # fmt: skip
    assert [(metric.name, dict(metric.dimensions), metric.value) for metric in metrics] == [
        ("DeviceActive", {"DeviceId": device, "DeviceName": "north"}, 1.0),
        (
            "ApplicationErrors",
            {"ApplicationInstanceName": "counter-north", "ApplicationInstanceId": instance},
            2.0,
        ),
    ]
    assert metrics[0].time_s == core.now_s
    assert core.plane.telemetry.collect() == ([], [])
    assert (core.plane.telemetry.lines, core.plane.telemetry.points) == (3, 2)


@pytest.mark.parametrize(
    "told",
    [
        None, [], {}, {"sent_s": "x"}, {"sent_s": 1.0, "logs": 5}, {"sent_s": 1.0, "logs": [5]},
        {"sent_s": 1.0, "logs": [{"stream": "s"}]},
        {"sent_s": 1.0, "logs": [{"stream": "no spaces", "lines": []}]},
        {"sent_s": 1.0, "logs": [{"stream": "s", "lines": [[1.0]]}]},
        {"sent_s": 1.0, "logs": [{"stream": "s", "lines": [[1.0, "x"]] * (LINES_MAX + 1)}]},
        {"sent_s": 1.0, "logs": [{"stream": "s", "lines": [[1.0, "x"]], "application": "other"}]},
        {"sent_s": 1.0, "metrics": [{"name": "Other", "value": 1.0}]},
        {"sent_s": 1.0, "metrics": [{"name": "DeviceActive", "value": "x"}]},
        {"sent_s": 1.0, "metrics": [{"name": "ApplicationErrors", "value": 1.0}]},
    ],
)  # fmt: skip
def test_what_is_no_telemetry_is_refused_whole(core: Any, told: Any) -> None:
    device = core.online()
    with pytest.raises(Corrupt, match=f"telemetry of {device}"):
        core.plane.told(device, told)
    assert core.plane.telemetry.collect() == ([], [])


def test_an_application_of_another_device_is_none_of_its_business(
    core: Any, deployed: tuple[str, str]
) -> None:
    other = core.online("south")
    with pytest.raises(Corrupt):
        core.plane.told(other, {"sent_s": 1.0, "logs": [logs("s", application=deployed[1])]})
    assert core.plane.role_of(other, deployed[1]) == ""


def test_what_waits_is_bounded(core: Any) -> None:
    device = core.online()
    long = logs("occ_log", (1.0, "x" * (LINE_BYTES_MAX + 1)))
    for _ in range(BATCHES_MAX + 5):
        core.plane.told(device, {"sent_s": 1.0, "logs": [long]})
    batches, _ = core.plane.telemetry.collect()
    assert len(batches) == BATCHES_MAX
    assert len(batches[0].lines[0][1]) == LINE_BYTES_MAX


def test_the_role_of_an_application_is_the_one_it_was_deployed_with(
    core: Any, application: Any
) -> None:
    device = core.online()
    application.install(core, "door")
    role = "arn:aws:iam::123456789012:role/counter"
    request = application.request(device, "door", RuntimeRoleArn=role)
    instance = core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"]
    assert core.plane.role_of(device, instance) == role
    assert core.plane.role_of(device, "none") == ""
