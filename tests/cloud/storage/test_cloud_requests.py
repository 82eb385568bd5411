"""Requests to neighbouring services as they are kept: all that change state, the newest of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.cloud.neighbour.kept import kept_form, without_waiting
from harness.cloud.storage import requests as module
from harness.cloud.storage.requests import ChangingRequest
from harness.cloud.storage.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path


def request(body: bytes, *, data: bool = False) -> ChangingRequest:
    return ChangingRequest("POST", "/", {"Host": "a"}, body, 1.5, 2.5, 1 << 100, data)


async def test_they_are_read_as_they_were_in_order(tmp_path: Path) -> None:
    async with Storage(tmp_path) as storage:
        log = storage.requests()
        assert (len(log), log.holds_state) == (0, False)
        assert log.append(request(b"\xff\x00", data=True)) == 0
        assert log.append(request(b"two")) == 1
        assert log.holds_state
    async with Storage(tmp_path) as storage:
        assert storage.planes() == []
        log = storage.requests()
        assert (len(log), log.last, log.holds_state) == (2, 1, True)
        log.append(request(b"three"))
        await storage.kept()
        assert list(log.read()) == [
            (0, request(b"\xff\x00", data=True)), (1, request(b"two")), (2, request(b"three")),
        ]  # fmt: skip


@pytest.mark.parametrize("limit", ["DATA_REQUESTS_MAX", "DATA_BYTES_MAX"])
async def test_old_data_gives_way_and_state_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    async with Storage(tmp_path) as storage:
        log = storage.requests()
        log.append(request(b"state"))
        log.append(request(b"old", data=True))
        size = log.data_bytes
        monkeypatch.setattr(module, limit, 2 if limit == "DATA_REQUESTS_MAX" else 2 * size)
        for body in (b"mid", b"new"):
            log.append(request(body, data=True))
        await storage.kept()
        assert [found.body for _, found in log.read()] == [b"state", b"mid", b"new"]
    async with Storage(tmp_path) as storage:
        assert len(storage.requests()) == 3


async def test_state_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATE_REQUESTS_MAX", 1)
    async with Storage(tmp_path) as storage:
        log = storage.requests()
        log.append(request(b"data", data=True))
        assert not log.full
        log.append(request(b"state"))
        assert log.full


def test_what_is_kept_of_one_is_not_what_signed_it() -> None:
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=A/1/us-east-1/iam/aws4_request, Signature=0f",
        "X-Amz-Security-Token": "secret",
        "Content-Type": "application/json",
    }
    kept = kept_form(ChangingRequest("POST", "/", headers, b"", 0.0, 0.0, 1, False), b"")
    assert kept is not None
    assert kept.headers == {
        "Authorization": "AWS4-HMAC-SHA256 Credential=A/1/us-east-1/iam/aws4_request, Signature=0",
        "Content-Type": "application/json",
    }


def test_that_messages_are_received_is_kept_when_there_were_some() -> None:
    headers = {"X-Amz-Target": "AmazonSQS.ReceiveMessage"}
    given = ChangingRequest("POST", "/", headers, b"{}", 0.0, 0.0, 1, True)
    assert kept_form(given, b"{}") is None
    assert kept_form(given, b'{"Messages": [{"ReceiptHandle": "h"}]}') == given


@pytest.mark.parametrize(
    ("body", "changed", "wait_s"),
    [
        (b'{"WaitTimeSeconds": 20, "Other": 7}', b'{"WaitTimeSeconds": 0, "Other": 7}', 20),
        (b"Action=ReceiveMessage&WaitTimeSeconds=5", b"Action=ReceiveMessage&WaitTimeSeconds=0", 5),
        (b'{"QueueUrl": "q"}', b'{"QueueUrl": "q"}', 0),
    ],
)
def test_whoever_waits_for_messages_does_not_do_so_in_the_process(
    body: bytes, changed: bytes, wait_s: float
) -> None:
    assert without_waiting(body) == (changed, wait_s)
