"""Which permission a request to a neighbouring service needs, as far as its resource can be told.

Where it cannot, only a policy for `*` allows the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cloud.access.policy import ANY, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PREFIXES = {"monitoring": "cloudwatch"}  # signing name -> prefix of actions, where they differ
_READS = ("Get", "List", "Describe", "Head", "Filter", "Lookup", "Simulate", "BatchGet", "Test")


def reads_only(action: str) -> bool:
    """Whether an action changes nothing, by the verbs that AWS uses."""
    return action.startswith(_READS)


def needed_of(
    service: str, action: str, given: Mapping[str, Any], account: str, region: str
) -> Query:
    """`given` are the parameters of the request, as far as they are known."""
    context = {"aws:requestedregion": region}
    if "Namespace" in given:
        context["cloudwatch:namespace"] = str(given["Namespace"])
    resource = _RESOURCES.get(service, _any)(given)
    if resource != ANY and not resource.startswith("arn:"):
        place = "" if service == "iam" else region
        resource = f"arn:aws:{service}:{place}:{account}:{resource}"
    return Query(f"{_PREFIXES.get(service, service)}:{action}", resource, context)


def _any(_: Mapping[str, Any]) -> str:
    return ANY


def _logs(given: Mapping[str, Any]) -> str:
    group, stream = given.get("logGroupName"), given.get("logStreamName")
    if group is None:
        return ANY
    return f"log-group:{group}:" + (f"log-stream:{stream}" if stream else ANY)


def _secret(given: Mapping[str, Any]) -> str:
    """A name stands for an ARN that ends in a hyphen and six characters of the service's own."""
    name = str(given.get("SecretId") or given.get("Name") or ANY)
    return name if name == ANY or name.startswith("arn:") else f"secret:{name}-000000"


def _identity(given: Mapping[str, Any]) -> str:
    for name, kind in (("RoleName", "role"), ("UserName", "user"), ("GroupName", "group")):
        if name in given:
            return f"{kind}/{given[name]}"
    return str(given.get("PolicyArn", ANY))


def _stack(given: Mapping[str, Any]) -> str:
    name = str(given.get("StackName", ANY))
    return name if name == ANY or name.startswith("arn:") else f"stack/{name}/{ANY}"


def _repository(given: Mapping[str, Any]) -> str:
    return f"repository/{given['repositoryName']}" if "repositoryName" in given else ANY


_RESOURCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "logs": _logs,
    "secretsmanager": _secret,
    "iam": _identity,
    "cloudformation": _stack,
    "ecr": _repository,
}
