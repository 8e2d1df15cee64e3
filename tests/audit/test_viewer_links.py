"""A link opens the viewer of one tenant, for some minutes, to whoever has it; nothing else opens anything."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.handlers.common import aws, directory
from audit.handlers.common.internal import FOLDER
from audit.handlers.query import api
from audit.handlers.query.viewer import links
from audit.handlers.query.viewer.links import Link
from tests.audit.support import AuditCell, event
from tests.audit.viewing import HOST, Seen, ask_link, get, make_link

NOW = 1_740_823_200.0  # 2025-03-01T10:00:00Z
FRAMES = "https://portal.example", "https://app.example:8443"


@pytest.fixture
def vendor(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key of scope view of an application of two tenants, one of which has an event; it is ten o'clock."""
    monkeypatch.setattr(links, "clock", lambda: NOW)
    for tenant in ("t1", "t2"):
        cell.key("acme", tenant)
    cell.land("acme/a.jsonl", event("t1", eventName="user.created"))
    cell.process()
    return cell.key("acme", scopes=["view"])


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """So much time goes by."""
    monkeypatch.setattr(links, "clock", lambda: NOW + seconds)


def test_a_link_opens_its_tenants_viewer(cell: AuditCell, vendor: str) -> None:
    """201 has its URL, at the address that was asked, and its end: a quarter of an hour later."""
    answer = ask_link(cell, vendor, tenantId="t1")
    assert (answer.status, answer.body["expires"]) == (201, "2025-03-01T10:15:00Z")
    assert answer.body["url"].startswith(f"https://{HOST}/v1/viewer/")
    page = get(cell, answer.body["url"])
    assert page.status == 200
    assert "user.created" in Seen.of(page).text
    assert "user.created" not in Seen.of(get(cell, make_link(cell, vendor, "t2"))).text


@pytest.mark.parametrize(("minutes", "good"), [(1, 60), (60, 3600)])
def test_a_link_ends(
    cell: AuditCell, vendor: str, monkeypatch: pytest.MonkeyPatch, minutes: int, good: int
) -> None:
    """At its second; the page says so, in the frame of whoever may show it."""
    url = make_link(cell, vendor, minutes=minutes, origins=list(FRAMES))
    later(monkeypatch, good - 1)
    assert get(cell, url).status == 200
    later(monkeypatch, good)
    page = get(cell, url)
    assert page.status == 403
    assert "this link was good until 2025-03-01T1" in Seen.of(page).text
    assert page.headers["content-security-policy"].endswith(f"frame-ancestors {' '.join(FRAMES)}")


def test_a_link_is_no_longer_good_than_its_key(cell: AuditCell, vendor: str) -> None:
    """Whose end is told to whoever makes it."""
    key = cell.key("acme", scopes=["view"], expires=4_000_000_000)
    link = links._asked({"tenantId": "t1"}, replace(CALLER, expires=NOW + 300))
    assert link.expires == NOW + 300
    assert ask_link(cell, key, tenantId="t1").body["expires"] == "2025-03-01T10:15:00Z"


def test_a_key_takes_its_links_with_it(cell: AuditCell, vendor: str) -> None:
    """Revoked, ended or without its scope; other keys' links are as good as ever."""
    cell.key("rival")  # so that the next key is another
    mine, others = make_link(cell, vendor), make_link(cell, cell.key("acme", scopes=["view"]))
    entry = cell.applications["acme"]["keys"][2]
    assert entry["scopes"] == ["view"]
    for bounds in ({"expires": 1}, {"scopes": ["write"]}, {"hash": "0" * 64}):
        before = dict(entry)
        entry.update(bounds)
        cell.key("rival")  # the directory is written anew
        assert [get(cell, url).status for url in (mine, others)] == [403, 200]
        entry.clear()
        entry.update(before)
    cell.key("rival")
    assert get(cell, mine).status == 200


def test_a_tenant_that_is_gone_has_no_viewer(cell: AuditCell, vendor: str) -> None:
    """Its links end with it."""
    url = make_link(cell, vendor)
    cell.applications["acme"]["tenants"] = ["t2"]
    cell.key("rival")
    assert get(cell, url).status == 403


