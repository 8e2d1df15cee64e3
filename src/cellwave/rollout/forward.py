"""The way forward: wave after wave, as far as no harm and no person stops it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cellwave.health.judge import few
from cellwave.rollout.draft import Draft
from cellwave.rollout.leg import Leg
from cellwave.rollout.model import LONGEST_LOOK_SECONDS, Action, Question, Waiting
from cellwave.rollout.schedule import start_ready
from cellwave.rollout.shape import bits, places_of
from cellwave.rollout.track import Track
from cellwave.text import counted
from cellwave.waves.model import PlannedWave

LOOKS_A_BAKE = 20
SHORTEST_WATCH_SECONDS = 5.0
ANSWERS: Mapping[Question, tuple[Action, ...]] = {
    "approval": ("approve", "rollback"),
    "foreseen": ("approve", "rollback"),
    "blocked": ("approve", "resume", "rollback"),
    "inconclusive": ("approve", "resume", "rollback"),
    "failed": ("resume", "rollback"),
}


def go_on(draft: Draft, at: float) -> None:
    """Do all that can be done now, until something has to end first or a person is asked."""
    while not (draft.head.outcome or draft.head.condemned or draft.head.waiting or draft.head.paused):
        match draft.forward.stage:
            case "entering":
                enter_wave(draft, at)
            case "deploying":
                start_ready(draft, at)
                if not is_settled(draft.forward):
                    return
                settle_wave(draft, at)
            case "passed":
                leave_wave(draft, at)
            case "checking" | "baking":
                return


def enter_wave(draft: Draft, at: float) -> None:
    """Ask for the look before a wave, after a person's yes where the wave wants one, or previews speak against it."""
    leg = draft.forward
    wave, number = leg.current, leg.position.wave
    if number not in draft.head.approved and (wave.approve or findings(leg, number)):
        draft.note("approval_wanted", ask_for_yes(draft, at))
        return
    draft.note("wave", ", ".join(wave.cells), subject=f"wave {wave.name}")
    if leg.plan.by_hand:
        draft.move(stage="deploying")
        return
    draft.move(stage="checking", checking_since=0.0, watched=0.0, looked_at=0.0)
    draft.look()


def ask_for_yes(draft: Draft, at: float) -> str:
    """Ask whether the current wave may begin; what a person should know of it, in words."""
    leg = draft.forward
    wave = leg.current
    told = f"wave {wave.name}"
    told += "".join(f"; one-way door {service}: {why}" for service, why in wave.doors.items())
    told += "".join(f"; no way back for {s.deployment}: {s.unproven}" for s in wave.steps if s.unproven)
    found = findings(leg, leg.position.wave)
    told += f"; its previews found {few([f'{name}: {problem}' for name, problem in found])}" if found else ""
    ask(draft, "approval" if wave.approve else "foreseen", at, f"approval of {told}")
    return told


def findings(leg: Leg, wave: int) -> list[tuple[str, str]]:
    """The deployments of a wave (by index) whose previews speak against it, and why."""
    known = ((step.deployment, leg.track(step.deployment).foreseen) for step in leg.plan.waves[wave].steps)
    return [(name, foreseen.problem) for name, foreseen in known if foreseen and foreseen.problem]


def ask(draft: Draft, kind: Question, at: float, what: str) -> None:
    """Ask a person. What is being asked already may be put in new words, and stays the same question."""
    head = draft.head
    if head.waiting is not None and head.waiting.kind == kind:
        draft.set(waiting=head.waiting.model_copy(update={"what": what}))
        return
    wave = draft.forward.current.name
    answers = ANSWERS[kind]
    draft.set(waiting=Waiting(kind=kind, wave=wave, since=at, what=what, answers=answers, question=head.turn))
    draft.notify("waiting", what)


def is_settled(leg: Leg) -> bool:
    """Whether nothing of the current wave runs, nor can start any more."""
    steps, _ = leg.shape.waves[leg.position.wave]
    return not (leg.index.active | leg.index.ready) & steps


def settle_wave(draft: Draft, at: float) -> None:
    """Watch a wave whose deployments have all ended, or let it pass; one that brought nothing anywhere is the end."""
    leg = draft.forward
    wave = leg.current
    subject = f"wave {wave.name}"
    _, scope = leg.shape.waves[leg.position.wave]
    if all(leg.keeps(step) for step in wave.steps):
        draft.note("passed", "nothing of it was changed", subject=subject)
        draft.move(stage="passed")
    elif not leg.index.whole & scope & ~still_sites(leg, leg.position.wave):
        draft.condemn(at, f"no cell of {subject} runs {leg.plan.version}: {tell_missing(leg, scope)}")
    elif wave.bake.seconds == 0 and wave.bake.samples == 0:
        draft.note("passed", "no bake asked for", subject=subject)
        draft.move(stage="passed")
    else:
        text = f"at least {wave.bake.seconds:g} s and {wave.bake.samples} data points a service"
        draft.note("baking", text, subject=subject)
        draft.move(stage="baking")
        begin_bake(draft, at)


def begin_bake(draft: Draft, at: float) -> None:
    """Watch a wave from now on."""
    due = at + look_interval(draft.forward.current, 0)
    draft.move(baking_since=at, watched=0.0, looked_at=at, next_look=due, looking=0)


