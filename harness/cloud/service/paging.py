"""Pages of listings, and the tokens that lead from one to the next.

A token names the last entry of its page by what the listing is sorted by, so entries that come or
go in between neither repeat others nor hide them. It is good for the same listing with the same
filters in the same account and region; any other token is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from harness.cloud.api.error import validation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.cloud.api.error import ApiError
    from harness.cloud.service.core import Answer, Core, Parameters

T = TypeVar("T")
Key: TypeAlias = "tuple[str | float, ...]"  # unique in its listing, of one form in all of it

PAGE_MAX = 25  # MaxSize25
_APART = ("NextToken", "MaxResults")  # what pages of one listing may differ in


def page(
    core: Core,
    listing: str,
    parameters: Parameters,
    items: Iterable[T],
    key: Callable[[T], Key],
    show: Callable[[T], Answer],
    *,
    descending: bool = False,
) -> tuple[list[Answer], str | None]:
    """One page of `items`, sorted by `key`, and the token of the next page, if there is one.

    `listing` is the operation's name. Raises a ValidationException for a token that is not one
    of this listing.
    """
    ordered = sorted(items, key=key, reverse=descending)
    token = parameters.get("NextToken")
    if token is not None:
        after = _read(_bound(core, listing, parameters), token)
        ordered = [item for item in ordered if _follows(key(item), after, descending=descending)]
    size = parameters.get("MaxResults") or PAGE_MAX
    shown = [show(item) for item in ordered[:size]]
    if size >= len(ordered):
        return shown, None
    return shown, _write(_bound(core, listing, parameters), key(ordered[size - 1]))


def by_creation(record: Any) -> Key:
    """The order of most listings: as created, oldest first."""
    return (record.created_s, record.id)


def _bound(core: Core, listing: str, parameters: Parameters) -> str:
    """What a token is bound to."""
    filters = {name: value for name, value in parameters.items() if name not in _APART}
    return json.dumps([core.account, core.region, listing, filters], sort_keys=True)


def _seal(bound: str, after: Any) -> str:
    return hashlib.sha256(f"{bound} {json.dumps(after)}".encode()).hexdigest()[:16]


def _write(bound: str, after: Key) -> str:
    text = json.dumps([_seal(bound, after), *after], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read(bound: str, token: str) -> Key:
    try:
        seal, *after = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        if seal == _seal(bound, after):
            return tuple(after)
    except (ValueError, TypeError, RecursionError):
        pass
    raise _unknown()


def _follows(key: Key, after: Key, *, descending: bool) -> bool:
    try:
        return key < after if descending else key > after
    except TypeError:  # a token made by hand
        raise _unknown() from None


def _unknown() -> ApiError:
    message = "NextToken is not one that this listing, with these filters, gave out."
    return validation(message, [("NextToken", "is unknown")])
