"""What is known of a wave before it begins: its deployments are previewed while the wave before bakes, or a person is
asked before it. Nothing waits for a preview, and none goes on when its wave begins. Pure."""

from __future__ import annotations

from cellwave.rollout.draft import Draft
from cellwave.rollout.forward import ask_for_yes, findings
from cellwave.rollout.leg import Leg
from cellwave.rollout.model import Abort, Preview, Previewed, coming
from cellwave.waves.model import is_foreseeable


def look_ahead(draft: Draft) -> None:
    """Keep one preview out as long as there is time for it, one after the other; else call off the one that is out."""
    leg, wave = draft.forward, _coming(draft)
    position = leg.position
    steps = leg.shape.waves[wave][0] if wave is not None else 0
    if position.previewing:
        if not steps >> leg.shape.place[position.previewing] & 1:
            call_off(draft)
        return
    first = (steps & -steps).bit_length() - 1
    if not steps or draft.head.paused:
        return
    for place in range(max(first, position.ahead), steps.bit_length()):
        if is_ahead(leg, place):
            ask(draft, place)
            return
    draft.forward = leg.move(ahead=steps.bit_length())


def _coming(draft: Draft) -> int | None:
    leg = draft.forward
    return coming(draft.head, leg.position, len(leg.plan.waves))


def is_ahead(leg: Leg, place: int) -> bool:
    """Whether the step at a place is one to preview before its wave."""
    steps, places = leg.shape.steps, leg.shape.place
    return is_foreseeable(steps[place], lambda name: steps[places[name]] if name in places else None)


def ask(draft: Draft, place: int) -> None:
    """Ask for a preview of the step at a place."""
    leg, number = draft.forward, draft.forward.position.previews + 1
    step = leg.shape.steps[place]
    draft.forward = leg.move(previews=number, previewing=step.deployment, ahead=place + 1)
    draft.effects.append(Preview(step=step, number=number))


def call_off(draft: Draft) -> None:
    """End the preview that is out: what it would show comes too late."""
    position = draft.forward.position
    draft.effects.append(
        Abort(deployment=position.previewing, attempt=position.previews, back=False, ahead=True)
    )
    draft.forward = draft.forward.move(previewing="")


def foresee(draft: Draft, event: Previewed) -> None:
    """Keep what the preview that was out has shown. The first thing that speaks against a wave is news; a person who is
    asked before that wave is told of it."""
    name, wave = event.deployment, _coming(draft)
    draft.forward = draft.forward.move(previewing="")
    if event.foreseen is None or wave is None:
        return
    is_first = not findings(draft.forward, wave)
    draft.put(False, name, draft.forward.track(name).at, foreseen=event.foreseen)
    if problem := event.foreseen.problem:
        draft.note("foreseen", problem, subject=name)
        if is_first:
            wave_name = draft.forward.plan.waves[wave].name
            draft.notify("foreseen", f"before wave {wave_name}: {name}: {problem}")
        if draft.head.waiting and wave == draft.forward.position.wave:
            ask_for_yes(draft, event.at)
