"""The declared API: validation, both ends of the wire against each other, routing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cloud.api import ApiError, load
from harness.cloud.api.error import FIELDS_MAX, internal, not_found, validation
from harness.cloud.api.validation import check
from harness.cloud.api.wire import (
    Router,
    read_answer,
    read_error,
    read_request,
    write_answer,
    write_error,
    write_request,
)

SERVICE = load()
ROUTER = Router(SERVICE)


def problems(operation: str, parameters: dict[str, Any]) -> dict[str, str]:
    try:
        check(SERVICE, SERVICE.operations[operation], parameters)
    except ApiError as error:
        return {field["Name"]: field["Message"] for field in error.members["Fields"]}
    return {}


@pytest.mark.parametrize(
    ("operation", "parameters", "found"),
    [
        ("ProvisionDevice", {"Name": "north"}, {}),
        ("ProvisionDevice", {}, {"Name": "is required"}),
        ("ProvisionDevice", {"Name": None}, {"Name": "is required"}),
        ("ProvisionDevice", {"Name": True}, {"Name": "must be a string"}),
        ("ProvisionDevice", {"Name": "north\n"}, {"Name": r"must match ^[a-zA-Z0-9\-\_]+$"}),
        ("ProvisionDevice", {"Name": "n", "Tags": []}, {"Tags": "must be an object"}),
        (
            "ProvisionDevice", {"Name": "n", "Tags": {str(n): "" for n in range(51)}},
            {"Tags": "must have at most 50 entries"},
        ),
        ("ListDevices", {"MaxResults": 26}, {"MaxResults": "must be at most 25"}),
        ("ListDevices", {"MaxResults": -1}, {"MaxResults": "must be at least 0"}),
        ("ListDevices", {"MaxResults": True}, {"MaxResults": "must be a integer"}),
        (
            "ListDevices", {"SortOrder": "UP"},
            {"SortOrder": "must be one of ASCENDING, DESCENDING"},
        ),
        (
            "CreateJobForDevices", {"DeviceIds": [], "JobType": "OTA"},
            {"DeviceIds": "must have at least 1 entries"},
        ),
        (
            "CreateJobForDevices", {"DeviceIds": "device", "JobType": "OTA"},
            {"DeviceIds": "must be a list"},
        ),
        (
            "CreateApplicationInstance",
            {"DefaultRuntimeContextDevice": "d", "ManifestPayload": {}},
            {"ManifestPayload": "needs exactly one of PayloadData"},
        ),
    ],
)  # fmt: skip
def test_violations_are_named(
    operation: str, parameters: dict[str, Any], found: dict[str, str]
) -> None:
    assert problems(operation, parameters) == found


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("192.168.0.1", True), ("10.0.0.1:554", True), ("256.0.0.1", False),
        ("10.0.0.1:70000", False), ("::1", False), ("10.0.0", False),
    ],
)  # fmt: skip
def test_addresses(address: str, good: bool) -> None:
    static = {
        "IpAddress": address, "Mask": "255.255.255.0", "DefaultGateway": "10.0.0.1", "Dns": ["x"],
    }  # fmt: skip
    ethernet = {"ConnectionType": "STATIC_IP", "StaticIpConnectionInfo": static}
    parameters = {"Name": "n", "NetworkingConfiguration": {"Ethernet0": ethernet}}
    assert (not problems("ProvisionDevice", parameters)) is good


def test_documents_with_line_breaks_are_valid() -> None:
    manifest = {"PayloadData": json.dumps({"nodeGraph": {}}, indent=2)}
    parameters = {"DefaultRuntimeContextDevice": "d", "ManifestPayload": manifest}
    assert problems("CreateApplicationInstance", parameters) == {}


def test_the_number_of_named_fields_is_bounded() -> None:
    many = {"Name": "n", "Tags": {str(number): 5 for number in range(3000)}}
    assert len(problems("ProvisionDevice", many)) <= FIELDS_MAX


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    operation=st.sampled_from(sorted(SERVICE.operations)),
    names=st.dictionaries(st.sampled_from(["Name", "Tags", "DeviceIds", "JobType", "X"]), JSON),
)
def test_validation_survives_anything(operation: str, names: dict[str, Any]) -> None:
    problems(operation, names)


# --- the wire ------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30)


def through(operation: str, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the server reads of what the client wrote."""
    declared = SERVICE.operations[operation]
    request = write_request(SERVICE, declared, parameters)
    path, _, query = request.target.partition("?")
    found = ROUTER.match(request.method, path)
    assert found is not None
    return found[0].name, read_request(SERVICE, found[0], found[1], query, request.body)


