"""Events as OCSF's API Activity: valid against the published schema, with what the log has of them, nothing lost."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from audit.handlers.common.exact import read, write
from audit.handlers.common.http import parse_json
from audit.handlers.common.ocsf import CLASS, Logged, activity
from audit.handlers.log.append import checkpoint_in
from audit.handlers.log.verifier import Entry, Key, check_inclusion, leaf_hash, open_note
from audit.handlers.query import api
from audit.handlers.router.merging import place_of
from tests.audit.logs import ORIGIN, Logs
from tests.audit.support import AuditCell, event
from tests.audit.test_exports import Exports, made
from tests.audit.test_log_proofs import flow
from tests.audit.test_properties import events, texts, times

__all__ = ["made"]  # a fixture

PUBLISHED = Draft202012Validator(json.loads(Path(__file__).with_name("ocsf_api_activity.json").read_text()))
NOTE = "eu.audit.example/acme/t1\n18\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
SIGNED = f"\N{EM DASH} eu.audit.example/acme/t1 {base64.b64encode(b'1234' + bytes(64)).decode()}\n"
COSIGNED = (
    f"\N{EM DASH} w1 {base64.b64encode(b'1234' + (1_700_000_000).to_bytes(8, 'big') + bytes(64)).decode()}\n"
)
LOGGED = Logged(17, bytes(16), "eu.audit.example/acme/t1+12345678+AQ==", NOTE + SIGNED + COSIGNED)
addresses = st.ip_addresses().map(str) | st.ip_addresses(v=6).map(lambda one: f"{one.exploded}%eth0") | texts


def problems(found: object) -> list[str]:
    """What the published schema has against it."""
    return [f"{error.json_path}: {error.message}"[:300] for error in PUBLISHED.iter_errors(found)]


def stored(one: dict[str, Any]) -> dict[str, Any]:
    """An event as it is stored, read as the service reads it."""
    found: dict[str, Any] = parse_json(write({"eventId": "0a", **one}).encode())
    return found


@given(events, st.none() | addresses, st.sampled_from([None, LOGGED]))
def test_any_event_is_valid_and_loses_nothing(
    one: dict[str, Any], source: str | None, log: Logged | None
) -> None:
    """Against the published schema, logged or not; the event comes back from `raw_data` with every digit of it."""
    if source:
        one = {**one, "context": {**(one.get("context") or {}), "sourceIpAddress": source}}
    found = activity("acme", stored(one), log)
    assert problems(json.loads(write(found))) == []
    assert read(found["raw_data"]) == stored(one)


def unfolded(found: dict[str, Any]) -> dict[str, Any]:
    """The event in the class's own places and in `unmapped`, without what is empty."""
    metadata, unmapped = found["metadata"], dict(found["unmapped"])
    actor = {"id": found["actor"]["user"]["uid"]} if "user" in found["actor"] else {}
    source = {"sourceIpAddress": found["src_endpoint"].get("ip", found["src_endpoint"].get("name"))}
    agent = {"userAgent": found.get("http_request", {}).get("user_agent")}
    resources = [
        {"id": one["uid"], **({"details": one["data"]} if "data" in one else {})}
        for one in found.get("resources", [])
    ]
    known = {
        "eventId": metadata["uid"],
        "tenantId": metadata["tenant_uid"],
        "eventTime": metadata["original_time"],
        "eventName": found["api"]["operation"],
        "actor": {**actor, **unmapped.pop("actor", {})},
        "context": {**source, **agent, **unmapped.pop("context", {})},
        "resources": unmapped.pop("resources", resources),
        "tags": {one["name"]: one["value"] for one in metadata.get("tags", [])},
    }
    whole: dict[str, Any] = filled({**known, **unmapped})
    return whole


def filled(value: Any) -> Any:
    """A value without the fields of it that hold nothing."""
    if isinstance(value, dict):
        return {
            name: inner for name, one in value.items() if (inner := filled(one)) not in (None, "", {}, [])
        }
    return [filled(one) for one in value] if isinstance(value, list) else value


@given(events)
def test_every_field_is_in_a_place_of_its_own_or_unmapped(one: dict[str, Any]) -> None:
    """Without a look at `raw_data`."""
    assert unfolded(activity("acme", stored(one))) == filled(stored(one))


