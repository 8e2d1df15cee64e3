"""A product region of three cells in one account, whose handlers call each other as their public hosts would."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any
from urllib.parse import urlsplit

from audit.handlers.common import aws, directory
from audit.handlers.ingest import session
from audit.handlers.query import api
from audit.handlers.router import api as router
from audit.handlers.router import calls, reads
from audit.handlers.router.calls import Answer, Out
from tests.audit.documents import conforms
from tests.audit.support import Answer as Told
from tests.audit.support import AuditCell, create_storage, event

ENDPOINT = "us.audit.example"
FAILOVER = {"us-1": "us-2", "us-2": "us-1", "us-big": None}
SERVICES = {"events": session.handler, "query": api.handler}
Spoil = Callable[[str, str, str], Answer | None]  # cell, service, "<METHOD> <path>": what is answered instead


@dataclass
class Place:
    """A cell's own names, and its process's copy of the directory."""

    cell: AuditCell
    environment: dict[str, str]
    copy: directory.Copy = field(default_factory=directory.Copy)


@dataclass
class ProductRegion:
    """The cells us-1 and us-2, which are partners, and us-big, nested and without one."""

    places: dict[str, Place]
    applications: dict[str, Any] = field(default_factory=dict)
    partners: dict[str, str | None] = field(default_factory=lambda: dict(FAILOVER))
    earlier: dict[str, list[str]] = field(default_factory=dict)
    out: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: list[Mapping[str, str]] = field(default_factory=list)
    spoil: Spoil = lambda *_: None
    _processed: set[tuple[str, str]] = field(default_factory=set)
    _lock: Any = field(default_factory=RLock)

    @contextmanager
    def at(self, name: str) -> Iterator[AuditCell]:
        """In that cell."""
        place = self.places[name]
        with self._lock:
            before = {key: os.environ.get(key) for key in place.environment}
            os.environ.update(place.environment)
            try:
                with directory.copied_to(place.copy):
                    yield place.cell
            finally:
                os.environ.update({key: value for key, value in before.items() if value is not None})

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What a public host answers."""
        parts = urlsplit(url)
        assert parts.scheme == "https"
        assert parts.hostname is not None
        service, cell, rest = parts.hostname.split(".", 2)
        assert rest == ENDPOINT
        route = f"{method} {parts.path}"
        self.asked.append((cell, route))
        self.sent.append(headers)
        if cell in self.out:
            raise Out("nobody there")
        if spoilt := self.spoil(cell, service, route):
            return spoilt
        http = {"http": {"method": method}}
        asked = {
            "rawPath": parts.path,
            "rawQueryString": parts.query,
            "headers": headers,
            "body": body.decode(),
        }
        with self.at(cell):
            answer: Any = SERVICES[service]({**asked, "requestContext": http}, None)
        return Answer(answer["statusCode"], answer["headers"], answer["body"].encode())

    def key(self, application: str, tenant: str | None = None) -> str:
        """A new key that every cell knows; an application is at home in us-1, and so are its tenants."""
        credential = ",".join(part for part in (application, tenant, f"secret-{os.urandom(4).hex()}") if part)
        told = self.applications.setdefault(application, {"tenants": [], "keys": [], "home": "us-1"})
        entry = {"hash": hashlib.sha256(credential.encode()).hexdigest(), "kind": "application"}
        if tenant:
            entry |= {"kind": "tenant", "tenantId": tenant}
            told["tenants"] = sorted({*told["tenants"], tenant})
        told["keys"].append(entry)
        self.tell()
        return base64.b64encode(credential.encode()).decode()

    def put(self, tenant: str, *places: str, application: str = "acme") -> None:
        """Say where a tenant is at home, and was before."""
        self.applications[application].setdefault("places", {})[tenant] = list(
            dict.fromkeys((*places, "us-1"))
        )
        self.tell()

    def tell(self) -> None:
        """Let every cell know all of it."""
        cells: dict[str, Any] = {
            name: {"failover": partner} if partner else {} for name, partner in self.partners.items()
        }
        for name, partners in self.earlier.items():
            cells[name]["earlier"] = partners
        content = {"applications": self.applications, "endpoint": ENDPOINT, "cells": cells}
        for place in self.places.values():
            aws.s3().put_object(
                Bucket=place.cell.bucket("config"), Key="directory.json", Body=json.dumps(content).encode()
            )
            place.copy.forget()
        directory.forget()

    def call(
        self, route: str, key: str | None = None, *, body: object = None, headers: Any = None, **query: object
    ) -> Told:
        """What the router of us-2 answers: it conforms to the document of the service that is asked."""
        method, path = route.split(" ")
        told = self.ask(route, key, body=body, headers=headers, **query)
        ingest = path.startswith(("/applications", "/v1/rejected")) or (method, path) == (
            "POST",
            "/v1/events",
        )
        conforms(SERVICES["events" if ingest else "query"], route, told.status, told.body)
        return told

    def ask(self, route: str, key: str | None = None, **how: Any) -> Told:
        """What the router of us-2 answers."""
        return self.places["us-2"].cell.call_only(router.handler, route, key, **how)

    def post(self, key: str, *tenants: str, once: str = "", **more: object) -> Told:
        """Post an event of each tenant, a second apart."""
        events = [event(tenant, second, **more) for second, tenant in enumerate(tenants)]
        return self.call(
            "POST /v1/events", key, body=events, headers={"Idempotency-Key": once} if once else {}
        )

    def process(self) -> None:
        """Archive and index what has landed anywhere since the last time."""
        for name in self.places:
            with self.at(name) as cell:
                new = [key for key in cell.landed() if (name, key) not in self._processed]
                if new:
                    cell.process(*new)
                self._processed |= {(name, key) for key in new}

    def landed(self) -> dict[str, int]:
        """How many objects have landed in each cell that has any."""
        counts = {name: len(place.cell.landed()) for name, place in self.places.items()}
        return {name: count for name, count in counts.items() if count}

    def everything(self, key: str, **asked: object) -> list[str]:
        """The ids of all that a tenant reads, page after page."""
        found, cursor = list[str](), None
        while True:
            page = self.call("GET /v1/events", key, **asked, **({"cursor": cursor} if cursor else {}))
            assert page.status == 200, page.body
            assert "incomplete" not in page.body
            found += [one["eventId"] for one in page.body["events"]]
            cursor = page.body["cursor"]
            if cursor is None:
                return found


def make_region(first: AuditCell, environment: Mapping[str, str]) -> ProductRegion:
    """The region, of a cell that is there and two made beside it."""
    places = {"us-1": Place(first, {**environment, "CELL": "us-1"})}
    for name in ("us-2", "us-big"):
        cell = AuditCell(f"{first.account}-{name}")
        create_storage(
            cell, name, ("config", "landing", "archive"), {"index": ["pk", "sk"], "limits": ["pk"]}
        )
        places[name] = Place(
            cell,
            {
                "CELL": name,
                "CONFIG_BUCKET": cell.bucket("config"),
                "LANDING_BUCKET": cell.bucket("landing"),
                "ARCHIVE_BUCKET": cell.bucket("archive"),
                "INDEX_TABLE": f"{name}-index",
                "LIMITS_TABLE": f"{name}-limits",
            },
        )
    calls.forget()
    reads.forget()
    return ProductRegion(places)
