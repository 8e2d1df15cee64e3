"""A region of several cells answers at one host: each tenant is written to where it is at home, and read wherever it
was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from audit.handlers.common import aws
from audit.handlers.common.guests import count_guests
from audit.handlers.router import calls, reads
from audit.handlers.router.calls import Answer
from audit.repair import reindex, remark, tenants
from audit.stacks.router import SECONDS
from tests.audit.routing import ProductRegion
from tests.audit.support import event

POST, EVENTS = "POST /v1/events", "GET /v1/events"
OWN = {"eventName": "login"}


def bad(status: int) -> Answer:
    """How a cell fails."""
    return Answer(status, {}, b'{"message": "Service Unavailable"}')


def test_a_post_goes_to_its_tenant_s_home_as_it_came(region: ProductRegion) -> None:
    """One home is asked once, with the caller's own key."""
    key, tenant = region.key("acme"), region.key("acme", "t1")
    told = region.post(key, "t1", "t1", once="mine")
    assert (told.status, region.asked) == (202, [("us-1", POST)])
    assert region.sent[0]["idempotency-key"] == "mine"
    region.process()
    assert region.everything(tenant) == told.body["eventIds"][::-1]


def test_a_post_for_several_homes_is_parted_and_answered_as_one(region: ProductRegion) -> None:
    """Ids come back in the order of the post, and are those that the events are read under."""
    key = region.key("acme")
    tenants = {name: region.key("acme", name) for name in ("t1", "t2", "t3")}
    region.put("t2", "us-2")
    region.put("t3", "us-big")
    told = region.post(key, "t2", "t1", "t3", "t1", "t2", "stranger")
    assert (told.status, told.body["accepted"], told.body["waiting"]) == (202, 6, ["stranger"])
    assert region.landed() == {"us-1": 1, "us-2": 1, "us-big": 1}
    region.process()
    ids = told.body["eventIds"]
    assert [region.everything(tenants[name]) for name in ("t1", "t2", "t3")] == [
        [ids[3], ids[1]],
        [ids[4], ids[0]],
        [ids[2]],
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([event("t1"), {**event("t2"), "eventName": ""}], "invalid_events"),
        ([], "invalid_body"),
        ("{", "invalid_json"),
        ({"events": [event("t1")], "at": [1, 2]}, "invalid_body"),
        ({"events": [event("t1"), event("t2")], "at": [1, 1]}, "invalid_body"),
    ],
)
def test_of_a_bad_post_no_cell_takes_anything(region: ProductRegion, body: Any, code: str) -> None:
    """All of it is looked at before any is sent, by the same rules as a cell's."""
    key = region.key("acme")
    region.key("acme", "t2")
    region.put("t2", "us-2")
    told = region.call(POST, key, body=body)
    assert (told.status, told.code, region.asked) == (400, code, [])
    with region.at("us-1") as cell:
        assert cell.ingest(POST, key, body=body).code == code


def test_a_part_that_nobody_takes_may_be_sent_again(region: ProductRegion) -> None:
    """With the caller's key: what the other homes took is stored once, and the answer is that of the whole."""
    key = region.key("acme")
    tenants = {name: region.key("acme", name) for name in ("t1", "t3")}
    region.put("t3", "us-big")
    region.out = {"us-big"}
    told = region.post(key, "t3", "t1", once="again")
    assert (told.status, told.code, told.headers["retry-after"]) == (503, "home_unavailable", "5")
    assert "us-big" in told.message
    region.out = set()
    calls.forget()
    both = [region.post(key, "t3", "t1", once="again") for _ in range(2)]
    assert both[0].body == both[1].body
    assert region.landed() == {"us-1": 1, "us-big": 1}
    region.process()
    ids = both[0].body["eventIds"]
    assert [region.everything(tenants[name]) for name in ("t3", "t1")] == [[ids[0]], [ids[1]]]