def test_an_event_is_this() -> None:
    """Who and what, where OCSF has a place for it; the rest is unmapped under the event's own names."""
    found = activity(
        "acme",
        {
            "eventId": "0a",
            "tenantId": "t1",
            "eventTime": "2025-01-31T13:00:00.1234567+01:00",
            "eventName": "user.created",
            "actor": {"id": "ann", "details": {"role": "admin"}},
            "resources": [{"id": "r1", "details": {"a": 1}}, {"id": "r2"}],
            "context": {"sourceIpAddress": "2001:DB8::1", "userAgent": "curl/8", "device": "d"},
            "eventDetails": {"n": 0.5},
            "tags": {"env": "prod"},
        },
    )
    assert found.pop("raw_data").startswith('{"eventId": "0a", "tenantId": "t1"')
    assert found == {
        "class_uid": 6003,
        "class_name": "API Activity",
        "category_uid": 6,
        "category_name": "Application Activity",
        "activity_id": 1,
        "activity_name": "Create",
        "type_uid": 600301,
        "type_name": "API Activity: Create",
        "severity_id": 1,
        "severity": "Informational",
        "time": 1738324800123,
        "metadata": {
            "version": "1.9.0",
            "product": {"name": "acme"},
            "uid": "0a",
            "tenant_uid": "t1",
            "event_code": "user.created",
            "original_time": "2025-01-31T13:00:00.1234567+01:00",
            "tags": [{"name": "env", "value": "prod"}],
        },
        "actor": {"user": {"uid": "ann"}},
        "api": {"operation": "user.created", "service": {"name": "acme"}},
        "src_endpoint": {"ip": "2001:db8::1"},
        "http_request": {"user_agent": "curl/8"},
        "resources": [{"uid": "r1", "data": {"a": 1}}, {"uid": "r2"}],
        "unmapped": {
            "actor": {"details": {"role": "admin"}},
            "context": {"device": "d"},
            "eventDetails": {"n": 0.5},
        },
    }


def test_an_event_that_names_nobody_was_told_of_by_its_application() -> None:
    """Which is what is known of who did it, and from where."""
    found = activity("acme", stored(event()))
    assert (found["actor"], found["src_endpoint"]) == (
        {"application": {"uid": "acme"}},
        {"svc_name": "acme"},
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("user.created", 1), ("iam:CreateUser", 1), ("POST /v1/users", 1), ("export.created", 1),
        ("GetObject", 2), ("list_deleted_items", 2), ("document viewed by ann", 2), ("project.export.csv", 2),
        ("role.set", 3), ("ResetPassword", 3), ("settings.updated", 3), ("modifying", 3),
        ("deleteView", 4), ("view.deleted", 4), ("users/delete-all", 4), ("API_KEY_REVOKED", 4),
        ("login", 99), ("posts", 99), ("e1", 99), ("ünïcode", 99),
    ],
)  # fmt: skip
def test_an_action_s_name_says_what_it_does(name: str, kind: int) -> None:
    """By its verb; what has none is Other, under its own name."""
    found = activity("acme", stored(event(eventName=name)))
    assert (found["activity_id"], found["type_uid"]) == (kind, CLASS * 100 + kind)
    assert found["activity_name"] == {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}.get(kind, name)


@given(times)
def test_a_time_is_milliseconds_of_utc(time: str) -> None:
    """Cut to those, of any year and zone."""
    found = activity("acme", stored({**event(), "eventTime": time}))
    assert found["time"] == (datetime.fromisoformat(time) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )


def test_a_leap_second_is_the_second_behind_it() -> None:
    """As POSIX counts."""
    found = activity("acme", stored({**event(), "eventTime": "2016-12-31T23:59:60.25Z"}))
    assert found["time"] == 1483228800250


def test_the_signatures_are_the_checkpoint_s() -> None:
    """The log's, and of each witness, which says when."""
    (attestation,) = activity("acme", stored(event()), LOGGED)["attestation_list"]
    assert [one["serialization"] for one in attestation["signatures"]] == [
        "C2SP tlog-checkpoint",
        "C2SP tlog-cosignature",
    ]
    assert [one.get("created_time") for one in attestation["signatures"]] == [None, 1_700_000_000_000]
    assert all(one["digest"]["value"] == checkpoint_in(NOTE).root.hex() for one in attestation["signatures"])


