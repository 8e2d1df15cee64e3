"""What a rollout waits for is shown with the commands that answer it, and a command answers that question only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from cellwave.cli.here import here
from cellwave.cli.waiting import what_next
from cellwave.project import Project
from cellwave.rollout.loop import take_turns
from cellwave.rollout.model import Action, Question, Waiting, first_state
from cellwave.rollout.presence import lock_of, take_lock
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory
from cellwave.usecases.views import summary_of
from tests.cli.conftest import Run
from tests.rollout.plans import plan
from tests.rollout.states import put, row_of, with_head

ASKED_AT = 1795598190.0
SHOWN = "2026-11-25"


def asked(kind: Question, *answers: Action, question: int = 7) -> Waiting:
    """A question that was asked in the first wave."""
    return Waiting(
        kind=kind, wave="w1", since=ASKED_AT, what=f"why it is {kind}", answers=answers, question=question
    )


def said(head: Mapping[str, object], trouble: str = "") -> list[str]:
    """What is said twelve minutes later of a rollout in that state."""
    state = with_head(first_state("v2-1", plan([["a"]])), **head)
    row = row_of(state, trouble=trouble)
    return what_next(summary_of(row), ASKED_AT + 12 * 60 + 5)


def test_a_question_is_shown_with_since_when_and_the_commands_that_answer_it() -> None:
    """Those that go on name the question, so that nobody answers another than they have read."""
    first, *commands = said({"waiting": asked("blocked", "approve", "resume", "rollback")})
    assert first.startswith(f"it waits for a person since {SHOWN}")
    assert first.endswith("(12 min), in wave w1: why it is blocked")
    assert commands == [
        "  cellwave rollout approve v2-1 --question 7   go on",
        "  cellwave rollout resume v2-1 --question 7    try again",
        "  cellwave rollout rollback v2-1               undo everything it touched",
    ]


def test_only_what_answers_a_question_is_shown() -> None:
    """What has failed can't be approved."""
    lines = said({"waiting": asked("failed", "resume", "rollback")})
    assert [line.split()[2] for line in lines[1:]] == ["resume", "rollback"]


def test_a_pause_names_who_paused_and_how_to_go_on() -> None:
    """No question is asked."""
    assert said({"paused": "ann"}) == ["paused by ann; go on with: cellwave rollout resume v2-1"]


def test_one_that_cant_go_on_can_be_taken_back() -> None:
    """A database from a later version, for instance: rollback gets through all the same."""
    lines = said({}, "KeyError: stage")
    assert lines == [
        "it can't go on: KeyError: stage",
        "  cellwave rollout rollback v2-1   undo everything it touched",
    ]


@pytest.mark.parametrize("head", [{}, {"outcome": "done"}, {"condemned": "red", "paused": "ann"}])
def test_where_nothing_is_waited_for_nothing_is_said(head: dict[str, object]) -> None:
    """It runs, goes back, or is over."""
    assert said(head) == []


@contextmanager
def working(project: Path, records: Records, target: str) -> Iterator[None]:
    """This test is the worker of that backend."""
    lock = take_lock(lock_of(Project(project), target))
    assert lock is not None
    over = Event()

    def work() -> None:
        while not over.wait(0.01):
            take_turns(records, Memory(), target, time.time())

    thread = Thread(target=work)
    with lock:
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture
def waiting(project: Path) -> Callable[[Waiting], Records]:
    """Records a rollout v2-1 that waits for an answer."""

    def record(question: Waiting) -> Records:
        Project(project).make_home()
        around = here()
        state = first_state("v2-1", plan([["eu-west-1"]], approve=True))
        around.records.create_rollout(state, "ann", around.target, 1.0)
        state = around.records.state("v2-1")
        put(around.records, with_head(state, begun=True, waiting=question, turn=7))
        return around.records

    return record


def test_status_and_list_tell_scripts_what_is_asked(
    project: Path, run: Run, waiting: Callable[[Waiting], Records]
) -> None:
    """Kind, wave, since when, in words, and a whole command for each answer."""
    records = waiting(asked("approval", "approve", "rollback"))
    with working(project, records, here().target):
        status = json.loads(run("rollout", "status", "--json").out)
        [listed] = json.loads(run("rollout", "list", "--json").out)
        shown = run("rollout", "list").out
        told = run("rollout", "status").err
    assert (
        status["waiting"]
        == listed["waiting"]
        == {
            "kind": "approval",
            "wave": "w1",
            "since": ASKED_AT,
            "what": "why it is approval",
            "question": 7,
            "answers": {
                "approve": "cellwave rollout approve v2-1 --question 7",
                "rollback": "cellwave rollout rollback v2-1",
            },
        }
    )
    assert f"ann: since {SHOWN}" in shown
    assert "cellwave rollout approve v2-1 --question 7" in told


@pytest.mark.parametrize(
    "case",
    [
        (("--question", "7"), 0, "approve taken: answered: why it is approval"),
        ((), 0, "approve taken"),
        (("--question", "3"), 1, "question 3 is not asked; asked now is 7: why it is approval"),
    ],
)
def test_a_yes_answers_the_question_that_it_names(
    project: Path, run: Run, waiting: Callable[[Waiting], Records], case: tuple[tuple[str, ...], int, str]
) -> None:
    """A yes to another question changes nothing, and says so; without a number it is the one asked now."""
    arguments, code, words = case
    records = waiting(asked("approval", "approve", "rollback"))
    with working(project, records, here().target):
        ran = run("rollout", "approve", "v2-1", *arguments)
    assert (ran.code, words in ran.err) == (code, True), ran.err
    assert (records.state("v2-1").head.waiting is None) == (code == 0)


def test_a_pause_is_lifted_through_the_command_line(
    project: Path, run: Run, waiting: Callable[[Waiting], Records]
) -> None:
    """Nothing is asked, and resume says that it was paused."""
    records = waiting(asked("approval", "approve", "rollback"))
    with working(project, records, here().target):
        assert run("rollout", "approve", "v2-1").code == 0
        assert run("rollout", "pause", "v2-1").code == 0
        resumed = run("rollout", "resume", "v2-1")
    assert (resumed.code, "resume taken: the pause of ann is over" in resumed.err) == (0, True), resumed.err
