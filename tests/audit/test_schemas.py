"""What an application registers of its events' shape is what its events are, and nothing that was accepted is lost."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from audit.handlers.common import directory
from audit.handlers.common.aws import s3
from audit.handlers.common.exact import read
from audit.handlers.common.http import parse_json
from audit.handlers.common.schemas import MOST_BYTES, MOST_DEPTH, MOST_LEVELS, faults, held_against, problems
from audit.handlers.directory import pull
from audit.handlers.directory.snapshot import parsed
from audit.handlers.query import api
from audit.schemas import MOST_ACTIONS, Registered, in_force
from tests.audit.logs import Logs
from tests.audit.routing import ProductRegion
from tests.audit.support import Answer, Audit, AuditCell, event
from tests.audit.test_once import POST
from tests.audit.test_waiting import tick

NAMED = st.sampled_from(["a", "b", "c"])
numbers = st.integers(-3, 3) | st.integers(-6, 6).map(lambda half: half / 2)
scalars = st.none() | st.booleans() | numbers | st.sampled_from(["", "a", "ab", "é𝄞"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMED, inner, max_size=3),
    max_leaves=8,
)
counts = st.integers(0, 3)
kinds = st.sampled_from(["null", "boolean", "string", "array", "object", "number", "integer"])


def subset(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of all that may be registered."""
    return st.fixed_dictionaries(
        {},
        optional={
            "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
            "enum": st.lists(scalars, min_size=1, max_size=3),
            "const": scalars,
            **dict.fromkeys(
                ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), counts
            ),
            **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), numbers),
            "required": st.lists(NAMED, max_size=2, unique=True),
            "properties": st.dictionaries(NAMED, inner, max_size=3),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "title": st.just("said to people"),
        },
    )


schemas = st.recursive(subset(st.just({})), subset, max_leaves=4)


def deep(levels: int) -> Any:
    """So many lists in one another."""
    return [deep(levels - 1)] if levels else 0


@given(schemas, values)
def test_a_value_fits_as_json_schema_has_it(schema: Any, value: Any) -> None:
    """Of whatever of it may be registered, another's checker says the same; and that is a schema to it."""
    Draft202012Validator.check_schema(schema)
    assert list(faults(schema)) == []
    assert (not list(problems(schema, value))) == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ([], "(schema)"),
        ({"pattern": "(a+)+$"}, "(schema).pattern"),
        ({"$ref": "#"}, "(schema).$ref"),
        ({"anyOf": [{}]}, "(schema).anyOf"),
        ({"type": "text"}, "(schema).type"),
        ({"type": []}, "(schema).type"),
        ({"enum": [[]]}, "(schema).enum"),
        ({"maxLength": -1}, "(schema).maxLength"),
        ({"minimum": "1"}, "(schema).minimum"),
        ({"minimum": True}, "(schema).minimum"),
        ({"required": "a"}, "(schema).required"),
        ({"properties": []}, "(schema).properties"),
        ({"properties": {"a": {"items": {"type": "x"}}}}, "(schema).properties.a.items.type"),
        ({"additionalProperties": 1}, "(schema).additionalProperties"),
        ({"title": "x" * MOST_BYTES}, "(schema)"),
        (parse_json(b'{"default": 1.50}'), "(schema)"),
        (parse_json(b'{"examples": [1e400]}'), "(schema)"),
        ({"default": deep(MOST_LEVELS)}, "(schema)"),
    ],
)
def test_what_can_t_be_registered_is_named(schema: Any, where: str) -> None:
    """Also what JSON Schema has and this has not: what could make a processor wait."""
    assert [one.field for one in faults(schema)] == [where]


def test_a_schema_is_only_so_deep() -> None:
    """Or checking would run out of stack."""
    schema: Any = {}
    for _ in range(MOST_DEPTH - 1):
        schema = {"items": schema}
    assert list(faults(schema)) == []
    assert len(list(faults({"items": schema}))) == 1


@pytest.mark.parametrize(
    "schema",
    [{"default": deep(MOST_LEVELS - 1)}, parse_json(b'{"const": 1e+22, "enum": [-0.0, 12345678901234567]}')],
)
def test_whatever_may_be_registered_can_be_told(schema: Any) -> None:
    """Or every cell would refuse the snapshot that has it, and go on with keys that have ended."""
    assert list(faults(schema)) == []
    told = {
        "acme": {"tenants": [], "keys": [], **in_force([Registered("acme", "a", 1, schema, 0).item])["acme"]}
    }
    body = json.dumps({"region": "us", "version": 1, "applications": told, "events": []}).encode()
    assert parsed(body, {}).applications == told


