"""Each API publishes a document of itself, and is what it says. What every test of an API is answered is held against
it too (`documents.conforms`)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from audit.handlers.common.event_schema import EVENT, STORED
from audit.handlers.common.events import problems
from audit.handlers.ingest import session
from audit.handlers.query import api
from audit.handlers.query.search import PARAMETERS
from tests.audit.documents import document, validator
from tests.audit.support import AuditCell, event
from tests.audit.test_properties import events, values

HANDLERS = Path(api.__file__).parents[1]
SERVICES = {"ingest": session, "query": api}
EVERY = pytest.mark.parametrize("service", SERVICES)
OF_NO_OPERATION = {(404, "not_found"), (405, "method_not_allowed")}


@EVERY
def test_the_document_is_valid_and_has_every_route(service: str) -> None:
    """OpenAPI 3.1, without a key; each operation has a name of its own."""
    found = document(service)
    assert [error.message for error in OpenAPIV31SpecValidator(found).iter_errors()] == []
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    }
    assert operations.keys() == SERVICES[service]._ROUTES.keys()
    names = [operation["operationId"] for operation in operations.values()]
    assert len(set(names)) == len(names)


@EVERY
def test_what_wants_a_key_says_so(cell: AuditCell, service: str) -> None:
    """And answers 401 without one; what wants none is answered."""
    cell.key("acme")
    for path, methods in document(service)["paths"].items():
        for method, operation in methods.items():
            answer = cell.call(SERVICES[service].handler, f"{method.upper()} {path}", body={})
            assert (answer.status == 401) == bool(operation["security"])


def test_a_question_s_parameters_are_those_of_the_document() -> None:
    """All that is understood, and nothing else."""
    described = document("query")["paths"]["/v1/events"]["get"]["parameters"]
    assert [one["name"] for one in described] == [one.name for one in PARAMETERS]
    assert all(one["description"] and one["in"] == "query" for one in described)


def raised(folder: Path) -> set[tuple[int, str]]:
    """Status and code of every refusal in the code below a folder."""
    calls = [
        node
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ApiError"
    ]
    found = {tuple(ast.literal_eval(value) for value in call.args[:2]) for call in calls}
    return {(int(status), str(code)) for status, code in found}


def documented(service: str) -> set[tuple[int, str]]:
    """Status and code of every refusal in a service's document."""
    return {
        (int(status), code)
        for methods in document(service)["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if int(status) >= 400
        for code in answer["description"].split(", ")
    }


def test_every_code_of_a_refusal_is_documented_and_no_other() -> None:
    """A service documents what its own code raises; both together what there is."""
    for service in SERVICES:
        assert raised(HANDLERS / service) <= documented(service)
    everywhere = raised(HANDLERS)
    assert documented("ingest") | documented("query") | OF_NO_OPERATION == everywhere


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_refusal_for_too_many_says_where_the_wait_is(method: str) -> None:
    """Wherever 429 may be answered."""
    for methods in document("query")["paths"].values():
        answers = methods.get(method, {"responses": {}})["responses"]
        assert "429" not in answers or "Retry-After" in answers["429"]["headers"]


TAKEN = validator("ingest", "components", "schemas", EVENT)
UNSAID = ("eventTime", "(event)")
NAMES = (
    "eventId",
    "tenantId",
    "eventTime",
    "eventName",
    "actor",
    "resources",
    "context",
    "eventDetails",
    "tags",
)
odd: st.SearchStrategy[Any] = (
    values
    | st.sampled_from(
        ["", [], {}, None, False, 0, "a" * 256, "a" * 257, "a" * 65, "a" * 128, "a" * 129, "a.b", ".b", "t\n", "a/b",
         "2025-02-30T00:00:00Z", "2025-01-01T00:00:60z", "2025-01-01 00:00:00Z", {"id": ""}, {"id": "a", "details": 1},
         [{"id": "a"}] * 101, [{"id": "a", "details": {"b": 1}}, {}], {"a": 1}, {"userAgent": "a" * 1025},
         {"sourceIpAddress": "a" * 65}, {"sourceIpAddress": []}]
    )
    | st.text(max_size=300)
)  # fmt: skip


@given(events)
def test_every_event_that_is_taken_is_one_by_the_document(event: dict[str, Any]) -> None:
    """And, with its id, one of those that are read."""
    assert TAKEN.is_valid(event)
    assert validator("query", "components", "schemas", STORED).is_valid({"eventId": "id", **event})


@given(events, st.sampled_from(NAMES), odd)
def test_document_and_service_judge_alike(event: dict[str, Any], name: str, value: Any) -> None:
    """Whatever stands in a field: what the document refuses is refused, and what it takes but for what it can't say."""
    event[name] = value
    wrong = [problem for problem in problems(event) if problem.field not in UNSAID]
    if TAKEN.is_valid(event):
        assert wrong == []
    else:
        assert problems(event)


def test_a_document_may_be_kept_for_a_while(cell: AuditCell) -> None:
    """It is the only answer that may."""
    answer = cell.call(api.handler, "GET /v1/openapi.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert cell.search(cell.key("acme", "t1")).headers["cache-control"] == "no-store"


def test_a_post_is_one_by_the_document(cell: AuditCell) -> None:
    """In each of its three forms, and refused by it in any other."""
    key = cell.key("acme", "t1") and cell.key("acme")
    schema = ("requestBody", "content", "application/json", "schema")
    body = validator("ingest", "paths", "/v1/events", "post", *schema)
    for good in (event(), [event()], {"events": [event(), event()]}):
        assert body.is_valid(good)
        assert cell.ingest("POST /v1/events", key, body=good).status == 202
    refused: list[Any] = [
        {},
        [],
        {"events": []},
        {"events": [event()], "more": 1},
        {"events": {}},
        "text",
        None,
    ]
    for bad in refused:
        assert not body.is_valid(bad)
        assert cell.ingest("POST /v1/events", key, body=bad).status == 400
