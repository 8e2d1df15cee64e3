"""Start, go on with, command and reverse a rollout, and look at it again and again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cellwave.environment import whoami
from cellwave.errors import BadInput, CellwaveError, Detached, Unavailable
from cellwave.fleet.select import require_cell
from cellwave.releases.store import other_names
from cellwave.rollout.beats import living, seat_of, unattended_since
from cellwave.rollout.glance import course, glance, is_by_hand, telling
from cellwave.rollout.identity import require_same
from cellwave.rollout.leases import commands_elsewhere, refuse_taken
from cellwave.rollout.model import (
    Action,
    Answer,
    Commanded,
    Remains,
    State,
    first_state,
    remains,
    reverse_state,
)
from cellwave.rollout.outline import Outline
from cellwave.rollout.presence import end_older, end_stopped, ensure_worker
from cellwave.rollout.records import StackRow
from cellwave.rollout.rows import RolloutRow
from cellwave.usecases.plans import plan_for, plan_up
from cellwave.usecases.surroundings import Surroundings
from cellwave.usecases.views import (
    MOST,
    RolloutStory,
    RolloutSummary,
    RolloutView,
    story_of,
    summary_of,
    view_of,
)
from cellwave.waves.model import Plan, Step
from cellwave.waves.planner import data_at_risk, make_rollback

POLL_SECONDS = 0.2
TAKEN_SECONDS = 45.0
DEATHS = 5  # of a worker while somebody looks on


class NothingLeft(BadInput):
    """Nothing that a rollout brought is left to take back."""


@dataclass(frozen=True)
class WayBack:
    """What the way back of an ended rollout would do, in words: `left` moved on and stays, `lost` is gone for good."""

    left: tuple[str, ...]
    lost: tuple[str, ...]


def begin(
    around: Surroundings,
    wanted: str,
    cells: Collection[str] | None = None,
    show: Callable[[Plan], None] = lambda _: None,
    *,
    everything: bool = False,
) -> str:
    """Record a rollout of a release to all cells or these, lease them and see that a worker runs; its name.

    `show` gets the plan before anything is recorded; `everything` runs what would not change, too. BadInput: an unknown
    or held release. Leased: another has one of its cells. Nothing was changed then. Detached: Ctrl-C came when it was
    recorded.
    """
    around.ready()
    release = around.store.get(wanted)
    if held := around.store.held(release.digest):
        others = other_names(release, around.store.list())
        same = f", as {', '.join(others)} is: the same content" if others else ""
        raise BadInput(
            f"release {release.version}",
            f"it is held by {held.by}{same}: {held.reason}",
            f"a fixed release, or `cellwave release unhold {release.version}` if you know better",
        )
    return _begin(around, plan_for(around, release, cells, everything=everything), show)


def begin_up(
    around: Surroundings,
    cell: str,
    wanted: str | None = None,
    show: Callable[[Plan], None] = lambda _: None,
    *,
    everything: bool = False,
) -> str:
    """Record a rollout of a release to one whole cell, at a person's word; its name. The control plane's is one too.

    Without a release, the working tree is frozen as one first. BadInput: an unknown cell or release; else as `begin`.
    """
    from cellwave.releases.build import build_release

    release = around.store.get(wanted) if wanted else None
    fleet, _ = around.configuration(release.digest if release else None)
    require_cell(fleet, cell)
    around.ready()
    release = release or build_release(around.project, None, report=around.tell)
    return _begin(around, plan_up(around, release, cell, everything=everything), show)


def begin_again(around: Surroundings, name: str, show: Callable[[Plan], None] = lambda _: None) -> str:
    """Record a rollout of what an ended one did not bring or did not leave; its name. BadInput when that is nothing;
    else as `begin`."""
    ended = _row(around, name)
    require_same_target(around, ended.id, ended.target)
    plan, stacks = around.records.state(ended.id).forward.plan, around.stacks()
    missing = {step.cell for step in plan.steps if not _runs(step, stacks.get(step.deployment))}
    if not missing:
        found = f"it is done: every stack of it runs {plan.version}"
        raise BadInput(f"rollout {ended.id}", found, "a rollout that did not come to its end")
    if plan.by_hand:
        return begin_up(around, plan.cells[0], plan.version, show)
    return begin(around, plan.version, missing, show)  # its digest may have other names too


def _runs(step: Step, row: StackRow | None) -> bool:
    """Whether a stack is known to run what a step brings: its release, or another one that is the same to it."""
    if row is None or not row.known:
        return False
    return row.release == step.release or bool(step.inputs and row.inputs == step.inputs)


def way_back(around: Surroundings, name: str) -> WayBack:
    """What `begin_reverse` of an ended rollout would do. NothingLeft as it says."""
    ended, rest = _reversible(around, name)
    return WayBack(rest.left, losses(ended, rest.undone))


def begin_reverse(around: Surroundings, name: str, reason: str, agreed: Collection[str]) -> str:
    """Record a rollout that takes back what is left of an ended one; its name. Detached as in `begin`.

    BadInput when nothing is left, or when something would be lost that is not `agreed`, in the words of `way_back`.
    """
    ended, rest = _reversible(around, name)
    if lost := [loss for loss in losses(ended, rest.undone) if loss not in agreed]:
        raise BadInput(
            f"the way back of {ended.rollout}", f"it {'; '.join(lost)}, and nobody agreed to that", "--yes"
        )
    wake(around)
    new = _new_name(around, ended.forward.plan)
    why = f"{whoami()} asked for it: {reason}"
    _record(around, reverse_state(new, ended, rest.undone, why, time.time()))
    return new


def losses(ended: State, undone: Collection[str]) -> tuple[str, ...]:
    """What is gone when these deployments are taken back, in words: whole services, and data. Pure."""
    plan = ended.forward.plan
    touched = [step.deployment for step in plan.steps if step.deployment in undone]
    cells: dict[str, list[str]] = {}
    for step in make_rollback(plan, touched).steps:
        if step.removes:
            cells.setdefault(step.service, []).append(step.cell)
    whole = [f"takes {name} away in {', '.join(sorted(where))}" for name, where in sorted(cells.items())]
    return (*(f"{line}: nothing ran there before" for line in whole), *data_at_risk(plan, touched))


def command(
    around: Surroundings, seen: RolloutSummary, action: Action, reason: str, question: int | None = None
) -> Answer:
    """Give a command to a rollout as it was `seen`, and wait until it is taken; what became of it. It answers the
    question that is named, or else that was asked then, and no other.

    BadInput when the rollout has ended, CellwaveError when it changes nothing or is not taken in time.
    """
    if seen.outcome:
        raise BadInput(f"rollout {seen.id}", f"it has ended: {seen.status}", "a rollout that still runs")
    require_same_target(around, seen.id, seen.target)
    wake(around)
    if question is None:
        question = seen.waiting.question if seen.waiting else 0
    event = Commanded(at=time.time(), action=action, actor=whoami(), reason=reason, question=question)
    identity = str(uuid.uuid4())
    around.records.command(identity, seen.id, event)
    answer = _await_answer(around, seen.id, action, identity)
    if answer.kind == "refused":
        over = (row := around.records.rollout(seen.id)) is not None and row.head.outcome
        again = over and action in ("resume", "rollback")
        hint = f"`cellwave rollout {action} {seen.id}` again" if again else ""
        raise CellwaveError(f"{seen.id}: {action} changes nothing: {answer.said}", hint=hint)
    return answer


def summaries(around: Surroundings) -> list[RolloutSummary]:
    """All rollouts, the newest first. Sees that unfinished ones have a worker."""
    rows = around.records.rollouts()
    keep_going(around)
    return [summary_of(row) for row in rows]


def stories(around: Surroundings) -> list[RolloutStory]:
    """As `summaries`, with what they were to do and did."""
    return [story(around, found.id) for found in summaries(around)]


def story(around: Surroundings, name: str) -> RolloutStory:
    """What a rollout that is known to be there was to do and did."""
    return story_of(course(around.records, name))


def view(
    around: Surroundings, name: str, known: dict[str, Outline] | None = None, *, every_gate: bool = False
) -> RolloutView:
    """A rollout that is known to be there, as it is now, with all that a picture shows, or `every_gate`. Who looks
    again and again brings what is `known` of plans."""
    seen = glance(around.records, name, {} if known is None else known)
    if every_gate:
        return view_of(seen, around.records.readings(name))
    return view_of(seen, *(((), 0) if seen.row.head.outcome else telling(around.records, name, MOST)))


def find(around: Surroundings, name: str | None) -> RolloutSummary:
    """A rollout by name, or the default one; BadInput when there is none. Sees that unfinished ones have a worker.

    The default is the newest, but for an `up` when there is any other: nobody is to take back a colleague's by mistake.
    """
    rows = around.records.rollouts()
    keep_going(around)
    if not rows:
        raise BadInput("rollout", "none has been started yet", "cellwave rollout start RELEASE")
    named = (row for row in rows if row.id == name)
    found = _default(around, rows) if name is None else next(named, None)
    if found is None:
        raise _unknown(name, rows)
    if not found.head.outcome and found.target != around.target and not living(around.records, found.target):
        around.tell(unattended(around, found.target))
    return summary_of(found)


def looks(around: Surroundings, name: str) -> Iterator[RolloutSummary]:
    """A rollout that is known to be there, as it is now and again and again, and somebody at work on it.

    A worker that has died is told of and replaced; CellwaveError when none can live, or one after the other dies.
    Unavailable when the database was replaced meanwhile.
    """
    deaths = 0
    while True:
        require_same(around.project.home, around.records)
        row = _row(around, name)
        try:
            died = not row.head.outcome and wake(around)
        except Unavailable as dead:
            nobody = f"nobody is at work on {name}, {unattended(around, around.target)}"
            raise CellwaveError(f"{nobody}: {dead.message}", hint=dead.hint) from dead
        if died:
            deaths += 1
            log = around.project.home / "worker.log"
            if deaths > DEATHS:
                raise CellwaveError(
                    f"the worker died {deaths} times; {name} goes on with the next", hint=f"see {log}"
                )
            around.tell(f"the worker had ended, another goes on; see {log}")
        yield summary_of(row)
        time.sleep(POLL_SECONDS)


def await_begun(around: Surroundings, name: str) -> None:
    """Wait until somebody works on a new rollout: a worker that was just leaving when it began takes nothing up."""
    for _ in looks(around, name):
        if around.records.journal(name):
            return


def require_same_target(around: Surroundings, name: str, target: str) -> None:
    """BadInput when a rollout works on another state backend than this shell: nobody here could carry a command out."""
    if target != around.target:
        found = f"it works on {target}, but this shell on {around.target}"
        raise BadInput(f"rollout {name}", found, f"PULUMI_BACKEND_URL={target}")


def require_free(around: Surroundings, cells: Collection[str], partners: Mapping[str, str] = {}) -> None:
    """Leased when another has one of the cells, or a failover partner of one."""
    leases = around.records.leases()
    if commands_elsewhere(leases, [*cells, *partners.values()]):
        wake(around)  # it listens for them, and frees the cells of those that it does not hear
    refuse_taken(leases, cells, partners)


def wake(around: Surroundings) -> bool:
    """See that a worker runs, here or on another host, and whether one had to be started; that of an older cellwave is
    replaced. Unavailable, with its reason, when none can live: then nothing is recorded that nobody would carry out."""
    project, target = around.project, around.target
    end_older(project, target)
    there, seat = living(around.records, target), seat_of(project.home, target)
    if not all(name.startswith(f"{seat}:") for name in there):
        return False
    if not there:
        end_stopped(project, target)
    return ensure_worker(project, around.environment, target)


def keep_going(around: Surroundings) -> None:
    """An unfinished rollout whose worker was killed gets a new one; where none can live, it can only be looked at.

    Tells since when there was none.
    """
    if not around.records.unfinished(around.target):
        return
    nobody = unattended(around, around.target)
    try:
        if wake(around):
            around.tell(f"{nobody}: one goes on now")
    except Unavailable as missing:
        around.tell(f"nothing can go on here: {missing.message}")
        around.tell(nobody)


def unattended(around: Surroundings, target: str) -> str:
    """Since when no worker is there for a state backend, in words, given that none is."""
    at = unattended_since(around.records, target)
    if at is None:
        return f"no worker was ever there for {target}"
    when = datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")
    return f"no worker is there for {target} since {when}"


def _row(around: Surroundings, name: str) -> RolloutRow:
    if row := around.records.rollout(name):
        return row
    raise _unknown(name, around.records.rollouts())


def _unknown(name: str | None, rows: Sequence[RolloutRow]) -> BadInput:
    known = ", ".join(row.id for row in rows[:10])
    return BadInput(f"rollout {name!r}", "there is none of that name", f"one of {known}")


def _reversible(around: Surroundings, name: str) -> tuple[State, Remains]:
    row = _row(around, name)
    require_same_target(around, row.id, row.target)
    around.ready()
    ended, stacks = around.records.state(row.id), around.records.stacks(around.target)
    running = {name: stack.release for name, stack in stacks.items() if stack.known and stack.release}
    # What was tried there since is for another rollout to take back.
    doubted = {n for n, stack in stacks.items() if not stack.known and stack.at <= ended.head.ended_at}
    rest = remains(ended, running, doubted)
    if not rest.undone:
        found = f"nothing of it is left to take back: {'; '.join(rest.left) or 'all of it went back, or ran before'}"
        raise NothingLeft(f"rollout {row.id}", found, "a rollout that brought something")
    return ended, rest


def _default(around: Surroundings, rows: Sequence[RolloutRow]) -> RolloutRow:
    of_the_fleet = (row for row in rows if not is_by_hand(around.records, row.id))
    return next(of_the_fleet, rows[0])


def _begin(around: Surroundings, plan: Plan, show: Callable[[Plan], None]) -> str:
    require_free(around, plan.cells, plan.partners)
    wake(around)
    show(plan)
    name = _new_name(around, plan)
    _record(around, first_state(name, plan))
    return name


def _new_name(around: Surroundings, plan: Plan) -> str:
    return around.records.next_id(f"up-{plan.cells[0]}" if plan.by_hand else plan.version)


def _record(around: Surroundings, state: State) -> None:
    """Record a new rollout; from then on Ctrl-C detaches."""
    try:
        around.records.create_rollout(state, whoami(), around.target, time.time())
    except KeyboardInterrupt:
        if around.records.rollout(state.rollout):
            raise Detached(state.rollout) from None
        raise


def _await_answer(around: Surroundings, name: str, action: Action, identity: str) -> Answer:
    """Wait until a rollout has taken a command; what became of it."""
    deadline = time.monotonic() + TAKEN_SECONDS
    while (answer := _answer_of(around, name, action, identity)) is None:
        if time.monotonic() > deadline:
            said = _row(around, name).trouble or "no worker has got to it"
            raise CellwaveError(
                f"{name} has not taken {action} yet; it is recorded: {said}",
                hint="see `cellwave rollout status`",
            )
        wake(around)
        time.sleep(POLL_SECONDS)
    return answer


def _answer_of(around: Surroundings, name: str, action: Action, identity: str) -> Answer | None:
    try:
        return around.records.answer(identity)
    except LookupError:  # it ended, and what was kept of it is gone by now
        hint = f"`cellwave rollout {action} {name}` again" if action in ("resume", "rollback") else ""
        raise CellwaveError(f"{name} had ended before it could take {action}", hint=hint) from None