@pytest.mark.parametrize(
    ("digits", "fits"),
    [
        ("1E2", True),
        ("100.0", True),
        ("1e-2", False),
        ("1e999999999999999999999", False),
        ("12345678901234567890", True),
    ],
)
def test_a_number_is_what_its_digits_say(digits: str, fits: bool) -> None:
    """Whole or not, however it is written, and however large."""
    value = read(digits)
    assert (not list(problems({"type": "integer", "minimum": 1}, value))) == fits


def test_each_part_of_an_event_is_looked_at_once() -> None:
    """However its schema is made: nobody waits for it."""
    looks = 0

    class Counted(dict[str, Any]):
        def get(self, *asked: Any) -> Any:
            nonlocal looks
            looks += asked[0] == "items"
            return super().get(*asked)

    schema = Counted({"items": Counted()})
    assert not list(problems(schema, [[0] * 100] * 100))
    assert looks == 101


CREATED = {
    "properties": {
        "eventDetails": {
            "type": "object",
            "properties": {"amount": {"type": "number", "minimum": 0}, "currency": {"enum": ["EUR", "USD"]}},
            "required": ["amount"],
            "additionalProperties": False,
        }
    },
    "required": ["eventDetails"],
}
STRICTER = {"properties": {"eventDetails": {"required": ["amount", "currency"]}}}
GOOD = event(eventName="paid", eventDetails={"amount": 1})
BAD = event(eventName="paid", eventDetails={"amount": -1, "note": "x"})


def known(cell: AuditCell, version: int = 0, schema: Any = None, **more: Any) -> str:
    """Have a cell know a version of the schema of acme's action `paid`; a new key of acme's."""
    cell.key("acme", "t1")
    if schema is not None:
        cell.applications["acme"]["schemas"] = {"paid": {"version": version, "schema": schema}}
    cell.applications["acme"] |= more
    return cell.key("acme")


def post(cell: AuditCell, key: str, *events: object, once: str | None = None) -> Answer:
    """Post events."""
    headers = {"Idempotency-Key": once} if once else None
    return cell.ingest(POST, key, body=list(events), headers=headers)


def archived(cell: AuditCell) -> list[Any]:
    """All events in the archive, and nothing that was rejected."""
    found = cell.archived().items()
    return [line for key, lines in found for line in lines if not key.startswith("_")]


def rejected(cell: AuditCell, key: str) -> list[str]:
    """Why lines were rejected."""
    return [one["reason"] for one in cell.ingest("GET /v1/rejected", key).body["rejected"]]


def test_a_post_that_does_not_fit_is_refused(cell: AuditCell) -> None:
    """With index, field, what was found and what would be right; nothing of it is taken."""
    answer = post(cell, known(cell, 3, CREATED), GOOD, BAD)
    assert (answer.status, answer.code, cell.landed()) == (400, "invalid_events", [])
    by = "(version 3 of this action's schema)"
    assert answer.body["error"]["details"] == [
        {
            "index": 1,
            "field": "eventDetails.amount",
            "found": "-1",
            "expected": f"a number of at least 0 {by}",
        },
        {
            "index": 1,
            "field": "eventDetails.note",
            "found": '"x"',
            "expected": f"nothing: the schema has no such field {by}",
        },
    ]


def test_an_event_says_which_version_it_was_held_against(logs: Logs) -> None:
    """In the archive and to its tenant, and its entry in the log is over that; one without a schema is as it came."""
    cell = logs.cell
    key = known(cell, 3, CREATED)
    reader = cell.key("acme", "t1")
    assert post(cell, key, GOOD, event()).status == 202
    cell.process()
    found = {one["eventName"]: one for one in archived(cell)}
    assert found["paid"] == {"eventId": found["paid"]["eventId"], "eventSchemaVersion": 3, **GOOD}
    assert found["login"] == {"eventId": found["login"]["eventId"], **event()}
    assert sorted(cell.search(reader).body["events"], key=json.dumps) == sorted(
        found.values(), key=json.dumps
    )
    logs.tell(*(one for one in logs.objects("archive") if one.startswith("acme/")))
    for one in cell.search(reader, format="ocsf").body["events"]:
        proof = cell.call(api.handler, "GET /v1/proof", reader, eventId=one["metadata"]["uid"]).body
        committed = proof["entry"].split(" ")[2]
        value = one["attestation_list"][0]["fingerprint"]["value"]
        assert committed == base64.b64encode(bytes.fromhex(value)).decode()


def test_an_application_may_ask_for_schemas_of_all(cell: AuditCell) -> None:
    """Then an event of another action is refused, too; else it is taken as it comes."""
    assert post(cell, known(cell, 1, CREATED), event()).status == 202
    answer = post(cell, known(cell, strict=True), event())
    assert (answer.status, answer.body["error"]["details"][0]["field"]) == (400, "eventName")
    assert post(cell, known(cell), GOOD).status == 202


