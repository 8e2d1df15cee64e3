"""`cellwave rollout`."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Collection, Iterator
from textwrap import shorten
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from cellwave.cli.context import Context, here, say, whoami
from cellwave.cli.journal import line
from cellwave.cli.picture import picture
from cellwave.cli.plan import plan_for, table_of
from cellwave.cli.show import console, keep_whole, table, tell, tell_json, when
from cellwave.cli.show import row as table_row
from cellwave.cli.wayback import confirm_losses, losses
from cellwave.errors import BadInput, CellwaveError, Unavailable
from cellwave.releases.store import other_names
from cellwave.rollout.records import RolloutRow, refuse_taken
from cellwave.rollout.state import Action, Commanded, State, first_state, remains, reverse_state
from cellwave.rollout.worker import ensure_worker

app = typer.Typer(help="Start, watch and steer rollouts.", no_args_is_help=True, rich_markup_mode="rich")
Name = Annotated[str | None, typer.Argument(metavar="[ROLLOUT]", help="Default: the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the journal.")]
EXITS = {"done": 0, "failed": 1, "rolled_back": 3, "waiting": 4, "paused": 4}
DETACHED = 130  # as a shell says of a command that Ctrl-C ended: how the rollout ends is not known yet
POLL_SECONDS = 0.2
TAKEN_SECONDS = 45.0
DEATHS = 5  # of a worker while somebody looks on


class Detached(Exception):
    """Ctrl-C while a rollout, which it names, goes on."""


@app.command()
def start(
    release: Annotated[str, typer.Argument(metavar="RELEASE")],
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not follow it.")] = False,
) -> None:
    """Roll a release out, and follow it. Ctrl-C detaches; the rollout goes on.

    Example: [bold]cellwave rollout start v2[/]
    """
    context = here()
    name = begin(context, release)
    if detach:
        with detachable(name):
            for _ in looks(context, name):  # a worker that was just leaving when this began takes nothing up
                if context.records.journal(name):
                    break
        tell(name)
        return
    raise typer.Exit(follow(context, name))


def begin(context: Context, wanted: str, cells: Collection[str] | None = None) -> str:
    """Record a rollout of a release to all cells or these, lease them and see that a worker runs; its name.

    BadInput: an unknown or held release. Leased: another has one of its cells. Nothing was changed then.
    """
    context.ready()
    release = context.store.get(wanted)
    if held := context.store.held(release.digest):
        others = other_names(release, context.store.list())
        same = f", as {', '.join(others)} is: the same content" if others else ""
        raise BadInput(
            f"release {release.version}",
            f"it is held by {held.by}{same}: {held.reason}",
            f"a fixed release, or `cellwave release unhold {release.version}` if you know better",
        )
    plan = plan_for(context, release, cells)
    refuse_taken(context.records.leases(), plan.cells)
    wake(context)
    if console().is_terminal:
        console().print(table_of(plan))
    name = context.records.next_id(release.version)
    record(context, first_state(name, plan))
    return name


def record(context: Context, state: State) -> None:
    """Record a new rollout; from then on Ctrl-C detaches."""
    now = time.time()
    row = RolloutRow(id=state.rollout, created=now, actor=whoami(), target=context.target, state=state)
    try:
        context.records.create_rollout(row)
    except KeyboardInterrupt:
        if context.records.rollout(row.id):
            raise Detached(row.id) from None
        raise


@contextlib.contextmanager
def detachable(name: str) -> Iterator[None]:
    """Ctrl-C only leaves the rollout alone."""
    try:
        yield
    except KeyboardInterrupt:
        raise Detached(name) from None


@app.command()
def status(name: Name = None, as_json: Json = False) -> None:
    """Show where a rollout stands, once.

    Example: [bold]cellwave rollout status[/]
    """
    context = here()
    row = find(context, name)
    if as_json:
        tell_json(summary(row) | {"gates": [g.model_dump(mode="json") for g in row.state.gates]})
    else:
        console().print(picture(row.state, context.records.progress(), time.time()))
        tell_what_next(row)


@app.command()
def watch(name: Name = None) -> None:
    """Follow a rollout to its end. Ctrl-C detaches; the rollout goes on.

    Example: [bold]cellwave rollout watch v2-1[/]
    """
    context = here()
    row = find(context, name)
    if not row.state.outcome:
        require_same_target(context, row)
    raise typer.Exit(follow(context, row.id))


@app.command("list")
def list_rollouts(as_json: Json = False) -> None:
    """List all rollouts, the newest first.

    Example: [bold]cellwave rollout list[/]
    """
    context = here()
    rows = context.records.rollouts()
    keep_going(context)
    if as_json:
        tell_json([summary(row) for row in rows])
        return
    shown = table("rollout", "release", "status", "started", "by: reason")
    for row in rows:
        reason = shorten(row.state.reason or row.state.condemned or row.state.waiting, 90, placeholder=" ...")
        about = (row.id, row.state.forward.plan.version, row.state.status, when(row.created))
        table_row(shown, *about, f"{row.actor}: {reason}" if reason else row.actor)
    keep_whole(shown, 0, 1, 2, 3)
    console().print(shown)


@app.command()
def approve(name: Name = None, reason: Reason = "") -> None:
    """Say yes: to a wave that wants approval, or to a bake that stayed inconclusive.

    Example: [bold]cellwave rollout approve v2-1 -m "traffic is low tonight"[/]
    """
    command("approve", name, reason)


@app.command()
def pause(name: Name = None, reason: Reason = "") -> None:
    """Start nothing new; what runs is finished, gates are still watched.

    Example: [bold]cellwave rollout pause[/]
    """
    command("pause", name, reason)


@app.command()
def resume(name: Name = None, reason: Reason = "") -> None:
    """Go on after a pause, or try again what failed for want of a credential, quota or lock.

    One that has ended is continued by a new rollout of its release, to the cells that do not run it.

    Example: [bold]cellwave rollout resume[/]
    """
    context = here()
    row = find(context, name)
    if row.state.outcome:
        raise typer.Exit(follow(context, begin_again(context, row)))
    command("resume", row.id, reason)


def begin_again(context: Context, ended: RolloutRow) -> str:
    """Record a rollout of what an ended one did not bring or did not leave; its name. BadInput when that is nothing."""
    require_same_target(context, ended)
    plan, running = ended.state.forward.plan, context.running()
    missing = {step.cell for step in plan.steps if running.get(step.deployment) != plan.release}
    if not missing:
        found = f"it is done: every stack of it runs {plan.version}"
        raise BadInput(f"rollout {ended.id}", found, "a rollout that did not come to its end")
    return begin(context, plan.version, missing)  # its digest may have other names too


@app.command()
def rollback(
    name: Name = None,
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Reverse a rollout now, and follow it: what runs is interrupted, everything it touched goes back.

    One that has ended is reversed too, by a new rollout, stack by stack, as far as they still run what it brought.
    When that takes whole services or data away, it asks first, or wants --yes.

    Example: [bold]cellwave rollout rollback -m "customers report errors"[/]
    """
    context = here()
    row = find(context, name)
    if row.state.outcome:
        raise typer.Exit(follow(context, begin_reverse(context, row, reason or "no reason given", yes=yes)))
    command("rollback", row.id, reason)
    raise typer.Exit(follow(context, row.id))


