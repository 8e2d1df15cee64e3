"""What holds whatever happens to a rollout; docs/semantics.md has it in words, with these names. `world` is what
outside.py knows of engines, proofs, looks and stacks, made of nothing but effects and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellwave.rollout.decide import BACK_ATTEMPTS
from cellwave.rollout.model import Commanded, Deploy, Effect, Event, Head, Preview, Prove, State, Turn
from cellwave.rollout.shape import Index
from cellwave.rollout.track import is_kept
from cellwave.waves.model import Plan, Step
from cellwave.waves.planner import stays

if TYPE_CHECKING:
    from tests.rollout.outside import Outside


def check_harm(world: Outside) -> None:
    """One budget: as many cells are harmed as are counted, and never more than are tolerated."""
    if not world.state.head.condemned:
        assert set(world.state.head.harmed) == world.harmed
        assert len(world.harmed) <= world.state.forward.plan.tolerance
        assert not world.harmed.issuperset(world.state.forward.current.cells), (
            "a whole wave is no cell's fault"
        )


def check_deploy(world: Outside, effect: Deploy | Prove) -> None:
    """One attempt of a stack at a time, each with its own number, in the order of needs, never forward again. What is
    kept begins with its proof, once, unless an engine has run for what it needs."""
    name, state = effect.step.deployment, world.state
    assert name not in world.engines, "one engine a stack"
    assert name not in world.proofs, "no engine while the one before is being proved"
    last = world.attempts.get((effect.back, name), 0)
    needs = needs_of(state.forward.plan, effect.step)
    stale = effect.step.kept and not all(state.forward.keeps(state.forward.step(need)) for need in needs)
    assert effect.attempt == (2 if stale and not last else last + 1), "numbers are unique"
    world.attempts[effect.back, name] = effect.attempt
    if isinstance(effect, Deploy):
        assert effect.delay / ((effect.attempt - 1) or 1) in ({3.0, 15.0} if effect.attempt > 1 else {0.0})
    assert isinstance(effect, Prove) == is_kept(effect.step, effect.attempt), (
        "what is kept runs no engine at first"
    )
    assert effect.back == bool(state.head.condemned), "a condemned rollout only goes back"
    leg = state.back if effect.back else state.forward
    assert leg is not None
    assert effect.step == leg.step(name)
    if effect.back:
        assert effect.attempt <= BACK_ATTEMPTS
        for other in state.forward.plan.steps:
            if name in needs_of(state.forward.plan, other) and other.cell == effect.step.cell:
                undone = other.deployment not in leg.shape.place or leg.phase_of(other) == "converged"
                assert undone, "what needs it goes back first"
    else:
        assert effect.step in leg.current.steps
        assert not state.head.paused
        assert not state.head.waiting
        for need in effect.step.after:
            assert leg.track(need).phase == "converged", "needs come first"
        wave = leg.position.wave
        assert not leg.current.approve or wave in state.head.approved, "a yes comes first"
        spoken = [s for s in leg.current.steps if name_of_problem(world, s)]
        assert not spoken or wave in state.head.approved, "what was known against a wave is asked about first"
        if isinstance(effect, Deploy):
            check_held(world, effect)


def name_of_problem(world: Outside, step: Step) -> str:
    """What is known against a step since before its wave ("": nothing)."""
    foreseen = world.foreseen.get(step.deployment)
    return foreseen.problem if foreseen else ""


def check_held(world: Outside, effect: Deploy) -> None:
    """An update is held to what its preview showed, as long as nothing has changed since."""
    leg, foreseen = world.state.forward, world.foreseen.get(effect.step.deployment)
    needs = needs_of(leg.plan, effect.step)
    as_it_was = effect.attempt == 1 and all(leg.keeps(leg.step(need)) for need in needs)
    held = foreseen is not None and not foreseen.problem and as_it_was
    assert effect.held_to == (foreseen.lost if foreseen and held else None)


def check_preview(world: Outside, effect: Preview) -> None:
    """One preview at a time is wanted, of what is not begun and reads nothing that is to change; never on the way back,
    nor while paused."""
    state = world.state
    position = state.forward.position
    assert (position.previewing, position.previews) == (effect.step.deployment, effect.number)
    assert {out.number for out in world.previews} <= world.called_off, "one at a time"
    assert effect.step.deployment not in world.foreseen, "each once"
    assert effect.step.previous or effect.step.unproven, "there is a stack"
    for step in state.forward.plan.steps:
        if step.deployment in {effect.step.deployment, *needs_of(state.forward.plan, effect.step)}:
            assert bool(step.kept) == (step != effect.step), "what it reads stays as it is"
    wave = next(n for n, w in enumerate(state.forward.plan.waves) if effect.step in w.steps)
    assert (position.wave, position.stage) in {(wave - 1, "baking"), (wave, "entering")}
    assert state.head.waiting or position.stage == "baking"
    assert not state.head.condemned
    assert not state.head.paused


def check_in_flight(world: Outside, old: State, effects: list[Effect]) -> None:
    """Concurrency, and failover pairs."""
    state = world.state
    started = {e.step.cell for e in effects if isinstance(e, Deploy)}
    plan = state.forward.plan
    busy = world.at_work(back=False), world.at_work(back=True)
    for first, second in pairs_of(plan):
        assert not {first, second} <= busy[0] | busy[1], f"{first} and {second} are a pair"
    assert not busy[0] & busy[1], "a cell goes one way"
    if state.head.condemned:
        assert len(busy[1]) <= plan.rollback_concurrency
        return
    limit = state.forward.current.concurrency
    if state.forward.failed or state.head.harmed:
        limit = min(limit, plan.tolerance + 1)
    was_busy = {s.cell for s in old.forward.running}
    assert len(busy[0]) <= limit or not started - was_busy


def check_state(world: Outside, old: State) -> None:
    """Everything that must hold of a state whatever has happened."""
    state = world.state
    legs = [(False, state.forward), *([(True, state.back)] if state.back else [])]
    for back, leg in legs:
        was = old.back if back else old.forward
        if was is None or leg.tracks is not was.tracks:
            assert Index.of(leg.shape, leg.tracks) == leg.index, "the index is a true one"
        active = {step.deployment for step in leg.running}
        out = {n for n, e in world.engines.items() if e.back == back}
        out |= {n for n, e in world.proofs.items() if e.back == back}
        if not old.outcome:
            assert active == out, "nothing at work is forgotten, and nothing else is thought to be"
    if not state.head.condemned and not state.outcome:
        assert len(state.head.harmed) <= state.forward.plan.tolerance
    if old.head.condemned:
        assert state.head.condemned == old.head.condemned
    check_previews(world)
    if state.head.waiting:
        assert state.status == "waiting"
        assert not state.outcome
    if not old.outcome:
        check_waves(world, old)
    if state.outcome and not old.outcome:
        check_end(world)
    if state.head.begun and not state.outcome:
        reasons = [world.engines, world.proofs, world.looks, state.head.waiting, state.head.paused]
        assert any(reasons) or state.due is not None, "nothing rests without a reason"


def check_previews(world: Outside) -> None:
    """What is out and not called off is wanted still; none is once its wave has begun, or will not begin."""
    state = world.state
    wanted = {out.step.deployment for out in world.previews if out.number not in world.called_off}
    assert wanted == ({state.forward.position.previewing} - {""})
    if state.head.condemned or state.outcome or state.forward.stage not in {"baking", "entering"}:
        assert not wanted


def check_waves(world: Outside, old: State) -> None:
    """A wave that is left has a cell that runs the release unharmed."""
    state = world.state
    left = range(old.forward.position.wave, state.forward.position.wave + (state.outcome == "done"))
    for number in left:
        wave = state.forward.plan.waves[number]
        assert any(
            all(state.forward.phase_of(s) == "converged" for s in wave.steps if s.cell == cell)
            and cell not in state.head.harmed
            and not all(state.forward.keeps(s) for s in wave.steps if s.cell == cell)
            for cell in wave.cells
        ) or all(state.forward.keeps(s) for s in wave.steps), (
            "a wave that brought nothing sound is never passed"
        )


def check_end(world: Outside) -> None:
    """The end means what it says, and nothing is at work any more."""
    state = world.state
    assert not world.engines
    assert not world.proofs
    forward, reason = state.forward, state.head.reason
    if state.outcome == "done":
        for cell in forward.plan.cells:
            steps = [step for step in forward.plan.steps if step.cell == cell]
            if all(forward.phase_of(s) == "converged" for s in steps):
                wanted = {s.deployment: s.previous if forward.keeps(s) else s.release for s in steps}
                assert wanted == {name: world.runs[name] for name in wanted}
                assert wanted == {name: world.known[name] for name in wanted}
            else:
                assert f"{cell} (" in reason, "every cell that does not run it is named"
        return
    assert state.head.condemned
    stuck = [s for s in forward.plan.steps if not is_back(world, s)]
    assert bool(stuck or world.red) == (state.outcome == "failed")
    for step in stuck:
        assert step.deployment in reason, "what would not go back is named"


def is_back(world: Outside, step: Step) -> bool:
    """Whether a stack is as it was, or is one that has no way back."""
    name = step.deployment
    back = world.state.back
    track = world.state.forward.track(name)
    if not track.changed:
        assert world.known[name] == world.known_at_first[name], "nothing changed, so it is as well known"
    if not track.changed or step.previous == step.release or stays(step):
        assert "not proved" not in track.reason, "what stays is proved"
        return True
    done = world.runs[name] == step.previous and world.known[name] == step.previous
    assert back is not None
    assert done == (back.phase_of(step) == "converged"), name
    return done


def check_answer(world: Outside, old: State, event: Event, turn: Turn) -> None:
    """A command is answered; one that was not taken has changed nothing."""
    if not isinstance(event, Commanded):
        assert turn.answer is None
        return
    assert turn.answer is not None
    assert turn.answer.said
    asked = old.head.waiting
    if event.question is not None and event.action in {"approve", "resume"} and not old.outcome:
        assert turn.answer.kind != "taken" or (asked.question if asked else 0) == event.question
    if event.action == "resume" and turn.answer.kind == "taken" and asked and asked.kind == "failed":
        left = [t for t in turn.state.forward.tracks.values() if t.phase == "failed" and t.transient]
        assert not left, "what a person lets try again is tried again"
    if turn.answer.kind != "taken":
        assert without_turn(turn.state.head) == without_turn(old.head)
        assert not turn.changed


def without_turn(head: Head) -> Head:
    """A head but for the number of its turn."""
    return head.model_copy(update={"turn": 0})


def check_changes(old: State, event: Event, turn: Turn) -> None:
    """A turn names every track that it changed, and no other leg, track or plan is another one afterwards."""
    new = turn.state
    for back, leg in ((False, new.forward), (True, new.back)):
        if leg is None:
            assert old.back is None
            continue
        was = old.back if back else old.forward
        before = dict(was.tracks) if was else {}
        changed = {name for name, track in leg.tracks.items() if before.get(name) != track}
        assert changed <= {name for of_back, name in turn.changed if of_back == back}
        if was:
            assert was.plan == leg.plan
    assert new.head.turn == old.head.turn + (not old.outcome or isinstance(event, Commanded))


def needs_of(plan: Plan, step: Step) -> set[str]:
    """Everything that a step needs in its cell, over any number of steps."""
    steps = {s.deployment: s for s in plan.steps}
    found: set[str] = set()
    look = list(step.after)
    while look:
        name = look.pop()
        if name in steps and steps[name].cell == step.cell and name not in found:
            found.add(name)
            look += steps[name].after
    return found


def pairs_of(plan: Plan) -> set[tuple[str, str]]:
    """The failover pairs of a plan."""
    waits = {(name.split(".")[0], step.cell) for step in plan.steps for name in step.after}
    return {(a, b) for a, b in {*waits, *plan.partners.items()} if a != b}
