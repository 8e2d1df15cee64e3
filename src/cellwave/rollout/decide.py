"""The decision core: a state and an event give the next state, the effects to perform and what to write down.

Read top to bottom: `decide` takes in what has happened, then goes on as far as it can without another event. Pure: no
clock (events carry the time), no input or output. The rules, a line each and with its test, are in docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cellwave.faults import ADVICE
from cellwave.health.judge import BakeVerdict, Decision, few, judge_bake, longest, tell
from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.ahead import foresee, look_ahead
from cellwave.rollout.backward import go_back, goes_back, spare
from cellwave.rollout.commands import obey
from cellwave.rollout.draft import Draft
from cellwave.rollout.forward import ask, go_on, harm, look_interval, unfinished, watch_interval
from cellwave.rollout.leg import Leg
from cellwave.rollout.model import (
    Answer,
    Checked,
    Commanded,
    Deployed,
    Event,
    Failure,
    Observed,
    Previewed,
    Prove,
    Proved,
    Ran,
    Started,
    State,
    Ticked,
    Turn,
    has_come,
)
from cellwave.rollout.track import Applied, Phase, is_kept
from cellwave.text import counted
from cellwave.waves.model import Bake

BACK_ATTEMPTS = 3
CHECK_AGAIN_SECONDS = 2.0
CHECKED_FOR_SECONDS = 900.0  # what a failure or a slow minute left red clears by itself
INTERVALS = 3  # a look counts for so many at most, however long ago the one before it was


def decide(state: State, event: Event) -> Turn:
    """What follows from an event. A finished rollout stays as it is, and answers commands."""
    if state.outcome and not isinstance(event, Commanded):
        return Turn(state)
    draft = Draft(state.head, state.forward, state.back)
    draft.set(turn=state.head.turn + 1)
    answer = absorb(draft, event)
    if not state.outcome:
        advance(draft, event.at)
    return draft.turn(answer)


def absorb(draft: Draft, event: Event) -> Answer | None:
    """Take in what has happened, without deciding what to do next."""
    match event:
        case Started():
            absorb_started(draft, event)
        case Deployed() | Proved():
            absorb_attempt(draft, event)
        case Previewed():
            absorb_previewed(draft, event)
        case Checked():
            absorb_checked(draft, event)
        case Observed():
            absorb_observed(draft, event)
        case Commanded():
            return obey(draft, event)
        case Ticked():
            pass
    return None


def advance(draft: Draft, at: float) -> None:
    """Do all that can be done now, and look where it is time to: what a person holds is watched all the same."""
    if not draft.head.begun:
        return
    go_on(draft, at)
    if draft.head.condemned and not draft.head.outcome:
        go_back(draft, at)
    look_ahead(draft)
    due = draft.state.due
    if due is not None and has_come(due, at):
        draft.look()


def absorb_started(draft: Draft, event: Started) -> None:
    """The rollout begins, once."""
    if draft.head.begun:
        return
    plan = draft.forward.plan
    text = f"{plan.version} to {counted(len(plan.cells), 'cell')} in {counted(len(plan.waves), 'wave')}"
    if plan.by_hand:
        text = f"{plan.version} to {', '.join(plan.cells)}, by hand"
    if draft.head.condemned:
        text = f"{plan.version} is taken back: {draft.head.condemned}"
    draft.set(begun=True, started_at=event.at)
    draft.note("started", text, actor=event.actor)


def absorb_attempt(draft: Draft, event: Deployed | Proved) -> None:
    """An engine or a proof has ended. What is said of another attempt, or for the second time, is late."""
    if event.back and draft.back is None:
        return
    leg = draft.leg(event.back)
    if event.deployment not in leg.shape.place:
        return
    track = leg.track(event.deployment)
    expected = "running" if isinstance(event, Deployed) else "proving"
    if (track.attempt, track.phase) != (event.attempt, expected):
        return
    match event:
        case Deployed(result=Applied() as applied):
            absorb_applied(draft, event, applied)
        case Deployed(result=Failure() as failure) | Proved(failure=Failure() as failure):
            absorb_failure(draft, event, failure)
        case Proved():
            converge(draft, event)


def absorb_applied(draft: Draft, event: Deployed, applied: Applied) -> None:
    """An engine has done its work: what it brought is to be proved, but for what is gone, can't be seen, or goes back
    anyway."""
    name, back = event.deployment, event.back
    leg = draft.leg(back)
    draft.put(back, name, event.at, phase="proving", applied=applied, changed=True)
    if leg.step(name).removes:
        converge(draft, event)
    elif not back and goes_back(draft, name):
        draft.put(back, name, event.at, phase="failed", reason="not proved: it goes back")
    elif event.unseen:
        converge(draft, event)
    else:
        draft.effects.append(Prove(step=leg.step(name), attempt=event.attempt, back=back))


def converge(draft: Draft, event: Deployed | Proved) -> None:
    """A deployment has come to what it was to run, or is gone as it was to be."""
    name, back = event.deployment, event.back
    leg = draft.leg(back)
    step, applied = leg.step(name), leg.track(name).applied or Applied()
    if not back and not leg.index.converged:
        draft.move(next_look=event.at + watch_interval(leg.current))
    draft.put(back, name, event.at, phase="converged")
    if is_kept(step, event.attempt):
        draft.note("kept", step.kept, subject=name)
        return
    if step.removes:
        draft.ran.append(Ran(deployment=name, kind="gone"))
    else:
        # What was made of more than its inputs can't be known to be made again by them.
        inputs = "" if applied.beyond else step.inputs
        proven = {"release": step.release, "outputs": applied.outputs, "inputs": inputs}
        draft.ran.append(Ran(deployment=name, kind="proven", **proven))
    text = f"{changes_in_words(applied.changes, applied.changed_outputs)} in {applied.seconds:.1f} s"
    text += f"; it reads outputs of {', '.join(applied.beyond)}: it is never kept" if applied.beyond else ""
    draft.note("converged", text, subject=name)


def absorb_failure(draft: Draft, event: Deployed | Proved, failure: Failure) -> None:
    """An attempt has failed: it is worth another try, or a person is asked, or it is held against the release."""
    name, back, condemned = event.deployment, event.back, draft.head.condemned
    leg = draft.leg(back)
    track, step = leg.track(name), leg.step(name)
    if leg.keeps(step):
        absorb_unseen(draft, event, failure)
        return
    changed = track.changed or failure.changed
    tries = event.attempt - bool(step.kept)
    half_changed = track.changed or (back and draft.forward.track(name).phase != "converged")
    if not (failure.changed or half_changed):
        draft.ran.append(Ran(deployment=name, kind="unchanged"))
    allowed = BACK_ATTEMPTS - 1 if back else leg.plan.retries if failure.transient else 0
    if tries <= allowed and not failure.refused and (back or not condemned):
        draft.put(
            back, name, event.at, phase="pending", reason=failure.reason, changed=changed, fault=failure.fault
        )
        draft.note("retrying", f"{failure.fault}: {failure.reason}", subject=name)
        return
    draft.put(
        back,
        name,
        event.at,
        phase="failed",
        reason=failure.reason,
        changed=changed,
        fault=failure.fault,
    )
    draft.note("failed", f"{failure.fault}: {failure.reason}", subject=name)
    if back:
        return
    if condemned:
        spare(draft, name, event.at)
    elif failure.transient:
        # A credential, throttling or quota error says nothing about the release: stop, and let a person look.
        ask(draft, "failed", event.at, failures_in_words(draft.forward))
    else:
        why = f"{name} failed: {failure.reason}"
        harm(draft, event.at, {step.cell: why}, why)


def absorb_unseen(draft: Draft, event: Deployed | Proved, failure: Failure) -> None:
    """What was to be kept is not seen to run: it is deployed after all, unless nobody wants it any more. That is no
    failure of the release, and no try."""
    over = bool(draft.head.condemned)
    phase: Phase = "failed" if over else "pending"
    draft.put(event.back, event.deployment, event.at, phase=phase, reason=failure.reason)
    draft.note("failed" if over else "retrying", failure.reason, subject=event.deployment)


def absorb_previewed(draft: Draft, event: Previewed) -> None:
    """A preview has ended. What it shows is kept until the step's wave begins, and what speaks against that is told."""
    position = draft.forward.position
    if (position.previewing, position.previews) != (event.deployment, event.number):
        return
    if event.foreseen is None:
        draft.note("previewed", f"not known: {event.why}", subject=event.deployment)
    elif not event.foreseen.problem:
        draft.note("previewed", changes_in_words(event.foreseen.changes, 0), subject=event.deployment)
    foresee(draft, event)