def test_a_client_names_no_version(cell: AuditCell) -> None:
    """The service does."""
    answer = post(cell, known(cell), {**GOOD, "eventSchemaVersion": 3})
    assert (answer.status, answer.body["error"]["details"][0]["field"]) == (400, "eventSchemaVersion")


def test_what_was_accepted_is_archived_whatever_is_in_force_by_then(cell: AuditCell) -> None:
    """A newer schema that it does not fit, or none at all any more: it was held against the one of its time."""
    assert post(cell, known(cell, 1, CREATED), GOOD).status == 202
    known(cell, 2, STRICTER, strict=True)
    directory.forget()
    assert cell.process() == {"batchItemFailures": []}
    (found,) = archived(cell)
    assert found["eventSchemaVersion"] == 1


def test_an_accepted_post_is_answered_the_same_under_a_newer_schema(cell: AuditCell) -> None:
    """Under its key; without one it is another post, and held against what is in force."""
    first = post(cell, known(cell, 1, CREATED), GOOD, once="k1")
    key = known(cell, 2, STRICTER)
    assert post(cell, key, GOOD, once="k1") == first
    assert post(cell, key, GOOD).status == post(cell, key, GOOD, once="k2").status == 400
    assert post(cell, key, {**GOOD, "eventDetails": {"amount": 2}}, once="k1").status == 400
    assert len(cell.landed()) == 1


def uploaded(cell: AuditCell, key: str, *events: object) -> None:
    """Upload a file of these in a new session."""
    opened = cell.ingest("GET /applications/session", key).body
    form = {**opened["form"], "key": "acme/a.jsonl"}
    content = "".join(f"{json.dumps(one)}\n" for one in events).encode()
    httpx.post(opened["uploadUrl"], data=form, files={"file": content}).raise_for_status()


def test_an_uploaded_line_that_does_not_fit_is_rejected_with_the_reason(cell: AuditCell) -> None:
    """The others are taken, and say by which version."""
    key = known(cell, 3, CREATED)
    uploaded(cell, key, GOOD, BAD, event())
    cell.process()
    assert [one.get("eventSchemaVersion") for one in archived(cell)] == [3, None]
    (reason,) = rejected(cell, key)
    assert reason.startswith("eventDetails.amount: found -1, expected a number of at least 0 (version 3 of")


def test_an_upload_is_judged_the_same_at_every_delivery(cell: AuditCell) -> None:
    """By what was in force when its session was opened."""
    key = known(cell, 1, CREATED)
    uploaded(cell, key, GOOD)
    cell.process()
    before = cell.archived()
    key = known(cell, 2, STRICTER)
    directory.forget()
    cell.process()
    assert (cell.archived(), rejected(cell, key)) == (before, [])


def test_a_rejected_line_is_replayed_by_the_schema_of_then(cell: AuditCell) -> None:
    """A schema that was wrong is mended by the next version, and what it rejected is put through again."""
    key = known(cell, 1, STRICTER)
    uploaded(cell, key, GOOD)
    cell.process()
    (record,) = cell.ingest("GET /v1/rejected", key).body["rejected"]
    key = known(cell, 2, CREATED)
    assert cell.ingest("POST /v1/rejected/replay", key, body={"object": record["object"]}).status == 202
    cell.process()
    assert [one["eventSchemaVersion"] for one in archived(cell)] == [2]


def test_an_event_that_waits_keeps_its_version(cell: AuditCell) -> None:
    """Until its tenant is registered, and longer."""
    key = known(cell, 1, CREATED)
    assert post(cell, key, {**GOOD, "tenantId": "t9"}).body["waiting"] == ["t9"]
    cell.process()
    known(cell, 2, STRICTER)
    cell.key("acme", "t9")
    tick()
    assert [one["eventSchemaVersion"] for one in archived(cell)] == [1]


def test_what_a_newer_release_says_in_a_schema_asks_for_nothing_here() -> None:
    """An event matters more than its shape."""
    newer = {"schemas": {"paid": {"version": 1, "schema": {"newWord": 1, "type": ["object", "newType"]}}}}
    assert held_against(newer, GOOD) == (1, [])