def test_a_link_that_was_tampered_with_opens_nothing(cell: AuditCell, vendor: str) -> None:
    """Whichever of its characters is another, is gone, or came twice; the page may be framed by nobody."""
    url = make_link(cell, vendor, origins=list(FRAMES), can=["export"])
    token = url.split("/")[5]
    start = len(url.partition(token)[0])
    for at in range(start, start + len(token)):
        other = "B" if url[at] == "A" else "A"
        for bad in (url[:at] + other + url[at + 1 :], url[:at] + url[at + 1 :], url[: at + 1] + url[at:]):
            page = get(cell, bad)
            assert page.status == 403, bad
            assert page.headers["content-security-policy"].endswith("frame-ancestors 'none'")
    assert get(cell, url).status == 200


GOOD = Link("acme", "t1", "0" * 16, int(NOW) + 900, FRAMES[:1], ("export",))
CALLER = directory.Caller("acme", None, b"s", frozenset({"view"}))
OTHERWISE: list[dict[str, Any]] = [
    {"application": "rival"},
    {"tenant": "t2"},
    {"key": "1" * 16},
    {"expires": int(NOW) + 3600},
    {"origins": ("https://evil.example",)},
    {"can": ()},
]


@pytest.mark.parametrize("changed", OTHERWISE, ids=lambda changed: next(iter(changed)))
def test_each_field_of_a_link_is_held_by_its_mac(
    cell: AuditCell, vendor: str, changed: dict[str, Any]
) -> None:
    """What it says of application, tenant, key, end, origins and abilities can't be said by another's MAC."""
    rival = cell.key("rival", "t1") and cell.key("rival", scopes=["view"])
    url = make_link(cell, vendor, origins=list(GOOD.origins), can=["export"])
    said, _, mac = url.split("/")[5].partition(".")
    link = replace(Link.saying(links._bytes(said)), **changed)
    if "application" in changed:
        other = Link.saying(links._bytes(make_link(cell, rival).split("/")[5].partition(".")[0]))
        link = replace(link, key=other.key)
    assert get(cell, url.replace(said, links._text(link.said))).status == 403
    assert get(cell, f"/v1/viewer/{links._text(link.said)}.{mac}x/events").status == 403


@given(st.text("ABCabc012-_.", max_size=60) | st.binary(max_size=60).map(links._text))
def test_what_is_no_link_is_refused(said: str) -> None:
    """Whatever stands in its place, before anybody is asked."""
    answer = api.handler(
        {"rawPath": f"/v1/viewer/{said or '.'}/events", "requestContext": {"http": {"method": "GET"}}}, None
    )
    assert answer["statusCode"] == 403


@pytest.mark.parametrize(
    "said", [b"acme," + b"[" * 5000, b'acme,["t1","k",9,[],[]] ', b"acme,[]", b"acme,\xff"]
)
def test_what_could_be_a_link_and_is_none_is_refused(cell: AuditCell, said: bytes) -> None:
    """However deep it is nested, and however else the same could be written."""
    assert get(cell, f"/v1/viewer/{links._text(said)}.AAAA/events").status == 403