def begin_reverse(context: Context, ended: RolloutRow, reason: str, *, yes: bool) -> str:
    """Record a rollout that takes back what is left of an ended one; its name.

    BadInput when nothing is left, or, without `yes`, when something would be gone for good and nobody can be asked.
    """
    require_same_target(context, ended)
    context.ready()
    running = {name: row.release for name, row in context.records.stacks(context.target).items()}
    rest = remains(ended.state, running)
    if not rest.undone:
        found = f"nothing of it is left to take back: {'; '.join(rest.left) or 'all of it went back, or ran before'}"
        raise BadInput(f"rollout {ended.id}", found, "a rollout that brought something")
    if rest.left:
        say(f"left as they are, since they have moved on: {'; '.join(rest.left)}")
    if not yes and (lost := losses(ended.state, rest.undone)):
        confirm_losses(ended.id, lost)
    wake(context)
    name = context.records.next_id(ended.state.forward.plan.version)
    why = f"{whoami()} asked for it: {reason}"
    record(context, reverse_state(name, ended.state, rest.undone, why, time.time()))
    return name


def require_same_target(context: Context, row: RolloutRow) -> None:
    """BadInput when a rollout works on another state backend than this shell: nobody here could carry a command out."""
    if row.target != context.target:
        found = f"it works on {row.target}, but this shell on {context.target}"
        raise BadInput(f"rollout {row.id}", found, f"PULUMI_BACKEND_URL={row.target}")


def command(action: Action, name: str | None, reason: str) -> None:
    """Give a command to a rollout and wait until it is taken; BadInput when the rollout has ended."""
    context = here()
    row = find(context, name)
    if row.state.outcome:
        raise BadInput(f"rollout {row.id}", f"it has ended: {row.state.status}", "a rollout that still runs")
    require_same_target(context, row)
    wake(context)
    event = Commanded(at=time.time(), action=action, actor=whoami(), reason=reason)
    known = len(context.records.journal(row.id))
    context.records.command(str(uuid.uuid4()), row.id, event)
    said = await_taken(context, row.id, action, known)
    if "ignored" in said:
        raise CellwaveError(f"{row.id}: {action} changes nothing: {said['ignored']}")
    say(f"{row.id}: {action} taken")


