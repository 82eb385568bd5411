"""IAM policies evaluated: an explicit Deny wins, then an Allow, and without either it is denied.

Understood are Effect, Action, NotAction, Resource, NotResource, Principal (of trust policies) and
the conditions listed in `_OPERATORS`, with `*`, `?` and the variables of the request's context.
A condition that is not understood never lets anything through: it fails an Allow and meets a
Deny. Permission boundaries, session policies, policies of resources and of organizations are not
evaluated.

Source: AWS IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements".
"""

from __future__ import annotations

import fnmatch
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DOCUMENT_BYTES_MAX = 131_072
ANY = "*"
_PATTERNS_MAX = 4096
_VARIABLE = re.compile(r"\$\{([^}]{1,128})\}")


@dataclass(frozen=True, slots=True)
class Query:
    """May `action` be done to `resource`? `context` holds condition keys, lower case."""

    action: str
    resource: str = ANY
    context: Mapping[str, str] = field(default_factory=dict)
    principal: str = ""  # of a trust policy: an ARN, an account or a service


@dataclass(frozen=True, slots=True)
class Statement:
    allow: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    principals: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]  # operator, key, values

    def applies(self, query: Query) -> bool:
        return (
            self._action(query.action)
            and self._resource(query)
            and (not self.principals or _any(self.principals, query.principal))
            and all(_holds(query, self.allow, *one) for one in self.conditions)
        )

    def _action(self, action: str) -> bool:
        if self.not_actions:
            return not _any(self.not_actions, action, fold=True)
        return _any(self.actions, action, fold=True)

    def _resource(self, query: Query) -> bool:
        if self.not_resources:
            return not any(_matches(_filled(p, query), query.resource) for p in self.not_resources)
        if not self.resources:  # a trust policy is about the role it stands in
            return True
        return any(_matches(_filled(p, query), query.resource) for p in self.resources)


@dataclass(frozen=True, slots=True)
class Policy:
    statements: tuple[Statement, ...]


def read_policy(document: str | bytes | Mapping[str, Any]) -> Policy:
    """A policy from its JSON. Raises `Corrupt` when it is none."""
    if not isinstance(document, Mapping):
        if len(document) > DOCUMENT_BYTES_MAX:
            raise Corrupt(f"policy: larger than {DOCUMENT_BYTES_MAX} bytes")
        try:
            document = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise Corrupt(f"policy: not JSON: {error}") from None
    statements = document.get("Statement") if isinstance(document, Mapping) else None
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list) or not all(isinstance(one, Mapping) for one in statements):
        raise Corrupt("policy: no Statement", hint='it needs {"Statement": [{"Effect": ...}]}')
    return Policy(tuple(_statement(one) for one in statements))


def permits(policies: Sequence[Policy], query: Query) -> bool:
    allowed = False
    for policy in policies:
        for statement in policy.statements:
            if statement.applies(query):
                if not statement.allow:
                    return False
                allowed = True
    return allowed


def _statement(entry: Mapping[str, Any]) -> Statement:
    if entry.get("Effect") not in ("Allow", "Deny"):
        raise Corrupt("policy: Effect of a statement must be Allow or Deny")
    conditions = tuple(
        (str(operator), str(key).lower(), _texts(values))
        for operator, keys in _mapping(entry.get("Condition")).items()
        for key, values in _mapping(keys).items()
    )
    return Statement(
        entry["Effect"] == "Allow",
        _texts(entry.get("Action")),
        _texts(entry.get("NotAction")),
        _texts(entry.get("Resource")),
        _texts(entry.get("NotResource")),
        _principals(entry.get("Principal")),
        conditions,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(_text, value)) if isinstance(value, list) else (_text(value),)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _principals(value: Any) -> tuple[str, ...]:
    """Every principal as it is matched: an account's root stands for all of the account."""
    if isinstance(value, str):
        return (value,)
    names = [name for listed in _mapping(value).values() for name in _texts(listed)]
    roots = [f"arn:aws:*::{name[13:25]}:*" for name in names if name.endswith(":root")]
    accounts = [f"arn:aws:*::{name}:*" for name in names if re.fullmatch(r"\d{12}", name)]
    return (*names, *roots, *accounts)


# --- matching ------------------------------------------------------------------------------


def _any(patterns: Sequence[str], text: str, *, fold: bool = False) -> bool:
    return any(_matches(pattern, text, fold=fold) for pattern in patterns)


def _matches(pattern: str, text: str, *, fold: bool = False) -> bool:
    return pattern == ANY or _compiled(pattern, fold).fullmatch(text) is not None


@functools.lru_cache(maxsize=_PATTERNS_MAX)
def _compiled(pattern: str, fold: bool) -> re.Pattern[str]:
    """Shell patterns as Python compiles them, whose stars do not backtrack, without classes."""
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")), re.IGNORECASE if fold else 0)


def _filled(pattern: str, query: Query) -> str:
    """Policy variables replaced; one that the request does not have matches nothing."""
    if "${" not in pattern:
        return pattern
    literal = {"*": "*", "?": "?", "$": "$"}
    return _VARIABLE.sub(
        lambda found: literal.get(found[1]) or query.context.get(found[1].lower()) or "\0",
        pattern,
    )


def _equal(value: str, wanted: str) -> bool:
    return value == wanted


def _equal_folded(value: str, wanted: str) -> bool:
    return value.lower() == wanted.lower()


def _like(value: str, wanted: str) -> bool:
    return _matches(wanted, value)


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": _equal,
    "StringEqualsIgnoreCase": _equal_folded,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": _equal_folded,
}


def _holds(query: Query, allow: bool, operator: str, key: str, wanted: tuple[str, ...]) -> bool:
    name = operator.removesuffix("IfExists")
    value = query.context.get(key)
    if name == "Null":
        return (value is None) == (wanted == ("true",))
    if value is None and name != operator:
        return True
    negated = name.replace("Not", "", 1) if "Not" in name else None
    compare = _OPERATORS.get(negated or name)
    if compare is None:
        return not allow
    if value is None:
        return negated is not None
    found = any(compare(value, _filled(one, query)) for one in wanted)
    return found != (negated is not None)