def test_a_post_without_a_key_is_told_one_to_be_sent_again_with(region: ProductRegion) -> None:
    """Or what one home took would be stored once more."""
    key, tenant = region.key("acme"), region.key("acme", "t1")
    region.key("acme", "t3")
    region.put("t3", "us-big")
    region.out = {"us-big"}
    told = region.post(key, "t1", "t3")
    assert (told.status, region.landed()) == (503, {"us-1": 1})
    region.out = set()
    calls.forget()
    (once,) = re.findall(r"'Idempotency-Key: (\S+)'", told.message)
    ids = region.post(key, "t1", "t3", once=once).body["eventIds"]
    assert region.landed() == {"us-1": 1, "us-big": 1}
    region.process()
    assert region.everything(tenant) == ids[:1]


def test_a_retry_is_stored_once_though_its_tenant_was_moved_meanwhile(region: ProductRegion) -> None:
    """The part has the ids that the whole had: an event that is in two cells is told once."""
    key = region.key("acme")
    tenants = {name: region.key("acme", name) for name in ("t1", "t2")}
    first = region.post(key, "t2", "t1", "t2", once="moved")
    region.put("t2", "us-2")
    again = region.post(key, "t2", "t1", "t2", once="moved")
    assert again.body == first.body
    region.process()
    ids = first.body["eventIds"]
    assert region.everything(tenants["t2"]) == [ids[2], ids[0]]
    assert region.everything(tenants["t2"], limit=1) == [ids[2], ids[0]]
    assert region.everything(tenants["t1"]) == [ids[1]]


def test_a_key_with_other_events_is_a_conflict_in_a_region_too(region: ProductRegion) -> None:
    """Whichever part it is."""
    key = region.key("acme")
    region.key("acme", "t2")
    region.put("t2", "us-2")
    assert region.post(key, "t1", "t2", once="one").status == 202
    told = region.post(key, "t1", "t2", once="one", eventDetails={"other": 1})
    assert (told.status, told.code) == (409, "idempotency_conflict")


@pytest.mark.parametrize("how", ["silent", "502", "500"])
def test_while_a_home_is_out_its_partner_takes_new_events(region: ProductRegion, how: str) -> None:
    """Within one request, after two tries; and the tenant reads them, with what is at home once that is back."""
    key, tenant = region.key("acme"), region.key("acme", "t1")
    before = region.post(key, "t1").body["eventIds"]
    region.process()
    region.asked.clear()
    if how == "silent":
        region.out = {"us-1"}
    else:
        region.spoil = lambda cell, service, _: (
            bad(int(how)) if (cell, service) == ("us-1", "events") else None
        )
    during = region.call(POST, key, body=event("t1", 30)).body["eventIds"]
    assert region.asked == [("us-1", POST), ("us-1", POST), ("us-2", POST)]
    assert region.landed() == {"us-1": 1, "us-2": 1}
    region.out, region.spoil = set(), lambda *_: None
    calls.forget()
    region.process()
    assert region.everything(tenant) == during + before


def test_a_home_that_gave_no_answer_is_not_waited_for_again_and_again(region: ProductRegion) -> None:
    """For a while its partner is asked at once; one that answered, if with an error, is asked."""
    key = region.key("acme")
    region.out = {"us-1"}
    region.post(key, "t1")
    region.asked.clear()
    region.post(key, "t1")
    assert region.asked == [("us-2", POST)]
    calls.forget()
    region.out = set()
    region.spoil = lambda cell, *_: bad(500) if cell == "us-1" else None
    for _ in range(2):
        region.asked.clear()
        region.post(key, "t1")
        assert region.asked[0] == ("us-1", POST)


def test_nothing_goes_to_a_partner_of_another_residency(region: ProductRegion) -> None:
    """One that is no cell of the region is none: the post may be sent again."""
    key = region.key("acme")
    region.partners = {"us-1": "eu-1", "us-2": None, "us-big": None}
    region.tell()
    region.out = {"us-1"}
    assert region.post(key, "t1").code == "home_unavailable"
    assert {cell for cell, _ in region.asked} == {"us-1"}


