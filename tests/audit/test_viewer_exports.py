"""Exports and settings on the viewer's pages, as a browser without a script has them."""

from __future__ import annotations

import json
import os
from urllib.parse import urlencode

import pytest

from audit.handlers.common import aws
from audit.handlers.common.internal import FOLDER
from audit.handlers.query import api, export_worker, streams
from audit.handlers.query.exports import FORMATS
from audit.handlers.query.viewer.exporting import _FORMATS
from audit.handlers.query.viewer.settings import SECTIONS
from audit.handlers.stream import rows
from tests.audit.logs import Logs
from tests.audit.streaming import create_streams
from tests.audit.support import Answer, AuditCell, event
from tests.audit.viewing import Seen, click, get, make_link


@pytest.fixture
def vendor(cell: AuditCell) -> str:
    """A key of scope view of an application, of whose tenant three events are known."""
    cell.key("acme", "t1")
    cell.land("acme/a.jsonl", *(event("t1", second, eventName=f"e{second % 2}") for second in range(3)))
    cell.process()
    return cell.key("acme", scopes=["view"])


@pytest.fixture
def exports(cell: AuditCell, vendor: str) -> str:
    """The page of exports of a viewer whose link may make some."""
    return make_link(cell, vendor, can=["export"]).replace("/events", "/exports")


def ask(cell: AuditCell, url: str, **fields: str) -> Answer:
    """Send the form."""
    return get(cell, url, method="POST", body=urlencode({"format": "csv", **fields}))


def made(cell: AuditCell, url: str) -> str:
    """The page after an export was asked for and made."""
    assert ask(cell, url, eventName="e0", text="", actorId="").status == 303
    (message,) = aws.sqs().receive_message(QueueUrl=os.environ["EXPORTS_QUEUE"])["Messages"]
    export_worker.work(export_worker.Message(json.loads(message["Body"])), export_worker.clock() + 600)
    return Seen.of(get(cell, url)).text


def test_an_export_is_begun_and_fetched_by_plain_html(cell: AuditCell, exports: str) -> None:
    """What the form leaves empty does not narrow; the file's URL is made when it is asked for."""
    assert "No export is being made." in Seen.of(get(cell, exports)).text
    answer = ask(cell, exports, eventName="e0", text="")
    assert (answer.status, answer.headers["location"]) == (303, "exports")
    page = Seen.of(get(cell, exports))
    assert "An export is being made." in page.text
    assert page.having("section", id="exports", hx_trigger="every 2s")
    (message,) = aws.sqs().receive_message(QueueUrl=os.environ["EXPORTS_QUEUE"])["Messages"]
    export_worker.work(export_worker.Message(json.loads(message["Body"])), export_worker.clock() + 600)
    ready = get(cell, exports)
    assert "Event e0" in Seen.of(ready).text
    assert "2 events" in Seen.of(ready).text
    assert not Seen.of(ready).having("section", hx_trigger="every 2s")
    fetched = get(cell, click(exports, ready, "Download"))
    assert fetched.status == 303
    assert "X-Amz-Expires=600" in fetched.headers["location"]


def test_who_made_an_export_is_told_in_the_log(cell: AuditCell, exports: str) -> None:
    """Whoever had that link."""
    ask(cell, exports)
    bucket = cell.bucket("landing")
    keys = [
        one["Key"] for one in aws.s3().list_objects_v2(Bucket=bucket, Prefix=f"{FOLDER}/acme/t1/")["Contents"]
    ]
    told = [json.loads(aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]
    by_name = {one["eventName"]: one for one in told}
    link = by_name["audit.viewer-link.created"]["eventDetails"]["link"]
    assert by_name["audit.export.created"]["actor"] == {"id": link, "type": "viewer-link"}


def test_a_link_that_may_not_export_has_no_exports(cell: AuditCell, vendor: str) -> None:
    """No way there, and 403 to who goes all the same."""
    url = make_link(cell, vendor)
    assert "Exports" not in [text for _, text in Seen.of(get(cell, url)).links]
    there = url.replace("/events", "/exports")
    answers = [get(cell, there), ask(cell, there), get(cell, f"{there}/x/file")]
    assert [one.status for one in answers] == [403] * 3
    assert "exports are not a part of it" in Seen.of(answers[0]).text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sourceIp": "192.0.2.256"}, "Source address: found"),
        ({"format": "xlsx"}, "format: found xlsx"),
        ({"color": "red"}, "color: unknown"),
        ({"from": "2025-03-02T00:00", "to": "2025-03-01T00:00"}, "From: found a time later"),
    ],
)
def test_what_can_not_be_exported_is_said(
    cell: AuditCell, exports: str, fields: dict[str, str], said: str
) -> None:
    """On the page, whose form keeps what was written into it; nothing is begun."""
    answer = ask(cell, exports, actorId="u1", **fields)
    page = Seen.of(answer)
    assert answer.status == 400
    assert said in page.text
    assert page.having("input", id="f-actorId", value="u1")
    assert "No export is being made." in page.text


