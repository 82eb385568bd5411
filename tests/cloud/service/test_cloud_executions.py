"""The jobs topics of a device in the pure plane: every request, accepted and rejected."""

from __future__ import annotations

from typing import Any

import pytest

from harness.appliance.topic import (
    ACCEPTED,
    REJECTED,
    job_get,
    job_next,
    job_notify,
    job_start,
    job_update,
    jobs_get,
    jobs_notify,
)

NOW = 1_700_000_000


@pytest.fixture
def device(core: Any) -> str:
    return str(core.online())


@pytest.fixture
def job(core: Any, device: str) -> str:
    made = core.call("CreateJobForDevices", DeviceIds=[device], JobType="REBOOT")
    return str(made["Jobs"][0]["JobId"])


def ask(core: Any, device: str, topic: str, **payload: Any) -> tuple[str, Any]:
    """`accepted` or `rejected`, and the answer."""
    core.sent.clear()
    core.plane.receive(device, topic, payload)
    answers = [(sent, answer) for _, sent, answer in core.sent if sent.startswith(topic + "/")]
    ((sent, answer),) = answers
    return sent.removeprefix(topic + "/"), answer


def test_everything_an_execution_says(core: Any, device: str, job: str) -> None:
    core.now_s += 10.0
    assert ask(core, device, job_get(device, job), clientToken="t-1") == (
        "accepted",
        {
            "execution": {
                "jobId": job,
                "thingName": device,
                "status": "QUEUED",
                "statusDetails": {},
                "queuedAt": NOW,
                "lastUpdatedAt": NOW,
                "versionNumber": 1,
                "executionNumber": 1,
                "jobDocument": {"operation": "REBOOT"},
            },
            "timestamp": NOW + 10,
            "clientToken": "t-1",
        },
    )
    assert ask(core, device, job_next(device))[1]["execution"]["jobId"] == job
    _, bare = ask(core, device, job_next(device), includeJobDocument=False)
    assert "jobDocument" not in bare["execution"]
    assert "clientToken" not in bare


def test_a_job_that_comes_and_goes_is_told_on_both_topics(core: Any, device: str, job: str) -> None:
    (waiting,) = core.answer(jobs_notify(device))["jobs"]["QUEUED"]
    assert (waiting["jobId"], waiting["versionNumber"]) == (job, 1)
    assert core.answer(job_notify(device))["execution"]["jobId"] == job
    ask(core, device, job_update(device, job), status="SUCCEEDED")
    assert core.answer(jobs_notify(device)) == {"jobs": {}, "timestamp": NOW}
    assert core.answer(job_notify(device)) == {"timestamp": NOW}


def test_what_has_not_ended_is_listed_by_status(core: Any, device: str, job: str) -> None:
    _, before = ask(core, device, jobs_get(device))
    assert [entry["jobId"] for entry in before["queuedJobs"]] == [job]
    assert before["inProgressJobs"] == []
    core.now_s += 5.0
    ask(core, device, job_update(device, job), status="IN_PROGRESS")
    _, during = ask(core, device, jobs_get(device))
    assert during["queuedJobs"] == []
    (entry,) = during["inProgressJobs"]
    assert (entry["startedAt"], entry["lastUpdatedAt"]) == (NOW + 5, NOW + 5)
    ask(core, device, job_update(device, job), status="SUCCEEDED")
    _, after = ask(core, device, jobs_get(device))
    assert (after["queuedJobs"], after["inProgressJobs"]) == ([], [])


def test_start_next_begins_the_job_once(core: Any, device: str, job: str) -> None:
    told, answer = ask(core, device, job_start(device), statusDetails={"step": "one"})
    assert told == "accepted"
    execution = answer["execution"]
    assert (execution["status"], execution["versionNumber"]) == ("IN_PROGRESS", 2)
    assert execution["statusDetails"] == {"step": "one"}
    assert execution["jobDocument"] == {"operation": "REBOOT"}
    assert core.call("DescribeDeviceJob", JobId=job)["Status"] == "IN_PROGRESS"
    _, again = ask(core, device, job_start(device))
    assert again["execution"] == execution
    ask(core, device, job_update(device, job), status="FAILED")
    assert ask(core, device, job_start(device)) == ("accepted", {"timestamp": NOW})


