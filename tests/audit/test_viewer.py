"""The pages of the viewer, as a browser without a script has them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.handlers.query import api
from audit.handlers.query.parameters import FILTERS, SPAN
from audit.handlers.query.viewer import htmx
from audit.handlers.query.viewer.details import _tree
from audit.handlers.query.viewer.fields import LABELS, meant
from audit.handlers.query.viewer.html import shown, tag
from audit.handlers.query.viewer.marks import mark_of
from tests.audit.support import Answer, AuditCell, event
from tests.audit.test_properties import values
from tests.audit.viewing import Seen, click, get, make_link

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "</title></textarea></style></script><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "<a href='javascript:alert(1)'>here</a>",
    "<!-- --><![CDATA[<b>]]>",
    "&lt;b&gt;&#60;i&#62;",
    "\u202eevil\u202c\u2066\u0000\u0007\u001b[31m\ufeff\u200b",
    "<div hx-get=/ hx-trigger=load>",
    "<base href=https://evil.example>",
    "<meta http-equiv=refresh content=0;url=https://evil.example>",
    "＜script＞alert(1)＜/script＞",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
)


@pytest.fixture
def viewer(cell: AuditCell) -> str:
    """The URL of a viewer of a tenant that has thirty events."""
    cell.key("acme", "t1")
    cell.land(
        "acme/a.jsonl",
        *(
            event(
                "t1",
                second,
                eventName=("user.created", "file.read", "role.updated", "key.deleted", "ping")[second % 5],
                actor={"id": f"u{second % 3}", "details": {"team": "ops"}},
                resources=[{"id": f"r{second % 4}"}, {"id": "shared"}],
                context={"sourceIpAddress": f"192.0.2.{second}"},
                tags={"env": "prod"},
            )
            for second in range(30)
        ),
    )
    cell.process()
    return make_link(cell, cell.key("acme", scopes=["view"]))


def rows(answer: Answer) -> int:
    """How many events a page lists."""
    return len(Seen.of(answer).having("th", role="rowheader"))


def test_the_list_is_a_table_that_is_read_as_one(cell: AuditCell, viewer: str) -> None:
    """Newest first, with a caption, headers of columns and rows, and times that machines read."""
    page = Seen.of(get(cell, viewer))
    assert "Events of tenant t1, newest first" in page.text
    assert len(page.having("th", scope="col")) == 5
    assert len(page.having("th", scope="row")) == 25
    assert page.having("time")[0]["datetime"] == "2025-03-01T10:00:29.000000Z"
    assert "2025-03-01 10:00:29 UTC" in page.text


def test_older_events_are_reached_and_the_newest_again(cell: AuditCell, viewer: str) -> None:
    """By plain links, with the question kept; on the last page there is no way to older ones."""
    url = f"{viewer}?tag=env%3Aprod"
    first = get(cell, url)
    older = click(url, first, "Older events")
    second = get(cell, older)
    assert (rows(first), rows(second)) == (25, 5)
    assert "5 older events, newest first; there are no others before." in Seen.of(second).text
    with pytest.raises(ValueError, match="not enough"):
        click(older, second, "Older events")
    assert get(cell, click(older, second, "Newest events")).body == first.body


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("eventName=key.deleted&limit=50", 6),
        ("actorId=u1&limit=50", 10),
        ("resourceId=r3", 7),
        ("text=192.0.2.2&limit=50", 11),
        ("tag=env&limit=100", 30),
        ("sourceIp=192.0.2.0/30", 4),
        ("from=2025-03-01T10:00:28&to=", 2),
        ("from=2025-03-01T10:00&to=2025-03-01T10:00:03", 3),
        ("from=2025-03-01T11:00:27%2B01:00", 3),
        ("eventName=&actorId=&text=&from=&to=&limit=25", 25),
        ("actorId=nobody", 0),
    ],
)
def test_the_form_asks_what_the_api_does(cell: AuditCell, viewer: str, query: str, number: int) -> None:
    """Fields that are left empty ask nothing; times without a zone are in UTC; what was asked stands in the fields."""
    answer = get(cell, f"{viewer}?{query}")
    assert (answer.status, rows(answer)) == (200, number)
    name, _, value = query.partition("&")[0].partition("=")
    field = Seen.of(answer).having("input", id=f"f-{name}")[0]
    assert field["value"] == value.replace("%2B", "+")


def test_every_filter_of_the_api_has_a_field_with_a_label() -> None:
    """And there is no other."""
    assert LABELS.keys() == {one.name for one in (*FILTERS, *SPAN)}


def test_what_can_not_be_asked_is_said_at_its_field(cell: AuditCell, viewer: str) -> None:
    """400, in words, with the way to the field, which keeps what was written into it."""
    answer = get(cell, f"{viewer}?sourceIp=192.0.2.256&text=a")
    page = Seen.of(answer)
    assert answer.status == 400
    assert "Source address: found '192.0.2.256', expected an IP address" in page.text
    assert ("#f-sourceIp", "Source address") in page.links
    assert page.having("input", id="f-sourceIp", value="192.0.2.256")
    assert get(cell, f"{viewer}?color=red").status == 400
    assert get(cell, f"{viewer}?cursor=made-up").status == 400


def test_another_tenant_is_asked_for_in_vain(cell: AuditCell, viewer: str) -> None:
    """By a parameter, by an event's address, by another link's cursor."""
    cell.key("acme", "t2")
    cell.land("acme/b.jsonl", event("t2", eventName="secret"))
    cell.process("acme/b.jsonl")
    assert get(cell, f"{viewer}?tenantId=t2").status == 403
    other = make_link(cell, cell.key("acme", scopes=["view"]), "t2")
    page = get(cell, other)
    (secret,) = [href for href, text in Seen.of(page).links if text == "secret"]
    assert get(cell, viewer.replace("/events", f"/{secret}")).status == 404
    cursor = click(viewer, get(cell, viewer), "Older events").partition("cursor=")[2]
    assert get(cell, f"{other}?cursor={cursor}").status == 400
    assert "secret" not in get(cell, viewer).body


def test_an_event_is_shown_whole(cell: AuditCell, viewer: str) -> None:
    """With all its fields as a tree of texts, as JSON, and the way to the events like it and back."""
    listed = f"{viewer}?actorId=u1"
    page = get(cell, listed)
    name, text = next((href, text) for href, text in Seen.of(page).links if text == "user.created")
    at = viewer.rpartition("/")[0] + "/" + name
    shown_ = Seen.of(get(cell, at))
    assert text in shown_.text
    for told in (
        "team",
        "ops",
        "192.0.2.25",
        "shared",
        "2025-03-01T10:00:25Z",
        '"eventName": "user.created"',
    ):
        assert told in shown_.text
    assert rows(get(cell, click(at, get(cell, at), "192.0.2.25"))) == 1
    assert get(cell, click(at, get(cell, at), "Back to events")).body == page.body


@pytest.mark.parametrize(
    "place", ["x", "2025-03-01T10:00:25.000000Z~" + "0" * 32, "2025-03-01T10:00:25.000000Z~..", "~"]
)
def test_an_event_that_is_not_there_is_404(cell: AuditCell, viewer: str, place: str) -> None:
    """As a page."""
    answer = get(cell, f"{viewer}/{place}")
    assert answer.status == 404
    assert "There is no such page" in Seen.of(answer).text


@pytest.mark.parametrize(
    ("name", "tags", "mark"),
    [
        ("user.created", {}, "create"),
        ("CreateUser", {}, "create"),
        ("file_downloaded", {}, "read"),
        ("GET /v1/users", {}, "read"),
        ("GetDeletedItems", {}, "read"),
        ("user.password.reset", {}, "update"),
        ("ROLE_UPDATED", {}, "update"),
        ("sessionsRevoked", {}, "delete"),
        ("removing", {}, "delete"),
        ("login", {}, None),
        ("targeting.settled", {}, None),
        ("login", {"crud": "create"}, "create"),
        ("user.created", {"crud": "D"}, "delete"),
        ("user.created", {"crud": "other"}, "create"),
        ("", None, None),
    ],
)
def test_what_an_event_did_is_told_by_its_tag_or_name(
    name: str, tags: dict[str, str] | None, mark: str | None
) -> None:
    """The tag `crud` before the name; of a name the first word that is a known verb."""
    assert mark_of({"eventName": name, "tags": tags}) == mark


def test_an_event_s_mark_is_a_word(cell: AuditCell, viewer: str) -> None:
    """Never a colour alone."""
    text = Seen.of(get(cell, viewer)).text
    assert all(
        f"{name}{mark}" in text
        for name, mark in [
            ("user.created", "create"),
            ("file.read", "read"),
            ("role.updated", "update"),
            ("key.deleted", "delete"),
        ]
    )


def pages(cell: AuditCell, viewer: str) -> Iterator[Answer]:
    """Every kind of page that an event stands on."""
    listed = get(cell, viewer)
    yield listed
    for href, _ in Seen.of(listed).links:
        if href.startswith("events/"):
            yield get(cell, viewer.rpartition("/")[0] + "/" + href)


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_an_event_contains_is_shown_as_text(cell: AuditCell, text: str) -> None:
    """In each of its fields, and in what is asked: the elements of a page are those that they are of a plain text."""
    for tenant in ("plain", "harmed"):
        cell.key("acme", tenant)
    key = cell.key("acme", scopes=["view"])
    plain, harmed = (
        drawn(cell, key, tenant, said) for tenant, said in (("plain", "no"), ("harmed", text[:60]))
    )
    assert len(plain) == len(harmed) == 3
    for one, other in zip(plain, harmed, strict=True):
        assert skeleton(one) == skeleton(other)


def drawn(cell: AuditCell, key: str, tenant: str, said: str) -> list[Seen]:
    """The pages of a tenant with an event that says the same everywhere, and one that is asked so."""
    harmed = {"id": said, "details": {said: said}, said: [said, {said: said}]}
    more: dict[str, Any] = {said: said, "tags": {said: said, "crud": "read"}, "eventDetails": {said: [said]}}
    context = {"sourceIpAddress": said, "userAgent": said}
    cell.land(
        "acme/a.jsonl",
        event(tenant, eventName=said, actor=harmed, resources=[harmed], context=context, **more),
    )
    cell.process("acme/a.jsonl")
    url = make_link(cell, key, tenant)
    found = [Seen.of(page) for page in pages(cell, url)]
    words = " ".join(visible(said).split())
    assert all(words in " ".join(page.text.split()) for page in found)
    # A second page of that kind, where nothing is found and all fields say it.
    asked = "&".join(f"{name}={quoted(said)}" for name in ("eventName", "actorId", "resourceId", "tag"))
    return [*found, Seen.of(get(cell, f"{url}?{asked}"))]


def skeleton(page: Seen) -> list[tuple[str, list[str]]]:
    """Its elements, and the names of their attributes."""
    return [(name, sorted(found)) for name, found in page.elements if found.get("class") != "odd"]


def quoted(text: str) -> str:
    """As a browser writes it into a query."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def visible(text: str) -> str:
    """What is to be read of a text."""
    return Read.of(shown(text))


