"""The decision core in a world in which anything happens at any moment. What must hold is in outside.py."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from cellwave.rollout.model import (
    Action,
    Commanded,
    Deployed,
    remains,
    reverse_state,
)
from cellwave.waves.model import Bake, Plan, PlannedWave, Step
from tests.rollout.outside import CRITICAL, ENDS, FAIL, PASS, SAME, SIGHTS, THIN, End, Outside, Sight
from tests.rollout.plans import NEW, OLD

SERVICES = ("s", "t", "u")
ENDINGS: list[End] = [*ENDS, "applied", "applied", "applied", "applied", "applied"]
BAKES = [Bake(), Bake(seconds=2, samples=1, limit=4), Bake(seconds=40, samples=1, limit=90)]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan of up to seven cells in up to three waves, with pairs in one wave and in two, as the planner would make
    it; or one of an earlier version, which names no partners."""
    count = draw(st.integers(1, 7))
    cells = [f"c{n}" for n in range(count)]
    services = SERVICES[: draw(st.integers(1, 3))]
    needs = {s: [n for n in services[:at] if draw(st.booleans())] for at, s in enumerate(services)}
    wave_of = {cell: draw(st.integers(0, 2)) for cell in cells}
    partners: dict[str, str] = {}
    for first, second in zip(cells[::2], cells[1::2], strict=False):
        if draw(st.booleans()):
            partners |= {first: second, second: first}
    lasts = [s for s in services if not any(s in needs[other] for other in services)]
    waves = []
    for number in sorted(set(wave_of.values())):
        members = [cell for cell in cells if wave_of[cell] == number]
        steps = []
        for place, cell in enumerate(members):
            before = partners.get(cell) if partners.get(cell) in members[:place] else None
            for service in services:
                after = [f"{cell}.{need}" for need in needs[service]]
                if before and not after:
                    after = [f"{before}.{last}" for last in lasts]
                steps.append(draw_step(draw, cell, service, tuple(after)))
        waves.append(
            PlannedWave(
                number=number + 1,
                name=f"w{number + 1}",
                steps=tuple(steps),
                concurrency=draw(st.integers(1, 3)),
                bake=draw(st.sampled_from(BAKES)),
                approve=draw(st.sampled_from([False, False, True])),
            )
        )
    return Plan(
        release=NEW,
        version="v2",
        tolerance=draw(st.integers(0, 3)),
        retries=draw(st.integers(0, 2)),
        rollback_concurrency=draw(st.integers(1, 3)),
        partners=partners if draw(st.booleans()) or len(waves) > 1 else {},
        waves=tuple(waves),
    )


def draw_step(draw: st.DrawFn, cell: str, service: str, after: tuple[str, ...]) -> Step:
    """A step from whatever ran there before."""
    previous = draw(st.sampled_from([OLD, OLD, OLD, None, NEW]))
    return Step(
        cell=cell,
        service=service,
        after=after,
        release=NEW,
        previous=previous,
        stateful=draw(st.sampled_from([False, False, True])),
        unproven=draw(st.sampled_from(["", "", "a pulumi up"])) if previous is None else "",
        kept=draw(st.sampled_from(["", "", "nothing changed"])) if previous is not None else "",
    )


