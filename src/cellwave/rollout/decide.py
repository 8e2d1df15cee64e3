"""The decision core: a state and an event give the next state, the effects to perform and what to write down.

Read top to bottom: `decide` absorbs what has happened, then advances as far as it can without another event. Pure:
no clock (events carry the time), no input or output, so every decision can be replayed and tested.
"""

from __future__ import annotations

from collections.abc import Mapping

from cellwave.health.judge import BakeVerdict, judge_bake
from cellwave.rollout.state import (
    Abort,
    Check,
    Checked,
    Commanded,
    Deploy,
    Deployed,
    Event,
    Hold,
    Leg,
    Observe,
    Observed,
    Ran,
    Started,
    State,
    Ticked,
    Track,
    Turn,
)
from cellwave.waves.model import PlannedWave, Step
from cellwave.waves.planner import data_at_risk, make_rollback

LOOKS_A_BAKE = 20
LONGEST_LOOK_SECONDS = 60.0
CHECK_AGAIN_SECONDS = 2.0
CHECKED_FOR_SECONDS = 900.0  # what a failure or a slow minute left red clears by itself
BACK_ATTEMPTS = 3


def decide(state: State, event: Event) -> Turn:
    """What follows from an event. A finished rollout stays as it is."""
    if state.outcome:
        return Turn(state=state)
    turn = absorb(Turn(state=state).change(turn=state.turn + 1), event)
    return advance(turn, event.at)


def absorb(turn: Turn, event: Event) -> Turn:
    """Take in what has happened, without deciding what to do next."""
    match event:
        case Started():
            plan = turn.state.forward.plan
            text = f"{plan.version} to {len(plan.cells)} cells in {len(plan.waves)} waves"
            if turn.state.condemned:
                text = f"{plan.version} is taken back: {turn.state.condemned}"
            return turn.change(started_at=event.at).note("started", text, actor=event.actor)
        case Deployed():
            return absorb_deployed(turn, event)
        case Checked():
            return absorb_checked(turn, event)
        case Observed():
            return absorb_observed(turn, event)
        case Commanded():
            return absorb_command(turn, event)
        case Ticked():
            return turn


def absorb_deployed(turn: Turn, event: Deployed) -> Turn:
    """An attempt has ended: converged, worth another try, or failed. What an earlier attempt or leg says is late."""
    state = turn.state
    leg = state.leg
    track = leg.track(event.deployment)
    if event.back != (state.back is not None) or track.attempt != event.attempt or track.phase != "running":
        return turn
    if event.converged:
        step = next(s for s in leg.plan.steps if s.deployment == event.deployment)
        release = None if step.removes else step.release
        turn = turn.record(Ran(deployment=event.deployment, release=release, outputs=event.outputs))
        turn = set_track(turn, event.deployment, "converged", event.at, outputs=event.outputs)
        text = f"{changes_in_words(event.changes, event.changed_outputs)} in {event.seconds:.1f} s"
        return turn.note("converged", text, subject=event.deployment)
    allowed = BACK_ATTEMPTS - 1 if event.back else leg.plan.retries if event.transient else 0
    if event.refused:
        allowed = 0
    if event.attempt <= allowed and (event.back or not state.condemned):
        turn = set_track(turn, event.deployment, "pending", event.at, reason=event.reason)
        return turn.note("retrying", event.reason, subject=event.deployment)
    turn = set_track(turn, event.deployment, "failed", event.at, reason=event.reason)
    turn = turn.note("failed", event.reason, subject=event.deployment)
    if event.back or state.condemned:
        return turn
    if event.transient:
        # A credential, throttling or quota error says nothing about the release: stop, and let a person look.
        return turn.change(waiting=f"{event.deployment} failed {event.attempt} times: {event.reason}")
    if len({step.cell for step in turn.state.leg.failed}) > leg.plan.tolerance:
        return condemn(turn, event.at, f"{event.deployment} failed: {event.reason}")
    return turn


def changes_in_words(changes: Mapping[str, int], changed_outputs: int) -> str:
    """What a deployment changed: resources by operation, and outputs of the stack."""
    parts = [f"{count} {operation}" for operation, count in sorted(changes.items()) if operation != "same"]
    if changed_outputs:
        parts.append(f"{changed_outputs} output{'s' if changed_outputs > 1 else ''} changed")
    return ", ".join(parts) or "no changes"


