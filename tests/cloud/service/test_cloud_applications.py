"""Application instances in the pure plane: refused, deployed, followed, replaced, removed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance.topic import shadow_delta
from harness.cloud.api import ApiError
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import DEPLOYMENT_BUCKET, PACKAGE_BUCKET, Settings
from harness.scenario.quota import Quotas

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def ready(core: Any, application: Any) -> str:
    """A device online, the application and two cameras registered."""
    application.install(core, "door", "yard")
    return str(core.online("north"))


def deploy(core: Any, application: Any, device: str, *cameras: str, **more: Any) -> str:
    request = application.request(device, *(cameras or ("door",)), **more)
    return str(core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"])


def show(core: Any, instance: str) -> dict[str, Any]:
    shown: dict[str, Any] = core.call("DescribeApplicationInstance", ApplicationInstanceId=instance)
    return shown


def desired(core: Any, device: str) -> dict[str, Any]:
    delta = core.answer(shadow_delta(device, "applications"))
    instances: dict[str, Any] = delta["state"]["instances"]
    return instances


def document_of(core: Any, device: str, instance: str) -> bytes:
    content = core.objects.get(DEPLOYMENT_BUCKET, f"{device}/{instance}.json")
    data: bytes = content.read(0, content.size_bytes)
    return data


def test_the_deployment_document_has_everything(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready, "door", "yard")
    entry = desired(core, ready)[instance]
    data = document_of(core, ready, instance)
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert entry["url"] == f"https://cloud/{DEPLOYMENT_BUCKET}/{ready}/{instance}.json"
    assert entry["state"] == "RUNNING"
    document = json.loads(data)
    assert document["instance"] == instance
    assert document["name"] == "counter-north"
    assert document["manifest"] == application.graph
    assert document["cameras"]["yard"] == {
        "url": "rtsp://127.0.0.1:8554/yard", "username": "viewer", "password": "secret of yard",
    }  # fmt: skip
    package = next(p for p in document["packages"] if p["name"].endswith("::counter"))
    (asset,) = package["assets"]
    assert asset["sha256"] == hashlib.sha256(application.asset).hexdigest()
    assert asset["size"] == len(application.asset)
    assert asset["url"].endswith(f"/assets/{asset['sha256']}.tar.gz")
    assert asset["descriptor"] == json.loads(application.descriptor)
    assert package["patch"] == application.patch
    assert document["role"] is None


def test_status_follows_the_device(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready)
    for status in ("INSTALL_IN_PROGRESS", "STARTING", "LAUNCHED", "RUNNING"):
        core.report_instance(ready, instance, status)
    assert core.statuses("cloud.instance") == [
        "DEPLOYMENT_PENDING",
        "DEPLOYMENT_REQUESTED",
        "DEPLOYMENT_IN_PROGRESS",
        "DEPLOYMENT_SUCCEEDED",
    ]
    shown = show(core, instance)
    assert shown["StatusDescription"] == "Application deployed successfully."
    assert shown["HealthStatus"] == "RUNNING"
    assert shown["RuntimeContextStates"][0]["DeviceReportedStatus"] == "RUNNING"


def test_asking_again_changes_nothing(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready)
    first = show(core, instance)
    core.now_s += 1000.0
    assert [show(core, instance) for _ in range(20)] == [first] * 20


@pytest.mark.parametrize("status", ["INSTALL_ERROR", "LAUNCH_ERROR"])
def test_errors_carry_the_devices_reason(
    core: Any, application: Any, ready: str, status: str
) -> None:
    instance = deploy(core, application, ready)
    core.report_instance(ready, instance, status, reason="hash does not match" + "." * 300)
    shown = show(core, instance)
    assert shown["Status"] == "DEPLOYMENT_ERROR"
    assert shown["StatusDescription"].startswith("hash does not match")
    assert len(shown["StatusDescription"]) <= 255
    assert shown["HealthStatus"] == "ERROR"
    core.report_instance(ready, instance, "RUNNING")
    assert show(core, instance)["Status"] == "DEPLOYMENT_SUCCEEDED"


def test_a_crash_later_is_health_not_deployment(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready)
    core.report_instance(ready, instance, "RUNNING")
    core.report_instance(ready, instance, "LAUNCH_ERROR", reason="ZeroDivisionError")
    shown = show(core, instance)
    assert (shown["Status"], shown["HealthStatus"]) == ("DEPLOYMENT_SUCCEEDED", "ERROR")


def test_health_is_unknown_while_the_device_is_away(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    core.report_instance(ready, instance, "RUNNING")
    core.now_s += 1000.0
    core.plane.expire()
    assert show(core, instance)["HealthStatus"] == "NOT_AVAILABLE"


def test_node_instances_come_from_the_graph(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready, "door", "yard")
    nodes = {"code_node": "RUNNING", "door": "ERROR"}
    core.report_instance(ready, instance, "RUNNING", nodes=nodes)
    listed = core.call("ListApplicationInstanceNodeInstances", ApplicationInstanceId=instance)
    found = {node["NodeInstanceId"]: node for node in listed["NodeInstances"]}
    assert {name: node["CurrentStatus"] for name, node in found.items()} == {
        "code_node": "RUNNING", "door": "ERROR", "yard": "ERROR",
    }  # fmt: skip
    assert found["code_node"]["PackageName"] == "counter"
    assert found["code_node"]["PackagePatchVersion"] == application.patch
    assert found["door"]["PackageVersion"] == "1.0"
    assert show(core, instance)["HealthStatus"] == "ERROR"


def test_a_device_that_is_away_gets_it_when_it_asks(
    core: Any, application: Any, ready: str
) -> None:
    core.plane.disconnected(ready)
    core.sent.clear()
    instance = deploy(core, application, ready)
    assert core.sent == []
    assert show(core, instance)["Status"] == "DEPLOYMENT_PENDING"
    core.plane.connected(ready)
    core.say(ready, "shadow/name/applications/get", {})
    answer = core.answer(f"$aws/things/{ready}/shadow/name/applications/get/accepted")
    assert instance in answer["state"]["desired"]["instances"]
    assert show(core, instance)["Status"] == "DEPLOYMENT_REQUESTED"


# --- removal and replacement ---------------------------------------------------------------


def test_removal_is_the_devices_to_confirm(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready)
    core.report_instance(ready, instance, "RUNNING")
    core.call("RemoveApplicationInstance", ApplicationInstanceId=instance)
    assert desired(core, ready)[instance]["state"] == "REMOVED"
    with pytest.raises(ApiError, match="ConflictException"):
        core.call("RemoveApplicationInstance", ApplicationInstanceId=instance)
    core.report_instance(ready, instance, "REMOVAL_IN_PROGRESS")
    core.report(ready, "applications", {"instances": {instance: None}})
    assert core.statuses("cloud.instance")[-4:] == [
        "REMOVAL_PENDING", "REMOVAL_REQUESTED", "REMOVAL_IN_PROGRESS", "REMOVAL_SUCCEEDED",
    ]  # fmt: skip
    shadow = core.plane._core.store.devices[ready].shadow("applications")
    assert shadow.desired == {"instances": {}}
    assert shadow.reported == {"instances": {}}
    assert show(core, instance)["HealthStatus"] == "NOT_AVAILABLE"


def test_a_failed_removal_can_be_asked_for_again(core: Any, application: Any, ready: str) -> None:
    instance = deploy(core, application, ready)
    core.call("RemoveApplicationInstance", ApplicationInstanceId=instance)
    core.report_instance(ready, instance, "REMOVAL_FAILED", reason="still running")
    assert show(core, instance)["Status"] == "REMOVAL_FAILED"
    core.call("RemoveApplicationInstance", ApplicationInstanceId=instance)
    assert show(core, instance)["Status"] == "REMOVAL_REQUESTED"


def test_an_instance_that_is_wanted_is_not_gone_by_a_null(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    core.report(ready, "applications", {"instances": {instance: None, "unknown": None}})
    assert show(core, instance)["Status"] == "DEPLOYMENT_REQUESTED"


def test_replacing_removes_the_old_one(core: Any, application: Any, ready: str) -> None:
    old = deploy(core, application, ready)
    new = deploy(core, application, ready, ApplicationInstanceIdToReplace=old)
    states = {name: entry["state"] for name, entry in desired(core, ready).items()}
    assert states == {old: "REMOVED", new: "RUNNING"}
    assert show(core, new)["ApplicationInstanceIdToReplace"] == old
    with pytest.raises(ApiError, match="no application instance"):
        deploy(core, application, ready, ApplicationInstanceIdToReplace=old)


# --- refusals ------------------------------------------------------------------------------


COUNTER = "123456789012::counter"


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (
            '"camera_in.video_out"', '"camera_in.nothing"',
            "edge camera_in.nothing -> code_node.video_in: node 'door' has no output 'nothing'",
        ),
        (
            '"code_node.video_in"', '"ghost.video_in"',
            "edge camera_in.video_out -> ghost.video_in: consumer node 'ghost' does not exist",
        ),
        (
            '.counter"', '.other"',
            f"node 'code_node': interface '{COUNTER}.other': "
            f"package '{COUNTER}' has no interface 'other'",
        ),
        (
            '::counter", "version": "1.0"', '::counter", "version": "2.0"',
            f"node 'code_node': package '{COUNTER}' has no version '2.0'; registered: 1.0",
        ),
        (
            "::counter", "::missing",
            "node 'code_node': package '123456789012::missing' does not exist",
        ),
        (
            "123456789012::counter", "210987654321::counter",
            "node 'code_node': package '210987654321::counter' does not exist",
        ),
    ],
)  # fmt: skip
def test_a_wrong_graph_is_refused_in_the_words_of_the_graph(
    core: Any, application: Any, ready: str, before: str, after: str, problem: str
) -> None:
    text = json.dumps(application.graph)
    assert before in text
    request = application.request(ready, "door")
    request["ManifestPayload"] = {"PayloadData": text.replace(before, after)}
    with pytest.raises(ApiError) as caught:
        core.call("CreateApplicationInstance", **request)
    assert caught.value.code == "ValidationException"
    assert caught.value.members == {
        "Message": f"The application graph is not valid: {problem}",
        "Reason": "FIELD_VALIDATION_FAILED",
        "Fields": [{"Name": "ManifestPayload.PayloadData", "Message": problem}],
    }
    assert core.statuses("cloud.instance") == []


def test_every_problem_is_a_field_of_its_document(core: Any, application: Any, ready: str) -> None:
    """A package that failed to register, a camera nobody registered, and nothing else missing."""
    broken = type(application)(package="broken", asset=b"never uploaded")
    location = core.call("CreatePackage", PackageName="broken")["StorageLocation"]
    uploads = [
        (key, data) for key, data in broken.uploads(location).items() if "/manifests/" in key
    ]
    for key, data in uploads:
        core.objects.put(PACKAGE_BUCKET, key, BytesContent(data))
    version = {"PackageVersion": "1.0", "PatchVersion": broken.patch}
    core.call("RegisterPackageVersion", PackageId="packageName/broken", **version)
    with pytest.raises(ApiError) as caught:
        core.call("CreateApplicationInstance", **broken.request(ready, "gate"))
    digest = hashlib.sha256(broken.asset).hexdigest()
    assert caught.value.members["Fields"] == [
        {
            "Name": "ManifestPayload.PayloadData",
            "Message": "node 'code_node': package '123456789012::broken' version '1.0' is FAILED: "
            f"asset 'code': {digest}.tar.gz was not uploaded",
        },
        {
            "Name": "ManifestOverridesPayload.PayloadData",
            "Message": "node 'gate': package '123456789012::gate' does not exist",
        },
    ]


def test_a_demand_that_only_the_device_can_judge_travels_with_the_deployment(
    core: Any, application: Any, ready: str
) -> None:
    instance = deploy(core, application, ready)
    document = json.loads(document_of(core, ready, instance))
    assert document["demands"] == {"codes": ["code_node"], "models": [], "gpu": [], "ports": []}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ManifestPayload": {"PayloadData": "{"}}, "ManifestPayload"),
        ({"ManifestPayload": {"PayloadData": "[]"}}, "ManifestPayload"),
        ({"ManifestPayload": {}}, "ManifestPayload"),
        ({"ManifestOverridesPayload": {"PayloadData": "{"}}, "ManifestOverridesPayload"),
        ({"ManifestOverridesPayload": None}, "node 'camera_in': overrideMandatory is set"),
        ({"ManifestOverridesPayload": {"PayloadData": ""}}, "camera_in"),
        ({"DefaultRuntimeContextDevice": "device-none"}, "DefaultRuntimeContextDevice"),
        ({"RuntimeRoleArn": "no arn"}, "RuntimeRoleArn"),
    ],
)
def test_a_wrong_request_is_refused_by_name(
    core: Any, application: Any, ready: str, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(ApiError, match="ValidationException") as caught:
        core.call("CreateApplicationInstance", **{**application.request(ready, "door"), **change})
    assert named in str(caught.value.members)


def test_nine_cameras_are_too_many(
    make_core: Callable[..., Any], application: Any, new_camera: Any
) -> None:
    names = [f"camera-{number}" for number in range(9)]
    core = make_core(Settings(quotas=Quotas(requests_per_s=None, changes_per_s=None)))
    application.install(core, *names)
    device = core.online()
    with pytest.raises(ApiError) as caught:
        deploy(core, application, device, *names)
    assert (caught.value.code, caught.value.status) == ("ServiceQuotaExceededException", 402)
    assert caught.value.message == (
        f"Node 'code_node' reads 9 camera streams ({', '.join(names)}); an application takes 8."
    )
    assert deploy(core, application, device, *names[:8])
    core = make_core()
    application.install(core, *names)
    assert deploy(core, application, core.online(), *names)


def test_a_device_that_is_not_registered_takes_nothing(core: Any, application: Any) -> None:
    application.install(core, "door")
    device = core.call("ProvisionDevice", Name="north")["DeviceId"]
    with pytest.raises(ApiError, match="not registered"):
        deploy(core, application, device)
