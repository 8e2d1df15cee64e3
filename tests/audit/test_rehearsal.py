"""What our own customer is refused is the release's doing; what anybody else is refused is not."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from audit.handlers.common import directory, events, http, index, posting
from audit.handlers.common.http import ApiError
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.ingest import (
    keeping,
    landed,
    lines,
    objects,
    posts,
    processor,
    records,
    rejected,
    replay,
    session,
    waiting,
)
from audit.handlers.ingest.processor_rehearsal import play_processor
from audit.handlers.ingest.rehearsal import play_api
from audit.handlers.ingest.waiting_rehearsal import play_waiting
from audit.handlers.query import answering, api, exports, feed
from audit.handlers.query.rehearsal import play
from audit.handlers.query.search import Search
from cellwave.sandbox.emulator import embedded_metrics
from tests.audit.support import AuditCell, Handler, event

FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "ingest-api": (play_api, session.handler),
    "ingest-processor": (play_processor, processor.handler),
    "ingest-waiting": (play_waiting, waiting.handler),
    "query-api": (play, api.handler),
}


def fresh(function: str) -> Handler:
    """The function's handler in a process that has not rehearsed yet."""
    part, handler = FUNCTIONS[function]
    made: Handler = rehearsed(part)(handler.__wrapped__)
    return made


def call(function: str, cell: AuditCell) -> None:
    """Any call: a request for what there is not, or a batch of nothing."""
    handler = fresh(function)
    if function == "ingest-processor":
        handler({"Records": []}, None)
    elif function == "ingest-waiting":
        cell.key("acme")
        handler({"time": "2025-01-01T00:00:00Z"}, None)
    else:
        cell.call(handler, "GET /nothing")


