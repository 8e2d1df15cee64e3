"""A viewer as a browser without a script has it: links, pages, and what can be read on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from audit.handlers.query import api
from audit.handlers.query.viewer.html import VOID
from tests.audit.support import Answer, AuditCell

HOST = "query.eu.audit.example"


def make_link(cell: AuditCell, key: str, tenant: str = "t1", **asked: object) -> str:
    """The URL of a new link to a tenant's viewer."""
    answer = ask_link(cell, key, tenantId=tenant, **asked)
    assert answer.status == 201, answer.body
    return str(answer.body["url"])


def ask_link(cell: AuditCell, key: str | None, **asked: object) -> Answer:
    """What is answered to who asks for a link."""
    return cell.call(api.handler, "POST /v1/viewer-links", key, body=asked, headers={"host": HOST})


def get(cell: AuditCell, url: str, *, method: str = "GET", body: object = None) -> Answer:
    """What is answered to a browser that goes to a URL."""
    parts = urlsplit(url)
    query: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    # A word that ends with an underscore is one of Python's.
    asked = {f"{name}_": value for name, value in query.items()}
    return cell.call(api.handler, f"{method} {parts.path}", body=body, **asked)


def click(url: str, answer: Answer, text: str) -> str:
    """Where the link of a page leads that reads so."""
    (to,) = {href for href, words in Seen.of(answer).links if words == text}
    return urljoin(url, to)


@dataclass
class Seen(HTMLParser):
    """A page: its elements (name, attributes), its links, and all its text."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    _link: tuple[str, int] | None = None

    @classmethod
    def of(cls, answer: Answer) -> Seen:
        """The page of an answer; AssertionError when an element is not closed."""
        assert answer.headers["content-type"] == "text/html; charset=utf-8", answer
        page = cls()
        HTMLParser.__init__(page)
        page.feed(answer.body)
        page.close()
        assert page.open == []
        return page

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(self.texts)

    def having(self, name: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of the elements of that name that have these."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [found for tag, found in self.elements if tag == name and wanted.items() <= found.items()]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Of the parser."""
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a":
            self._link = (found.get("href", ""), len(self.texts))

    def handle_endtag(self, tag: str) -> None:
        """Of the parser."""
        assert self.open.pop() == tag
        if tag == "a" and self._link:
            self.links.append((self._link[0], "".join(self.texts[self._link[1] :])))

    def handle_data(self, data: str) -> None:
        """Of the parser."""
        self.texts.append(data)
