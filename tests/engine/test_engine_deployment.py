"""Deploying as a customer's script does: override documents, and what is asked of the plane."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import graph
from harness.cloud.api.error import not_found, throttled
from harness.engine import deployment, site
from harness.errors import InputError, PeerRefused
from harness.runtime.package import PackedApplication, pack
from harness.scenario.plan import Deploy, Parallel, Provision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.scenario.plan import Plan

ROOT = Path(__file__).parents[2]
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedApplication:
    return pack(ROOT / "fixtures/apps/people-counter", tmp_path_factory.mktemp("packed"))


def deploy(**changes: Any) -> Deploy:
    values: dict[str, Any] = {
        "instance": "counter",
        "application": "people-counter",
        "appliance": "north",
        "inputs": {"camera_in": ("door",)},
        "parameters": {},
        **changes,
    }
    return Deploy(**values)


def overrides(packed: PackedApplication, **changes: Any) -> Any:
    return deployment.override_document(packed, deploy(**changes), ACCOUNT)["nodeGraphOverrides"]


# --- override documents --------------------------------------------------------------------------


def test_a_camera_takes_the_place_of_the_placeholder_that_feeds_the_port(
    packed: PackedApplication,
) -> None:
    assert overrides(packed) == {
        "envelopeVersion": "2021-01-01",
        "packages": [{"name": f"{ACCOUNT}::camera_door", "version": "1.0"}],
        "nodes": [{"name": "door", "interface": f"{ACCOUNT}::camera_door.door"}],
        "nodeOverrides": [{"replace": "camera_node", "with": [{"name": "door"}]}],
    }


def test_an_input_may_be_named_by_its_camera_node(packed: PackedApplication) -> None:
    by_node = overrides(packed, inputs={"camera_node": ("door",)})
    assert by_node == overrides(packed, inputs={"camera_in": ("door",)})


def test_several_cameras_feed_one_input(packed: PackedApplication) -> None:
    made = overrides(packed, inputs={"camera_in": ("door", "yard")})
    assert [node["name"] for node in made["nodes"]] == ["door", "yard"]
    assert made["nodeOverrides"] == [
        {"replace": "camera_node", "with": [{"name": "door"}, {"name": "yard"}]}
    ]


def test_parameters_are_nodes_with_values(packed: PackedApplication) -> None:
    made = overrides(packed, inputs={}, parameters={"detection_threshold": 0.7})
    assert made["nodes"] == [
        {"name": "detection_threshold_override", "interface": "float32", "value": 0.7}
    ]
    assert made["nodeOverrides"] == [
        {"replace": "detection_threshold", "with": [{"name": "detection_threshold_override"}]}
    ]


def test_an_unknown_input_is_named_with_those_there_are(packed: PackedApplication) -> None:
    with pytest.raises(InputError, match=r"deploy counter: .* no camera input 'window'") as caught:
        overrides(packed, inputs={"window": ("door",)})
    assert caught.value.hint == "camera nodes: camera_node"


def test_an_unknown_parameter_is_named_with_those_there_are(packed: PackedApplication) -> None:
    with pytest.raises(InputError, match=r"deploy counter: .* no parameter 'loudness'") as caught:
        overrides(packed, parameters={"loudness": 11})
    assert caught.value.hint == "parameters: detection_threshold"


def test_a_port_that_no_camera_feeds_is_no_input(packed: PackedApplication) -> None:
    with pytest.raises(InputError, match="no camera input 'threshold'"):
        overrides(packed, inputs={"threshold": ("door",)})


# --- what is asked of the control plane ----------------------------------------------------------


class Plane:
    """Answers the calls of a deployment: packages by name, registered or not."""

    def __init__(self, *, status: str = "REGISTER_COMPLETED") -> None:
        self.status = status
        self.packages: set[str] = set()
        self.versions: set[str] = set()
        self.stored: dict[str, bytes] = {}
        self.called: list[str] = []

    def run(self, program: site.SiteProgram[str]) -> str:
        value: Any = None
        error: Exception | None = None
        while True:
            try:
                command = program.send(value) if error is None else program.throw(error)
            except StopIteration as end:
                outcome: str = end.value
                return outcome
            value, error = None, None
            try:
                value = self.answer(command)
            except PeerRefused as problem:
                error = problem

    def answer(self, command: site.Command) -> Any:
        if isinstance(command, site.PutObject):
            assert command.bucket == "packages"
            self.stored[command.key] = command.data
            return None
        assert isinstance(command, site.Call)
        self.called.append(command.operation)
        return getattr(self, command.operation)(command.parameters)

    def CreatePackage(self, given: Mapping[str, Any]) -> Any:
        if given["PackageName"] in self.packages:
            raise PeerRefused("exists")
        self.packages.add(given["PackageName"])
        return self.DescribePackage({"PackageId": f"packageName/{given['PackageName']}"})

    def DescribePackage(self, given: Mapping[str, Any]) -> Any:
        name = given["PackageId"].removeprefix("packageName/")
        if name not in self.packages:
            raise not_found("PACKAGE", name)
        where = {
            "Bucket": "packages",
            "BinaryPrefixLocation": f"{name}/binaries",
            "ManifestPrefixLocation": f"{name}/manifests",
        }
        return {"PackageId": name, "StorageLocation": where}

    def DescribePackageVersion(self, given: Mapping[str, Any]) -> Any:
        if given["PackageId"] not in self.versions:
            raise not_found("PACKAGE_VERSION", given["PackageId"])
        return {"Status": self.status, "StatusDescription": "asset is missing"}

    def RegisterPackageVersion(self, given: Mapping[str, Any]) -> Any:
        assert given["MarkLatest"]
        self.versions.add(given["PackageId"])
        return {}

    def CreateNodeFromTemplateJob(self, given: Mapping[str, Any]) -> Any:
        self.packages.add(given["OutputPackageName"])
        self.template = given
        return {}

    def CreateApplicationInstance(self, given: Mapping[str, Any]) -> Any:
        self.asked = given
        return {"ApplicationInstanceId": "instance-1"}


@pytest.fixture
def plan(make_plan: Any) -> Plan:
    made: Plan = make_plan("model", deploy="counter")
    return made


def create(plane: Plane, plan: Plan, workspace: Path) -> str:
    step = next(deployment.deployments(plan))
    program = deployment.create(
        step, plan, "device-1", lambda camera: f"rtsp://{camera}", workspace
    )
    return plane.run(program)


def test_packages_are_uploaded_registered_and_used(plan: Plan, tmp_path: Path) -> None:
    plane = Plane()
    assert create(plane, plan, tmp_path) == "instance-1"
    for package in ("people_counter_code", "people_counter_model"):
        stored = [key for key in plane.stored if key.startswith(f"{package}/binaries/")]
        assert sorted(key.partition(".")[2] for key in stored) == ["json", "tar.gz"]
        (manifest,) = [key for key in plane.stored if key.startswith(f"{package}/manifests/1.0/")]
        assert json.loads(plane.stored[manifest])["nodePackage"]["name"] == package
    assert plane.template["NodeName"] == "door"
    assert plane.template["TemplateParameters"] == {"StreamUrl": "rtsp://door"}
    assert plane.asked["Name"] == "counter"
    assert plane.asked["DefaultRuntimeContextDevice"] == "device-1"
    graph.parse(
        json.loads(plane.asked["ManifestPayload"]["PayloadData"]),
        json.loads(plane.asked["ManifestOverridesPayload"]["PayloadData"]),
    )


def test_what_is_registered_already_is_not_uploaded_again(plan: Plan, tmp_path: Path) -> None:
    plane = Plane()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    create(plane, plan, tmp_path / "one")
    plane.stored.clear()
    plane.called.clear()
    create(plane, plan, tmp_path / "two")
    assert plane.stored == {}
    assert "RegisterPackageVersion" not in plane.called
    assert "CreateNodeFromTemplateJob" not in plane.called


def test_two_deployments_at_once_share_their_packages(plan: Plan, tmp_path: Path) -> None:
    """Another deployment makes the package between the look and the try."""

    class Late(Plane):
        looks = 0

        def DescribePackage(self, given: Mapping[str, Any]) -> Any:
            self.looks += 1
            if self.looks == 1:
                self.packages.add(given["PackageId"].removeprefix("packageName/"))
                raise not_found("PACKAGE", given["PackageId"])
            return super().DescribePackage(given)

    assert create(Late(), plan, tmp_path) == "instance-1"


def test_a_package_that_may_not_be_made_says_why(plan: Plan, tmp_path: Path) -> None:
    class Full(Plane):
        def CreatePackage(self, given: Mapping[str, Any]) -> Any:
            raise PeerRefused("the maximum number of 50 packages")

    with pytest.raises(PeerRefused, match="maximum number of 50 packages"):
        create(Full(), plan, tmp_path)


def test_a_call_too_many_is_made_again_when_the_service_says() -> None:
    program = site.call("ListDevices", {})
    assert program.send(None) == site.Call("ListDevices", {})
    assert program.throw(throttled("Rate exceeded", 0.4)) == site.Pause(0.4)
    assert program.send(None) == site.Call("ListDevices", {})
    with pytest.raises(StopIteration) as ended:
        program.send({"Devices": []})
    assert ended.value.value == {"Devices": []}


def test_calls_are_not_put_off_for_ever() -> None:
    program = site.call("ListDevices", {})
    waited_s = 0.0
    with pytest.raises(PeerRefused, match="Rate exceeded"):  # noqa: PT012
        program.send(None)
        while True:
            pause = program.throw(throttled("Rate exceeded", 7.0))
            assert isinstance(pause, site.Pause)
            waited_s += pause.duration_s
            program.send(None)
    assert waited_s <= site.THROTTLED_S_MAX


def test_a_registration_that_fails_is_named(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(
        PeerRefused, match=r"package people_counter_\w+ 1\.0: FAILED: asset is missing"
    ):
        create(Plane(status="FAILED"), plan, tmp_path)


def test_deployments_are_found_wherever_they_stand(plan: Plan) -> None:
    inner = deploy(instance="inner")
    nested = Parallel(((Provision("north"), Parallel(((inner,), ()))), (deploy(instance="b"),)))
    found = deployment.deployments(replace(plan, bring_up=(nested,), workload=(deploy(),)))
    assert [step.instance for step in found] == ["inner", "b", "counter"]
