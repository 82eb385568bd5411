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
  `device`       reported {"software": version, "slot": "a"|"b", "uptime_s": float, ...}
Deployment document (JSON, behind the shadow's `url`):
  {"instance", "name", "manifest", "overrides", "packages": [{"name", "version", "patch",
   "manifest", "assets": [{"name", "type", "sha256", "size", "url", "descriptor"}]}],
   "cameras": {<node>: {"url", "username", "password"}}, "role",
   "demands": {"codes": [...], "models": [...], "gpu": [...], "ports": [...]}}   (`demand`)
Job documents:
  {"operation": "OTA", "imageVersion": v, "allowMajorVersionUpdate": bool,
   "manifestUrl": url, "imageUrl": url}      {"operation": "REBOOT"}
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
# <- accepted {"thingName", "deviceConfiguration": {...}}

ACCEPTED = "/accepted"
REJECTED = "/rejected"


def job_next(thing: str) -> str:
    """Ask for the next job: `{}` -> accepted `{"execution": {...}}` or `{}` when none waits.

    `execution` is {"jobId", "status", "statusDetails", "versionNumber", "jobDocument"}; a job
    in progress comes before queued ones, so a device that rebooted gets its own job back.
    """
    return f"$aws/things/{thing}/jobs/$next/get"


def job_notify(thing: str) -> str:
    """The cloud says that the next job changed: `{"execution": {...}}` or `{}`."""
    return f"$aws/things/{thing}/jobs/notify-next"


def job_update(thing: str, job: str) -> str:
    return f"$aws/things/{thing}/jobs/{job}/update"


def shadow_update(thing: str, name: str) -> str:
    """Report: `{"state": {"reported": {...}}}` (merged; null deletes a key)."""
    return f"$aws/things/{thing}/shadow/name/{name}/update"


def shadow_get(thing: str, name: str) -> str:
    """`{}` -> accepted `{"state": {"desired", "reported"}, "version": n}`."""
    return f"$aws/things/{thing}/shadow/name/{name}/get"


def shadow_delta(thing: str, name: str) -> str:
    """The cloud says what differs: `{"state": {...whole desired...}, "version": n}`."""
    return f"$aws/things/{thing}/shadow/name/{name}/update/delta"