class Read(HTMLParser):
    """The text of a piece of HTML, and the names of its elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.names = "", set[str]()
        self.feed(html)
        self.close()

    @classmethod
    def of(cls, html: str) -> str:
        """The text alone."""
        return cls(html).text

    def handle_starttag(self, name: str, attrs: Any) -> None:
        """Of the parser."""
        self.names.add(name)

    def handle_data(self, data: str) -> None:
        """Of the parser."""
        self.text += data


@given(values)
def test_any_json_is_drawn_as_text_alone(value: Any) -> None:
    """By no more than the elements of a tree, whatever its texts and names hold."""
    assert Read(_tree(value)).names <= {
        "dl",
        "div",
        "dt",
        "dd",
        "ol",
        "li",
        "span",
        "details",
        "summary",
        "bdi",
    }


@given(st.text())
def test_a_text_is_read_as_it_is_but_for_what_nobody_sees(text: str) -> None:
    """What is plain comes back as it went in, as an element's text and as an attribute's."""
    if text.isprintable():
        assert visible(text) == text
    page = Read(tag("p", text, title=text))
    assert page.names == {"p"}
    assert page.text == text.replace("\r\n", "\n").replace("\r", "\n") or "\r" in text or "\0" in text


def test_what_can_not_be_seen_is_named() -> None:
    """Direction, width and control characters are shown by their codes; ends of line and tabs are left."""
    assert visible("a\u202eb\x00c\u200b\n\t") == "aU+202EbU+0000cU+200B\n\t"


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def test_every_answer_tells_the_browser_to_run_nothing_else(cell: AuditCell, viewer: str) -> None:
    """Pages by a policy of their own, refusals too; what is no page by one that allows nothing. Nothing is kept."""
    for url in (viewer, f"{viewer}/x", f"{viewer}?limit=0", "/v1/viewer/x.y/events"):
        headers = get(cell, url).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
    for url in ("/v1/viewer/x.y/no/such/page", "/v1/viewer-assets/none", "/v1/openapi.json"):
        headers = get(cell, url).headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["x-content-type-options"] == "nosniff"


def test_a_page_has_no_script_or_style_of_its_own(cell: AuditCell, viewer: str) -> None:
    """All that it runs are files of the API's; no attribute is code or style; no form or frame leads elsewhere."""
    for page in map(Seen.of, pages(cell, viewer)):
        for name, attributes in page.elements:
            assert name not in ("style", "iframe", "object", "embed", "base")
            assert not any(key.startswith("on") or key in ("style", "srcdoc") for key in attributes)
            assert not attributes.get("href", "").startswith(("http", "javascript", "//"))
        scripts = page.having("script")
        assert [one["src"].partition("viewer-assets/")[0] for one in scripts] == [
            scripts[0]["src"].partition("viewer-")[0]
        ] * 2