def look_interval(wave: PlannedWave, watched: float) -> float:
    """Seconds between two looks at the gates, `watched` seconds into the bake.

    They grow with the bake, so that one of days (or one that waits for a person) keeps a short history; but a gate that
    turns red is seen within LONGEST_LOOK_SECONDS.
    """
    return min(LONGEST_LOOK_SECONDS, max(1.0, max(wave.bake.seconds, watched) / LOOKS_A_BAKE))


def watch_interval(wave: PlannedWave) -> float:
    """Seconds between two looks at the gates of what has changed already, while the rollout is at something else."""
    seconds = wave.bake.seconds / LOOKS_A_BAKE if wave.bake.seconds else LONGEST_LOOK_SECONDS
    return min(LONGEST_LOOK_SECONDS, max(SHORTEST_WATCH_SECONDS, seconds))


def leave_wave(draft: Draft, at: float) -> None:
    """Go to the next wave, or end."""
    leg = draft.forward
    if leg.position.wave + 1 == len(leg.plan.waves):
        draft.finish(at, "done", done_in_words(leg, draft.head.harmed))
        return
    draft.move(wave=leg.position.wave + 1, stage="entering")
    draft.readings = ()


def harm(draft: Draft, at: float, cells: Mapping[str, str], reason: str) -> None:
    """Cells draw on the tolerance, each once in the whole rollout (`cells` says why each does).

    It is one budget, of failed deployments and of failing gates. A wave all of whose cells are harmed has none, nor has
    one that no unharmed cell has come through: nothing says that it was the cells.
    """
    harmed = {**cells, **draft.head.harmed}
    leg = draft.forward
    new, all_harmed = sites_of(leg, cells), sites_of(leg, harmed)
    waves = enumerate(leg.shape.waves)
    lost = any(scope & new and not left_of(leg, wave) & ~all_harmed for wave, (_, scope) in waves)
    if len(harmed) > leg.plan.tolerance or lost:
        draft.condemn(at, reason)
    else:
        draft.set(harmed=harmed)


def still_sites(leg: Leg, wave: int) -> int:
    """The sites of a wave (by index) all of which is kept, as far as is known: they say nothing of the release."""
    _, scope = leg.shape.waves[wave]
    return bits(site for site in places_of(scope) if all(map(leg.is_still, leg.shape.sites[site].places)))


def left_of(leg: Leg, wave: int) -> int:
    """The sites of a wave (by index) that the release may still be sound in: once all has ended, those that run it."""
    _, scope = leg.shape.waves[wave]
    over = wave < leg.position.wave or leg.stage in {"baking", "passed"}
    return (scope & leg.index.whole if over else scope) & ~still_sites(leg, wave)


def sites_of(leg: Leg, cells: Iterable[str]) -> int:
    """Cells as sites."""
    sites = 0
    for cell in cells:
        for site in leg.shape.by_cell.get(cell, ()):
            sites |= 1 << site
    return sites


def done_in_words(leg: Leg, harmed: Mapping[str, str]) -> str:
    """How many cells run the release, every one that does not and why, and those that do though a gate fails there."""
    every = (1 << len(leg.shape.sites)) - 1
    missing = every & ~leg.index.whole
    of = f"{leg.index.whole.bit_count()} of " if missing else ""
    text = f"{leg.plan.version} runs in {of}{counted(len(leg.shape.sites), 'cell')}"
    if missing:
        text += f", not in {tell_missing(leg, missing)}"
    passed = [cell for cell in harmed if not sites_of(leg, [cell]) & missing]
    if passed:
        text += f"; let pass: {', '.join(f'{cell} ({harmed[cell]})' for cell in passed)}"
    return text


def tell_missing(leg: Leg, sites: int) -> str:
    """Cells that do not run the release, and why, from the tracks."""
    return ", ".join(f"{leg.shape.sites[site].cell} ({why_missing(leg, site)})" for site in places_of(sites))


def why_missing(leg: Leg, site: int) -> str:
    """Why a cell does not run the release: what failed in it, or what it waits for."""
    for place in leg.shape.sites[site].places:
        step = leg.shape.steps[place]
        if leg.index.failed >> place & 1:
            return f"{step.service} failed: {leg.track(step.deployment).reason}"
    for place in leg.shape.sites[site].places:
        if leg.index.blocked >> place & 1:
            root = leg.shape.steps[root_of(leg, place)]
            return f"{leg.shape.steps[place].service} waits for {root.deployment}, which failed"
    return "a gate fails there"


def root_of(leg: Leg, place: int) -> int:
    """The failed step that a blocked one waits for in the end."""
    while leg.index.blocked >> place & 1:
        stopped = leg.index.failed | leg.index.blocked
        place = next(need for need in leg.shape.needs[place] if stopped >> need & 1)
    return place


def unfinished(leg: Leg) -> list[tuple[str, Track]]:
    """The steps of the current wave that a person may let try again, with their tracks."""
    steps, _ = leg.shape.waves[leg.position.wave]
    known = ((step.deployment, leg.track(step.deployment)) for step in leg.steps(leg.index.failed & steps))
    return [(name, track) for name, track in known if track.transient]