def absorb_checked(turn: Turn, event: Checked) -> Turn:
    """The look before a wave: start it, look again while a problem may pass, or let a person decide."""
    leg = turn.state.leg
    if turn.state.back or turn.state.condemned or leg.stage != "checking":
        return turn
    if not event.problems:
        return turn if turn.state.waiting else turn.change_leg(stage="deploying")
    text, first = "; ".join(event.problems), leg.checking_since == 0
    if first:
        turn = turn.change_leg(checking_since=event.at).note(
            "blocked", text, subject=f"wave {leg.current.name}"
        )
    turn = turn.change_leg(next_look=event.at + CHECK_AGAIN_SECONDS)
    if not first and event.at - leg.checking_since >= CHECKED_FOR_SECONDS:
        return turn.change(waiting=f"before wave {leg.current.name}: {text}")
    return turn


def absorb_observed(turn: Turn, event: Observed) -> Turn:
    """The gates' readings: go on baking, pass, roll back, or wait for a person."""
    turn = turn.change(gates=event.gates)
    leg = turn.state.leg
    if turn.state.back or turn.state.condemned or leg.stage != "baking":
        return turn
    wave = leg.current
    bake = judge_bake(event.gates, wave.bake, event.at - leg.baking_since, tolerance=leg.plan.tolerance)
    subject = f"wave {wave.name}"
    turn = turn.change_leg(next_look=event.at + look_interval(wave, event.at - leg.baking_since))
    match bake.verdict:
        case BakeVerdict.FAIL:
            return condemn(turn, event.at, bake.reason)
        case BakeVerdict.PASS if turn.state.waiting:
            # A person was asked, and decides; they may want to know that it looks better now.
            return turn.change(waiting=f"{subject} was inconclusive, and passes now: {bake.reason}")
        case BakeVerdict.PASS:
            return turn.change_leg(stage="passed").note("passed", bake.reason, subject=subject)
        case BakeVerdict.INCONCLUSIVE if not turn.state.waiting:
            turn = turn.change(waiting=f"{subject}: {bake.reason}")
            return turn.note("inconclusive", bake.reason, subject=subject)
    return turn


def absorb_command(turn: Turn, event: Commanded) -> Turn:
    """A person's word. Saying the same twice changes nothing the second time."""
    state = turn.state
    turn = turn.note(event.action, event.reason, actor=event.actor)
    if state.back or (state.condemned and event.action != "rollback"):
        return turn.note("ignored", "the rollout is already on its way back")
    match event.action:
        case "pause":
            return turn.change(paused=event.actor)
        case "resume":
            return retry_failed(turn.change(paused=""), event.at)
        case "approve":
            return approve(turn)
        case "rollback":
            for step in state.leg.running:
                track = state.leg.track(step.deployment)
                turn = turn.ask(Abort(deployment=step.deployment, attempt=track.attempt))
            why = event.reason or "no reason given"
            return condemn(turn, event.at, f"{event.actor} asked for it: {why}")


def approve(turn: Turn) -> Turn:
    """A person's yes: to a wave that asks for one, to an inconclusive bake, or to start in spite of problems."""
    leg = turn.state.leg
    if leg.failed:
        return turn.note("ignored", "a failed deployment can be tried again (resume) or undone (rollback)")
    waited = bool(turn.state.waiting)
    turn = turn.change(waiting="", approved=tuple(sorted({*turn.state.approved, leg.wave})))
    if waited and leg.stage == "checking":
        return turn.change_leg(stage="deploying")
    if waited and leg.stage == "baking":
        return turn.change_leg(stage="passed")
    return turn


def retry_failed(turn: Turn, at: float) -> Turn:
    """Let the wait for a person end: failed steps and a blocked wave are tried again, a bake begins anew."""
    if not turn.state.waiting:
        return turn
    for step in turn.state.leg.failed:
        turn = set_track(turn, step.deployment, "pending", at)
    if turn.state.leg.stage == "checking":
        turn = turn.change_leg(stage="entering")
    if turn.state.leg.stage == "baking":
        turn = turn.change_leg(baking_since=at)
    return turn.change(waiting="")


def condemn(turn: Turn, at: float, reason: str) -> Turn:
    """The release is not to go further: everything the rollout touched goes back once what runs has ended."""
    if turn.state.condemned:
        return turn
    return turn.change(condemned=reason, condemned_at=at, waiting="", paused="").note("rolling_back", reason)