def failures_in_words(leg: Leg) -> str:
    """What failed for reasons that say nothing about the release, and what mends each kind of them."""
    known = unfinished(leg)
    told = few(
        [f"{name} failed {track.attempt} times ({track.fault}): {track.reason}" for name, track in known]
    )
    kinds = dict.fromkeys(track.fault for _, track in known if track.fault)
    return "; ".join([told, *(f"{kind}: {ADVICE[kind]}" for kind in kinds)])


def changes_in_words(changes: Mapping[str, int], changed_outputs: int) -> str:
    """What a deployment changed: resources by operation, and outputs of the stack."""
    parts = [f"{count} {operation}" for operation, count in sorted(changes.items()) if operation != "same"]
    if changed_outputs:
        parts.append(f"{changed_outputs} output{'s' if changed_outputs > 1 else ''} changed")
    return ", ".join(parts) or "no changes"


def absorb_look(draft: Draft, event: Checked | Observed, interval: float) -> bool:
    """Take in that a look has ended; whether it is the one that was out. The time since the one before was watched: not
    less than none and not more than a few intervals, whatever the clock was set to."""
    position = draft.state.leg.position
    if not position.looking or event.look != position.looking:
        return False
    since = event.at - position.looked_at if position.looked_at else 0.0
    seen = min(max(0.0, since), INTERVALS * interval)
    draft.move(looking=0, looked_at=event.at, watched=position.watched + seen)
    return True


