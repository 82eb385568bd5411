"""Keys and roles of IAM, with all policies that apply to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.iam.models import iam_backends

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTITION = "aws"


def find_key(key: str) -> dict[str, Any] | None:
    """An active access key of a user: its secret, whose it is and what that user may."""
    for account, backends in list(iam_backends.items()):
        backend = backends[PARTITION]
        for user in list(backend.users.values()):
            for held in user.access_keys:
                if held.access_key_id == key and held.status == "Active":
                    groups = backend.get_groups_for_user(user.name)
                    return {
                        "account": account,
                        "arn": user.arn,
                        "user_id": user.id,
                        "secret": held.secret_access_key,
                        "policies": _documents([user, *groups]),
                    }
    return None


def find_role(arn: str) -> dict[str, Any] | None:
    """A role: who may take it on, and what it may then do."""
    account = arn.split(":")[4] if arn.count(":") >= 5 else ""
    if account not in iam_backends:
        return None
    for role in iam_backends[account][PARTITION].roles.values():
        if role.arn == arn:
            return {
                "id": role.id,
                "trust": role.assume_role_policy_document,
                "policies": _documents([role]),
            }
    return None


def _documents(holders: Iterable[Any]) -> list[str]:
    """Inline and attached policies as JSON texts."""
    found: list[str] = []
    for holder in holders:
        found += holder.policies.values()
        for policy in holder.managed_policies.values():
            found += [version.document for version in policy.versions if version.is_default]
    return found
