"""Quotas in the pure plane: each at its documented number, with its own error, and switched off."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.api import ApiError, load
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import PACKAGE_BUCKET, Settings
from harness.cloud.service.quota import Rates
from harness.scenario.quota import DOCUMENTED, OFF, Quotas

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = Settings(quotas=replace(DOCUMENTED, requests_per_s=None, changes_per_s=None))


def refused(core: Any, operation: str, **parameters: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        core.call(operation, **parameters)
    error: ApiError = caught.value
    return error


def test_quotas_are_off_unless_asked_for() -> None:
    assert Settings().quotas == OFF
    assert {getattr(OFF, field.name) for field in fields(Quotas)} == {None}


def test_the_fifty_first_device_is_refused(make_core: Callable[..., Any]) -> None:
    core = make_core(COUNTS)
    for number in range(50):
        core.call("ProvisionDevice", Name=f"device-{number}")
    error = refused(core, "ProvisionDevice", Name="one-more")
    assert (error.code, error.status) == ("ServiceQuotaExceededException", 402)
    assert error.members == {
        "Message": "You've reached the maximum of 50 registered devices.",
        "ResourceId": "one-more",
        "ResourceType": "DEVICE",
        "QuotaCode": "registered-devices",
        "ServiceCode": "panorama",
    }
    gone = core.call("ListDevices")["Devices"][0]["DeviceId"]
    core.call("DeleteDevice", DeviceId=gone)
    assert core.call("ProvisionDevice", Name="one-more")


def test_the_fifty_first_package_is_refused(make_core: Callable[..., Any], new_camera: Any) -> None:
    """CreatePackage declares no quota error: a conflict says it. A job fails with the reason."""
    core = make_core(COUNTS)
    for number in range(50):
        core.call("CreatePackage", PackageName=f"package_{number}")
    error = refused(core, "CreatePackage", PackageName="one_more")
    assert (error.code, error.status) == ("ConflictException", 409)
    assert error.message == "You've reached the maximum number of 50 packages."
    assert error.code in load().operations["CreatePackage"].errors
    assert failed(core, new_camera("camera")) == error.message


def failed(core: Any, template: dict[str, Any]) -> str:
    """Why a template job failed."""
    job = core.call("CreateNodeFromTemplateJob", **template)["JobId"]
    found = core.call("DescribeNodeFromTemplateJob", JobId=job)
    assert found["Status"] == "FAILED"
    return str(found["StatusMessage"])


def test_the_twenty_first_version_is_refused_in_the_vendors_words(
    make_core: Callable[..., Any], application: Any, new_camera: Any
) -> None:
    core = make_core(COUNTS)
    location = core.call("CreatePackage", PackageName="counter")["StorageLocation"]
    said = (
        "You've reached the maximum number of versions for package counter. "
        "Deregister unused package versions and try again."
    )

    def register(number: int) -> None:
        application.asset = b"container %d" % number  # so another patch of the same version
        for key, data in application.uploads(location).items():
            core.objects.put(PACKAGE_BUCKET, key, BytesContent(data))
        version = {"PackageVersion": "1.0", "PatchVersion": application.patch}
        core.call("RegisterPackageVersion", PackageId="packageName/counter", **version)

    for number in range(20):
        register(number)
    with pytest.raises(ApiError) as caught:
        register(20)
    assert (caught.value.code, caught.value.status) == ("ConflictException", 409)
    assert caught.value.message == said
    template = {"OutputPackageName": "counter", "OutputPackageVersion": "2.0"}
    assert failed(core, {**new_camera("camera"), **template}) == said


@pytest.fixture
def ready(make_core: Callable[..., Any], application: Any) -> tuple[Any, dict[str, Any]]:
    """A plane with quotas, a device online, and the request of a deployment to it."""
    core = make_core(COUNTS)
    application.install(core, "door")
    return core, application.request(core.online(), "door")


def test_the_eleventh_application_of_a_device_is_refused(
    ready: tuple[Any, dict[str, Any]],
) -> None:
    core, request = ready
    instances = [
        core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"]
        for _ in range(10)
    ]
    error = refused(core, "CreateApplicationInstance", **request)
    assert (error.code, error.status) == ("ServiceQuotaExceededException", 402)
    assert error.message == "A device takes 10 applications."
    assert core.call(
        "CreateApplicationInstance", **request, ApplicationInstanceIdToReplace=instances[0]
    )


def test_the_deployments_of_24_hours_are_counted_removed_ones_too(
    ready: tuple[Any, dict[str, Any]],
) -> None:
    core, request = ready
    device = request["DefaultRuntimeContextDevice"]
    for _ in range(200):
        core.now_s += 60.0
        instance = core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"]
        core.call("RemoveApplicationInstance", ApplicationInstanceId=instance)
        core.report(device, "applications", {"instances": {instance: None}})
    error = refused(core, "CreateApplicationInstance", **request)
    assert (error.code, error.status) == ("ServiceQuotaExceededException", 402)
    assert error.message == "A device takes 200 deployments a day."
    assert error.members["QuotaCode"] == "deployments-per-device-per-day"
    core.now_s += 86400.0 - 199 * 60.0  # a day after the first of them
    assert core.call("CreateApplicationInstance", **request)
    assert refused(core, "CreateApplicationInstance", **request).status == 402


# --- rates -------------------------------------------------------------------------------------


class Wall:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


READ, CHANGE = "ListDevices", "CreatePackage"


class Client:
    """Makes requests; `None` for one that is admitted, else how long it is told to wait."""

    def __init__(self, quotas: Quotas = DOCUMENTED) -> None:
        self.wall = Wall()
        self.rates = Rates(quotas, self.wall)
        self.operations = load().operations
        self.message = ""
        self.errors: set[tuple[str, int]] = set()

    def ask(self, operation: str) -> float | None:
        try:
            self.rates.admit(self.operations[operation])
        except ApiError as error:
            self.errors.add((error.code, error.status))
            self.message = error.message
            return round(error.retry_after_s, 6)
        return None


def test_five_requests_a_second_and_the_sixth_is_told_when_to_come_back() -> None:
    client = Client()
    assert [client.ask(READ) for _ in range(6)] == [None] * 5 + [0.2]
    assert client.message == "Rate exceeded: 5 a second for all requests together."
    assert client.errors == {("ThrottlingException", 429)}
    client.wall.now_s += 0.2
    assert [client.ask(READ) for _ in range(2)] == [None, 0.2]


def test_one_change_a_second_beside_the_reads() -> None:
    client = Client()
    assert [client.ask(CHANGE) for _ in range(2)] == [None, 1.0]
    assert (
        client.message == "Rate exceeded: 1 a second for requests that create or change resources."
    )
    assert [client.ask(READ) for _ in range(5)] == [None] * 4 + [0.2], "refused ones cost nothing"
    client.wall.now_s += 0.6
    assert client.ask(CHANGE) == 0.4
    client.wall.now_s += 0.4
    assert client.ask(CHANGE) is None


def test_over_a_minute_the_rates_are_exact() -> None:
    """Asking sixteen times a second brings no more than the rate, and the first second's."""
    changes, reads = Client(), Client()
    answered = {CHANGE: 0, READ: 0}
    for _ in range(16 * 60):
        answered[CHANGE] += changes.ask(CHANGE) is None
        answered[READ] += reads.ask(READ) is None
        for client in (changes, reads):
            client.wall.now_s += 0.0625
    assert answered == {CHANGE: 60, READ: 5 + 5 * 60 - 1}


