"""Tags of devices, packages and application instances, by ARN."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.cloud.api.error import not_found, validation

if TYPE_CHECKING:
    from harness.cloud.service.core import Answer, Core, Parameters
    from harness.cloud.service.state import Device, Instance, Package

TAGS_MAX = 50  # TagMap: of one resource, however many calls bring them
RESERVED_PREFIX = "aws:"  # keys that only AWS itself may set
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):panorama:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":(?P<kind>device|package|applicationInstance)/(?P<id>[\w-]+)",
    re.ASCII,
)
_FORMS = "arn:aws:panorama:<region>:<account>:{device|package|applicationInstance}/<id>"


def check_reserved(parameters: Parameters) -> None:
    """Raises a ValidationException for tags, of whatever operation, that only AWS may set."""
    given = [("Tags", parameters.get("Tags") or {})]
    for index, entry in enumerate(parameters.get("JobTags") or ()):
        given.append((f"JobTags[{index}].Tags", entry["Tags"]))
    fields = [
        (f"{path}[{key}]", f"may not begin with {RESERVED_PREFIX}")
        for path, tags in given
        for key in sorted(tags)
        if key.lower().startswith(RESERVED_PREFIX)
    ]
    if fields:
        raise validation(f"Tag keys that begin with {RESERVED_PREFIX} are reserved.", fields)


class Tags:
    def __init__(self, core: Core) -> None:
        self._core = core

    def list(self, parameters: Parameters) -> Answer:
        return {"Tags": dict(self._of(parameters["ResourceArn"]))}

    def add(self, parameters: Parameters) -> Answer:
        """Set tags; those of the same key are replaced, others stay."""
        given, tags = parameters["Tags"], self._of(parameters["ResourceArn"])
        count = len({*tags, *given})
        if count > TAGS_MAX:
            message = f"A resource takes {TAGS_MAX} tags; it would have {count}."
            raise validation(message, [("Tags", f"must leave at most {TAGS_MAX}")])
        tags.update(given)
        return {}

    def remove(self, parameters: Parameters) -> Answer:
        """Take tags away; keys that are not there are no error."""
        tags = self._of(parameters["ResourceArn"])
        for key in parameters["TagKeys"]:
            tags.pop(key, None)
        return {}

    def _of(self, arn: str) -> dict[str, str]:
        """The tags of the resource, to be changed in place."""
        found = _ARN.fullmatch(arn)
        if found is None:
            message = f"{arn} is not the ARN of a resource that has tags."
            raise validation(message, [("ResourceArn", f"must look like {_FORMS}")])
        store, identifier = self._core.store, found["id"]
        resource: Device | Package | Instance | None
        match found["kind"]:
            case "device":
                resource = store.devices.get(identifier)
            case "package":
                resource = store.packages.get(identifier)
            case _:
                resource = store.instances.get(identifier)
        if resource is None or resource.arn != arn:
            raise not_found("RESOURCE", arn)
        return resource.tags
