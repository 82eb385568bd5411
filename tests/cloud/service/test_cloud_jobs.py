"""Jobs in the pure plane: who may start them, how they progress, how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.appliance.topic import ACCEPTED, REJECTED, job_next, job_notify, job_update
from harness.cloud.api import ApiError
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import FIRMWARE_BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = ("PENDING", "IN_PROGRESS", "DOWNLOADING", "VERIFYING", "REBOOTING")


def start(core: Any, device: str, version: str = "7.0.13", **config: Any) -> str:
    core.plane.publish_image(version, b"manifest", BytesContent(b"payload"))
    ota = {"OTAJobConfig": {"ImageVersion": version, **config}}
    jobs = core.call("CreateJobForDevices", DeviceIds=[device], JobType="OTA", DeviceJobConfig=ota)[
        "Jobs"
    ]
    return str(jobs[0]["JobId"])


def reboot(core: Any, device: str) -> str:
    answer = core.call("CreateJobForDevices", DeviceIds=[device], JobType="REBOOT")
    return str(answer["Jobs"][0]["JobId"])


def update(core: Any, device: str, job: str, status: str, progress: str | None = None) -> None:
    details = {"progress": progress} if progress else {}
    core.say(device, f"jobs/{job}/update", {"status": status, "statusDetails": details})


def test_the_device_is_told_and_can_ask(core: Any) -> None:
    device = core.online()
    job = start(core, device, AllowMajorVersionUpdate=True)
    execution = core.answer(job_notify(device))["execution"]
    assert execution["jobId"] == job
    assert execution["jobDocument"] == {
        "operation": "OTA",
        "imageVersion": "7.0.13",
        "allowMajorVersionUpdate": True,
        "metadataUrl": "https://cloud/panorama-firmware/metadata",
        "manifestUrl": "https://cloud/panorama-firmware/images/7.0.13/manifest",
        "imageUrl": "https://cloud/panorama-firmware/images/7.0.13/payload",
    }
    core.say(device, "jobs/$next/get", {})
    assert core.answer(job_next(device) + ACCEPTED)["execution"] == execution


def test_a_rebooted_device_gets_its_own_job_back(core: Any) -> None:
    device = core.online()
    job = start(core, device)
    update(core, device, job, "IN_PROGRESS", "REBOOTING")
    assert core.statuses("cloud.device")[-1] == "REBOOTING"
    core.plane.disconnected(device)
    core.plane.connected(device)
    core.say(device, "jobs/$next/get", {})
    execution = core.answer(job_next(device) + ACCEPTED)["execution"]
    assert (execution["jobId"], execution["status"]) == (job, "IN_PROGRESS")
    update(core, device, job, "SUCCEEDED")
    assert core.statuses("cloud.device")[-1] == "ONLINE"
    assert "execution" not in core.answer(job_notify(device))
    core.say(device, "jobs/$next/get", {})
    assert "execution" not in core.answer(job_next(device) + ACCEPTED)


@pytest.mark.parametrize(
    ("status", "shown"), [("SUCCEEDED", "COMPLETED"), ("FAILED", "FAILED"), ("REJECTED", "FAILED")]
)
def test_an_end_is_final(core: Any, status: str, shown: str) -> None:
    device = core.online()
    job = start(core, device)
    update(core, device, job, status)
    for later in ("IN_PROGRESS", "SUCCEEDED", "FAILED"):
        update(core, device, job, later, "DOWNLOADING")
    assert core.call("DescribeDeviceJob", JobId=job)["Status"] == shown
    assert core.answer(job_update(device, job) + REJECTED)["code"] == "InvalidStateTransition"
    update(core, device, job, status)
    assert core.sent[-1][1] == job_update(device, job) + ACCEPTED


def test_one_job_at_a_time_and_numbered(core: Any) -> None:
    device = core.online()
    first = start(core, device)
    with pytest.raises(ApiError, match="ConflictException") as caught:
        reboot(core, device)
    assert first in caught.value.message
    update(core, device, first, "FAILED")
    assert (first, reboot(core, device)) == (f"{device}-0", f"{device}-1")


def test_a_reboot_needs_the_connection_an_update_does_not(core: Any) -> None:
    device = core.online()
    core.plane.disconnected(device)
    with pytest.raises(ApiError, match="not connected"):
        reboot(core, device)
    assert start(core, device)


def test_an_unregistered_device_takes_no_job(core: Any) -> None:
    device = core.call("ProvisionDevice", Name="north")["DeviceId"]
    with pytest.raises(ApiError, match="ConflictException"):
        reboot(core, device)


@pytest.mark.parametrize(
    ("parameters", "code", "named"),
    [
        ({"JobType": "OTA"}, "ValidationException", "OTAJobConfig"),
        (
            {"JobType": "OTA", "DeviceJobConfig": {"OTAJobConfig": {"ImageVersion": "9.9"}}},
            "ValidationException", "9.9",
        ),
        ({"JobType": "RESET"}, "ValidationException", "must be one of OTA, REBOOT"),
        ({"JobType": "REBOOT", "DeviceIds": ["a", "b"]}, "ValidationException", "at most 1"),
        ({"JobType": "REBOOT", "DeviceIds": ["a"]}, "ResourceNotFoundException", "a"),
    ],
)  # fmt: skip
def test_bad_requests_say_what_is_wrong(
    core: Any, parameters: dict[str, Any], code: str, named: str
) -> None:
    device = core.online()
    with pytest.raises(ApiError, match=code) as caught:
        core.call("CreateJobForDevices", **{"DeviceIds": [device], **parameters})
    assert named in str(caught.value.members)


def test_a_job_of_another_device_cannot_be_updated(core: Any) -> None:
    north, south = core.online("north"), core.online("south")
    job = start(core, north)
    update(core, south, job, "SUCCEEDED")
    assert core.answer(job_update(south, job) + REJECTED)["code"] == "ResourceNotFound"
    assert core.call("DescribeDeviceJob", JobId=job)["Status"] == "PENDING"


# The fixture is a class: every example makes its own plane.
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED", "QUEUED", "?"]),
            st.sampled_from([*STAGES, "COMPLETED", "NONSENSE"]),
        ),
        max_size=15,
    )
)
def test_progress_never_goes_back(
    make_core: Callable[..., Any], reports: list[tuple[str, str]]
) -> None:
    """Whatever a device says: stages only advance, an end is final, no status repeats."""
    core = make_core()
    device = core.online()
    job = start(core, device)
    for status, progress in reports:
        update(core, device, job, status, progress)
    seen = core.statuses("cloud.job")
    order = ("PENDING", "DOWNLOADING", "VERIFYING", "IN_PROGRESS", "REBOOTING")
    ranks = [order.index(status) if status in order else len(order) for status in seen]
    assert ranks == sorted(set(ranks))
    ends = [status for status, _ in reports if status in ("SUCCEEDED", "FAILED", "REJECTED")]
    shown = core.call("DescribeDeviceJob", JobId=job)["Status"]
    if ends:
        assert shown == ("COMPLETED" if ends[0] == "SUCCEEDED" else "FAILED")
    else:
        assert shown in STAGES


def test_jobs_are_listed_for_all_devices_or_one(core: Any) -> None:
    north, south = core.online("north"), core.online("south")
    first = start(core, north)
    update(core, north, first, "SUCCEEDED")
    core.now_s += 1.0
    jobs = [first, reboot(core, south), reboot(core, north)]
    listed = core.call("ListDevicesJobs")["DeviceJobs"]
    assert sorted(job["JobId"] for job in listed) == sorted(jobs)
    assert listed[0] == {
        "JobId": first, "JobType": "OTA", "DeviceId": north, "DeviceName": "north",
        "CreatedTime": core.now_s - 1.0,
    }  # fmt: skip
    of_north = core.call("ListDevicesJobs", DeviceId=north)["DeviceJobs"]
    assert [job["JobId"] for job in of_north] == [f"{north}-0", f"{north}-1"]
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.call("ListDevicesJobs", DeviceId="device-none")


def test_jobs_of_one_moment_are_in_the_order_of_their_numbers(core: Any) -> None:
    device = core.online()
    for _ in range(12):
        update(core, device, reboot(core, device), "SUCCEEDED")
    listed = core.call("ListDevicesJobs")["DeviceJobs"]
    assert [job["JobId"] for job in listed] == [f"{device}-{number}" for number in range(12)]


# --- firmware from the bucket --------------------------------------------------------------


def upload(core: Any, key: str, data: bytes = b"data") -> None:
    core.plane.buckets.put(FIRMWARE_BUCKET, f"images/{key}", BytesContent(data))
    core.disk.check(core.store)


@pytest.mark.parametrize("order", [("manifest", "payload"), ("payload", "manifest")])
def test_an_uploaded_image_is_offered_once_it_is_whole(core: Any, order: tuple[str, str]) -> None:
    device = core.online()
    first, second = order
    upload(core, f"7.0.13/{first}")
    assert "LatestSoftware" not in core.call("DescribeDevice", DeviceId=device)
    upload(core, f"7.0.13/{second}")
    found = core.call("DescribeDevice", DeviceId=device)
    assert found["LatestSoftware"] == "7.0.13"
    assert found["DeviceAggregatedStatus"] == "ONLINE"
    ota = {"OTAJobConfig": {"ImageVersion": "7.0.13"}}
    core.call("CreateJobForDevices", DeviceIds=[device], JobType="OTA", DeviceJobConfig=ota)
    document = core.answer(job_notify(device))["execution"]["jobDocument"]
    assert document["manifestUrl"].endswith("/panorama-firmware/images/7.0.13/manifest")
    assert document["imageUrl"].endswith("/panorama-firmware/images/7.0.13/payload")


def test_an_uploaded_image_may_be_required_or_a_beta_release(core: Any) -> None:
    device = core.online()
    for key in ("7.1.0/alternate", "7.1.0/payload", "7.1.0/manifest"):
        upload(core, key)
    found = core.call("DescribeDevice", DeviceId=device)
    assert found["LatestAlternateSoftware"] == "7.1.0"
    for key in ("7.0.13/payload", "7.0.13/manifest", "7.0.13/required"):
        upload(core, key)
    found = core.call("DescribeDevice", DeviceId=device)
    assert found["DeviceAggregatedStatus"] == "UPDATE_NEEDED"
    assert core.store.images["7.0.13"].manifest == b"data"


def test_an_image_that_is_no_longer_whole_is_withdrawn(core: Any) -> None:
    device = core.online()
    upload(core, "7.0.13/payload")
    upload(core, "7.0.13/manifest")
    core.plane.buckets.remove(FIRMWARE_BUCKET, "images/7.0.13/payload")
    core.disk.check(core.store)
    assert "LatestSoftware" not in core.call("DescribeDevice", DeviceId=device)


def test_what_else_is_put_beside_firmware_is_no_image(core: Any) -> None:
    device = core.online()
    for key in ("notes/manifest", "notes/payload", "7/manifest", "7/payload", "7.0.1/readme"):
        upload(core, key)
    upload(core, "7.0.2/payload")
    upload(core, "7.0.2/manifest", b"x" * 20_000)
    assert "LatestSoftware" not in core.call("DescribeDevice", DeviceId=device)


def test_a_recalled_image_is_offered_no_longer(core: Any) -> None:
    device = core.online()
    for key in ("7.0.11/payload", "7.0.11/manifest", "6.2.1/payload", "6.2.1/manifest"):
        upload(core, key)
    assert core.call("DescribeDevice", DeviceId=device)["LatestSoftware"] == "7.0.11"
    upload(core, "7.0.11/recalled")
    assert core.call("DescribeDevice", DeviceId=device)["LatestSoftware"] == "6.2.1"
    ota = {"OTAJobConfig": {"ImageVersion": "7.0.11"}}
    with pytest.raises(ApiError, match=r"7\.0\.11 was recalled"):
        core.call("CreateJobForDevices", DeviceIds=[device], JobType="OTA", DeviceJobConfig=ota)


def test_a_recalled_image_makes_no_update_necessary(core: Any) -> None:
    device = core.online()
    core.say(device, "shadow/name/device/update", {"state": {"reported": {"software": "6.2.1"}}})
    image = ("7.0.11", b"manifest", BytesContent(b"payload"))
    core.plane.publish_image(*image, required=True)
    assert core.statuses("cloud.device")[-1] == "UPDATE_NEEDED"
    core.plane.publish_image(*image, required=True, recalled=True)
    assert core.statuses("cloud.device")[-1] == "ONLINE"


def test_signed_metadata_lies_where_jobs_say(core: Any) -> None:
    device = core.online()
    core.plane.publish_metadata({"timestamp.json": b"{}"})
    start(core, device)
    url = core.answer(job_notify(device))["execution"]["jobDocument"]["metadataUrl"]
    bucket, _, key = url.removeprefix("https://cloud/").partition("/")
    assert core.plane.may_read(device, bucket, f"{key}/timestamp.json")
    content = core.plane.objects.get(bucket, f"{key}/timestamp.json")
    assert content.read(0, 100) == b"{}"
    core.disk.check(core.store)


# --- cancelled jobs ------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_and_the_device_hears_that_nothing_is_next(core: Any) -> None:
    device = core.online()
    job = start(core, device)
    core.plane.cancel_job(job)
    assert "execution" not in core.answer(job_notify(device))
    assert core.call("DescribeDeviceJob", JobId=job)["Status"] == "FAILED"
    assert core.statuses("cloud.job")[-1] == "FAILED"
    core.say(device, "jobs/$next/get", {})
    assert "execution" not in core.answer(job_next(device) + ACCEPTED)
    assert reboot(core, device) == f"{device}-1", "the next one may come"
    core.disk.check(core.store)


def test_a_job_in_progress_is_cancelled_by_force_alone(core: Any) -> None:
    device = core.online()
    job = start(core, device)
    update(core, device, job, "IN_PROGRESS", "DOWNLOADING")
    with pytest.raises(ApiError, match="is IN_PROGRESS and cannot be cancelled"):
        core.plane.cancel_job(job)
    core.plane.cancel_job(job, force=True)
    with pytest.raises(ApiError, match="is CANCELED and cannot be cancelled"):
        core.plane.cancel_job(job, force=True)


@pytest.mark.parametrize("late", ["IN_PROGRESS", "SUCCEEDED", "FAILED"])
def test_what_a_device_reports_of_a_cancelled_job_is_refused_with_its_state(
    core: Any, late: str
) -> None:
    device = core.online()
    job = start(core, device)
    core.plane.cancel_job(job)
    update(core, device, job, late, "DOWNLOADING")
    refused = core.answer(job_update(device, job) + REJECTED)
    assert refused["code"] == "InvalidStateTransition"
    assert refused["executionState"]["status"] == "CANCELED"
    update(core, device, job, "CANCELED")
    assert core.answer(job_update(device, job) + REJECTED)["code"] == "InvalidRequest"


def test_there_is_no_job_to_cancel(core: Any) -> None:
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.plane.cancel_job("device-x-0")