def counted(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """What was published since the last look, by name."""
    return {name: value for _, name, value, *_ in embedded_metrics(capsys.readouterr().err)}


@pytest.mark.parametrize("function", ["ingest-api", "query-api"])
def test_who_asks_which_code_runs_waits_for_no_rehearsal(
    cell: AuditCell, function: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is asked of functions that have just started, and wants nothing of AWS."""
    assert cell.call(fresh(function), "GET /healthz").status == 200
    assert counted(capsys) == {}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_good_release_passes_its_rehearsal(
    cell: AuditCell, function: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever calls it, and nothing of it is kept: not even where the cell has no directory."""
    call(function, cell)
    assert counted(capsys) == {"Rehearsals": 1, "RehearsalsFailed": 0}
    assert cell.landed() == []
    assert cell.archived() == {}


def test_a_process_rehearses_now_and_then(cell: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """Not at every request, so that a flood costs no flood of rehearsals."""
    cell.key("acme")
    handler = fresh("query-api")
    for _ in range(20):
        assert cell.call(handler, "GET /v1/events").status == 401
    assert capsys.readouterr().err.count('"Rehearsals": 1') == 1


def refuse(status: int, code: str = "any") -> Callable[..., Any]:
    """A function that refuses whatever it is given."""

    def refusing(*_: object, **__: object) -> Any:
        raise ApiError(status, code, "refused")

    return refusing


def fails(*_: object, **__: object) -> Any:
    """A function that stumbles."""
    raise TypeError("a defect")


# Where a release may go wrong, in one line each: the function, what of it, and what stands there instead.
Defect = tuple[str, object, str, object]
DEFECTS: list[Defect] = [
    ("ingest-api", session, "authenticate", refuse(403)),
    ("query-api", api, "authenticate", refuse(403)),
    ("query-api", directory.Directory, "caller", lambda *_: None),
    ("ingest-api", session, "acceptance", fails),
    ("ingest-api", posting, "problems", lambda _: ["wrong"]),
    ("ingest-api", http, "parse_json", fails),
    ("ingest-api", rejected, "_cursor", lambda *_: "another's"),
    ("ingest-api", rejected, "_replay_asked", fails),
    ("ingest-api", rejected, "_from", lambda *_: iter(())),
    ("ingest-api", records, "_days", lambda *_: iter(["2025/01/01"])),
    ("ingest-api", rejected, "is_kept", lambda *_: False),
    ("ingest-api", posts, "put_new", lambda *_: True),
    ("ingest-api", posts, "_landing_key", lambda *_: "rehearsal/one.jsonl"),
    ("ingest-api", posts, "event_id", lambda *_: "one"),
    ("query-api", Search, "after", refuse(400, "invalid_cursor")),
    ("query-api", Search, "cursor", lambda *_: "another's"),
    ("query-api", Search, "condition", fails),
    ("query-api", Search, "matching", lambda _, items: list(items)),
    ("query-api", answering, "event_of", fails),
    ("query-api", exports, "_refuse_more", refuse(429)),
    ("query-api", exports, "is_id", lambda _: False),
    ("query-api", feed, "_cursor", fails),
    ("ingest-processor", lines, "problems", lambda _: ["wrong"]),
    ("ingest-processor", keeping, "registration", lambda *_: lambda _: False),
    ("ingest-processor", keeping, "_archive", fails),
    ("ingest-processor", landed, "event_id", lambda *_: "another"),
    ("ingest-processor", landed, "session_of", lambda *_: None),
    ("ingest-processor", objects, "put_new", lambda *_: True),
    ("ingest-processor", keeping, "_wait", lambda *_: None),
    ("ingest-processor", lines, "unpacked", lambda content: content),
    ("ingest-processor", replay, "records", lambda *_: iter(())),
    ("ingest-waiting", waiting, "archive", fails),
    ("ingest-waiting", waiting, "index", lambda *_: None),
    ("ingest-waiting", waiting, "_forget", lambda *_: None),
    ("ingest-waiting", waiting, "newest_directory", lambda: directory.Directory({})),
    ("ingest-processor", index, "_insert", lambda *_: None),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=[f"{d[0]} {d[2]}" for d in DEFECTS])
def test_a_release_that_refuses_what_is_right_fails_its_rehearsal(
    cell: AuditCell, defect: Defect, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even where it answers no error of its own."""
    function, where, name, instead = defect
    monkeypatch.setattr(where, name, instead)
    call(function, cell)
    assert counted(capsys)["RehearsalsFailed"] == 1


def test_what_a_client_uploads_is_no_failure(cell: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """Objects of bad lines are counted as rejected, and as nothing that a gate looks at."""
    cell.key("acme")
    cell.land("acme/a.jsonl", b"{", b"\xff", event("nobody"), b"[" * 200_000, b'"' + b"x" * 200_000 + b'"')
    assert cell.process() == {"batchItemFailures": []}
    found = counted(capsys)
    assert (found["Rejected"], found["Waiting"]) == (4, 1)
    assert "PostsFailed" not in found


def post(cell: AuditCell) -> None:
    """Have one event accepted."""
    key = cell.key("acme", "t1") and cell.key("acme")
    assert cell.ingest("POST /v1/events", key, body=event()).status == 202


def test_a_post_that_is_found_wrong_later_stays_in_the_queue(
    cell: AuditCell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is counted against the release, nothing of it is thrown away, and the release before archives it."""
    post(cell)
    with monkeypatch.context() as patch:
        patch.setattr(lines, "problems", lambda _: ["wrong"])
        with pytest.raises(RuntimeError, match="all 1 messages failed"):
            cell.process()
    assert counted(capsys)["PostsFailed"] == 1
    assert cell.archived() == {}
    cell.process()
    assert counted(capsys) == {
        **{"Archived": 1, "Rejected": 0, "Waiting": 0},
        **{"Posts": 1, "PostsFailed": 0},
    }


def test_an_upload_that_stops_the_processor_is_no_error_of_the_function(
    cell: AuditCell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes back alone, and at its last delivery is kept as it came instead of dying."""
    cell.key("acme", "t1")
    cell.land("acme/a.jsonl", event(eventName="poison"))
    whole = events.problems

    def stumbling(found: object) -> Any:
        return fails() if isinstance(found, dict) and found["eventName"] == "poison" else whole(found)

    monkeypatch.setattr(lines, "problems", stumbling)
    message = cell.notification("acme/a.jsonl")
    assert cell.deliver(message, received=4) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert cell.archived() == {}
    assert cell.deliver(message, received=5) == {"batchItemFailures": []}
    ((key, (line,)),) = cell.archived().items()
    assert key.startswith("_rejected/acme/")
    assert "a defect" in line["reason"]
    assert "poison" in line["text"]
    assert "PostsFailed" not in counted(capsys)


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "..",
        "../rival/x",
        "./x",
        "//x",
        "%2e%2e/x",
        "a?b#c",
        "ünï",
        "\x01",
        "x" * 1000,
        " ",
        "a+b&c=d",
        "€/",
    ],
)
def test_no_name_of_an_upload_stops_the_processor(cell: AuditCell, name: str) -> None:
    """A client may choose it, and nobody else must suffer."""
    key = cell.key("acme", "t1") and cell.key("acme")
    opened = cell.ingest("GET /applications/session", key).body
    import httpx

    form = {**opened["form"], "key": f"acme/{name}"}
    answer = httpx.post(opened["uploadUrl"], data=form, files={"file": b'{"no": "event"}\n'})
    if answer.status_code != 204:
        return
    assert cell.process(f"acme/{name}") == {"batchItemFailures": []}
    assert len(cell.archived()) == 1


def test_a_batch_that_takes_too_long_is_cut_short(cell: AuditCell) -> None:
    """The rest is delivered again, and that is no error of the function."""

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 9_999

    cell.key("acme", "t1")
    for name in "abc":
        cell.land(f"acme/{name}.jsonl", event())
    messages = [cell.notification(f"acme/{name}.jsonl") for name in "abc"]
    assert cell.deliver(*messages, context=Context()) == {
        "batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]
    }
    assert len(cell.archived()) == 1


def test_a_key_of_a_rehearsal_is_no_key(cell: AuditCell) -> None:
    """It is known on its stage alone."""
    cell.key("acme")
    for credential in ("rehearsal,x", "rehearsal,tenant,x"):
        assert cell.search(base64.b64encode(credential.encode()).decode()).status == 401
