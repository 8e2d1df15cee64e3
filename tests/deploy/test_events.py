"""What the engine's event log tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cellwave.deploy.ahead import losses
from cellwave.deploy.drive import unanswered
from cellwave.deploy.events import Story, Tail, read_story, tell
from cellwave.states import name_of

URN = "urn:pulumi:a.b::shop::aws:sqs/queue:Queue::queue"
STACK = "urn:pulumi:a.b::shop::pulumi:pulumi:Stack::shop-a.b"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}


def step(event: str, op: str, urn: str = URN, **more: Any) -> dict[str, Any]:
    """An event about a resource."""
    kind = urn.split("::")[2]
    return {event: {"metadata": {"op": op, "urn": urn, "type": kind, **more}}}


BEGUN = json.dumps(step("resourcePreEvent", "create")) + "\n"
ENDED = json.dumps(step("resOutputsEvent", "create")) + "\n"
FAILED = json.dumps(step("resOpFailedEvent", "create")) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An event log that is not there yet."""
    return tmp_path / "events.jsonl"


@pytest.fixture
def tail(log: Path) -> Iterator[Tail]:
    """A tail of it."""
    with closing(Tail(log)) as made:
        yield made


def test_a_summary_gives_the_counts() -> None:
    """Operations that nothing had are left out of the counts."""
    story = tell([{"summaryEvent": {"resourceChanges": {"create": 2, "same": 0}}}])
    assert (story.changes, story.finished) == ({"create": 2}, True)


def test_outputs_are_texts_without_secrets() -> None:
    """Texts stay as they are, other values become JSON, secrets are left out wherever they hide."""
    outputs = {"url": "http://x", "n": 3, "key": SECRET, "deep": {"in": [SECRET]}, "masked": "[secret]"}
    story = tell([step("resOutputsEvent", "same", STACK, new={"outputs": outputs})])
    assert story.outputs == {"url": "http://x", "n": "3"}


def test_only_physical_resources_count_as_destroyed() -> None:
    """Replacing a queue is told; replacing a provider or a component takes nothing away."""
    provider = "urn:pulumi:a.b::shop::pulumi:providers:aws::cell"
    story = tell(
        [
            step("resourcePreEvent", "replace", old={"custom": True}),
            step("resourcePreEvent", "delete", provider, old={"custom": True}),
            step(
                "resourcePreEvent", "delete", "urn:pulumi:a.b::shop::my:own:Thing::x", old={"custom": False}
            ),
            step("resourcePreEvent", "update", old={"custom": True}),
        ]
    )
    assert story.destroyed == [("replace", URN)]


def test_only_a_step_without_an_answer_may_have_been_done() -> None:
    """One that AWS refused was not; one that failed half-way is in the state as far as it came."""

    def failed(name: str, op: str, status: int, said: str) -> list[dict[str, Any]]:
        urn = f"{URN}-{name}"
        lost = step("resOpFailedEvent", op, urn, **{"old" if op == "delete" else "new": {"urn": urn}})
        lost["resOpFailedEvent"]["status"] = status
        return [{"diagnosticEvent": {"severity": "error", "urn": urn, "message": said}}, lost]

    gone = "error reading from server: EOF"
    events = [
        *failed("made", "create", 0, gone),
        *failed("gone", "delete", 2, gone),
        *failed("half", "create", 1, gone),
        *failed("refused", "update", 2, "AccessDenied: no"),
    ]
    assert unanswered(tell(events)) == [
        ("create", {"urn": f"{URN}-made"}),
        ("delete", {"urn": f"{URN}-gone"}),
    ]


def test_what_a_language_host_printed_is_the_error_where_there_is_no_other() -> None:
    """Each of its errors, whole, without warnings before it; errors of the engine itself say more."""
    lines = ["Warning: old\n", "Error: no such property\n", "  on Pulumi.yaml line 7:\n", "Error: and more\n"]
    printed = [{"diagnosticEvent": {"severity": "info#err", "message": line}} for line in lines]
    assert [error.message for error in tell(printed).errors] == [
        "no such property\n  on Pulumi.yaml line 7:\n",
        "and more\n",
    ]
    reported = {"diagnosticEvent": {"severity": "error", "message": "m"}}
    assert [error.message for error in tell([*printed, reported]).errors] == ["m"]


def test_a_torn_log_tells_what_it_can(tmp_path: Path, log: Path) -> None:
    """The half line of a killed engine is passed over; an absent log is an unfinished story."""
    log.write_text(json.dumps({"diagnosticEvent": {"severity": "error", "message": "m"}}) + '\n{"summ')
    story = read_story(log)
    assert [error.message for error in story.errors] == ["m"]
    assert not story.finished
    assert not read_story(tmp_path / "none").finished


def test_a_tail_waits_for_whole_lines(log: Path, tail: Tail) -> None:
    """A step is told when its line is whole, once."""
    assert list(tail.progress()) == []
    log.write_text(BEGUN + ENDED[:10])
    assert [(p.resource, p.operation, p.done) for p in tail.progress()] == [
        ("aws:sqs/queue:Queue queue", "create", 0)
    ]
    assert tail.under_way == ["create aws:sqs/queue:Queue queue"]
    log.write_text(BEGUN + ENDED)
    assert [p.done for p in tail.progress()] == [1]
    assert tail.under_way == []


def test_a_tail_reads_a_run_to_its_end_and_the_next_from_its_beginning(log: Path, tail: Tail) -> None:
    """Also where the next one's log is longer already than what was read of the last one's, and under way no more is
    what the last one left."""
    log.write_text(BEGUN)
    assert [p.done for p in tail.progress()] == [0]
    with log.open("a") as last:
        log.unlink()
        log.write_text(BEGUN + ENDED + BEGUN)
        last.write(ENDED + BEGUN)
    assert [p.done for p in tail.progress()] == [1, 1, 0, 1, 1]
    with log.open("a") as file:
        file.write(FAILED)
    assert list(tail.progress()) == []
    assert tail.under_way == []


def test_a_name_is_type_and_name() -> None:
    """The innermost type is what a person knows a nested resource by."""
    nested = "urn:pulumi:a.b::shop::my:own:Thing$aws:sqs/queue:Queue::dead"
    assert name_of(nested) == "aws:sqs/queue:Queue dead"


def test_a_resource_that_would_be_lost_is_named_once() -> None:
    """The engine replaces in three steps; a person reads one word."""
    urn = "urn:pulumi:a.b::shop::aws:dynamodb/table:Table::t"
    gone = "urn:pulumi:a.b::shop::aws:dynamodb/table:Table::u"
    steps = [(step, urn) for step in ("delete-replaced", "replace", "create-replacement")]
    told = losses(Story(destroyed=[*steps, ("delete", gone)]), {}, None)
    assert told == "replace aws:dynamodb/table:Table t, delete aws:dynamodb/table:Table u"
