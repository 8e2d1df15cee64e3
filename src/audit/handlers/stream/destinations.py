"""Where a stream goes: what may be said of it, and what is wrong with what may not. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from audit.handlers.common.events import Problem
from audit.handlers.common.exact import write
from audit.handlers.stream.guard import place_of

Kind = Literal["s3", "splunk", "datadog", "https"]
SITES = (
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "datadoghq.eu",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "ddog-gov.com",
)


@dataclass(frozen=True)
class Field:
    """What stands in a field: the words and the pattern of what is right, or a check that says no by ValueError.

    One that is `secret` is written only: it is kept encrypted, and never answered. One that is `unsaid` where it was
    not said is not shown.
    """

    expected: str
    pattern: str = ".*"
    check: Callable[[str], object] = lambda _: None
    secret: bool = False
    default: str | None = None
    unsaid: bool = False


_URL = Field("an https:// URL of at most 2048 characters", ".{1,2048}", place_of)
_FORMAT = Field("ocsf, for events as OCSF's API Activity (1.9.0)", "(ocsf)?", default="", unsaid=True)
FIELDS: Mapping[Kind, Mapping[str, Field]] = {
    "s3": {
        "bucket": Field("the name of an S3 bucket", r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        "prefix": Field(
            "the beginning of object names: at most 512 of A-Z a-z 0-9 ! - _ . / = +",
            r"(?!/)[A-Za-z0-9!_./=+-]{0,512}",
            default="",
        ),
        "region": Field("an AWS region such as eu-west-1", r"[a-z]{2,4}(-[a-z]+){1,2}-[0-9]"),
        "roleArn": Field(
            "the ARN of a role that lets this service in by your external id",
            r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,576}",
        ),
        "format": _FORMAT,
    },
    "splunk": {
        "url": _URL,
        "token": Field("the token of an HTTP event collector", "[!-~]{1,512}", secret=True),
        "format": _FORMAT,
    },
    "datadog": {
        "site": Field(f"one of {', '.join(SITES)}", "|".join(map(re.escape, SITES))),
        "apiKey": Field("an API key: 32 of 0-9 a-f", "[0-9a-f]{32}", secret=True),
        "format": _FORMAT,
    },
    "https": {"url": _URL, "format": _FORMAT},
}
SECRET_OF: Mapping[Kind, str] = {"splunk": "token", "datadog": "apiKey"}  # https has one that is made for it


def problems(kind: Kind, found: Mapping[str, Any]) -> Iterator[Problem]:
    """All that is wrong with what is said of a destination of that kind."""
    fields = FIELDS[kind]
    for name in found:
        if name not in fields:
            # What it is nobody knows: it may be a secret.
            yield Problem(f"destination.{name}"[:100], "(not shown)", f"one of {', '.join(fields)}")
    for name, field in fields.items():
        value = found.get(name, field.default)
        if value is None:
            yield Problem(f"destination.{name}", "nothing", field.expected)
        elif not isinstance(value, str) or not re.fullmatch(field.pattern, value, re.ASCII):
            yield Problem(
                f"destination.{name}", "(not shown)" if field.secret else _shown(value), field.expected
            )
        else:
            try:
                field.check(value)
            except ValueError as error:
                yield Problem(f"destination.{name}", _shown(value), str(error))


def parted(kind: Kind, found: Mapping[str, str]) -> tuple[dict[str, str], str | None]:
    """What may be shown of a destination, its defaults too, and its secret. None: none was said."""
    fields = FIELDS[kind]
    shown = {
        name: field
        for name, field in fields.items()
        if not field.secret and not (field.unsaid and name not in found)
    }
    told = {name: found.get(name, field.default or "") for name, field in shown.items()}
    return told, found.get(SECRET_OF.get(kind, ""))


def _shown(value: object) -> str:
    return write(value)[:80]
