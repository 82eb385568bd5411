"""Pages: every entry once whatever comes and goes, and tokens for their own listing only."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cloud.api import ApiError
from harness.cloud.service.paging import PAGE_MAX, page

if TYPE_CHECKING:
    from collections.abc import Iterable

CORE: Any = SimpleNamespace(account="123456789012", region="us-east-1")


def turn(items: Iterable[int], token: str | None, **parameters: Any) -> tuple[list[Any], Any]:
    listing = parameters.pop("listing", "ListThings")
    core = parameters.pop("core", CORE)
    descending = parameters.get("SortOrder") == "DESCENDING"
    given_ = {**parameters, **({"NextToken": token} if token is not None else {})}
    return page(
        core, listing, given_, items, lambda item: (item,), lambda item: {"item": item},
        descending=descending,
    )  # fmt: skip


@settings(deadline=None)
@given(
    st.sets(st.integers(0, 99), max_size=60),
    st.integers(0, PAGE_MAX),
    st.booleans(),
    st.lists(st.tuples(st.booleans(), st.integers(0, 99)), max_size=8),
)
def test_what_stays_is_seen_exactly_once(
    items: set[int], size: int, descending: bool, changes: list[tuple[bool, int]]
) -> None:
    """Entries that come or go between pages neither repeat nor hide others."""
    there, stayed, seen, token = set(items), set(items), [], None
    while True:
        order = {"SortOrder": "DESCENDING"} if descending else {}
        shown, token = turn(there, token, MaxResults=size, **order)
        assert len(shown) <= (size or PAGE_MAX)
        seen += [entry["item"] for entry in shown]
        if token is None:
            break
        if changes:
            comes, item = changes.pop()
            (there.add if comes else there.discard)(item)
            stayed &= there
    assert seen == sorted(seen, reverse=descending)
    assert len(seen) == len(set(seen))
    assert stayed <= set(seen)


def test_a_page_holds_at_most_25() -> None:
    shown, token = turn(range(60), None)
    assert len(shown) == PAGE_MAX
    assert token is not None


def test_a_token_is_for_its_listing_its_filters_and_its_account() -> None:
    _, token = turn(range(9), None, MaxResults=2, Category="A")
    assert turn(range(9), token, MaxResults=5, Category="A")[0][0] == {"item": 2}
    elsewhere: list[dict[str, Any]] = [
        {"Category": "B"},
        {},
        {"Category": "A", "listing": "ListOthers"},
        {"Category": "A", "core": SimpleNamespace(account="2" * 12, region="us-east-1")},
        {"Category": "A", "core": SimpleNamespace(account=CORE.account, region="eu-west-1")},
    ]
    for parameters in elsewhere:
        with pytest.raises(ApiError, match="NextToken"):
            turn(range(9), token, **parameters)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"1", b"[]", b'["0123456789abcdef", 2]', b"[" * 3000, b"\xff", b'{"a":1}']
)
def test_a_token_that_is_not_ours_is_refused(text: bytes) -> None:
    with pytest.raises(ApiError, match="ValidationException"):
        turn(range(9), base64.urlsafe_b64encode(text).decode())
    with pytest.raises(ApiError, match="ValidationException"):
        turn(range(9), text.decode(errors="replace"))


@pytest.mark.parametrize("after", [["x"], [None], [[1]], [{}]])
def test_a_token_made_by_hand_is_refused(after: list[Any]) -> None:
    """Even one that knows how tokens are sealed."""
    from harness.cloud.service import paging

    bound = paging._bound(CORE, "ListThings", {})
    text = json.dumps([paging._seal(bound, after), *after], separators=(",", ":"))
    with pytest.raises(ApiError, match="NextToken"):
        turn(range(9), base64.urlsafe_b64encode(text.encode()).decode())


def test_tokens_of_the_service_are_not_exchangeable(core: Any) -> None:
    for index in range(3):
        core.call("ProvisionDevice", Name=f"device-{index}")
        core.call("CreatePackage", PackageName=f"package-{index}")
    token = core.call("ListDevices", MaxResults=1)["NextToken"]
    for operation, more in (
        ("ListPackages", {}),
        ("ListDevices", {"SortBy": "NAME"}),
        ("ListDevices", {"NameFilter": "device"}),
        ("ListNodes", {}),
    ):
        with pytest.raises(ApiError, match="ValidationException"):
            core.call(operation, NextToken=token, **more)
    rest = core.call("ListDevices", NextToken=token)["Devices"]
    assert len(rest) == 2
