"""Users and roles of IAM as the endpoint needs them, remembered until something in IAM changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.cloud.access.keyring import AccessKey, Principal
from harness.cloud.access.policy import Policy, read_policy
from harness.errors import Corrupt

if TYPE_CHECKING:
    from harness.cloud.neighbour.process import Neighbours

REMEMBERED_MAX = 1000
_NOBODY = Policy(())


@dataclass(frozen=True, slots=True)
class Role:
    """`trust` says who may take the role on."""

    id: str
    trust: Policy
    policies: tuple[Policy, ...]


class Directory:
    """Asks the neighbours, and only if they know anything: else there is no user and no role."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._keys: dict[str, AccessKey | None] = {}
        self._roles: dict[str, Role | None] = {}

    def forget(self) -> None:
        """Something in IAM may have changed."""
        self._keys.clear()
        self._roles.clear()

    async def key(self, key_id: str) -> AccessKey | None:
        """An active access key of a user."""
        if not self._neighbours.known:
            return None
        if key_id not in self._keys:
            _make_room(self._keys)
            found = await self._neighbours.ask("key", key=key_id)
            self._keys[key_id] = _access_key(key_id, found) if found is not None else None
        return self._keys[key_id]

    async def role(self, arn: str) -> Role | None:
        if not self._neighbours.known:
            return None
        if arn not in self._roles:
            _make_room(self._roles)
            found = await self._neighbours.ask("role", arn=arn)
            self._roles[arn] = _role(found) if found is not None else None
        return self._roles[arn]

    async def current(self, principal: Principal) -> Principal:
        """With the policies that a session's role has now; one without its role has none."""
        if not principal.role:
            return principal
        role = await self.role(principal.role)
        return replace(principal, policies=role.policies if role is not None else ())


def _make_room(remembered: dict[str, Any]) -> None:
    if len(remembered) >= REMEMBERED_MAX:
        remembered.clear()


def _access_key(key_id: str, found: dict[str, Any]) -> AccessKey:
    policies = tuple(map(_policy, found["policies"]))
    who = Principal(found["account"], found["arn"], found["user_id"], policies)
    return AccessKey(key_id, found["secret"], who)


def _role(found: dict[str, Any]) -> Role:
    return Role(found["id"], _policy(found["trust"]), tuple(map(_policy, found["policies"])))


def _policy(document: str) -> Policy:
    """What cannot be read allows nothing."""
    try:
        return read_policy(document)
    except Corrupt:
        return _NOBODY