def await_taken(context: Context, name: str, action: Action, known: int) -> dict[str, str]:
    """Wait until a rollout has taken a command; what its journal says of it (kind: text), after the `known` lines.

    CellwaveError when it ended before it could, or the worker takes long.
    """
    deadline = time.monotonic() + TAKEN_SECONDS
    while True:
        now = context.records.rollout(name)  # before the journal: whatever ended it is in there then
        said = {entry.kind: entry.text for entry in context.records.journal(name)[known:]}
        if action in said:
            return said
        if now and now.state.outcome:
            hint = f"`cellwave rollout {action} {name}` again" if action in ("resume", "rollback") else ""
            raise CellwaveError(
                f"{name} had ended before it could take {action}: {now.state.status}", hint=hint
            )
        if time.monotonic() > deadline:
            hint = "the worker takes it when it is done looking at the gates; see `cellwave rollout status`"
            raise CellwaveError(f"{name} has not taken {action} yet; it is recorded", hint=hint)
        wake(context)
        time.sleep(POLL_SECONDS)


def find(context: Context, name: str | None) -> RolloutRow:
    """A rollout by name, or the newest; BadInput when there is none. Sees that unfinished ones have a worker."""
    rows = context.records.rollouts()
    keep_going(context)
    if not rows:
        raise BadInput("rollout", "none has been started yet", "cellwave rollout start RELEASE")
    found = rows[0] if name is None else next((row for row in rows if row.id == name), None)
    if found is None:
        raise BadInput(
            f"rollout {name!r}", "there is none of that name", "one of " + ", ".join(r.id for r in rows[:10])
        )
    return found


def looks(context: Context, name: str) -> Iterator[RolloutRow]:
    """A rollout that is known to be there, as it is now and again and again, and somebody at work on it.

    A worker that has died is told of and replaced; CellwaveError when none can live, or one after the other dies.
    """
    deaths = 0
    while True:
        row = context.records.rollout(name)
        assert row is not None
        try:
            died = not row.state.outcome and wake(context)
        except Unavailable as dead:
            raise CellwaveError(f"nobody is at work on {name}: {dead.message}", hint=dead.hint) from dead
        if died:
            deaths += 1
            log = context.project.home / "worker.log"
            if deaths > DEATHS:
                raise CellwaveError(
                    f"the worker died {deaths} times; {name} goes on with the next", hint=f"see {log}"
                )
            say(f"the worker had ended, another goes on; see {log}")
        yield row
        time.sleep(POLL_SECONDS)


def wake(context: Context) -> bool:
    """See that a worker runs, and whether it had to be started; Unavailable, with its reason, when none can live: then
    nothing is recorded that nobody would carry out."""
    return ensure_worker(context.project, context.environment, context.target)


def keep_going(context: Context) -> None:
    """An unfinished rollout whose worker was killed gets a new one; where none can live, it can only be looked at."""
    try:
        if context.records.unfinished(context.target):
            wake(context)
    except Unavailable as missing:
        say(f"nothing can go on here: {missing.message}")


def summary(row: RolloutRow) -> dict[str, object]:
    """A rollout in a few fields, for scripts."""
    state = row.state
    return {
        "rollout": row.id,
        "release": state.forward.plan.version,
        "status": state.status,
        "reason": state.reason or state.condemned or state.waiting,
        "actor": row.actor,
        "started": row.created,
        "ended": state.ended_at or None,
        "cells": list(state.forward.plan.cells),
        "touched": list(state.touched),
        "wave": state.forward.current.name,
    }


def follow(context: Context, name: str) -> int:
    """Show a rollout until it ends or waits for a person; the exit code. Detached: Ctrl-C stopped the showing."""
    out = console()
    with detachable(name):
        row = _draw(context, name, out) if out.is_terminal else _tell(context, name)
    tell_what_next(row)
    return EXITS[row.state.status]


def _draw(context: Context, name: str, out: Console) -> RolloutRow:
    with Live(console=out, refresh_per_second=8, transient=False) as live:
        for row in looks(context, name):
            live.update(picture(row.state, context.records.progress(), time.time()))
            if row.state.status in EXITS:
                break
    return row


def _tell(context: Context, name: str) -> RolloutRow:
    seen = 0
    for row in looks(context, name):
        for entry in context.records.journal(name, after=seen):
            tell(line(entry))
            seen = entry.seq
        if row.state.status in EXITS:
            break
    return row


def tell_what_next(row: RolloutRow) -> None:
    """What a person can do now."""
    if row.state.status == "waiting":
        say(f"it waits for a person: {row.state.waiting}")
        if not row.state.leg.failed:
            say(f"  cellwave rollout approve {row.id}    go on")
        say(f"  cellwave rollout resume {row.id}     try again")
        say(f"  cellwave rollout rollback {row.id}   undo everything it touched")
    elif row.state.status == "paused":
        say(f"paused by {row.state.paused}; go on with: cellwave rollout resume {row.id}")
