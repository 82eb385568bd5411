"""What is shown of an instance: its nodes, what it was made of, and signals to its cameras."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.appliance.topic import shadow_delta
from harness.cloud.api import ApiError


@pytest.fixture
def ready(core: Any, application: Any) -> str:
    """A device that is online, and packages with two cameras."""
    application.install(core, "door", "yard")
    return str(core.online())


def deploy(core: Any, application: Any, device: str, **more: Any) -> str:
    request = application.request(device, "door", "yard", **more)
    return str(core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"])


def nodes(core: Any, instance: str) -> dict[str, Any]:
    listed = core.call("ListApplicationInstanceNodeInstances", ApplicationInstanceId=instance)
    return {node["NodeInstanceId"]: node for node in listed["NodeInstances"]}


def signal(core: Any, instance: str, *signals: tuple[str, str]) -> None:
    core.call(
        "SignalApplicationInstanceNodeInstances",
        ApplicationInstanceId=instance,
        NodeSignals=[{"NodeInstanceId": node, "Signal": what} for node, what in signals],
    )


def wanted(core: Any, device: str, instance: str) -> Any:
    delta = core.answer(shadow_delta(device, "applications"))
    return delta["state"]["instances"][instance].get("paused")


def test_details_are_what_it_was_deployed_with(core: Any, application: Any, ready: str) -> None:
    old = deploy(core, application, ready)
    request = application.request(
        ready, "door", "yard", Description="by hand", ApplicationInstanceIdToReplace=old
    )
    new = core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"]
    found = core.call("DescribeApplicationInstanceDetails", ApplicationInstanceId=new)
    assert found == {"ApplicationInstanceId": new, "CreatedTime": core.now_s, **request}
    assert json.loads(found["ManifestPayload"]["PayloadData"]) == application.graph
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.call("DescribeApplicationInstanceDetails", ApplicationInstanceId="none")


def test_dependencies_are_the_package_versions_of_its_nodes(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    found = core.call("ListApplicationInstanceDependencies", ApplicationInstanceId=instance)
    packages = found["PackageObjects"]
    assert [entry["Name"] for entry in packages] == ["counter", "door", "yard"]
    assert packages[0]["PatchVersion"] == application.patch
    page = core.call(
        "ListApplicationInstanceDependencies", ApplicationInstanceId=instance, MaxResults=2
    )
    rest = core.call(
        "ListApplicationInstanceDependencies", ApplicationInstanceId=instance,
        NextToken=page["NextToken"],
    )  # fmt: skip
    assert page["PackageObjects"] + rest["PackageObjects"] == packages
    with pytest.raises(ApiError, match="ValidationException"):
        core.call("ListApplicationInstanceDependencies", ApplicationInstanceId="none")


def test_nodes_are_named_as_the_service_names_them(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready)
    shown = nodes(core, instance)
    assert list(shown) == ["code_node", "door", "yard"]
    code = shown["code_node"]
    assert code["NodeName"] == "counter"
    assert code["NodeId"] == f"counter-1.0-{application.patch[:8]}-counter"
    assert core.call("DescribeNode", NodeId=code["NodeId"])["Category"] == "BUSINESS_LOGIC"


def test_the_runtime_context_is_named_like_the_device(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    core.report_instance(ready, instance, "RUNNING")
    (context,) = core.call("DescribeApplicationInstance", ApplicationInstanceId=instance)[
        "RuntimeContextStates"
    ]
    assert context == {
        "RuntimeContextName": "north", "DesiredState": "RUNNING",
        "DeviceReportedStatus": "RUNNING", "DeviceReportedTime": core.now_s,
    }  # fmt: skip


# --- signals -------------------------------------------------------------------------------


def test_a_camera_is_paused_when_the_device_says_so(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    core.report_instance(ready, instance, "RUNNING")
    assert wanted(core, ready, instance) is None, "nothing is said as long as nothing was asked"
    signal(core, instance, ("yard", "PAUSE"))
    assert wanted(core, ready, instance) == ["yard"]
    assert nodes(core, instance)["yard"]["CurrentStatus"] == "RUNNING"
    core.report_instance(ready, instance, "RUNNING", nodes={"yard": "PAUSED"})
    statuses = {name: node["CurrentStatus"] for name, node in nodes(core, instance).items()}
    assert statuses == {"code_node": "RUNNING", "door": "RUNNING", "yard": "PAUSED"}
    found = core.call("DescribeApplicationInstance", ApplicationInstanceId=instance)
    assert found["HealthStatus"] == "RUNNING"
    signal(core, instance, ("yard", "RESUME"))
    assert wanted(core, ready, instance) == []
    core.report_instance(ready, instance, "RUNNING", nodes={"yard": None})
    assert nodes(core, instance)["yard"]["CurrentStatus"] == "RUNNING"


def test_a_paused_camera_of_a_crashed_application_is_not_paused(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    signal(core, instance, ("yard", "PAUSE"))
    core.report_instance(ready, instance, "RUNNING", nodes={"yard": "PAUSED"})
    core.report_instance(ready, instance, "LAUNCH_ERROR", nodes={"yard": "PAUSED"})
    assert nodes(core, instance)["yard"]["CurrentStatus"] == "ERROR"


def test_signals_add_up_and_the_last_word_on_a_camera_holds(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    signal(core, instance, ("yard", "PAUSE"), ("door", "PAUSE"), ("yard", "RESUME"))
    assert wanted(core, ready, instance) == ["door"]
    signal(core, instance, ("yard", "PAUSE"))
    assert wanted(core, ready, instance) == ["door", "yard"]
    sent = len(core.sent)
    signal(core, instance, ("yard", "PAUSE"))
    assert len(core.sent) == sent, "the same again is no news"


def test_a_camera_goes_by_the_name_of_its_package_too(core: Any, application: Any) -> None:
    """As the vendor's own script for pausing cameras has it."""
    application.install(core, "front-door")
    device = core.online()
    overrides = application.overrides("front-door")
    body = overrides["nodeGraphOverrides"]
    body["nodes"][0]["name"] = "camera_node_override"
    body["nodeOverrides"][0]["with"] = [{"name": "camera_node_override"}]
    request = application.request(device)
    request["ManifestOverridesPayload"] = {"PayloadData": json.dumps(overrides)}
    instance = core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"]
    signal(core, instance, ("front-door", "PAUSE"))
    assert wanted(core, device, instance) == ["camera_node_override"]
    signal(core, instance, ("camera_node_override", "RESUME"))
    assert wanted(core, device, instance) == []