def advance(turn: Turn, at: float) -> Turn:
    """Do all that can be done now."""
    turn = turn_back(turn, at)
    before = None
    while may_move(turn.state) and turn.state != before:
        before = turn.state
        turn = settle_wave(start_ready(enter_wave(turn, at), at), at)
    # What a person holds is still watched: a red gate does not wait for them.
    return look(turn, at)


def may_move(state: State) -> bool:
    """Whether new work may begin. The way back waits for nobody."""
    if state.outcome:
        return False
    return state.back is not None or not (state.condemned or state.waiting or state.paused)


def turn_back(turn: Turn, at: float) -> Turn:
    """Begin the way back of a condemned rollout, once no engine runs."""
    state = turn.state
    if not state.condemned or state.back or state.forward.running:
        return turn
    if not state.touched:
        return finish(turn, at, "rolled_back", f"{state.condemned}; nothing had been touched")
    touched = [step for step in state.forward.plan.steps if step.deployment in state.touched]
    if all(step.previous == step.release for step in touched):
        return finish(turn, at, "rolled_back", f"{state.condemned}; it ran there before, and still does")
    turn = turn.ask(Hold(release=state.forward.plan.release, reason=state.condemned))
    back = make_rollback(state.forward.plan, state.touched)
    if not back.steps:
        return finish(turn, at, "rolled_back", f"{state.condemned}{what_stays(state)}")
    lost = data_at_risk(state.forward.plan, state.touched)
    text = "; ".join([f"{len(back.steps)} deployments in {len(back.cells)} cells", *lost])
    return turn.change(back=Leg(plan=back, stage="deploying")).note("back_started", text)


def enter_wave(turn: Turn, at: float) -> Turn:
    """Ask for the look before a wave, after a person's approval where the wave wants one. The way back asks nobody."""
    state = turn.state
    if state.leg.stage != "entering":
        return turn
    wave = state.leg.current
    if wave.approve and state.leg.wave not in state.approved:
        doors = "".join(f"; one-way door {service}: {why}" for service, why in wave.doors.items())
        return turn.change(waiting=f"approval of wave {wave.name}{doors}").note(
            "approval_wanted", f"wave {wave.name}{doors}"
        )
    turn = turn.note("wave", ", ".join(wave.cells), subject=f"wave {wave.name}")
    return turn.change_leg(stage="checking", checking_since=0.0, next_look=at + CHECK_AGAIN_SECONDS).ask(
        Check()
    )


def start_ready(turn: Turn, at: float) -> Turn:
    """Start every step whose predecessors have converged, as far as the wave's concurrency of cells allows.

    As failures accrue within the tolerance, concurrency falls to at most one more than the tolerance.
    """
    state = turn.state
    leg = state.leg
    if leg.stage != "deploying":
        return turn
    wave = leg.current
    limit = wave.concurrency
    if leg.failed and not state.back:
        limit = min(limit, leg.plan.tolerance + 1)
    flying = cells_in_flight(leg, wave)
    for step in wave.steps:
        ready = leg.phase_of(step) == "pending" and all(leg.track(d).phase == "converged" for d in step.after)
        if not ready or (step.cell not in flying and len(flying) >= limit):
            continue
        flying.add(step.cell)
        attempt = leg.track(step.deployment).attempt + 1
        turn = set_track(turn, step.deployment, "running", at, attempt=attempt)
        turn = turn.ask(Deploy(step=step, attempt=attempt, back=state.back is not None))
        text = (
            f"taking it away, attempt {attempt}"
            if step.removes
            else f"release {step.release[:12]}, attempt {attempt}"
        )
        turn = turn.note("deploying", text, subject=step.deployment)
    return turn


def cells_in_flight(leg: Leg, wave: PlannedWave) -> set[str]:
    """The wave's cells that are partly changed: begun, and neither wholly converged nor stopped by a failure."""
    flying = set()
    for cell in wave.cells:
        phases = [leg.phase_of(step) for step in wave.steps if step.cell == cell]
        begun = any(phase != "pending" for phase in phases)
        over = all(phase == "converged" for phase in phases) or (
            "failed" in phases and "running" not in phases
        )
        if begun and not over:
            flying.add(cell)
    return flying


