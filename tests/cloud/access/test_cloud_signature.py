"""Signatures: the same as botocore's for whatever is signed, and nothing else is let through."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import (
    HmacV1QueryAuth,
    S3SigV4Auth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from harness.cloud.access import query_v2
from harness.cloud.access.keyring import AccessKey, Keyring, Principal
from harness.cloud.access.refusal import Reason, Refused
from harness.cloud.access.scope import parse_time, query_values, read_claim
from harness.cloud.access.signature import UNSIGNED
from harness.cloud.access.signer import signed_headers
from harness.cloud.access.verifier import REMEMBERED_MAX, SKEW_MAX_S, Verifier

HOST = "cloud.example:8080"
REGION = "us-east-1"
ROOT = Principal("123456789012", "arn:aws:iam::123456789012:root", "123456789012")
KEY = AccessKey("AKIDEXAMPLE00001", "a secret / with + signs", ROOT)


def signed(
    auth: type[Any], service: str, method: str, target: str, body: bytes = b"", **more: Any
) -> tuple[str, str, str, CIMultiDict[str], str]:
    """A request as botocore signs it: method, path, query, headers, payload hash."""
    session = more.pop("token", None)
    signer = auth(Credentials(KEY.id, KEY.secret, session), service, REGION, **more)
    request = AWSRequest(method=method, url=f"http://{HOST}{target}", data=body)
    signer.add_auth(request)
    prepared = request.prepare()
    headers = CIMultiDict(
        (name, value.decode() if isinstance(value, bytes) else value)
        for name, value in prepared.headers.items()
    )
    headers.setdefault("Host", HOST)
    path, _, query = prepared.url.removeprefix(f"http://{HOST}").partition("?")
    digest = headers.get("X-Amz-Content-SHA256", hashlib.sha256(body).hexdigest())
    return method, path, query, headers, digest


def verify(
    request: tuple[str, str, str, Any, str], key: AccessKey | None = KEY, later_s: float = 0.0
) -> AccessKey:
    method, path, query, headers, digest = request
    claim = read_claim(headers, query)
    verifier = Verifier(lambda: claim.time_s + later_s)
    return verifier.verify(key, claim, method, path, query, headers, digest)


def reason(request: tuple[str, str, str, Any, str], **more: Any) -> Reason:
    with pytest.raises(Refused) as caught:
        verify(request, **more)
    assert KEY.secret not in caught.value.message
    return caught.value.reason


@pytest.mark.parametrize(
    "target",
    [
        "/devices",
        "/devices?NameFilter=a%2Fb%20c&MaxResults=3&NextToken=x%2B%3D",
        "/packages/metadata/packageName%2Fcounter",
        "/tags/arn%3Aaws%3Apanorama%3Aus-east-1%3A123456789012%3Adevice%2Fx?tagKeys=b&tagKeys=a",
        "//a/./b/../c/",
        "/",
    ],
)
def test_what_botocore_signs_for_services_is_believed(target: str) -> None:
    assert verify(signed(SigV4Auth, "panorama", "POST", target, b'{"Name": 1}')) is KEY


@pytest.mark.parametrize(
    "target",
    [
        "/b",
        "/b/a%20key%2B",
        "/b//a/../%C3%A9%7E",
        "/b?list-type=2&prefix=a%2F&delimiter=%2F&uploads",
    ],
)
def test_what_botocore_signs_for_objects_is_believed(target: str) -> None:
    assert verify(signed(S3SigV4Auth, "s3", "PUT", target, b"abc")) is KEY


@given(
    path=st.text(min_size=1, max_size=30),
    query=st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=4),
    body=st.binary(max_size=20),
)
@settings(deadline=None)
def test_any_path_query_and_body_as_botocore_signs_them(
    path: str, query: dict[str, str], body: bytes
) -> None:
    target = f"/{quote(path, safe='')}"
    if query:
        pairs = (f"{quote(name, safe='')}={quote(text, safe='')}" for name, text in query.items())
        target += f"?{'&'.join(pairs)}"
    assert urlsplit(f"http://{HOST}{target}").hostname == "cloud.example"
    for auth, service in ((SigV4Auth, "panorama"), (S3SigV4Auth, "s3")):
        assert verify(signed(auth, service, "POST", target, body)) is KEY


def test_presigned_urls_of_objects_and_of_services() -> None:
    target = "/b/k?response-content-type=text%2Fplain"
    request = signed(S3SigV4QueryAuth, "s3", "GET", target, expires=60)
    assert verify((*request[:4], UNSIGNED)) is KEY
    target = "/?Action=GetCallerIdentity&Version=2011-06-15"
    assert verify(signed(SigV4QueryAuth, "sts", "GET", target, expires=60)) is KEY


def test_headers_are_trimmed_and_their_spaces_collapsed() -> None:
    request = AWSRequest("GET", f"http://{HOST}/devices", {"X-Note": "  a   b  "})
    SigV4Auth(Credentials(KEY.id, KEY.secret), "panorama", REGION).add_auth(request)
    headers = CIMultiDict({**request.headers, "Host": HOST})
    assert verify(("GET", "/devices", "", headers, hashlib.sha256(b"").hexdigest())) is KEY


# --- tampering -----------------------------------------------------------------------------


def _header(name: str, value: str) -> Any:
    def change(request: Any) -> Any:
        headers = CIMultiDict(request[3])
        headers[name] = value
        return (*request[:3], headers, request[4])

    return change


CHANGES: dict[str, Any] = {
    "method": lambda r: ("DELETE", *r[1:]),
    "path": lambda r: (r[0], "/jobs", *r[2:]),
    "slash": lambda r: (r[0], r[1] + "/", *r[2:]),
    "query": lambda r: (*r[:2], "Name=y", *r[3:]),
    "no query": lambda r: (*r[:2], "", *r[3:]),
    "more query": lambda r: (*r[:2], r[2] + "&More=1", *r[3:]),
    "body": lambda r: (*r[:4], hashlib.sha256(b"another body").hexdigest()),
    "host": _header("Host", "elsewhere.example"),
    "target": _header("X-Amz-Target", "Added.Later"),
    "acl": _header("X-Amz-Acl", "public-read"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_request_does_not_match(what: str) -> None:
    request = signed(SigV4Auth, "panorama", "POST", "/devices?Name=x", b"{}")
    assert verify(request) is KEY
    assert reason(CHANGES[what](request)) is Reason.MISMATCH


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Signature=", "Signature=0", Reason.MISMATCH),
        ("Signature=", "Signature=\u00e9", Reason.MISMATCH),
        (f"/{REGION}/", "/eu-west-1/", Reason.MISMATCH),
        ("/panorama/", "/s3/", Reason.MISMATCH),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=host", Reason.MISMATCH),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=x-amz-date", Reason.INCOMPLETE),
        ("aws4_request", "aws5_request", Reason.MALFORMED),
        ("Credential=", "Credential=x/", Reason.INCOMPLETE),
        ("Signature=", "Sig=", Reason.INCOMPLETE),
        ("Credential=", "", Reason.INCOMPLETE),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", Reason.INCOMPLETE),
        ("AWS4-HMAC-SHA256", "Bearer", Reason.INCOMPLETE),
    ],
)
def test_a_changed_authorization_is_refused(old: str, new: str, expected: Reason) -> None:
    request = signed(SigV4Auth, "panorama", "GET", "/devices")
    header = request[3]["Authorization"]
    assert old in header
    assert reason(_header("Authorization", header.replace(old, new, 1))(request)) is expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("X-Amz-Expires=60", "X-Amz-Expires=6000", Reason.MISMATCH),
        ("X-Amz-Expires=60", "X-Amz-Expires=x", Reason.INCOMPLETE),
        ("X-Amz-Expires=60", "X-Amz-Expires=999999", Reason.INCOMPLETE),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=none", Reason.INCOMPLETE),
        ("X-Amz-Signature=", "X-Amz-Sig=", Reason.INCOMPLETE),
        ("X-Amz-Date=2", "X-Amz-Date=x", Reason.INCOMPLETE),
        ("&X-Amz-SignedHeaders=host", "&X-Amz-SignedHeaders=host&versionId=1", Reason.MISMATCH),
    ],
)
def test_a_changed_presigned_url_is_refused(old: str, new: str, expected: Reason) -> None:
    method, path, query, headers, _ = signed(S3SigV4QueryAuth, "s3", "GET", "/b/k", expires=60)
    assert old in query
    changed = (method, path, query.replace(old, new, 1), headers, UNSIGNED)
    assert reason(changed) is expected


def test_a_presigned_url_takes_no_header_that_steers() -> None:
    method, path, query, headers, _ = signed(S3SigV4QueryAuth, "s3", "PUT", "/b/k", expires=60)
    headers["x-amz-copy-source"] = "/other/secret"
    assert reason((method, path, query, headers, UNSIGNED)) is Reason.MISMATCH


def test_without_signature_and_with_an_unknown_key() -> None:
    assert reason(("GET", "/", "", CIMultiDict(Host=HOST), "")) is Reason.MISSING
    assert reason(signed(SigV4Auth, "panorama", "GET", "/"), key=None) is Reason.UNKNOWN_KEY
    other = AccessKey(KEY.id, "another secret", ROOT)
    assert reason(signed(SigV4Auth, "panorama", "GET", "/"), key=other) is Reason.MISMATCH


@pytest.mark.parametrize(
    ("given", "expected"),
    [("yesterday", Reason.INCOMPLETE), ("2026-01-01", Reason.INCOMPLETE)],
)
def test_a_date_that_is_none(given: str, expected: Reason) -> None:
    request = signed(SigV4Auth, "panorama", "GET", "/")
    assert reason(_header("X-Amz-Date", given)(request)) is expected


def test_the_scope_is_of_the_day_that_was_signed() -> None:
    request = signed(SigV4Auth, "panorama", "GET", "/")
    header = request[3]["Authorization"]
    day = request[3]["X-Amz-Date"][:8]
    changed = _header("Authorization", header.replace(f"/{day}/", "/20200101/"))(request)
    assert reason(changed) is Reason.MISMATCH


# --- presigned, Version 2 ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("token", [None, "a session token"])
def test_urls_of_version_2_as_botocore_signs_them(method: str, token: str | None) -> None:
    key = AccessKey(KEY.id, KEY.secret, ROOT, token)
    request = AWSRequest(method, f"http://{HOST}/b/a%20key?response-content-type=a%2Fb&x=1")
    HmacV1QueryAuth(Credentials(key.id, key.secret, token), expires=60).add_auth(request)
    path, _, query = request.url.removeprefix(f"http://{HOST}").partition("?")
    assert query_v2.is_presigned_v2(query)
    assert query_v2.key_id(query) == key.id
    now_s = float(query_values(query)["Expires"])

    def ask(key: AccessKey | None, method: str, query: str, now_s: float) -> AccessKey:
        return query_v2.verify(key, method, path, query, {"Host": HOST}, now_s)

    assert ask(key, method, query, now_s) is key
    other = AccessKey(KEY.id, KEY.secret, ROOT, "another token")
    refusals = [
        ((None, method, query, now_s), Reason.UNKNOWN_KEY),
        ((key, "DELETE", query, now_s), Reason.MISMATCH),
        ((key, method, query.replace("a%2Fb", "a%2Fc"), now_s), Reason.MISMATCH),
        ((key, method, query + "&uploadId=1", now_s), Reason.MISMATCH),
        ((other, method, query, now_s), Reason.BAD_TOKEN),
        ((key, method, query, now_s + 1), Reason.EXPIRED_URL),
    ]
    for arguments, expected in refusals:
        with pytest.raises(Refused) as caught:
            ask(*arguments)
        assert caught.value.reason is expected


# --- time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("later_s", [-SKEW_MAX_S, 0.0, SKEW_MAX_S])
def test_fifteen_minutes_of_skew_pass(later_s: float) -> None:
    assert verify(signed(SigV4Auth, "panorama", "GET", "/"), later_s=later_s) is KEY


@pytest.mark.parametrize("later_s", [-SKEW_MAX_S - 1, SKEW_MAX_S + 1])
def test_more_skew_does_not(later_s: float) -> None:
    request = signed(SigV4Auth, "panorama", "GET", "/")
    assert reason(request, later_s=later_s) is Reason.SKEWED


def test_a_presigned_url_lives_as_long_as_it_says() -> None:
    request = (*signed(S3SigV4QueryAuth, "s3", "GET", "/b/k", expires=3600)[:4], UNSIGNED)
    assert verify(request, later_s=3600.0) is KEY
    assert reason(request, later_s=3601.0) is Reason.EXPIRED_URL
    assert reason(request, later_s=-SKEW_MAX_S - 1) is Reason.SKEWED


def test_the_date_header_serves_where_there_is_no_other() -> None:
    headers = CIMultiDict(
        Date="Wed, 25 Nov 2026 10:00:00 GMT",
        Authorization=f"AWS4-HMAC-SHA256 Credential={KEY.id}/20261125/{REGION}/panorama/"
        "aws4_request, SignedHeaders=host, Signature=ab",
    )
    claim = read_claim(headers, "")
    assert claim.time == "20261125T100000Z"
    assert claim.time_s == parse_time("20261125T100000Z")


# --- sessions ------------------------------------------------------------------------------


def test_session_credentials_need_their_token_and_end() -> None:
    now_s = [1_000_000.0]
    session = Keyring(lambda: now_s[0]).add_session(ROOT, 3600.0)
    assert session.token
    verifier = Verifier(lambda: now_s[0])

    def ask(token: str | None) -> AccessKey:
        used = AccessKey(session.id, session.secret, ROOT, token)
        headers = CIMultiDict(
            signed_headers(used, REGION, "panorama", "GET", "/", {"Host": HOST}, "x", now_s[0])
        )
        claim = read_claim(headers, "")
        return verifier.verify(session, claim, "GET", "/", "", headers, "x")

    assert ask(session.token) is session
    for wrong in (None, "another token"):
        with pytest.raises(Refused) as caught:
            ask(wrong)
        assert caught.value.reason is Reason.BAD_TOKEN
    now_s[0] += 3600.0
    with pytest.raises(Refused) as caught:
        ask(session.token)
    assert caught.value.reason is Reason.EXPIRED_TOKEN


# --- once ----------------------------------------------------------------------------------


def test_a_copy_is_refused_and_another_attempt_is_not() -> None:
    request = signed(SigV4Auth, "panorama", "POST", "/devices", b"{}")
    claim = read_claim(request[3], "")
    now_s = [claim.time_s]
    verifier = Verifier(lambda: now_s[0])
    first = {"amz-sdk-invocation-id": "one", "amz-sdk-request": "attempt=1"}
    verifier.once(claim, first)
    verifier.once(claim, {**first, "amz-sdk-request": "attempt=2"})
    verifier.once(claim, {**first, "amz-sdk-invocation-id": "two"})
    for later_s in (0.0, 2 * SKEW_MAX_S + 1, 2 * SKEW_MAX_S - 1):
        now_s[0] += later_s
        with pytest.raises(Refused) as caught:
            verifier.once(claim, first)
        assert caught.value.reason is Reason.REPLAYED


def test_presigned_urls_may_repeat() -> None:
    _, _, query, headers, _ = signed(S3SigV4QueryAuth, "s3", "PUT", "/b/k", expires=60)
    claim = read_claim(headers, query)
    verifier = Verifier(lambda: claim.time_s)
    verifier.once(claim, headers)
    verifier.once(claim, headers)


def test_what_is_remembered_is_bounded() -> None:
    claim = read_claim(signed(SigV4Auth, "panorama", "POST", "/")[3], "")
    verifier = Verifier(lambda: claim.time_s)
    for number in range(2 * REMEMBERED_MAX + 2):
        verifier.once(claim, {"amz-sdk-request": str(number)})
    verifier.once(claim, {"amz-sdk-request": "0"})  # long ago, and forgotten