class AnythingHappens(RuleBasedStateMachine):
    """Every effect may end in every way, early or late; every event may be told again; every command may be given."""

    out: Outside

    @initialize(plan=plans(), late=st.booleans())
    def begin(self, plan: Plan, late: bool) -> None:
        """A rollout is there; mostly it is started before anything else."""
        self.out = Outside.of(plan)
        if not late:
            self.out.start()

    @precondition(lambda self: not self.out.state.head.begun)
    @rule()
    def start(self) -> None:
        """It is started after something else had happened."""
        self.out.start()

    @precondition(lambda self: self.out.engines)
    @rule(pick=st.integers(0, 30), end=st.sampled_from(ENDINGS))
    def an_engine_ends(self, pick: int, end: End) -> None:
        """Any of those that run, in any order."""
        names = sorted(self.out.engines)
        self.out.end_engine(names[pick % len(names)], end)

    @precondition(lambda self: self.out.proofs)
    @rule(pick=st.integers(0, 30), end=st.sampled_from(ENDINGS))
    def a_proof_ends(self, pick: int, end: End) -> None:
        """Any of those that are under way, in any order."""
        names = sorted(self.out.proofs)
        self.out.end_proof(names[pick % len(names)], end)

    @precondition(lambda self: self.out.engines or self.out.proofs)
    @rule()
    def all_goes_well(self) -> None:
        """What is at work ends well."""
        for name in sorted(self.out.engines):
            self.out.end_engine(name, "applied")
        for name in sorted(self.out.proofs):
            self.out.end_proof(name, "applied")

    @precondition(lambda self: self.out.previews)
    @rule(pick=st.integers(0, 30), sight=st.sampled_from(["fine", "fine", *SIGHTS]))
    def a_preview_ends(self, pick: int, sight: Sight) -> None:
        """Whatever it shows, in time or too late."""
        self.out.end_preview(pick, sight)

    @precondition(lambda self: self.out.looks)
    @rule(data=st.data())
    def a_look_ends(self, data: st.DataObject) -> None:
        """Whatever it saw."""
        cells = self.out.state.forward.current.cells
        how = st.sampled_from([PASS, PASS, FAIL, FAIL, SAME, THIN, CRITICAL])
        seen = data.draw(st.dictionaries(st.sampled_from(cells), how, max_size=2))
        problems = data.draw(st.sampled_from([[], [], ["an alarm is red"]]))
        self.out.end_look(seen, problems)

    @precondition(lambda self: self.out.looks or self.out.state.due is not None)
    @rule(times=st.integers(1, 40), seen=st.sampled_from([PASS, THIN]))
    def it_is_looked_at_for_a_while(self, times: int, seen: str) -> None:
        """Look after look, each when it is due, and all alike."""
        for _ in range(times):
            if self.out.looks:
                self.out.end_look(dict.fromkeys(self.out.state.forward.current.cells, seen))
            if self.out.state.due is None:
                return
            self.out.now = max(self.out.now, self.out.state.due)
            self.out.tick()

    @precondition(lambda self: self.out.looks or self.out.state.due is not None)
    @rule()
    def it_stays_blocked(self) -> None:
        """What speaks against the wave does not go away."""
        for _ in range(200):
            if self.out.looks:
                self.out.end_look(problems=["an alarm is red"])
            if self.out.state.due is None:
                return
            self.out.now = max(self.out.now, self.out.state.due + 4)
            self.out.tick()

    @rule(
        action=st.sampled_from(["approve", "approve", "pause", "resume", "resume", "rollback"]),
        which=st.sampled_from(["right", "right", "any", "wrong", "old"]),
    )
    def a_person_commands(self, action: Action, which: str) -> None:
        """In answer to what is asked, to nothing, or to something else."""
        waiting = self.out.state.head.waiting
        question = {
            "right": waiting.question if waiting else None,
            "any": None,
            "wrong": 10_000,
            "old": self.out.state.head.answered or 1,
        }[which]
        self.out.order(action, question)

    @precondition(lambda self: self.out.state.head.waiting)
    @rule(action=st.sampled_from(["approve", "resume"]))
    def a_person_answers(self, action: Action) -> None:
        """With something that answers what is asked, as far as it does."""
        assert self.out.state.head.waiting
        self.out.order(action, self.out.state.head.waiting.question)

    @rule(step=st.sampled_from([0.0, 1.0, 30.0, 7200.0, -7200.0]))
    def time_passes(self, step: float) -> None:
        """Or the clock is set."""
        self.out.now += step
        self.out.tick()

    @precondition(lambda self: self.out.past)
    @rule(pick=st.integers(0, 1000), late=st.sampled_from([0.0, 100.0]))
    def something_is_told_again(self, pick: int, late: float) -> None:
        """An old event comes once more, as it was told or in later words."""
        past = [e for e in self.out.past if not isinstance(e, Commanded)]
        if past:
            event = past[pick % len(past)]
            self.out.again(event.model_copy(update={"at": event.at + late}))

    @precondition(lambda self: self.out.engines)
    @rule(pick=st.integers(0, 30), off=st.sampled_from([-1, 100]), back=st.booleans())
    def a_stranger_reports(self, pick: int, off: int, back: bool) -> None:
        """Of an attempt that never was, or is over."""
        names = sorted(self.out.engines)
        effect = self.out.engines[names[pick % len(names)]]
        event = Deployed(
            at=self.out.now,
            deployment=effect.step.deployment,
            attempt=effect.attempt + (off if back == effect.back else 100),
            back=back,
            result=ENDS["failed"] or ENDS["transient"],
        )
        self.out.again(event)

    @rule()
    def the_process_dies(self) -> None:
        """And another one reads what it had written."""
        self.out.crash()

    @precondition(lambda self: self.out.state.outcome)
    @rule(why=st.sampled_from(["customers", ""]))
    def what_has_ended_is_taken_back(self, why: str) -> None:
        """A new rollout reverses what is left of one that has ended."""
        ended, was = self.out.state, self.out
        running = {name: release for name, release in was.known.items() if release != "?"}
        rest = remains(ended, running, was.known.keys() - running.keys())
        if not rest.undone:
            return
        state = reverse_state("v2-2", ended, rest.undone, "ann asked for it", was.now)
        self.out = was.reversed(state)
        self.out.start()

    def teardown(self) -> None:
        """From any state there is an end."""
        if hasattr(self, "out"):
            self.out.finish()


TestAnythingHappens: Any = AnythingHappens.TestCase
TestAnythingHappens.settings = settings(max_examples=100, stateful_step_count=50)