def test_of_what_could_be_a_credential_the_key_alone_is_passed_on(region: ProductRegion) -> None:
    """Whatever else a caller sends."""
    key, tenant = region.key("acme"), region.key("acme", "t1")
    odd = {
        "Cookie": "a=b",
        "X-Amz-Security-Token": "secret",
        "X-Api-Key": "secret",
        "X-Forwarded-For": "192.0.2.1",
    }
    region.call(POST, key, body=event("t1"), headers=odd)
    region.call(EVENTS, tenant, headers=odd)
    region.call("GET /v1/checkpoint", tenant, headers=odd)
    assert set(region.sent[0]) == {"authorization", "idempotency-key"}
    assert all(set(headers) == {"authorization"} for headers in region.sent[1:])


@pytest.mark.parametrize(
    ("tenant", "out", "home"),
    [
        (None, "", "us-1"),
        ("t2", "", "us-2"),
        ("nobody", "", "us-1"),
        ("t2", "us-2", "us-1"),
        (None, "us-1", "us-2"),
    ],
)
def test_an_upload_session_is_of_the_tenant_s_home_or_of_who_takes_over(
    region: ProductRegion, tenant: str | None, out: str, home: str
) -> None:
    """Without a tenant of the application's own."""
    key = region.key("acme")
    region.key("acme", "t2")
    region.put("t2", "us-2")
    region.out = {out}
    told = region.call("GET /applications/session", key, **({"tenantId": tenant} if tenant else {}))
    assert told.status == 200
    assert region.places[home].cell.bucket("landing") in json.dumps(told.body)


def test_what_is_rejected_is_asked_of_the_application_s_home(region: ProductRegion) -> None:
    """With an application's key; a tenant's key asks where the tenant is."""
    key, tenant = region.key("acme"), region.key("acme", "t2")
    region.put("t2", "us-2")
    assert region.call("GET /v1/rejected", key).body == {"rejected": [], "cursor": None}
    assert region.call("GET /v1/guests", tenant).body == {"guests": 0, "guest": False, "incomplete": ["us-1"]}
    assert region.asked == [("us-1", "GET /v1/rejected"), ("us-2", "GET /v1/guests")]


def test_who_never_moved_is_asked_for_in_one_cell(region: ProductRegion) -> None:
    """But for one question in ten seconds whether the partner has had guests at all."""
    tenant = region.key("acme", "t1")
    for _ in range(3):
        assert region.call(EVENTS, tenant, **OWN).status == 200
    assert region.asked == [("us-2", "GET /v1/guests"), *[("us-1", EVENTS)] * 3]


def test_a_partner_with_guests_of_others_is_asked_once(region: ProductRegion) -> None:
    """Until it has one more."""
    key = region.key("acme")
    tenants = {name: region.key("acme", name) for name in ("t1", "t3")}
    region.out = {"us-1"}
    region.post(key, "t1")
    region.out = set()
    calls.forget()
    region.process()
    for _ in range(2):
        assert region.everything(tenants["t3"]) == []
    assert region.asked.count(("us-2", "GET /v1/guests")) == 1
    assert ("us-2", EVENTS) not in region.asked
    assert len(region.everything(tenants["t1"])) == 1
    region.out = {"us-1"}
    late = region.call(POST, key, body=event("t3")).body["eventIds"]
    region.out = set()
    calls.forget()
    region.process()
    reads._known.guests.clear()  # ten seconds later
    assert region.everything(tenants["t3"]) == late


def test_a_partner_of_before_is_still_asked_for_its_guests(region: ProductRegion) -> None:
    """What it took in is read, whoever takes over by now, or nobody."""
    key, tenant = region.key("acme"), region.key("acme", "t1")
    region.out = {"us-1"}
    ids = region.post(key, "t1").body["eventIds"]
    region.out = set()
    calls.forget()
    region.process()
    region.partners["us-1"], region.earlier["us-1"] = None, ["us-2", "us-gone"]
    region.tell()
    assert region.everything(tenant) == ids