def test_kms_is_asked_of_what_a_known_key_made_and_once(
    cell: AuditCell, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of invented links costs no call; a page after the first none either."""
    url = make_link(cell, vendor)
    asked: list[Any] = []
    verify = aws.kms().verify_mac

    def counted(**how: Any) -> Any:
        asked.append(how)
        return verify(**how)

    monkeypatch.setattr(aws.kms(), "verify_mac", counted)
    for link in (GOOD, replace(GOOD, application="nobody")):
        assert get(cell, f"/v1/viewer/{links._text(link.said)}.AAAA/events").status == 403
    assert asked == []
    assert [get(cell, url).status for _ in range(3)] == [200] * 3
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "tenantId"),
        ({"tenantId": "t3"}, "tenantId"),
        ({"tenantId": ["t1"]}, "tenantId"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": 61}, "minutes"),
        ({"minutes": True}, "minutes"),
        ({"minutes": 1.5}, "minutes"),
        ({"origins": "https://portal.example"}, "origins"),
        ({"origins": ["http://portal.example"]}, "origins"),
        ({"origins": ["https://portal.example/"]}, "origins"),
        ({"origins": ["https://Portal.example"]}, "origins"),
        ({"origins": ["https://*"]}, "origins"),
        ({"origins": ["https://a.example; script-src *"]}, "origins"),
        ({"origins": ["*"]}, "origins"),
        ({"origins": [f"https://{n}.example" for n in range(6)]}, "origins"),
        ({"can": ["write"]}, "can"),
        ({"can": "export"}, "can"),
        ({"admin": True}, "admin"),
    ],
    ids=str,
)
def test_what_a_link_can_not_be_is_refused(
    cell: AuditCell, vendor: str, asked: dict[str, object], field: str
) -> None:
    """400 names what is wrong, and what would be right."""
    answer = ask_link(cell, vendor, **({"tenantId": "t1", **asked} if asked else {}))
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.message.startswith(f"{field}: found ")
    assert ", expected " in answer.message


def test_only_a_key_that_was_given_the_scope_makes_links(cell: AuditCell) -> None:
    """One that names no scopes, as those of before, has it not; nor has a tenant's."""
    keys = {
        "wrong_key": cell.key("acme", "t1"),
        "missing_scope": cell.key("acme"),
        "unauthorized": "unknown",
    }
    assert {code: ask_link(cell, key, tenantId="t1").code for code, key in keys.items()} == {
        code: code for code in keys
    }


def test_who_may_frame_the_viewer_is_said_by_every_page(cell: AuditCell, vendor: str) -> None:
    """The link's origins; without any, nobody."""
    for origins in ([], list(FRAMES)):
        url = make_link(cell, vendor, origins=origins)
        for page in (get(cell, url), get(cell, f"{url}/nothing"), get(cell, f"{url}?limit=no")):
            told = page.headers["content-security-policy"]
            assert told.endswith(f"frame-ancestors {' '.join(origins) or chr(39) + 'none' + chr(39)}")


def test_no_log_has_a_link(
    cell: AuditCell, vendor: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever could read it there could open the viewer: not even when a page, or KMS, fails."""
    caplog.set_level(logging.INFO)
    url = make_link(cell, vendor)
    token = url.split("/")[5]
    monkeypatch.setenv("INDEX_TABLE", "gone")
    assert get(cell, url).status == 500
    monkeypatch.setenv("VIEWER_KEY", "alias/gone")
    links.forget()
    assert get(cell, url).status == 500
    assert get(cell, f"{url}/x/y").status == 404
    said = "".join(record.getMessage() + str(record.exc_info) for record in caplog.records)
    assert "a page of the viewer failed" in said
    assert token not in said
    assert token.partition(".")[2] not in said


def test_a_link_tells_its_application_first(cell: AuditCell, vendor: str) -> None:
    """As a key does: whoever leads requests to their cell finds it there."""
    said = make_link(cell, vendor).split("/")[5].partition(".")[0]
    read = base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)).decode()
    assert read.partition(",")[0] == "acme"
    assert json.loads(read.partition(",")[2])[0] == "t1"


def test_a_link_is_told_of_in_the_tenants_log(
    cell: AuditCell, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whose key it was made, until when and for whom; a link that can't be told of is not made."""
    make_link(cell, vendor, origins=list(FRAMES), can=["export"])
    bucket = cell.bucket("landing")
    found = aws.s3().list_objects_v2(Bucket=bucket, Prefix=f"{FOLDER}/acme/t1/")["Contents"]
    told = json.loads(aws.s3().get_object(Bucket=bucket, Key=found[-1]["Key"])["Body"].read())
    caller = directory.directory().caller(base64.b64decode(vendor).decode())
    assert caller is not None
    assert told["eventName"] == "audit.viewer-link.created"
    assert told["actor"] == {"id": caller.secret.hex()[:12], "type": "application-key"}
    details = told["eventDetails"]
    assert len(details.pop("link")) == 12
    assert details == {"expires": "2025-03-01T10:15:00Z", "origins": list(FRAMES), "can": ["export"]}
    monkeypatch.setenv("LANDING_BUCKET", "gone")
    assert ask_link(cell, vendor, tenantId="t1").status == 500