def test_an_update_gives_back_what_it_is_asked_to(core: Any, device: str, job: str) -> None:
    topic = job_update(device, job)
    assert ask(core, device, topic, status="IN_PROGRESS", clientToken="a") == (
        "accepted", {"timestamp": NOW, "clientToken": "a"},
    )  # fmt: skip
    told, answer = ask(
        core, device, topic, status="IN_PROGRESS", statusDetails={"step": "two"},
        expectedVersion="2", includeJobExecutionState=True, includeJobDocument=True,
    )  # fmt: skip
    assert told == "accepted"
    state = {"status": "IN_PROGRESS", "statusDetails": {"step": "two"}, "versionNumber": 3}
    assert answer["executionState"] == state
    assert answer["jobDocument"] == {"operation": "REBOOT"}


@pytest.mark.parametrize(
    ("payload", "code", "message", "state"),
    [
        ({"status": "DONE"}, "InvalidRequest", "status 'DONE' is unknown", None),
        ({}, "InvalidRequest", "status None is unknown", None),
        (
            {"status": "IN_PROGRESS", "statusDetails": "half"},
            "InvalidRequest", "statusDetails is not an object", None,
        ),
        (
            {"status": "IN_PROGRESS", "expectedVersion": 7},
            "VersionMismatch", "version of {job} is 2, not 7", "IN_PROGRESS",
        ),
    ],
)  # fmt: skip
def test_a_wrong_update_is_rejected_with_its_code(
    core: Any, device: str, job: str, payload: Any, code: str, message: str, state: str | None
) -> None:
    ask(core, device, job_update(device, job), status="IN_PROGRESS")
    told, answer = ask(core, device, job_update(device, job), **payload, clientToken="mine")
    assert told == "rejected"
    assert (answer["code"], answer["message"]) == (code, message.format(job=job))
    assert (answer["clientToken"], answer["timestamp"]) == ("mine", NOW)
    assert answer.get("executionState", {}).get("status") == state
    assert core.call("DescribeDeviceJob", JobId=job)["Status"] == "IN_PROGRESS"


def test_what_has_ended_stays_so(core: Any, device: str, job: str) -> None:
    topic = job_update(device, job)
    ask(core, device, topic, status="SUCCEEDED")
    assert ask(core, device, topic, status="SUCCEEDED")[0] == "accepted", "said again"
    told, answer = ask(core, device, topic, status="FAILED")
    assert (told, answer["code"]) == ("rejected", "InvalidStateTransition")
    assert answer["executionState"]["status"] == "SUCCEEDED"


@pytest.mark.parametrize("verb", ["get", "update"])
def test_jobs_of_others_do_not_exist(core: Any, device: str, job: str, verb: str) -> None:
    other = core.online("south")
    topic = (job_get if verb == "get" else job_update)(other, job)
    told, answer = ask(core, other, topic, status="FAILED")
    assert (told, answer["code"]) == ("rejected", "ResourceNotFound")
    assert core.call("DescribeDeviceJob", JobId=job)["Status"] == "PENDING"


@pytest.mark.parametrize("rest", ["get", "start-next", "$next/get", "any/update"])
def test_what_is_no_json_object_is_rejected_as_such(core: Any, device: str, rest: str) -> None:
    topic = f"$aws/things/{device}/jobs/{rest}"
    core.plane.garbled(device, topic)
    answer = core.answer(topic + REJECTED)
    assert (answer["code"], answer["message"]) == ("InvalidJson", "not a JSON object")


@pytest.mark.parametrize("rest", ["jobs", "jobs/notify", "jobs/a/b/c", "jobs/x/delete", "other"])
def test_topics_that_nobody_serves_are_ignored(core: Any, device: str, rest: str) -> None:
    core.sent.clear()
    core.say(device, rest, {})
    assert core.sent == []


def test_no_request_is_needed_twice(core: Any, device: str, job: str) -> None:
    """The answer to a request goes to its topic and to nobody else."""
    core.sent.clear()
    core.plane.receive(device, jobs_get(device), {})
    assert [(client, topic) for client, topic, _ in core.sent] == [
        (device, jobs_get(device) + ACCEPTED)
    ]