def test_the_newest_version_is_in_force() -> None:
    """Of each action, whatever its name; and versions are counted, not spelt."""
    rows = [
        Registered("acme", action, version, {"title": f"{version}"}, 0).item
        for action in ("a", "a#00009", "strict")
        for version in (1, 2, 10)
    ]
    told = in_force([*rows, {"applicationId": "other", "name": "strict"}])
    assert {name: one["version"] for name, one in told["acme"]["schemas"].items()} == {
        "a": 10,
        "a#00009": 10,
        "strict": 10,
    }
    assert ("strict" in told["acme"], told["other"]) == (False, {"strict": True})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A schema in a file."""
    path = tmp_path / "paid.json"
    path.write_text(json.dumps(CREATED))
    return path


def test_a_schema_is_in_force_in_a_cell_once_it_is_registered(
    control: AuditCell, audit: Audit, file: Path
) -> None:
    """By the signed snapshot that brings keys; nothing is deployed."""
    s3().put_object(Bucket=control.bucket("config"), Key="directory.json", Body=b'{"applications": {}}')
    key = json.loads(audit("key", "acme")[1])["key"]
    audit("key", "acme/t1")
    for command in (
        ("set", "acme", "paid", str(file)),
        ("set", "acme", "paid", str(file), "--replace"),
        ("strict", "acme", "--on"),
    ):
        assert audit("schema", *command)[0] == 0
        directory.forget()
        assert "stale" not in pull.handler()
        directory.forget()
        assert (post(control, key, BAD).status, post(control, key, GOOD).status) == (400, 202)
    assert post(control, key, event()).status == 400
    control.process()
    assert sorted(one["eventSchemaVersion"] for one in archived(control)) == [1, 2, 2]


def test_schemas_are_listed_shown_and_versioned(control: AuditCell, audit: Audit, file: Path) -> None:
    """No version is ever changed."""
    assert json.loads(audit("schema", "set", "acme", "paid", str(file))[1])["version"] == 1
    file.write_text(json.dumps(STRICTER))
    assert audit("schema", "set", "acme", "paid", str(file))[0] == 2
    assert json.loads(audit("schema", "set", "acme", "paid", str(file), "--replace")[1])["version"] == 2
    assert json.loads(audit("schema", "show", "acme", "paid")[1]) == STRICTER
    assert json.loads(audit("schema", "show", "acme", "paid", "--version", "1")[1]) == CREATED
    told = json.loads(audit("schema", "list", "acme", "--json")[1])
    assert ([one["name"] for one in told["schemas"]], told["strict"]) == (["paid#00001", "paid#00002"], False)
    audit("schema", "strict", "acme", "--on")
    shown = audit("schema", "list", "acme")[1]
    assert "paid" in shown
    assert "are refused" in shown
    audit("schema", "strict", "acme", "--off")
    assert "are taken" in audit("schema", "list", "acme")[1]


def test_what_can_t_be_registered_changes_nothing(
    control: AuditCell, audit: Audit, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What, where, and what would be right."""
    bad = file.with_name("bad.json")
    bad.write_text('{"properties": {"a": {"pattern": "x"}}}')
    for command, said in (
        (("set", "acme", "paid", str(bad)), "(schema).properties.a.pattern"),
        (("set", "acme", "paid", str(file.with_name("none"))), "can't be read"),
        (("set", "a/b", "paid", str(file)), "'a/b'"),
        (("set", "acme", "x" * 257, str(file)), "257 characters"),
        (("set", "acme", "paid", str(file), "--replace"), "has no schema"),
        (("show", "acme", "paid"), "no such schema"),
    ):
        code, _, told = audit("schema", *command)
        assert (code, said in told.replace("\n", " ")) == (2, True), told
    monkeypatch.setattr("audit.schemas.MOST_ACTIONS", 1)
    assert audit("schema", "set", "acme", "paid", str(file))[0] == 0
    assert audit("schema", "set", "acme", "other", str(file))[0] == 2
    assert MOST_ACTIONS * MOST_BYTES < 10**6
    assert len(json.loads(audit("schema", "list", "acme", "--json")[1])["schemas"]) == 1


def test_of_a_post_that_does_not_fit_no_home_takes_anything(region: ProductRegion) -> None:
    """Whatever cells its events are for; and what was accepted is answered the same under a newer schema."""
    key = region.key("acme")
    for tenant in ("t1", "t2"):
        region.key("acme", tenant)
    region.put("t2", "us-2")
    region.applications["acme"]["schemas"] = {"paid": {"version": 1, "schema": CREATED}}
    region.tell()
    once = {"Idempotency-Key": "k1"}
    for headers in ({}, once):
        told = region.call(POST, key, body=[GOOD, {**BAD, "tenantId": "t2"}], headers=headers)
        assert (told.status, told.body["error"]["details"][0]["index"]) == (400, 1)
    assert not any(region.landed().values())
    both = [GOOD, {**GOOD, "tenantId": "t2"}]
    first = region.call(POST, key, body=both, headers=once)
    assert first.status == 202
    region.applications["acme"]["schemas"] = {"paid": {"version": 2, "schema": STRICTER}}
    region.tell()
    assert region.call(POST, key, body=both, headers=once).body == first.body
    assert region.call(POST, key, body=both).status == 400
