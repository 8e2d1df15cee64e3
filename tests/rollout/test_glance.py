"""What is shown of a rollout is read at a glance, and is what its whole state would tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.ahead import is_ahead
from cellwave.rollout.glance import course, glance, telling
from cellwave.rollout.model import State, coming, first_state
from cellwave.rollout.outline import Outline
from cellwave.rollout.records import Records
from cellwave.rollout.tables import OUTLINES, PLANS
from cellwave.usecases.views import story_of, view_of
from cellwave.waves.model import Bake
from tests.rollout.every_state import walk
from tests.rollout.plans import plan
from tests.rollout.states import course_of, glance_of, put, record, with_head

TWO = plan([["a"], ["b"]], services={"s": ()}, tolerance=1, bake=Bake(seconds=1, samples=1, limit=2))
EVERY = [node.state for node in walk(TWO).nodes.values()]


def test_a_glance_tells_what_the_state_does() -> None:
    """Of every state that a rollout of two waves can come to."""
    for state in EVERY:
        view, story = view_of(glance_of(state), ()), story_of(course_of(state))
        leg, number = state.forward, coming(state.head, state.forward.position, 2)
        assert (story.touched, story.cells, story.wave) == (state.touched, leg.plan.cells, leg.current.name)
        assert view.running == tuple(step.deployment for step in state.leg.running)
        wave = leg.plan.waves[number].steps if number is not None else ()
        previewable = sum(is_ahead(leg, leg.shape.place[step.deployment]) for step in wave)
        assert (view.status, (view.ahead and view.ahead.previewable) or 0) == (state.status, previewable)


def by_kind() -> Iterator[State]:
    """A state of each kind."""
    yield from {
        (state.status, state.leg.stage, bool(state.back), bool(glance_of(state).foreseen)): state
        for state in EVERY
    }.values()


def test_a_glance_is_read_from_the_rows(database_url: str) -> None:
    """All of it, and of one moment; whoever looks on reads an outline once."""
    records, known = Records(database_url), dict[str, Outline]()
    record(records, first_state("v2-1", TWO), "t")
    for state in by_kind():
        with records.transaction() as db:
            db.execute(sa.text("DELETE FROM tracks"))
        put(records, state)
        seen = glance(records, "v2-1", known)
        assert replace(seen, row=None) == replace(glance_of(state), row=None)  # type: ignore[arg-type]
        assert replace(course(records, "v2-1"), row=None) == replace(course_of(state), row=None)  # type: ignore[arg-type]
        assert seen.row.head == state.head
    assert len(known) > 1, "the plan, and those of ways back"
    with pytest.raises(LookupError, match="no rollout v2-7"):
        glance(records, "v2-7", known)


def test_an_outline_that_an_earlier_version_did_not_keep_is_made_of_its_plan(database_url: str) -> None:
    """The rollout is shown all the same."""
    records = Records(database_url)
    record(records, first_state("v2-1", TWO), "t")
    kept = glance(records, "v2-1", {})
    with records.transaction() as db:
        db.execute(sa.delete(OUTLINES))
    assert glance(records, "v2-1", {}) == kept


def test_a_glance_reads_no_plan_and_makes_no_state(database_url: str) -> None:
    """They are what is large about a rollout: it is shown without its plan."""
    records = Records(database_url)
    record(records, first_state("v2-1", TWO), "t")
    with records.transaction() as db:
        db.execute(sa.delete(PLANS))
    with pytest.raises(sa.exc.NoResultFound):
        records.state("v2-1")
    assert [wave.name for wave in view_of(glance(records, "v2-1", {}), ()).waves] == ["w1", "w2"]
    assert story_of(course(records, "v2-1")).cells == ("a", "b")


def gates(verdicts: str, cell: str) -> list[GateResult]:
    """A cell's gates: P passes, F fails, I is inconclusive; the words of each look like another verdict."""
    known = {"P": Verdict.PASS, "F": Verdict.FAIL, "I": Verdict.INCONCLUSIVE}
    return [
        GateResult(cell=cell, service="s", gate=f"g{n}", verdict=known[one], reason='"verdict":"PASS"')
        for n, one in enumerate(verdicts)
    ]


def test_of_gates_that_pass_a_few_are_read_and_the_rest_counted(database_url: str) -> None:
    """What does not pass is read wherever it stands."""
    records = Records(database_url)
    record(records, first_state("v2-1", TWO), "t")
    cells = {"a": "PP", "b": "PPP", "c": "PP", "d": "PI", "e": "F", "f": "P"}
    found = {cell: gates(verdicts, cell) for cell, verdicts in cells.items()}
    put(
        records,
        with_head(first_state("v2-1", TWO), turn=1),
        gates=tuple(gate for some in found.values() for gate in some),
    )
    read, more = telling(records, "v2-1", 3)
    assert read == (*found["a"], *found["b"], *found["d"], *found["e"])
    assert more == 3
    assert telling(records, "v2-1", 30) == (records.readings("v2-1"), 0)


def test_what_is_shown_of_tracks_is_read_from_an_index(tmp_path: Path) -> None:
    """Their rows are large, and lie apart."""
    records = Records(f"sqlite:///{tmp_path / 'cellwave.db'}")
    reads: list[str] = []

    def note(db: Any, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if "FROM tracks" in statement and not statement.startswith("EXPLAIN"):
            reads.extend(row[3] for row in db.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    record(records, first_state("v2-1", TWO), "t")
    sa.event.listen(records.engine, "after_cursor_execute", note)
    glance(records, "v2-1", {})
    assert len(reads) == 2
    assert "USING COVERING INDEX phases" in reads[0]
    assert "USING INDEX remarkable" in reads[1]