def test_what_is_attested_is_in_the_log(logs: Logs) -> None:
    """What stands in the event and its proof is enough to check it: fingerprint, position, log and checkpoint."""
    logs.cell.key("acme")
    key = logs.cell.key("acme", "t1")
    flow(logs, event(), event(eventDetails={"sum": 1.5, "name": "ünïcode"}))
    read_events = logs.cell.search(key, format="ocsf").body["events"]
    assert len(read_events) == 2
    for found in read_events:
        assert problems(found) == []
        assert found["metadata"]["profiles"] == ["record_integrity"]
        (attestation,), (shown,) = found["attestation_list"], found["enrichments"]
        assert attestation["chain_uid"] == f"{ORIGIN}/acme/t1"
        checkpoint = open_note(shown["data"]["checkpoint"], Key.parse(attestation["authority_uid"]))
        proof = logs.cell.call(api.handler, "GET /v1/proof", key, eventId=found["metadata"]["uid"]).body
        entry = Entry.parse(proof["entry"].encode())
        salted = base64.b64decode(shown["data"]["salt"]) + found["raw_data"].encode()
        assert (
            attestation["fingerprint"]["value"]
            == hashlib.sha256(salted).hexdigest()
            == entry.commitment.hex()
        )
        check_inclusion(
            leaf_hash(entry.data),
            int(attestation["uid"]),
            checkpoint.size,
            checkpoint.root,
            [base64.b64decode(one) for one in proof["proof"]],
        )


def test_what_has_no_entry_yet_is_not_attested(logs: Logs) -> None:
    """Of no log, or behind its checkpoint; it is valid all the same."""
    logs.cell.key("acme")
    key = logs.cell.key("acme", "t1")
    logs.cell.land("acme/a.jsonl", event())
    logs.cell.process("acme/a.jsonl")
    for expected in ([False], [False, True]):
        found = logs.cell.search(key, format="ocsf").body["events"]
        assert sorted("attestation_list" in one for one in found) == expected
        assert all(problems(one) == [] for one in found)
        flow(logs, event(second=1), name="b")


def test_pages_are_those_of_the_question(logs: Logs) -> None:
    """Whatever they are written as: a cursor goes on in either."""
    logs.cell.key("acme")
    key = logs.cell.key("acme", "t1")
    flow(logs, *(event(second=n) for n in range(4)))
    plain = [one["eventId"] for one in logs.cell.search(key).body["events"]]
    first = logs.cell.search(key, format="ocsf", limit=2).body
    then = logs.cell.search(key, limit=2, cursor=first["cursor"]).body
    assert [one["metadata"]["uid"] for one in first["events"]] == plain[:2]
    assert [one["eventId"] for one in then["events"]] == plain[2:]


def test_the_feed_tells_the_same(logs: Logs) -> None:
    """In its own order."""
    logs.cell.key("acme")
    key = logs.cell.key("acme", "t1")
    flow(logs, *(event(second=n) for n in range(3)))
    fed = logs.cell.call(api.handler, "GET /v1/feed", key, format="ocsf").body["events"]
    found = logs.cell.search(key, format="ocsf").body["events"]
    assert sorted(fed, key=json.dumps) == sorted(found, key=json.dumps)
    assert [one["attestation_list"][0]["uid"] for one in fed] == ["0", "1", "2"]


@given(events)
def test_a_region_of_several_cells_orders_them_as_stored_events(one: dict[str, Any]) -> None:
    """By the same place."""
    assert place_of(activity("acme", stored(one))) == place_of(stored(one))


def test_another_format_is_refused(cell: AuditCell) -> None:
    """And told what there is."""
    answer = cell.search(cell.key("acme", "t1"), format="cef")
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.message == "format: found cef, expected ocsf"


def test_an_export_holds_what_the_api_answers(made: Exports, logs: Logs) -> None:
    """As lines, packed or not."""
    logs.tell(*(key for key in logs.objects("archive") if key.startswith("acme/t1/")))
    content = made.made(format="ocsf.jsonl")
    found = [json.loads(line) for line in content.splitlines()]
    assert found == made.cell.search(made.key, format="ocsf", limit=100).body["events"]
    assert all("attestation_list" in one and problems(one) == [] for one in found)
    assert gzip.decompress(made.made(format="ocsf.jsonl.gz")) == content
