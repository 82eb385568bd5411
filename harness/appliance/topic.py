"""Topics and messages between an appliance and its control plane.

Names follow AWS IoT Core: fleet provisioning by claim, jobs, named shadows. Payloads are JSON
objects. Every request topic has `<topic>/accepted` and, where a refusal is possible,
`<topic>/rejected` (`{"code", "message"}`) as its answers.

Shadows (named, per thing):
  `applications` desired  {"instances": {<id>: {"state": "RUNNING"|"REMOVED",
                           "url": <deployment document>, "sha256": <its digest>,
                           "paused": [<camera node>, ...]}}}   (absent: none ever was)
                 reported {"instances": {<id>: {"status": DeviceReportedStatus,
                           "nodes": {<node instance>: NodeInstanceStatus}, "reason": str}}}
  `device`       reported {"software": version, "slot": "a"|"b", "serial": str, "type": DeviceType,
                           "brand": DeviceBrand, "network": NetworkStatus}
Deployment document (JSON, behind the shadow's `url`):
  {"instance", "name", "manifest", "overrides", "packages": [{"name", "version", "patch",
   "manifest", "assets": [{"name", "type", "sha256", "size", "url", "descriptor"}]}],
   "cameras": {<node>: {"url", "username", "password"}}, "role",
   "demands": {"codes": [...], "models": [...], "gpu": [...], "ports": [...]}}   (`demand`)
Job documents:
  {"operation": "OTA", "imageVersion": v, "allowMajorVersionUpdate": bool,
   "metadataUrl": url of a folder (`catalogue`), "manifestUrl": url, "imageUrl": url}
  {"operation": "REBOOT"}
Job updates (`jobs/<id>/update`):
  {"status": IN_PROGRESS|SUCCEEDED|FAILED|REJECTED,
   "statusDetails": {"progress": UpdateProgress, "reason": str}}
"""

from __future__ import annotations

CREATE_CERTIFICATE = "$aws/certificates/create-from-csr/json"
# -> {"certificateSigningRequest": pem}
# <- accepted {"certificateId", "certificatePem", "certificateOwnershipToken"}
REGISTER_THING = "$aws/provisioning-templates/panorama/provision/json"
# -> {"certificateOwnershipToken", "parameters": {"DeviceId"}}
# <- accepted {"thingName", "deviceConfiguration": {"DeviceName", "Endpoint", ...}}

# Where certificates expire, the configuration also says when: "CertificateExpires", seconds since
# the epoch of real time.

ACCEPTED = "/accepted"
REJECTED = "/rejected"


THINGS = "$aws/things/"


def certificate_renew(thing: str) -> str:
    """Have a new key certified: `{"certificateSigningRequest": pem}`.

    Accepted with `{"certificatePem", "expires"}`, in seconds since the epoch. Ours: AWS IoT leaves
    rotation to its customers.
    """
    return f"{THINGS}{thing}/certificate/renew"


def job_next(thing: str) -> str:
    """Ask for the next job: `{}` -> accepted with `execution`, or without when none waits.

    `execution` is {"jobId", "status", "statusDetails", "versionNumber", "jobDocument", ...}; a job
    in progress comes before queued ones, so a device that rebooted gets its own job back.
    """
    return job_get(thing, "$next")


def job_get(thing: str, job: str) -> str:
    """Ask for one job, as `job_next`; rejected when the thing has no such job."""
    return f"{THINGS}{thing}/jobs/{job}/get"


def jobs_get(thing: str) -> str:
    """Ask what has not ended: accepted with `inProgressJobs` and `queuedJobs`."""
    return f"{THINGS}{thing}/jobs/get"


def job_start(thing: str) -> str:
    """Take the next job and be in progress with it; answered as `job_next`."""
    return f"{THINGS}{thing}/jobs/start-next"


def job_notify(thing: str) -> str:
    """The cloud says that the next job changed: with `execution`, or without when none is left."""
    return f"{THINGS}{thing}/jobs/notify-next"


def jobs_notify(thing: str) -> str:
    """The cloud says which jobs have not ended, by status: `{"jobs": {"QUEUED": [...]}}`."""
    return f"{THINGS}{thing}/jobs/notify"


def job_update(thing: str, job: str) -> str:
    return f"{THINGS}{thing}/jobs/{job}/update"


def shadow_topic(thing: str, name: str, verb: str) -> str:
    """`verb` is get, update or delete; the classic shadow is the one with an empty name."""
    return f"{THINGS}{thing}/shadow/{f'name/{name}/' if name else ''}{verb}"


def shadow_update(thing: str, name: str) -> str:
    """Report: `{"state": {"reported": {...}}}` (merged; null deletes a key)."""
    return shadow_topic(thing, name, "update")


def shadow_get(thing: str, name: str) -> str:
    """`{}` -> accepted `{"state": {"desired", "reported", "delta"}, "version": n}`."""
    return shadow_topic(thing, name, "get")


def shadow_delta(thing: str, name: str) -> str:
    """The cloud says what is desired and not reported so: `{"state": {...}, "version": n}`.

    What is desired of an instance is nothing that is reported of it, so it is there in whole.
    """
    return shadow_topic(thing, name, "update") + "/delta"