@settings(deadline=None)
@given(package=TEXT, version=TEXT, patch=TEXT, owner=TEXT, latest=st.booleans())
def test_every_place_of_a_request_survives(
    package: str, version: str, patch: str, owner: str, latest: bool
) -> None:
    parameters = {
        "PackageId": package, "PackageVersion": version, "PatchVersion": patch,
        "OwnerAccount": owner, "MarkLatest": latest,
    }  # fmt: skip
    name, read = through("RegisterPackageVersion", parameters)
    assert name == "RegisterPackageVersion"
    assert read == parameters


@settings(deadline=None)
@given(name=TEXT, size=st.integers(0, 25))
def test_queries_survive_with_their_wire_names(name: str, size: int) -> None:
    parameters = {"NameFilter": name, "MaxResults": size, "SortOrder": "ASCENDING"}
    assert through("ListDevices", parameters) == ("ListDevices", parameters)
    parameters = {"DeviceId": name, "MaxResults": size}
    assert through("ListApplicationInstances", parameters)[1] == parameters
    target = write_request(
        SERVICE, SERVICE.operations["ListApplicationInstances"], parameters
    ).target
    assert "maxResults=" in target


def test_a_name_with_a_slash_is_one_segment() -> None:
    found = ROUTER.match("GET", "/packages/metadata/packageName%2Fcounter")
    assert found is not None
    assert (found[0].name, found[1]) == ("DescribePackage", {"PackageId": "packageName/counter"})


@pytest.mark.parametrize("path", ["/", "", "/devices/a/b", "/packages/metadata", "/x" * 500])
def test_unknown_paths(path: str) -> None:
    assert ROUTER.match("GET", path) is None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_body_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    try:
        parsed = json.loads(body) if body else {}
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        read_request(SERVICE, SERVICE.operations["ProvisionDevice"], {}, "", body)
        return
    with pytest.raises(ApiError) as caught:
        read_request(SERVICE, SERVICE.operations["ProvisionDevice"], {}, "", body)
    assert caught.value.members["Reason"] == "CANNOT_PARSE"


def test_deep_nesting_is_refused() -> None:
    body = b'{"Tags":' * 100_000
    with pytest.raises(ApiError, match="not JSON"):
        read_request(SERVICE, SERVICE.operations["ProvisionDevice"], {}, "", body)


def test_answers_survive_with_blobs_and_without_nothing() -> None:
    answer = {
        "DeviceId": "d", "Certificates": b"PK\x00\xff", "Arn": None,
        "Nested": {"a": None, "b": [{"c": None}]},
    }  # fmt: skip
    written = write_answer(answer)
    read = read_answer(SERVICE, SERVICE.operations["ProvisionDevice"], written.body)
    assert read == {"DeviceId": "d", "Certificates": b"PK\x00\xff", "Nested": {"b": [{}]}}


@pytest.mark.parametrize(
    "error",
    [
        validation("wrong", [("a.b", "is odd")]),
        validation("wrong", reason="CANNOT_PARSE"),
        not_found("DEVICE", "device-x"),
        internal("ours"),
    ],
)
def test_errors_survive(error: ApiError) -> None:
    written = write_error(SERVICE, error)
    read = read_error(written.status, written.headers, written.body)
    assert (read.code, read.status, read.members) == (error.code, error.status, error.members)


def test_header_members_of_errors_go_into_headers() -> None:
    members = {"Message": "later", "RetryAfterSeconds": 7}
    written = write_error(SERVICE, ApiError("InternalServerException", 500, members))
    assert written.headers["Retry-After"] == "7"
    assert json.loads(written.body) == {"Message": "later"}


def test_an_error_that_is_not_json_is_still_an_error() -> None:
    error = read_error(502, {}, b"<html>bad gateway</html>")
    assert (error.code, error.status) == ("HTTP 502", 502)
    assert "bad gateway" in error.message