def test_an_index_that_was_made_anew_knows_its_guests(region: ProductRegion) -> None:
    """By the cell's own directory and archive; who is at home is none."""
    key, tenant = region.key("acme"), region.key("acme", "t1")
    region.key("acme", "t2")
    region.put("t2", "us-2")
    region.out = {"us-1"}
    ids = region.post(key, "t1", "t2").body["eventIds"]
    region.process()
    index = aws.table("us-2-index")
    for item in index.scan()["Items"]:
        index.delete_item(Key={"pk": item["pk"], "sk": item["sk"]})
    archive, config = (region.places["us-2"].cell.bucket(kind) for kind in ("archive", "config"))
    remark(aws.s3(), config, index, "us-2", tenants(aws.s3(), archive))
    assert sum(reindex(aws.s3(), archive, index)) == 2
    region.out = set()
    calls.forget()
    assert region.everything(tenant) == ids[:1]
    with region.at("us-2"):
        assert count_guests() == 1


def test_an_answer_that_lacks_a_cell_says_so(region: ProductRegion) -> None:
    """Of the others there is what they have; where nobody answers, the request may be sent again."""
    key, tenant = region.key("acme"), region.key("acme", "t2")
    old = region.post(key, "t2").body["eventIds"]
    region.put("t2", "us-2")
    new = region.call(POST, key, body=event("t2", 30)).body["eventIds"]
    region.process()
    region.out = {"us-1"}
    told = region.call(EVENTS, tenant)
    assert ([one["eventId"] for one in told.body["events"]], told.body["incomplete"]) == (new, ["us-1"])
    calls.forget()
    region.out = {"us-1", "us-2"}
    assert region.call(EVENTS, tenant).code == "home_unavailable"
    calls.forget()
    region.out = set()
    assert region.everything(tenant) == new + old


def test_a_partner_that_can_not_say_whether_it_has_guests_is_named(region: ProductRegion) -> None:
    """It may have events of the tenant."""
    tenant = region.key("acme", "t1")
    region.out = {"us-2"}
    assert region.call(EVENTS, tenant).body == {"events": [], "cursor": None, "incomplete": ["us-2"]}


def test_a_cell_s_own_refusal_is_passed_on(region: ProductRegion) -> None:
    """Of a wrong question, another method, no key, and a cursor of another question."""
    key, tenant = region.key("acme"), region.key("acme", "t1")
    told = region.call(EVENTS, tenant, limit="many")
    assert (told.status, told.code) == (400, "invalid_parameter")
    told = region.ask("DELETE /v1/events", tenant)
    assert (told.status, told.headers["allow"]) == (405, "GET")
    assert region.call(EVENTS, None).code == "unauthorized"
    assert region.call(EVENTS, key).code == "wrong_key"
    region.post(key, "t1", "t1")
    region.process()
    cursor = region.call(EVENTS, tenant, limit=1).body["cursor"]
    assert region.call(EVENTS, tenant, limit=2, cursor=cursor).body["cursor"] is None
    assert region.call(EVENTS, tenant, cursor=cursor, **OWN).code == "invalid_cursor"
    assert region.call(EVENTS, region.key("acme", "t2"), cursor=cursor).code == "invalid_cursor"


def test_what_is_read_and_not_at_home_is_looked_for_where_the_tenant_was(region: ProductRegion) -> None:
    """One thing of a name of its own, such as an export."""
    tenant = region.key("acme", "t2")
    region.put("t2", "us-2")
    assert region.call("GET /v1/exports/20250101T000000Z-0123456789abcdef", tenant).status == 404
    assert [cell for cell, _ in region.asked] == ["us-2", "us-1"]