def test_what_pages_fetch_is_there_and_may_be_kept(cell: AuditCell, viewer: str) -> None:
    """Without a link, for a year: the name changes with what it holds."""
    page = Seen.of(get(cell, viewer))
    fetched = [one["href"] for one in page.having("link", rel="stylesheet")] + [
        one["src"] for one in page.having("script")
    ]
    for name in fetched:
        answer = get(cell, urljoin(viewer, name))
        assert answer.status == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].partition(";")[0] == (
            "text/css" if name.endswith("css") else "text/javascript"
        )


def test_htmx_is_the_one_that_was_published() -> None:
    """dist/htmx.min.js of htmx.org 2.0.11."""
    digest = hashlib.sha256(htmx.SOURCE.encode()).hexdigest()
    assert digest == "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"


def test_pages_count_as_what_a_tenant_asks(
    cell: AuditCell, viewer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 is a page too, and says when to come again."""
    monkeypatch.setenv("LIMIT_REQUESTS", "1")
    answers = [get(cell, viewer) for _ in range(3)]
    refused = answers[-1]
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "Too many requests" in Seen.of(refused).text


def test_the_viewer_is_read_and_nothing_else(cell: AuditCell, viewer: str) -> None:
    """Another method is 405."""
    assert get(cell, viewer, method="POST").status == 405
    assert cell.call(api.handler, "DELETE /v1/viewer-links").status == 405


def test_a_form_s_time_is_in_utc() -> None:
    """Whole minutes and seconds alike; what has a zone is left."""
    assert meant({"from": "2025-03-01T10:00", "to": "2025-03-01T10:00:00.5", "text": "2025-03-01T10:00"}) == {
        "from": "2025-03-01T10:00:00Z",
        "to": "2025-03-01T10:00:00.5Z",
        "text": "2025-03-01T10:00",
    }
    assert meant({"from": "2025-03-01T10:00:00+01:00"})["from"].endswith("+01:00")