def test_a_camera_launched_on_a_signal_waits_for_one(
    core: Any, application: Any, ready: str
) -> None:
    overrides = application.overrides("door", "yard")
    overrides["nodeGraphOverrides"]["nodes"][1]["launch"] = "onSignal"
    payload = {"PayloadData": json.dumps(overrides)}
    instance = deploy(core, application, ready, ManifestOverridesPayload=payload)
    assert wanted(core, ready, instance) == ["yard"]
    signal(core, instance, ("door", "PAUSE"), ("yard", "RESUME"))
    assert wanted(core, ready, instance) == ["door"]


def test_a_signal_for_a_device_that_is_away_waits(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready)
    core.plane.disconnected(ready)
    sent = len(core.sent)
    signal(core, instance, ("door", "PAUSE"))
    assert len(core.sent) == sent
    core.plane.connected(ready)
    core.say(ready, "shadow/name/applications/get", {})
    answer = core.sent[-1][2]["state"]["desired"]["instances"][instance]
    assert answer["paused"] == ["door"]


@pytest.mark.parametrize("node", ["code_node", "counter", "none", "camera_in"])
def test_only_cameras_take_signals(core: Any, application: Any, ready: str, node: str) -> None:
    instance = deploy(core, application, ready)
    with pytest.raises(ApiError, match="ValidationException") as caught:
        signal(core, instance, ("door", "PAUSE"), (node, "PAUSE"))
    (field,) = caught.value.members["Fields"]
    assert field["Name"] == "NodeSignals[1].NodeInstanceId"
    assert "door, yard" in field["Message"]
    assert wanted(core, ready, instance) is None


def test_what_does_not_run_any_more_takes_no_signals(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    core.call("RemoveApplicationInstance", ApplicationInstanceId=instance)
    for identifier in (instance, "none"):
        with pytest.raises(ApiError, match="ValidationException"):
            signal(core, identifier, ("door", "PAUSE"))


def test_what_a_device_may_not_say_of_nodes_is_passed_over(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    core.report_instance(ready, instance, "RUNNING", nodes={"door": "ASLEEP", "yard": 7})
    assert nodes(core, instance)["door"]["CurrentStatus"] == "RUNNING"
    core.report_instance(ready, instance, "DREAMING")
    core.report(ready, "applications", {"instances": [1]})
    found = core.call("DescribeApplicationInstance", ApplicationInstanceId=instance)
    assert found["RuntimeContextStates"][0]["DeviceReportedStatus"] == "RUNNING"
