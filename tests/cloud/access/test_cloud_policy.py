"""Policies: what they allow, what they deny, and what they make of what they do not understand."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from harness.cloud.access.keyring import SESSIONS_MAX, Keyring, Principal
from harness.cloud.access.permission import authorize, needed
from harness.cloud.access.policy import DOCUMENT_BYTES_MAX, Policy, Query, permits, read_policy
from harness.cloud.access.refusal import Reason, Refused
from harness.errors import Corrupt, InputError

DEVICE = "arn:aws:panorama:us-east-1:123456789012:device/device-abc"


def policy(*statements: dict[str, Any]) -> Policy:
    whole = [{"Effect": "Allow", "Resource": "*", **statement} for statement in statements]
    return read_policy(json.dumps({"Version": "2012-10-17", "Statement": whole}))


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ({"Action": "panorama:DescribeDevice"}, True),
        ({"Action": "PANORAMA:describedevice"}, True),
        ({"Action": "panorama:*"}, True),
        ({"Action": "*"}, True),
        ({"Action": ["s3:GetObject", "panorama:Describe?evice"]}, True),
        ({"Action": "panorama:List*"}, False),
        ({"Action": "panorama:[D]*"}, False),
        ({"NotAction": "panorama:Delete*"}, True),
        ({"NotAction": "panorama:*"}, False),
        ({"Action": "*", "Resource": DEVICE}, True),
        ({"Action": "*", "Resource": "arn:aws:panorama:*:123456789012:device/*"}, True),
        ({"Action": "*", "Resource": DEVICE.upper()}, False),
        ({"Action": "*", "Resource": DEVICE[:-1]}, False),
        ({"Action": "*", "Resource": "arn:aws:panorama:us-east-1:*:device/${aws:username}"}, True),
        ({"Action": "*", "Resource": "arn:*/${aws:unknown}"}, False),
        ({"Action": "*", "Resource": None, "NotResource": "arn:aws:s3:::*"}, True),
        ({"Action": "*", "Resource": None, "NotResource": "arn:aws:panorama:*"}, False),
    ],
)
def test_actions_and_resources(statement: dict[str, Any], allowed: bool) -> None:
    context = {"aws:username": "device-abc"}
    asked = Query("panorama:DescribeDevice", DEVICE, context)
    assert permits([policy(statement)], asked) is allowed
    denied = policy({"Action": "*"}, {**statement, "Effect": "Deny"})
    assert permits([denied], asked) is not allowed


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"aws:SourceAccount": "123456789012"}}, True),
        ({"StringEquals": {"AWS:sourceaccount": ["1", "123456789012"]}}, True),
        ({"StringEquals": {"aws:SourceAccount": "210987654321"}}, False),
        ({"StringEquals": {"aws:Other": "1"}}, False),
        ({"StringEqualsIfExists": {"aws:Other": "1"}}, True),
        ({"StringNotEquals": {"aws:SourceAccount": "1"}}, True),
        ({"StringNotEquals": {"aws:SourceAccount": "123456789012"}}, False),
        ({"StringNotEquals": {"aws:Other": "1"}}, True),
        ({"StringEqualsIgnoreCase": {"aws:Tag": "NORTH"}}, True),
        ({"StringNotLike": {"aws:Tag": "no*"}}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:panorama:*:123456789012:device/*"}}, True),
        ({"ArnNotEquals": {"aws:SourceArn": DEVICE}}, False),
        ({"Bool": {"aws:SecureTransport": True}}, True),
        ({"Null": {"aws:Other": "true"}}, True),
        ({"Null": {"aws:SourceArn": True}}, False),
        (
            {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"},
            },
            False,
        ),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    context = {
        "aws:sourceaccount": "123456789012",
        "aws:sourcearn": DEVICE,
        "aws:tag": "north",
        "aws:securetransport": "true",
    }
    allow = policy({"Action": "*", "Condition": condition})
    asked = Query("panorama:DescribeDevice", DEVICE, context)
    assert permits([allow], asked) is holds
    deny = policy({"Action": "*"}, {"Effect": "Deny", "Action": "*", "Condition": condition})
    assert permits([deny], asked) is not holds


def test_a_condition_that_is_not_understood_lets_nothing_through() -> None:
    condition = {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}
    asked = Query("panorama:ListDevices", context={"aws:currenttime": "2027-01-01T00:00:00Z"})
    assert not permits([policy({"Action": "*", "Condition": condition})], asked)
    deny = policy({"Action": "*"}, {"Effect": "Deny", "Action": "*", "Condition": condition})
    assert not permits([deny], asked)


@pytest.mark.parametrize(
    ("principal", "who", "allowed"),
    [
        ({"Service": "panorama.amazonaws.com"}, "panorama.amazonaws.com", True),
        ({"Service": ["ec2.amazonaws.com"]}, "panorama.amazonaws.com", False),
        ("*", "panorama.amazonaws.com", True),
        ({"AWS": "123456789012"}, "arn:aws:iam::123456789012:user/ann", True),
        ({"AWS": "arn:aws:iam::123456789012:root"}, "arn:aws:iam::123456789012:user/ann", True),
        ({"AWS": "arn:aws:iam::123456789012:root"}, "arn:aws:iam::210987654321:user/ann", False),
        (
            {"AWS": "arn:aws:iam::123456789012:user/ann"},
            "arn:aws:iam::123456789012:user/bob",
            False,
        ),
    ],
)
def test_trust_policies(principal: Any, who: str, allowed: bool) -> None:
    trust = read_policy(
        {"Statement": {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}}
    )
    assert permits([trust], Query("sts:AssumeRole", "any role", {}, who)) is allowed


def test_a_pattern_of_stars_takes_no_time() -> None:
    pattern = "panorama:" + "*a" * 200 + "b"
    assert not permits([policy({"Action": pattern})], Query("panorama:" + "a" * 2000))


@pytest.mark.parametrize(
    "document",
    [
        "no json", "[]", "{}", '{"Statement": "all"}', '{"Statement": [1]}',
        '{"Statement": {"Effect": "Maybe"}}', " " * (DOCUMENT_BYTES_MAX + 1), "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_policy(document: str) -> None:
    with pytest.raises(Corrupt, match="policy"):
        read_policy(document)


# --- what operations need ------------------------------------------------------------------

USER = "arn:aws:iam::123456789012:user/ann"


def principal(*statements: dict[str, Any]) -> Principal:
    return Principal("123456789012", USER, "AIDA", (policy(*statements),))


@pytest.mark.parametrize(
    ("operation", "parameters", "resources"),
    [
        ("ListDevices", {}, ["*"]),
        ("ListDevicesJobs", {"DeviceId": "device-abc"}, ["*"]),
        ("ProvisionDevice", {"Name": "north"}, ["*"]),
        ("DescribeDevice", {"DeviceId": "device-abc"}, [DEVICE]),
        ("CreateJobForDevices", {"DeviceIds": ["device-abc"]}, [DEVICE]),
        ("TagResource", {"ResourceArn": DEVICE}, [DEVICE]),
        (
            "DescribePackage", {"PackageId": "package-x"},
            ["arn:aws:panorama:us-east-1:123456789012:package/package-x"],
        ),
        (
            "RemoveApplicationInstance", {"ApplicationInstanceId": "a"},
            ["arn:aws:panorama:us-east-1:123456789012:applicationInstance/a"],
        ),
    ],
)  # fmt: skip
def test_resources_of_operations(operation: str, parameters: Any, resources: list[str]) -> None:
    asked = list(needed(operation, parameters, "123456789012", "us-east-1"))
    assert [(query.action, query.resource) for query in asked] == [
        (f"panorama:{operation}", resource) for resource in resources
    ]


def test_a_denial_names_user_action_and_resource() -> None:
    with pytest.raises(Refused) as caught:
        authorize(principal({"Action": "s3:*"}), Query("panorama:DescribeDevice", DEVICE))
    assert caught.value.reason is Reason.DENIED
    assert caught.value.message == (
        f"User: {USER} is not authorized to perform: panorama:DescribeDevice on resource: {DEVICE}"
    )


def test_a_role_is_passed_by_who_may() -> None:
    role = "arn:aws:iam::123456789012:role/counter"
    parameters = {"Name": "x", "RuntimeRoleArn": role}
    asked = list(needed("CreateApplicationInstance", parameters, "123456789012", "us-east-1"))
    may = principal({"Action": "panorama:*"})
    authorize(may, asked[0])
    with pytest.raises(Refused, match=f"perform: iam:PassRole on resource: {role}"):
        authorize(may, asked[1])
    condition = {"StringEquals": {"iam:PassedToService": "panorama.amazonaws.com"}}
    authorize(principal({"Action": "iam:PassRole", "Condition": condition}), asked[1])


def test_tags_of_a_request_can_be_asked_for() -> None:
    condition = {"StringEquals": {"aws:RequestTag/Site": "north"}}
    may = principal({"Action": "panorama:*", "Condition": condition})
    for tags, allowed in (({"Site": "north"}, True), ({"Site": "south"}, False), ({}, False)):
        (asked,) = needed("ProvisionDevice", {"Tags": tags}, "123456789012", "us-east-1")
        assert permits(may.policies or (), asked) is allowed


# --- the keyring ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "key_id", "secret", "problem"),
    [
        ("12345", "", "", "account '12345'"),
        ("123456789012", "short", "", "access key 'short'"),
        ("123456789012", "AKIDEXAMPLE00001", "tiny", "too short"),
    ],
)
def test_a_root_key_that_cannot_be_one(
    account: str, key_id: str, secret: str, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        Keyring(time.time).add_root(account, key_id, secret)


def test_a_key_is_given_once() -> None:
    keyring = Keyring(time.time)
    keyring.add_root("123456789012", "AKIDEXAMPLE00001", "not a secret")
    with pytest.raises(InputError, match="twice"):
        keyring.add_root("210987654321", "AKIDEXAMPLE00001", "not a secret")


def test_keys_do_not_show_their_secrets() -> None:
    keyring = Keyring(time.time)
    root = keyring.add_root("123456789012")
    session = keyring.add_session(root.principal)
    for key in (root, session):
        assert key.secret not in repr(key)
        assert not key.token or key.token not in repr(key)
    assert keyring.find(session.id) is session
    assert keyring.find("AKIDUNKNOWN00000") is None


def test_sessions_are_bounded() -> None:
    keyring = Keyring(time.time)
    principal = keyring.add_root("123456789012").principal
    first = keyring.add_session(principal)
    for _ in range(SESSIONS_MAX):
        keyring.add_session(principal)
    assert keyring.find(first.id) is None
