"""Access keys and whom they stand for: root keys, role sessions, and keys that others keep.

Root keys and sessions are made here. Keys of IAM users and of sessions that STS gave out are in
the neighbouring services, which are asked by whoever finds no key here.
"""

from __future__ import annotations

import re
import secrets
import string
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.cloud.access.policy import Policy

SESSIONS_MAX = 10_000
SESSION_S = 3600.0  # of role credentials, as AWS gives them by default
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_KEY = re.compile(r"\w{16,128}", re.ASCII)
_ID_ALPHABET = string.ascii_uppercase + "234567"
_SECRET_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH_MIN = 8


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `policies` None: the root of its account, who may do everything in it.

    `role` is the ARN of the role that a session acts in: its policies are looked up with every
    request. `limit` is a policy that a session may not go beyond.
    """

    account: str
    arn: str
    user_id: str
    policies: tuple[Policy, ...] | None = None
    role: str = ""
    limit: Policy | None = None


@dataclass(frozen=True, slots=True)
class AccessKey:
    """`token` and `expires_s` (wall clock, seconds since the epoch) are those of a session."""

    id: str
    secret: str = field(repr=False)
    principal: Principal
    token: str | None = field(default=None, repr=False)
    expires_s: float | None = None


class Keyring:
    """The keys that were made here, by id. Sessions are bounded: the oldest give way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._roots: dict[str, AccessKey] = {}
        self._sessions: OrderedDict[str, AccessKey] = OrderedDict()

    def add_root(self, account: str, key_id: str = "", secret: str = "") -> AccessKey:
        """A key of the account's root; drawn unless given. Raises `InputError`."""
        if not _ACCOUNT.fullmatch(account):
            raise InputError(f"account {account!r}", hint="an account is twelve digits")
        key_id, secret = key_id or new_key_id("AKIA"), secret or new_secret()
        if not _KEY.fullmatch(key_id):
            raise InputError(
                f"access key {key_id!r}", hint="16 to 128 letters, digits and underscores"
            )
        if len(secret) < _SECRET_LENGTH_MIN:
            raise InputError(
                f"access key {key_id}: its secret is too short",
                hint=f"give at least {_SECRET_LENGTH_MIN} characters",
            )
        if key_id in self._roots:
            raise InputError(f"access key {key_id} is given twice", hint="ids must differ")
        principal = Principal(account, f"arn:aws:iam::{account}:root", account)
        key = self._roots[key_id] = AccessKey(key_id, secret, principal)
        return key

    def add_session(self, principal: Principal, duration_s: float = SESSION_S) -> AccessKey:
        """Temporary credentials, valid by the wall clock."""
        if len(self._sessions) >= SESSIONS_MAX:
            self._sessions.popitem(last=False)
        key_id, expires_s = new_key_id("ASIA"), self._clock() + duration_s
        key = AccessKey(key_id, new_secret(), principal, new_secret(160), expires_s)
        self._sessions[key_id] = key
        return key

    def find(self, key_id: str) -> AccessKey | None:
        return self._roots.get(key_id) or self._sessions.get(key_id)

    def root(self, account: str) -> AccessKey:
        """The first root key of an account that has one."""
        return next(key for key in self.roots if key.principal.account == account)

    @property
    def roots(self) -> Sequence[AccessKey]:
        """In the order in which they were added."""
        return tuple(self._roots.values())


def session_of(role_arn: str, role_id: str, name: str) -> Principal:
    """Who acts in a role under a name."""
    account, role = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{name}"
    return Principal(account, arn, f"{role_id}:{name}", (), role=role_arn)


def new_key_id(prefix: str) -> str:
    return prefix + "".join(secrets.choice(_ID_ALPHABET) for _ in range(16))


def new_secret(length: int = 40) -> str:
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(length))