def test_too_many_exports_are_refused_on_the_page(cell: AuditCell, exports: str) -> None:
    """The fourth while three are being made."""
    assert [ask(cell, exports).status for _ in range(4)] == [303, 303, 303, 429]
    assert "3 exports are being made." in Seen.of(get(cell, exports)).text


def test_what_is_listed_becomes_an_export_s_form(cell: AuditCell, vendor: str) -> None:
    """By the way from the list, with all that narrows it."""
    url = make_link(cell, vendor, can=["export"]) + "?eventName=e1&limit=50&from=2025-03-01T10:00"
    form = Seen.of(get(cell, click(url, get(cell, url), "Export these")))
    assert form.having("input", id="f-eventName", value="e1")
    assert form.having("input", id="f-from", value="2025-03-01T10:00")


def test_another_tenant_s_exports_are_nowhere(cell: AuditCell, vendor: str, exports: str) -> None:
    """Neither listed nor fetched."""
    made(cell, exports)
    cell.key("acme", "t2")
    other = make_link(cell, vendor, "t2", can=["export"]).replace("/events", "/exports")
    assert "Event e0" not in Seen.of(get(cell, other)).text
    place = click(exports, get(cell, exports), "Download").partition("/exports")[2]
    assert get(cell, f"{other}{place}").status == 404


def test_every_format_has_a_name() -> None:
    """That people read."""
    assert tuple(_FORMATS) == FORMATS


def test_settings_are_what_holds(
    cell: AuditCell, logs: Logs, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long events are kept, what is in the tenant's log, and what this link is for."""
    create_streams(monkeypatch, cell.account)
    url = make_link(cell, vendor, origins=["https://portal.example"]).replace("/events", "/settings")
    assert "It is begun with the first event." in Seen.of(get(cell, url)).text
    logs.tell(logs.archive(3))
    page = Seen.of(get(cell, url))
    assert [one.heading in page.text for one in SECTIONS] == [True] * len(SECTIONS)
    assert "locked in the archive for 365 days: until then nobody can change or delete it" in page.text
    assert "eu.audit.example/acme/t1" in page.text
    assert "3 events are in it" in page.text
    assert "https://portal.example" in page.text
    monkeypatch.setenv("RETENTION", "GOVERNANCE 1")
    assert "for 1 day: until then only a privileged operator can delete it" in Seen.of(get(cell, url)).text
    cell.applications["acme"]["terms"] = {"t1": {"class": "7y", "held": 1_740_823_200}}
    cell.key("rival")
    assert "kept for 2,557 days" in Seen.of(get(cell, url)).text
    assert "Nothing ends since 2025-03-01T10:00:00Z." in Seen.of(get(cell, url)).text


def test_settings_show_where_events_are_sent(
    cell: AuditCell, logs: Logs, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stream by what it is known by, how it is, and what is wrong with it; no secret of it."""
    told = {
        "id": "st-1",
        "state": "failing",
        "destination": {"kind": "https", "url": "https://siem.example/in"},
        "lag": {"entries": 1200, "seconds": 60},
        "error": {"message": "it answers <b>503</b>", "since": "2025-03-01T10:00:00Z"},
    }
    create_streams(monkeypatch, cell.account)
    url = make_link(cell, vendor).replace("/events", "/settings")
    assert "There are none: events are sent nowhere." in Seen.of(get(cell, url)).text
    monkeypatch.setattr(streams, "_shown", lambda *_: told)
    monkeypatch.setattr(rows, "of_tenant", lambda *who: [told] if who == ("acme", "t1") else [])
    page = Seen.of(get(cell, url))
    assert "https https://siem.example/in" in page.text
    assert "Failing, 1,200 events behind: it answers <b>503</b>" in page.text


def test_a_tenant_that_was_moved_is_told_what_is_not_listed(cell: AuditCell, vendor: str) -> None:
    """A cell has its own events alone."""
    url = make_link(cell, vendor)
    assert "was moved" not in Seen.of(get(cell, url)).text
    cell.applications["acme"]["places"] = {"t1": ["a", "b"]}
    cell.key("rival")
    assert "This tenant was moved between cells" in Seen.of(get(cell, url)).text


def test_a_form_is_sent_by_post_alone(cell: AuditCell, exports: str) -> None:
    """Another method is 405."""
    assert cell.call(api.handler, f"PUT {exports.partition('.example')[2]}").status == 405
