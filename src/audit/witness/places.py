"""Where a witness is asked: at a URL, or by what is laid in a folder or a bucket and answered there.

A request lies under `<SHA-256 of the origin>.request`, and its answer under `….answer`: a line with the status and the
request's SHA-256, then the lines of the answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import boto3
import httpx
from botocore.exceptions import ClientError

from audit.witness.protocol import Answer, Request
from audit.witness.witness import hash_of
from cellwave.errors import BadInput

SECONDS = 10.0  # that a URL may take
REQUEST, ANSWER = ".request", ".answer"

Answering = Callable[[str], Answer]


class Place(Protocol):
    """Where a witness is asked."""

    def ask(self, origin: str, request: Request) -> Answer | None:
        """What it answers; None when it has not yet. Raises OSError, or the errors of httpx and botocore."""

    def asked(self, origin: str) -> Request | None:
        """What it was asked last, if that is known there."""


class Box(Protocol):
    """Names, and what lies under them."""

    def get(self, name: str) -> str | None:
        """What lies there; None for nothing."""

    def put(self, name: str, content: str) -> None:
        """In the place of what lies there."""

    def names(self) -> Iterable[str]:
        """Of all that lies there."""


@dataclass(frozen=True)
class Url:
    """A witness that answers by HTTP."""

    prefix: str

    def ask(self, origin: str, request: Request) -> Answer | None:
        """At once."""
        answer = httpx.post(f"{self.prefix}/add-checkpoint", content=request.text.encode(), timeout=SECONDS)
        return Answer(answer.status_code, answer.text)

    def asked(self, origin: str) -> Request | None:
        """Who is answered at once need not remember."""
        return None


@dataclass(frozen=True)
class Folder:
    """A box of files."""

    path: Path

    def get(self, name: str) -> str | None:
        """As it lies there."""
        try:
            return (self.path / name).read_text(errors="replace")
        except FileNotFoundError:
            return None

    def put(self, name: str, content: str) -> None:
        """Whole or not at all."""
        new = self.path / f"{name}.new"
        new.write_text(content)
        new.replace(self.path / name)

    def names(self) -> Iterable[str]:
        """Of its files."""
        return sorted(path.name for path in self.path.iterdir() if path.is_file())


@dataclass(frozen=True)
class Bucket:
    """A box of objects."""

    s3: Any
    bucket: str
    prefix: str

    def get(self, name: str) -> str | None:
        """As it lies there."""
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=self.prefix + name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return str(answer["Body"].read().decode(errors="replace"))

    def put(self, name: str, content: str) -> None:
        """Whole or not at all."""
        self.s3.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=content.encode())

    def names(self) -> Iterable[str]:
        """Of the objects below the prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        for page in pages:
            yield from (found["Key"].removeprefix(self.prefix) for found in page.get("Contents", ()))


@dataclass(frozen=True)
class Mailbox:
    """A witness that answers what it finds in a box, when it looks."""

    box: Box

    def ask(self, origin: str, request: Request) -> Answer | None:
        """The answer to that request, if it lies there; the request does from now on."""
        name, asked = hash_of(origin), _digest(request.text)
        head, _, body = (self.box.get(name + ANSWER) or "").partition("\n")
        status, _, answered = head.partition(" ")
        if answered == asked and status.isascii() and status.isdigit():
            return Answer(int(status), body)
        if self.box.get(name + REQUEST) != request.text:
            self.box.put(name + REQUEST, request.text)
        return None

    def asked(self, origin: str) -> Request | None:
        """The request that lies there."""
        try:
            return Request.parse(self.box.get(hash_of(origin) + REQUEST) or "")
        except ValueError:
            return None


def answer_all(box: Box, answering: Answering) -> int:
    """Answer all requests in a box that have no answer yet; how many."""
    count = 0
    for name in [*box.names()]:
        request = box.get(name) if name.endswith(REQUEST) else None
        if request is None:
            continue
        place, asked = name.removesuffix(REQUEST) + ANSWER, _digest(request)
        if (box.get(place) or "").partition("\n")[0].endswith(f" {asked}"):
            continue
        answer = answering(request)
        box.put(place, f"{answer.status} {asked}\n{answer.body}")
        count += 1
    return count


def box_of(text: str, where: str) -> Box:
    """The box at `s3://BUCKET/PREFIX`, or in the folder of that path; BadInput when that can be neither."""
    if text.startswith("s3://"):
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        return Bucket(boto3.client("s3"), bucket, f"{prefix.rstrip('/')}/" if prefix else "")
    if not Path(text).is_dir():
        raise BadInput(where, f"found {text!r}", "s3://BUCKET/PREFIX, or a folder that is there")
    return Folder(Path(text))


def place_of(text: str, where: str) -> Place:
    """The place at an http(s) URL or in a box; BadInput when it can be none."""
    return Url(text.rstrip("/")) if text.startswith(("https://", "http://")) else Mailbox(box_of(text, where))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
