"""The endpoint refuses what is not signed right, in each protocol's words; accounts are apart."""

from __future__ import annotations

import asyncio
import functools
import random
import ssl
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
import pytest
from yarl import URL

from harness.appliance.topic import job_notify
from harness.cloud.access.keyring import AccessKey, Principal
from harness.cloud.access.policy import read_policy
from harness.cloud.front.client import ApiClient
from harness.cloud.front.planes import PLANES_MAX
from harness.cloud.front.server import CloudServer
from harness.cloud.service.content import BytesContent
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

OTHER_ACCOUNT = "210987654321"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


def served(directory: Path, **more: Any) -> CloudServer:
    return CloudServer(state_dir=directory, draw=random.Random(1), record=lambda *_: None, **more)


async def send(
    session: aiohttp.ClientSession,
    cloud: Any,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes = b"",
) -> tuple[int, str, str]:
    """Status, what the error header says, body."""
    url = URL(cloud.server.api_url + target, encoded=True)
    async with session.request(method, url, headers=headers, data=body) as answer:
        return answer.status, answer.headers.get("x-amzn-ErrorType", ""), await answer.text()


Change: TypeAlias = "Callable[[dict[str, str]], dict[str, str]]"


def without(name: str) -> Change:
    return lambda headers: {key: text for key, text in headers.items() if key != name}


def replaced(name: str, old: str, new: str) -> Change:
    return lambda headers: {**headers, name: headers[name].replace(old, new)}


def added(name: str, text: str) -> Change:
    return lambda headers: {**headers, name: text}


