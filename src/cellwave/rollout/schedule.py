"""Which steps may start now: the one place that bounds how much is in flight, on either way. Pure."""

from __future__ import annotations

from cellwave.rollout.draft import Draft
from cellwave.rollout.leg import Leg
from cellwave.rollout.model import Deploy, Prove, Ran
from cellwave.rollout.shape import places_of
from cellwave.rollout.track import is_kept

RETRY_SECONDS = 3.0  # most troubles pass with time
THROTTLED_SECONDS = 15.0  # who asks too much, and asks again at once, asks for more of it


def start_ready(draft: Draft, at: float, *, back: bool = False) -> None:
    """Start every step that waits for nothing any more, as far as the concurrency of cells allows.

    Cells that are partly changed go on first. As failures accrue within the tolerance, concurrency falls to at most one
    cell more than the tolerance.
    """
    leg = draft.leg(back)
    _, scope = leg.shape.waves[leg.position.wave]
    startable = leg.index.startable & scope
    if not startable:
        return
    limit = leg.plan.rollback_concurrency if back else leg.current.concurrency
    if not back and (leg.index.failed or draft.head.harmed):
        limit = min(limit, leg.plan.tolerance + 1)
    busy = (leg.index.busy & scope).bit_count()
    for site in places_of(startable & leg.index.flying):
        going = leg.index.busy >> site & 1
        if going or (busy < limit and not _kept_apart(draft, site, back=back)):
            busy += not going
            _start(draft, site, at, back=back)
    flying = (leg.index.flying & (leg.index.busy | startable) & scope).bit_count()
    for site in places_of(startable & ~leg.index.flying):
        if flying >= limit:
            return
        if not _kept_apart(draft, site, back=back):
            flying += 1
            _start(draft, site, at, back=back)


def _kept_apart(draft: Draft, site: int, *, back: bool) -> bool:
    """Whether a cell has to wait: its failover partner is in flight, or what goes forward in either has not ended."""
    leg = draft.leg(back)
    cell, _, partners = leg.shape.sites[site]
    if any(leg.flying_in(partner) for partner in partners):
        return True
    return back and any(draft.forward.busy_in(name) for name in (cell, *partners))


def _start(draft: Draft, site: int, at: float, *, back: bool) -> None:
    """Start the ready steps of a cell."""
    leg = draft.leg(back)
    for place in leg.shape.sites[site].places:
        if not leg.index.ready >> place & 1:
            continue
        step = leg.shape.steps[place]
        name, last = step.deployment, leg.track(step.deployment)
        attempt = last.attempt + 1
        if is_kept(step, attempt) and not _needs_are_still(leg, place):
            attempt += 1  # it may have read outputs of before
        phase = "proving" if is_kept(step, attempt) else "running"
        draft.put(back, name, at, phase=phase, attempt=attempt, reason="", fault=None, applied=None)
        if is_kept(step, attempt):
            draft.effects.append(Prove(step=step, attempt=attempt, back=back))
            continue
        delay = (THROTTLED_SECONDS if last.fault == "throttle" else RETRY_SECONDS) * (attempt - 1)
        held_to = _held_to(leg, place, attempt)
        draft.effects.append(Deploy(step=step, attempt=attempt, back=back, delay=delay, held_to=held_to))
        draft.ran.append(Ran(deployment=name, kind="unknown", release=step.release))
        what = "taking it away" if step.removes else f"release {step.release[:12]}"
        alone = "" if back or not step.unproven else f"; there is no way back from it: {step.unproven}"
        draft.note("deploying", f"{what}, attempt {attempt}{alone}", subject=name)


def _held_to(leg: Leg, place: int, attempt: int) -> tuple[str, ...] | None:
    """What a step's update may replace or delete by its preview, as long as all is as it was then: nothing was tried on
    the stack, nor deployed after all that it needs. A person has let pass what a preview found."""
    foreseen = leg.track(leg.shape.steps[place].deployment).foreseen
    is_as_it_was = attempt == 1 and _needs_are_still(leg, place)
    return foreseen.lost if foreseen and not foreseen.problem and is_as_it_was else None


def _needs_are_still(leg: Leg, place: int) -> bool:
    """Whether no engine has run for anything of its cell that a step needs."""
    site = leg.shape.site
    return all(leg.is_still(need) for need in leg.shape.needs[place] if site[need] == site[place])