def settle_wave(turn: Turn, at: float) -> Turn:
    """When nothing of the wave runs or can start any more: bake it, or go on."""
    leg = turn.state.leg
    if leg.stage == "passed":
        return advance_wave(turn, at)
    if leg.stage != "deploying" or leg.running or any(runnable(leg, step) for step in leg.current.steps):
        return turn
    if turn.state.back:
        return settle_back(turn, at)
    bake = leg.current.bake
    if bake.seconds == 0 and bake.samples == 0:
        turn = turn.note("passed", "no bake asked for", subject=f"wave {leg.current.name}")
        return advance_wave(turn, at)
    text = f"at least {bake.seconds:g} s and {bake.samples} data points a service"
    turn = turn.note("baking", text, subject=f"wave {leg.current.name}")
    return turn.change_leg(
        stage="baking", baking_since=at, next_look=at + look_interval(leg.current, 0)
    ).change(gates=())


def runnable(leg: Leg, step: Step) -> bool:
    """Whether a step may still start: pending, and nothing it waits for has failed."""
    by_name: Mapping[str, Step] = {s.deployment: s for s in leg.current.steps}
    blocked = any(
        leg.track(d).phase == "failed"
        or (d in by_name and leg.track(d).phase == "pending" and not runnable(leg, by_name[d]))
        for d in step.after
    )
    return leg.phase_of(step) == "pending" and not blocked


def settle_back(turn: Turn, at: float) -> Turn:
    """The way back never turns round: what would not go back is named, and a person is wanted."""
    leg = turn.state.leg
    if leg.wave + 1 < len(leg.plan.waves):
        return advance_wave(turn, at)
    stuck = {s.deployment: leg.track(s.deployment) for s in leg.plan.steps if leg.phase_of(s) != "converged"}
    if stuck:
        named = ", ".join(
            name + (f" ({track.reason})" if track.reason else "") for name, track in stuck.items()
        )
        return finish(turn, at, "failed", f"{turn.state.condemned}; could not roll back {named}")
    return finish(turn, at, "rolled_back", f"{turn.state.condemned}{what_stays(turn.state)}")


def what_stays(state: State) -> str:
    """In words, the stateful stacks that the rollout made and leaves: what they keep is nobody's to throw away."""
    touched = (s for s in state.forward.plan.steps if s.deployment in state.touched)
    stays = [s.deployment for s in touched if s.stateful and s.previous is None]
    return f"; {', '.join(stays)} stay{'s' if len(stays) == 1 else ''}, with the data" if stays else ""


def advance_wave(turn: Turn, at: float) -> Turn:
    """Go to the next wave, or end."""
    leg = turn.state.leg
    if leg.wave + 1 == len(leg.plan.waves):
        failed = list(dict.fromkeys(step.cell for step in leg.failed))
        text = f"{leg.plan.version} runs in {len(leg.plan.cells) - len(failed)} cells"
        return finish(turn, at, "done", text + (f", not in {', '.join(failed)}" if failed else ""))
    turn = turn.change(gates=())
    return turn.change_leg(wave=leg.wave + 1, stage="deploying" if turn.state.back else "entering")


def finish(turn: Turn, at: float, outcome: str, reason: str) -> Turn:
    """End the rollout."""
    return turn.change(outcome=outcome, reason=reason, ended_at=at).note(outcome, reason)


def look(turn: Turn, at: float) -> Turn:
    """Read the gates, or look before the wave again, when it is time to."""
    due = turn.state.next_look
    if due is None or at < due:
        return turn
    return turn.ask(Observe() if turn.state.leg.stage == "baking" else Check())


def look_interval(wave: PlannedWave, elapsed: float) -> float:
    """Seconds between two looks at the gates, `elapsed` seconds into the bake.

    They grow with the bake, so that one of days (or one that waits for a person) keeps a short history; but a gate that
    turns red is seen within LONGEST_LOOK_SECONDS.
    """
    return min(LONGEST_LOOK_SECONDS, max(1.0, max(wave.bake.seconds, elapsed) / LOOKS_A_BAKE))


def set_track(
    turn: Turn,
    deployment: str,
    phase: str,
    at: float,
    *,
    attempt: int | None = None,
    reason: str = "",
    outputs: dict[str, str] | None = None,
) -> Turn:
    """The turn with one deployment's track changed."""
    leg = turn.state.leg
    old = leg.track(deployment)
    track = Track.model_validate(
        {
            "phase": phase,
            "attempt": old.attempt if attempt is None else attempt,
            "at": at,
            "reason": reason,
            "outputs": old.outputs if outputs is None else outputs,
        }
    )
    return turn.change_leg(tracks={**leg.tracks, deployment: track})