def test_what_an_application_asks_about_a_tenant_is_asked_of_its_home(region: ProductRegion) -> None:
    """At the host of queries: a link to its viewer, which is good in that cell."""
    key = region.key("acme")
    region.key("acme", "t2")
    region.put("t2", "us-2")
    told = region.ask("POST /v1/viewer-links", key, body={"tenantId": "t2"})
    assert (told.code, region.asked) == ("missing_scope", [("us-2", "POST /v1/viewer-links")])


def test_what_is_one_cell_s_alone_names_the_others(region: ProductRegion) -> None:
    """Of a tenant that has events in several; nobody else's answer is touched."""
    moved, plain = region.key("acme", "t2"), region.key("acme", "t1")
    region.put("t2", "us-2")
    assert region.call("GET /v1/exports", moved).body == {"exports": [], "incomplete": ["us-1"]}
    assert region.call("GET /v1/exports", plain).body == {"exports": []}


def test_what_is_told_to_anybody_needs_no_key(region: ProductRegion) -> None:
    """By the host that is asked: the documents of the API, and the router's own health."""
    region.tell()
    for host, title in (("events.us.audit.example", "taking them in"), ("query.us.audit.example", "reading")):
        told = region.ask("GET /v1/openapi.json", headers={"host": host})
        assert title in told.body["info"]["title"]
    assert region.ask("GET /healthz").body["service"] == "test"
    assert [cell for cell, _ in region.asked] == ["us-2", "us-2"]


@pytest.mark.parametrize("route", [POST, "GET /applications/session"])
def test_a_caller_is_answered_before_the_api_gives_up(
    region: ProductRegion, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    """Though home and partner take the request and never answer: an HTTP API waits for 30 seconds."""
    key, seconds = region.key("acme"), [0.0]

    def hang(*_: object) -> Answer:
        seconds[0] += calls.patience()
        raise calls.Out("nothing comes")

    monkeypatch.setattr(calls, "clock", lambda: seconds[0])
    monkeypatch.setattr(calls, "sender", hang)
    told = region.call(route, key, body=event("t1") if route == POST else None)
    assert (told.status, told.code) == (503, "home_unavailable")
    assert 2 * (calls.CONNECT + calls.READ) < seconds[0] < SECONDS


def test_of_a_bad_post_whose_home_is_out_no_other_cell_takes_anything(region: ProductRegion) -> None:
    """Whether it was accepted before its action had such a schema, that home alone knows."""
    key = region.key("acme")
    for name in ("t1", "t3"):
        region.key("acme", name)
    region.put("t3", "us-big")
    region.applications["acme"]["schemas"] = {"told": {"version": 1, "schema": {"required": ["tags"]}}}
    region.tell()
    region.out = {"us-big"}
    bad_one = {**event("t3"), "eventName": "told"}
    told = region.call(POST, key, body=[event("t1"), bad_one], headers={"Idempotency-Key": "one"})
    assert (told.code, region.landed()) == ("home_unavailable", {})
    region.out = set()
    calls.forget()
    told = region.call(POST, key, body=[event("t1"), bad_one], headers={"Idempotency-Key": "one"})
    assert (told.code, region.landed()) == ("invalid_events", {})


def test_a_part_of_a_post_is_no_longer_than_the_post(
    region: ProductRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what one cell takes would be too much for two: a function is called with 6 MB at most."""
    key, sizes = region.key("acme"), []
    region.key("acme", "t2")
    region.put("t2", "us-2")
    body = json.dumps(
        [event("t1", eventDetails={"a": "жж\N{GRINNING FACE}" * 100}), event("t2")], ensure_ascii=False
    )
    send = calls.sender

    def measured(method: str, url: str, headers: Mapping[str, str], part: bytes) -> Answer:
        sizes.append(len(part))
        return send(method, url, headers, part)

    monkeypatch.setattr(calls, "sender", measured)
    assert region.call(POST, key, body=body).status == 202
    assert sum(sizes) < len(body.encode()) + 2 * len('{"events": [], "at": [0]}')
