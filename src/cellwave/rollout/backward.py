"""The way back: what a condemned rollout does. It waits for nobody, and never turns round. Pure."""

from __future__ import annotations

from cellwave.rollout.draft import Draft
from cellwave.rollout.forward import look_interval
from cellwave.rollout.leg import Leg, Position
from cellwave.rollout.model import HoldRelease
from cellwave.rollout.schedule import start_ready
from cellwave.text import counted
from cellwave.waves.model import Step
from cellwave.waves.planner import data_at_risk, make_rollback, stays


def go_back(draft: Draft, at: float) -> None:
    """Take everything back that can be taken back now, and end when nothing is left to do."""
    hold(draft)
    if draft.back is None:
        begin(draft)
    if draft.back is not None:
        start_ready(draft, at, back=True)
    if not draft.forward.index.active and (
        draft.back is None or not (draft.back.index.active or draft.back.index.ready)
    ):
        if draft.back is not None and is_to_be_watched(draft.forward, draft.back):
            if draft.back.stage == "deploying":
                due = at + look_interval(draft.forward.current, 0)
                draft.move(stage="restoring", looked_at=at, next_look=due)
                draft.note("restoring", "all went back, and is looked at until it is good again")
            if draft.back.stage == "restoring":
                return
        end(draft, at)


def is_to_be_watched(forward: Leg, back: Leg) -> bool:
    """Whether all went back, and somebody wants to know how it does: not where no wave is watched either."""
    bake = forward.current.bake
    watched = not forward.plan.by_hand and (bake.seconds or bake.samples)
    return bool(watched and not stuck_in(back) and restored(back))


def restored(back: Leg) -> tuple[Step, ...]:
    """The steps by which something runs again what it ran before."""
    converged = back.steps(back.index.converged)
    return tuple(s for s in converged if not s.removes and back.track(s.deployment).attempt)


def stuck_in(back: Leg) -> tuple[Step, ...]:
    """The steps that would not go back."""
    return back.steps(back.shape.waves[0][0] & ~back.index.converged)


def hold(draft: Draft) -> None:
    """Hold the release as soon as it is known to have changed a stack that it had not run on before."""
    forward = draft.forward
    if draft.head.held or forward.plan.by_hand:
        return
    if any(s.previous != s.release for s in forward.steps(forward.index.changed)):
        draft.set(held=True)
        draft.effects.append(HoldRelease(release=forward.plan.release, reason=draft.head.condemned))


def begin(draft: Draft) -> None:
    """Plan the way back of all that was, or is just being, changed; a proof of what goes back is called off."""
    touched = draft.state.touched
    if not touched:
        return
    back = make_rollback(draft.forward.plan, touched)
    if back.steps:
        lost = data_at_risk(draft.forward.plan, touched)
        whole = f"{counted(len(back.steps), 'deployment')} in {counted(len(back.cells), 'cell')}"
        draft.note("back_started", "; ".join([whole, *lost]))
    draft.back = Leg.of(back, Position(stage="deploying", looks=draft.forward.position.looks))
    for step in draft.forward.running:
        if draft.forward.phase_of(step) == "proving" and goes_back(draft, step.deployment):
            draft.abort(step.deployment)


def goes_back(draft: Draft, deployment: str) -> bool:
    """Whether there is a way back for a deployment, and it is planned."""
    return draft.back is not None and deployment in draft.back.shape.place


def spare(draft: Draft, deployment: str, at: float) -> None:
    """Leave a deployment out of the way back, when its attempt has ended without having changed it."""
    if goes_back(draft, deployment) and not draft.forward.track(deployment).changed:
        draft.put(True, deployment, at, phase="converged", reason="nothing had been changed")


def end(draft: Draft, at: float) -> None:
    """What would not go back is named, and a person is wanted."""
    forward, back, why = draft.forward, draft.back, draft.head.condemned
    if back is not None and (stuck := stuck_in(back)):
        tracks = ((s.deployment, back.track(s.deployment)) for s in stuck)
        named = (f"{name} ({track.fault}: {track.reason})" if track.fault else name for name, track in tracks)
        draft.finish(at, "failed", f"{why}; could not roll back {', '.join(named)}")
        return
    changed = forward.steps(forward.index.changed)
    if not changed:
        text = f"{why}; nothing had been touched"
    elif all(step.previous == step.release for step in changed):
        text = f"{why}; it ran there before, and still does"
    else:
        text = why + what_stays(forward)
    draft.finish(at, "rolled_back", text)


def what_stays(forward: Leg) -> str:
    """In words, what the rollout made and leaves: data is nobody's to throw away, nor is what nobody proved."""
    left = [step for step in forward.steps(forward.index.changed) if stays(step)]
    data = [step.deployment for step in left if not step.unproven]
    parts = [f"{', '.join(data)} stay{'s' if len(data) == 1 else ''}, with the data"] if data else []
    parts += [f"{step.deployment} stays: {step.unproven}" for step in left if step.unproven]
    return "".join(f"; {part}" for part in parts)
