"""What AWS's policy documents say: who may, and what. Pure.

Of their elements: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html. Names of elements,
actions and condition keys are taken in any case, so that none is overlooked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cellwave.isolation.known import DATA_WRITES, GIVES_CREDENTIALS, READS, WITHOUT_RESOURCE
from cellwave.isolation.opened import listed, mappings
from cellwave.states import UNKNOWN

NARROWING = ("stringequals", "stringlike", "arnequals", "arnlike", "stringequalsignorecase")
OF_ACCOUNTS = ("aws:sourceaccount", "aws:principalaccount", "aws:sourceowner", "kms:calleraccount")
OF_ARNS = ("aws:sourcearn", "aws:principalarn")
OF_RESOURCES = ("aws:resourceaccount", "s3:resourceaccount")
CONTEXT = re.compile("kms:encryptioncontext:.*:arn")  # what a service encrypts for
ACCOUNT = re.compile("[0-9]{12}")
OWNED = re.compile("arn:[^:]*:(?:s3:::|[^:]*:[^:]*:[0-9]{12}:)")


@dataclass(frozen=True)
class Statement:
    """A statement that allows something. `principals` are (kind, value), None in the policy of an identity; `actions`
    are None where it allows all but some."""

    principals: tuple[tuple[str, str], ...] | None
    actions: tuple[str, ...] | None
    resources: tuple[str, ...]
    conditions: Mapping[str, Any]

    def is_narrowed_to(self, account: str) -> bool:
        """Whether a condition leaves no caller but one of the account, or for something of it."""
        return any(
            (key in OF_ACCOUNTS and set(values) == {account})
            or (key in OF_ARNS and all(v.split(":")[4:5] == [account] for v in values))
            for key, values in self._narrowing()
        )

    def is_for_resources_of(self, account: str) -> bool:
        """Whether a condition leaves an identity no resource but the account's."""
        return any(key in OF_RESOURCES and set(values) == {account} for key, values in self._narrowing())

    @property
    def sources(self) -> tuple[list[str], list[str]]:
        """The accounts, and the ARNs, that it is for; those of a condition that may stand for any are left out.

        An ARN names its account, but for a bucket's.
        """
        accounts, arns = [], []
        for key, values in self._narrowing():
            if key in OF_ACCOUNTS and all(v == UNKNOWN or ACCOUNT.fullmatch(v) for v in values):
                accounts += values
            if (key in OF_ARNS or CONTEXT.fullmatch(key)) and all(
                v == UNKNOWN or OWNED.match(v) for v in values
            ):
                arns += values
        return accounts, arns

    def _narrowing(self) -> Iterator[tuple[str, list[str]]]:
        """Condition keys that must be there, in small letters, and the values that each may have."""
        for operator, keys in self.conditions.items():
            if operator.lower() in NARROWING and isinstance(keys, Mapping):
                for key, given in keys.items():
                    if values := [str(value) for value in listed(given)]:
                        yield str(key).lower(), values


def statements(value: Any) -> Iterator[Statement | None]:
    """The allowing statements of every policy document inside of opened inputs; None for one that can't be read."""
    for document in mappings(value):
        for key, inner in document.items():
            if str(key).lower() == "statement":
                yield from map(_statement, (s for s in listed(inner) if not _denies(s)))


def changes_infrastructure(action: str) -> bool:
    """Whether an action (or any that a pattern stands for) does more than read, or write data. What is not known as
    either does."""
    service, _, verb = action.lower().partition(":")
    literal = verb.split("*")[0].split("?")[0]
    if not literal or any(fnmatchcase(known, action.lower()) for known in GIVES_CREDENTIALS):
        return True
    if literal.startswith(READS):
        return False
    return literal != verb or verb not in DATA_WRITES.get(service, ())


def has_no_resource(action: str) -> bool:
    """Whether an action (or all that a pattern stands for) is of the caller's account, and can name no resource."""
    service, _, verb = action.lower().partition(":")
    return any(fnmatchcase(verb, known) for known in WITHOUT_RESOURCE.get(service, ()))


def _denies(statement: Any) -> bool:
    return isinstance(statement, Mapping) and any(
        str(key).lower() == "effect" and value == "Deny" for key, value in statement.items()
    )


def _statement(found: Any) -> Statement | None:
    if not isinstance(found, Mapping):
        return None
    parts = {str(key).lower(): value for key, value in found.items()}
    conditions = parts.get("condition") or {}
    if not isinstance(conditions, Mapping):
        return None
    return Statement(
        principals=_principals(parts),
        actions=tuple(map(str, listed(parts["action"]))) if "action" in parts else None,
        resources=tuple(map(str, listed(parts.get("resource"))))
        or (("*",) if "notresource" in parts else ()),
        conditions=conditions,
    )


def _principals(parts: Mapping[str, Any]) -> tuple[tuple[str, str], ...] | None:
    if "notprincipal" in parts:
        return (("all but", str(parts["notprincipal"])),)
    given = parts.get("principal")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return tuple(("aws", str(value)) for value in listed(given))
    return tuple(
        (str(kind).lower(), str(value)) for kind, values in given.items() for value in listed(values)
    )
