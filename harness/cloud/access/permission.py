"""Which permissions an operation of the service needs, and whether a principal has them.

Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS
Panorama": operations on one resource name it, all others need a policy for `*`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cloud.access.policy import ANY, Query, permits
from harness.cloud.access.refusal import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.cloud.access.keyring import Principal
    from harness.cloud.access.policy import Policy

_RESOURCES = {  # parameter -> resource type in ARNs
    "DeviceId": "device",
    "PackageId": "package",
    "ApplicationInstanceId": "applicationInstance",
}


def needed(
    operation: str, parameters: Mapping[str, Any], account: str, region: str
) -> Iterator[Query]:
    """What a caller must be allowed for `operation` with these parameters."""
    context = {
        "aws:requestedregion": region,
        **{f"aws:requesttag/{k}".lower(): str(v) for k, v in _tags(parameters).items()},
    }
    for resource in _resources(operation, parameters, f"arn:aws:panorama:{region}:{account}:"):
        yield Query(f"panorama:{operation}", resource, context)
    role = parameters.get("RuntimeRoleArn")
    if role is not None:
        passed = {"iam:passedtoservice": "panorama.amazonaws.com"}
        yield Query("iam:PassRole", str(role), passed)


def authorize(principal: Principal, query: Query, attached: Sequence[Policy] = ()) -> None:
    """Raises `Refused` naming who may not do what to what.

    `attached` are policies of the resource, which speak of principals.
    """
    if principal.policies is None:
        return
    context = {"aws:principalaccount": principal.account, "aws:principalarn": principal.arn}
    if ":user/" in principal.arn:
        context["aws:username"] = principal.arn.rpartition("/")[2]
    asked = Query(query.action, query.resource, {**context, **query.context}, principal.arn)
    within = principal.limit is None or permits((principal.limit,), asked)
    if not within or not permits((*principal.policies, *attached), asked):
        message = (
            f"User: {principal.arn} is not authorized to perform: {query.action} "
            f"on resource: {query.resource}"
        )
        raise Refused(Reason.DENIED, message)


def _tags(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    tags = parameters.get("Tags")
    return tags if isinstance(tags, dict) else {}


def _resources(operation: str, parameters: Mapping[str, Any], prefix: str) -> list[str]:
    if operation in ("ListApplicationInstances", "ListDevicesJobs"):  # ids are filters there
        return [ANY]
    if "ResourceArn" in parameters:
        return [str(parameters["ResourceArn"])]
    devices = parameters.get("DeviceIds")
    if isinstance(devices, list) and devices:
        return [f"{prefix}device/{device}" for device in devices]
    for name, kind in _RESOURCES.items():
        if name in parameters:
            return [f"{prefix}{kind}/{parameters[name]}"]
    return [ANY]