def test_a_quiet_hour_saves_up_one_second() -> None:
    client = Client()
    client.wall.now_s += 3600.0
    assert [client.ask(READ) for _ in range(6)].count(None) == 5


@pytest.mark.parametrize(
    ("quotas", "admitted"),
    [
        (OFF, 100),
        (replace(DOCUMENTED, changes_per_s=None), 5),
        (replace(DOCUMENTED, requests_per_s=None), 1),
        (replace(DOCUMENTED, requests_per_s=50.0, changes_per_s=20.0), 20),
    ],
)
def test_rates_are_raised_and_switched_off_one_by_one(quotas: Quotas, admitted: int) -> None:
    client = Client(quotas)
    assert [client.ask(CHANGE) for _ in range(100)].count(None) == admitted


def test_rates_go_by_real_time_though_the_planes_clock_is_faster(
    make_core: Callable[..., Any],
) -> None:
    wall = Wall()
    core = make_core(Settings(quotas=DOCUMENTED), wall=wall)
    core.call("CreatePackage", PackageName="one")
    core.now_s += 3600.0
    assert refused(core, "CreatePackage", PackageName="two").code == "ThrottlingException"
    wall.now_s += 1.0
    core.call("CreatePackage", PackageName="two")


def test_a_request_is_counted_before_it_is_understood(make_core: Callable[..., Any]) -> None:
    core = make_core(Settings(quotas=DOCUMENTED), wall=Wall())
    assert refused(core, "CreatePackage", PackageName="?").code == "ValidationException"
    assert refused(core, "CreatePackage", PackageName="?").code == "ThrottlingException"