def absorb_checked(draft: Draft, event: Checked) -> None:
    """The look before a wave: start it, look again while a problem may pass, or let a person decide."""
    leg = draft.forward
    if draft.head.condemned:
        absorb_restored(draft, event)
        return
    if not absorb_look(draft, event, CHECK_AGAIN_SECONDS) or leg.stage != "checking":
        return
    if leg.position.wave:
        absorb_gates(draft, event.at, event.gates)
    if draft.head.condemned:
        return
    if not event.problems:
        # What was seen before a pause says nothing of the time after it.
        stage = "entering" if draft.head.paused else "deploying"
        draft.move(stage=stage, next_look=event.at + watch_interval(leg.current))
        return
    text = "; ".join(event.problems)
    if not leg.position.checking_since:
        draft.move(checking_since=event.at)
        draft.note("blocked", text, subject=f"wave {leg.current.name}")
    draft.move(next_look=event.at + CHECK_AGAIN_SECONDS)
    if draft.forward.position.watched >= CHECKED_FOR_SECONDS:
        ask(draft, "blocked", event.at, f"before wave {leg.current.name}: {text}")


def absorb_observed(draft: Draft, event: Observed) -> None:
    """The gates' readings. One that fails is harm, whatever the rollout is at; a bake goes on, passes, or waits for a
    person."""
    leg = draft.forward
    wave, position = leg.current, leg.position
    if not absorb_look(draft, event, look_interval(wave, position.watched)) or draft.head.condemned:
        return
    if leg.stage == "baking":
        absorb_bake(draft, event)
    else:
        draft.move(next_look=event.at + watch_interval(wave))
        absorb_gates(draft, event.at, event.gates)


def absorb_bake(draft: Draft, event: Observed) -> None:
    """What the readings mean for the wave that bakes."""
    leg = draft.forward
    wave, watched = leg.current, leg.position.watched
    draft.move(next_look=event.at + look_interval(wave, watched))
    bake = absorb_gates(draft, event.at, event.gates, wave.bake, watched)
    if draft.head.condemned:
        return
    subject = f"wave {wave.name}"
    match bake.verdict:
        case BakeVerdict.PASS if draft.head.waiting:
            # A person was asked, and decides; they may want to know that it looks better now.
            ask(draft, "inconclusive", event.at, f"{subject} was inconclusive, and passes now: {bake.reason}")
        case BakeVerdict.PASS:
            draft.move(stage="passed")
            draft.note("passed", bake.reason, subject=subject)
        case BakeVerdict.INCONCLUSIVE:
            if not draft.head.waiting:
                draft.note("inconclusive", bake.reason, subject=subject)
            ask(draft, "inconclusive", event.at, f"{subject}: {bake.reason}")


def absorb_gates(
    draft: Draft, at: float, gates: Sequence[GateResult], bake: Bake | None = None, watched: float = 0.0
) -> Decision:
    """What the gates of all that was changed come to, and for the current wave's `bake`, if it is watched for that.

    Those that fail draw on the tolerance, or are too much.
    """
    leg = draft.forward
    draft.readings = tuple(gates)
    here, elsewhere = leg.split(gates) if bake else ((), gates)
    found = judge_bake(
        here,
        bake or Bake(),
        watched,
        tolerance=leg.plan.tolerance,
        harmed=draft.head.harmed,
        elsewhere=elsewhere,
    )
    if found.verdict is BakeVerdict.FAIL:
        draft.condemn(at, found.reason)
    elif found.failing:
        failing = {r.cell: f"{r.service} {r.gate}: {r.reason}" for r in reversed(found.failing)}
        harm(draft, at, failing, "; ".join(f"{cell}.{why}" for cell, why in failing.items()))
    return found


def absorb_restored(draft: Draft, event: Checked) -> None:
    """The look after the way back: all is good again, or is looked at for as long as the wave's bake may last."""
    back, wave = draft.back, draft.forward.current
    if back is None or back.stage != "restoring":
        return
    if not absorb_look(draft, event, look_interval(wave, back.position.watched)):
        return
    draft.readings = event.gates
    watched = draft.state.leg.position.watched
    red = [
        *event.problems,
        *(tell(gate) for gate in event.gates if gate.verdict in {Verdict.FAIL, Verdict.ERROR}),
    ]
    thin = [tell(gate) for gate in event.gates if gate.verdict is Verdict.INCONCLUSIVE]
    if (red or thin) and watched < longest(wave.bake, event.gates):
        draft.move(next_look=event.at + look_interval(wave, watched))
    elif red:
        draft.finish(
            event.at, "failed", f"{draft.head.condemned}; all went back, and is red still: {few(red)}"
        )
    else:
        draft.note(
            "restored", f"not known: {few(thin)}" if thin else f"all gates pass after {watched:.0f} seconds"
        )
        draft.move(stage="passed")
