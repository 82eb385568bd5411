"""The service API as data: operations, structures, enumerations, collections, scalars.

Facts of the service model of AWS Panorama, apiVersion 2019-07-24, as botocore 1.43.37 was the
last to carry it: all 34 operations, all 237 shapes. One source of truth: routing, parsing,
validation, answers, the admin client, the model for botocore, the OpenAPI document and the
reference page all read these tables through `harness.cloud.api.load`.

Grammar. A line at the margin starts an entry, indented lines belong to it.

    OPERATIONS   Name and what it does, then METHOD uri, then the errors it answers
                 (`...Exception` left out). Its input is <Name>Request, its output <Name>Response.
    STRUCTURES   Name [union], then members `Member[*][:Shape][@place[=wire name]]`; a star means
                 required, the shape is the member's own name unless given, the place is the
                 body unless `uri`, `query` or `header` is given.
    ERRORS       Name and HTTP status, then members as above.
    ENUMS        Name, then values.
    COLLECTIONS  Name, Element (a list) or Key:Value (a map), then minimum..maximum of entries.
    SCALARS      type [minimum..maximum] [sensitive] [pattern], then the shapes that are so.
                 Bounds are lengths for strings. FRAGMENTS abbreviate patterns.
"""

from __future__ import annotations

from harness.cloud.api.definition import application, device, package
from harness.cloud.api.definition.operation import ERROR_STRUCTURES, ERRORS, OPERATIONS
from harness.cloud.api.definition.value import COLLECTIONS, ENUMS, FRAGMENTS, SCALARS

__all__ = [
    "COLLECTIONS",
    "ENUMS",
    "ERRORS",
    "FRAGMENTS",
    "METADATA",
    "OPERATIONS",
    "SCALARS",
    "STRUCTURES",
]

METADATA = {
    "apiVersion": "2019-07-24",
    "endpointPrefix": "panorama",
    "jsonVersion": "1.1",
    "protocol": "rest-json",
    "serviceAbbreviation": "Panorama",
    "serviceFullName": "AWS Panorama",
    "serviceId": "Panorama",
    "signatureVersion": "v4",
    "signingName": "panorama",
    "uid": "panorama-2019-07-24",
}
STRUCTURES = "".join(
    (application.STRUCTURES, device.STRUCTURES, package.STRUCTURES, ERROR_STRUCTURES)
)