KEY = "AKIDEXAMPLE00001"
AUTHORIZATION = "Authorization"
TAMPERED: list[Any] = [  # what is done; codes of REST-JSON, of query services and of S3
    pytest.param(
        without(AUTHORIZATION),
        ("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403, ""),
        id="unsigned",
    ),
    pytest.param(
        replaced(AUTHORIZATION, "Signature=", "Sig="),
        (
            "IncompleteSignatureException", "IncompleteSignature",
            400, "AuthorizationHeaderMalformed",
        ),
        id="incomplete",
    ),
    pytest.param(
        replaced(AUTHORIZATION, KEY, "AKIDEXAMPLE99999"),
        ("UnrecognizedClientException", "InvalidClientTokenId", 403, "InvalidAccessKeyId"),
        id="another-key",
    ),
    pytest.param(
        replaced(AUTHORIZATION, "Signature=", "Signature=0"),
        ("InvalidSignatureException", "SignatureDoesNotMatch", 403, "SignatureDoesNotMatch"),
        id="another-signature",
    ),
    pytest.param(
        added("X-Amz-Security-Token", "none"),
        ("InvalidSignatureException", "SignatureDoesNotMatch", 403, "SignatureDoesNotMatch"),
        id="header-added",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("tamper", "codes"), TAMPERED)
async def test_tampering_is_answered_in_the_words_of_each_protocol(
    cloud: Any,
    session: aiohttp.ClientSession,
    tamper: Change,
    codes: tuple[str, str, int, str],
) -> None:
    rest, query, *objects = codes
    headers = tamper(cloud.sign("POST", "/devices", b'{"Name": "north"}'))
    status, code, text = await send(
        session, cloud, "POST", "/devices", headers, b'{"Name": "north"}'
    )
    assert (status, code) == (403, rest)
    assert '"Message"' in text
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    headers = tamper(cloud.sign("POST", "/", body, "sts", form))
    status, _, text = await send(session, cloud, "POST", "/", headers, body)
    assert status == 403
    assert f"<Code>{query}</Code>" in text
    headers = tamper(cloud.sign("PUT", "/bucket/key", b"abc", "s3"))
    if "Authorization" in headers:  # unsigned, nobody could tell what it is for
        status, _, text = await send(session, cloud, "PUT", "/bucket/key", headers, b"abc")
        assert [status, text.partition("<Code>")[2].partition("</Code>")[0]] == objects
    assert cloud.server.plane.call("ListDevices", {})["Devices"] == []
    assert cloud.server.plane.objects.get("bucket", "key") is None


async def test_the_body_is_what_was_signed(cloud: Any, session: aiohttp.ClientSession) -> None:
    headers = cloud.sign("POST", "/devices", b'{"Name": "north"}')
    status, code, _ = await send(session, cloud, "POST", "/devices", headers, b'{"Name": "south"}')
    assert (status, code) == (403, "InvalidSignatureException")
    headers = cloud.sign("PUT", "/bucket/key", b"abc", "s3")
    status, _, text = await send(session, cloud, "PUT", "/bucket/key", headers, b"abd")
    assert status == 400
    assert "<Code>XAmzContentSHA256Mismatch</Code>" in text
    assert cloud.server.plane.objects.get("bucket", "key") is None


@pytest.mark.parametrize("skew_s", [-901.0, 960.0])
async def test_the_wall_clock_decides_on_skew(
    cloud: Any, session: aiohttp.ClientSession, skew_s: float
) -> None:
    headers = cloud.sign("GET", "/devices", now_s=time.time() + skew_s)
    status, code, text = await send(session, cloud, "GET", "/devices", headers)
    assert (status, code) == (403, "InvalidSignatureException")
    assert "15 min" in text
    headers = cloud.sign("GET", "/bucket/key", b"", "s3", now_s=time.time() + skew_s)
    status, _, text = await send(session, cloud, "GET", "/bucket/key", headers)
    assert (status, "<Code>RequestTimeTooSkewed</Code>" in text) == (403, True)


async def test_a_scaled_service_clock_does_not_skew(tmp_path: Path) -> None:
    server = served(tmp_path, clock=lambda: time.time() + 1e6)
    async with server, ApiClient(server.api_url, key=server.root_key) as client:
        assert (await client.call("ListDevices"))["Devices"] == []


async def test_a_copied_request_is_carried_out_once(
    cloud: Any, session: aiohttp.ClientSession
) -> None:
    body = b'{"PackageName": "counter"}'
    headers = cloud.sign("POST", "/packages", body)
    assert (await send(session, cloud, "POST", "/packages", headers, body))[0] == 200
    status, code, text = await send(session, cloud, "POST", "/packages", headers, body)
    assert (status, code) == (403, "InvalidSignatureException")
    assert "carried out before" in text
    headers = cloud.sign("GET", "/devices")
    for _ in range(2):
        assert (await send(session, cloud, "GET", "/devices", headers))[0] == 200


async def test_retries_of_an_sdk_are_no_copies(
    cloud: Any, boto: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that got lost: the SDK asks again, within the same second."""
    panorama = boto("panorama", retries=2)
    carry_out, calls = cloud.server.plane.call, []

    def fail_first(operation: str, parameters: Any) -> Any:
        calls.append(operation)
        if len(calls) == 1:
            raise RuntimeError("the first answer is lost")
        return carry_out(operation, parameters)

    monkeypatch.setattr(cloud.server.plane, "call", fail_first)
    made = await cloud.call(panorama, "create_package", PackageName="counter")
    assert made["PackageId"]
    assert calls == ["CreatePackage", "CreatePackage"]


# --- presigned -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["s3v4", None])
async def test_presigned_urls_work_as_often_as_they_like_until_they_expire(
    cloud: Any, boto: Callable[..., Any], session: aiohttp.ClientSession, version: str | None
) -> None:
    """Also those of Version 2, which boto3 makes when nothing is said."""
    s3 = boto("s3", signature_version=version)
    where = {"Bucket": "a-bucket", "Key": "a key/+é"}
    put = functools.partial(session.put, skip_auto_headers=["Content-Type"])
    upload = s3.generate_presigned_url("put_object", where, ExpiresIn=60)
    get = s3.generate_presigned_url("get_object", where, ExpiresIn=60)
    for _ in range(2):
        async with put(URL(upload, encoded=True), data=b"content") as answer:
            assert answer.status == 200, await answer.text()
        async with session.get(URL(get, encoded=True)) as answer:
            assert await answer.read() == b"content"
    async with put(URL(get, encoded=True), data=b"changed") as answer:
        assert answer.status == 403
    longer = get.replace("Expires=6", "Expires=7").replace("Expires=1", "Expires=2")
    async with session.get(URL(longer, encoded=True)) as answer:
        assert "SignatureDoesNotMatch" in await answer.text()
    expired = s3.generate_presigned_url("get_object", where, ExpiresIn=0)
    await asyncio.sleep(1.1)  # the signed time has a resolution of one second
    async with session.get(URL(expired, encoded=True)) as answer:
        assert answer.status == 403
        assert "Request has expired" in await answer.text()


# --- accounts and regions ------------------------------------------------------------------


async def test_two_accounts_and_two_regions_know_nothing_of_each_other(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    places = [
        ("123456789012", "us-east-1"),
        ("123456789012", "eu-west-1"),
        (OTHER_ACCOUNT, "us-east-1"),
    ]
    for account, region in places:
        panorama, s3 = boto("panorama", account, region), boto("s3", account, region)
        assert (await cloud.call(panorama, "list_devices"))["Devices"] == []
        made = await cloud.call(panorama, "provision_device", Name="north")
        assert made["Arn"].startswith(f"arn:aws:panorama:{region}:{account}:device/")
        package = await cloud.call(panorama, "create_package", PackageName="counter")
        where = {"Bucket": package["StorageLocation"]["Bucket"], "Key": "same/key"}
        with pytest.raises(s3.exceptions.NoSuchKey):
            await cloud.call(s3, "get_object", **where)
        await cloud.call(s3, "put_object", Body=f"{account} {region}".encode(), **where)
        sts = boto("sts", account, region)
        assert (await cloud.call(sts, "get_caller_identity"))["Account"] == account
    for account, region in places:
        panorama = boto("panorama", account, region)
        (device,) = (await cloud.call(panorama, "list_devices"))["Devices"]
        found = await cloud.call(boto("s3", account, region), "get_object", **where)
        assert await asyncio.to_thread(found["Body"].read) == f"{account} {region}".encode()
        for other in (place for place in places if place != (account, region)):
            stranger = boto("panorama", *other)
            with pytest.raises(stranger.exceptions.ResourceNotFoundException):
                await cloud.call(stranger, "describe_device", DeviceId=device["DeviceId"])


async def test_a_device_belongs_to_the_plane_that_provisioned_it(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    panorama = boto("panorama", OTHER_ACCOUNT, "eu-west-1")
    cloud.server.publish_image("7.0.13", b"manifest", BytesContent(b"payload"))
    made = await cloud.call(panorama, "provision_device", Name="far")
    device, credentials = await cloud.register_archive(made)
    async with cloud.mqtt(device, credentials) as client:
        await client.subscribe([(job_notify(device), 1)])
        shown = await cloud.call(panorama, "describe_device", DeviceId=device)
        assert shown["ProvisioningStatus"] == "SUCCEEDED"
        config = {"OTAJobConfig": {"ImageVersion": "7.0.13", "AllowMajorVersionUpdate": True}}
        ota = {"DeviceIds": [device], "JobType": "OTA", "DeviceJobConfig": config}
        await cloud.call(panorama, "create_job_for_devices", **ota)
        message = await anext(aiter(client.messages))
        assert b"7.0.13" in bytes(message.payload)
    assert cloud.server.plane.call("ListDevices", {})["Devices"] == []


async def test_regions_are_bounded_and_must_look_like_some(
    cloud: Any, session: aiohttp.ClientSession
) -> None:
    headers = cloud.sign("GET", "/devices", region="nowhere")
    status, code, text = await send(session, cloud, "GET", "/devices", headers)
    assert (status, code) == (403, "InvalidSignatureException")
    assert "valid region" in text
    for number in range(PLANES_MAX):
        cloud.server.planes.get(f"{number:012}", "eu-west-1") if number else None
    headers = cloud.sign("GET", "/devices", region="ap-south-1")
    status, code, text = await send(session, cloud, "GET", "/devices", headers)
    assert (status, code) == (403, "AccessDeniedException")
    assert str(PLANES_MAX) in text


async def test_other_planes_are_taken_up_after_a_restart(tmp_path: Path) -> None:
    async with served(tmp_path) as first:
        key = first.root_key
        async with ApiClient(first.api_url, key=key, region="eu-west-1") as client:
            device = (await client.call("ProvisionDevice", {"Name": "far"}))["DeviceId"]
    async with served(tmp_path) as second:
        assert second.root_key == key
        found = second.planes.of_device(device)
        assert found is not None
        assert found.region == "eu-west-1"


async def test_root_keys_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "root-key.json").write_text('{"123456789012": "key"}')
    with pytest.raises(InputError, match=r"root-key\.json: no root keys"):
        async with served(tmp_path):
            pass


# --- permissions ---------------------------------------------------------------------------


async def test_a_session_may_do_what_its_policies_allow(cloud: Any) -> None:
    allow = {"Effect": "Allow", "Action": ["panorama:List*", "panorama:Describe*"], "Resource": "*"}
    mine = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a-bucket/mine/*"}
    arn = "arn:aws:sts::123456789012:assumed-role/reader/session"
    who = Principal(
        "123456789012", arn, "AROA:session", (read_policy({"Statement": [allow, mine]}),)
    )
    key = cloud.server.keyring.add_session(who)
    cloud.server.plane.objects.put("a-bucket", "mine/a", BytesContent(b"content"))
    async with ApiClient(cloud.server.api_url, key=key) as client:
        assert (await client.call("ListDevices"))["Devices"] == []
        with pytest.raises(Exception, match="not authorized to perform: panorama:ProvisionDevice"):
            await client.call("ProvisionDevice", {"Name": "north"})
        with pytest.raises(Exception, match="not authorized to perform: s3:PutObject"):
            await client.put_object("a-bucket", "mine/a", b"x")
    entry = cloud.log[-1]
    assert entry["client"] == arn
    assert key.secret not in str(cloud.log)
    assert (key.token or "") not in str(cloud.log)


async def test_a_session_is_nobody_without_its_token(cloud: Any) -> None:
    key = cloud.server.keyring.add_session(cloud.server.root_key.principal)
    stolen = AccessKey(key.id, key.secret, key.principal)
    async with ApiClient(cloud.server.api_url, key=stolen) as client:
        with pytest.raises(Exception, match="UnrecognizedClientException"):
            await client.call("ListDevices")


# --- TLS -----------------------------------------------------------------------------------


async def test_over_tls_with_the_authority_of_the_server(tmp_path: Path) -> None:
    async with served(tmp_path, tls=True) as server:
        assert server.api_url.startswith("https://")
        async with ApiClient(server.api_url, key=server.root_key, ca_pem=server.ca_pem) as client:
            assert (await client.call("ListDevices"))["Devices"] == []
        old = ssl.create_default_context(cadata=server.ca_pem)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(server.api_url, ssl=old)


def test_beyond_loopback_there_is_no_plain_http(tmp_path: Path) -> None:
    assert served(tmp_path, host="192.0.2.1").tls
    assert not served(tmp_path, host="127.0.0.1").tls
