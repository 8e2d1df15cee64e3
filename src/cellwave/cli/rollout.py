"""`cellwave rollout`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from textwrap import shorten
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from cellwave.cli.here import here
from cellwave.cli.journal import line
from cellwave.cli.picture import picture
from cellwave.cli.plan import Everything, table_of
from cellwave.cli.show import console, keep_whole, row, say, table, tell, tell_json, when
from cellwave.cli.waiting import waiting_json, what_next
from cellwave.cli.wayback import confirm_losses
from cellwave.errors import Detached
from cellwave.rollout.model import Action
from cellwave.rollout.outline import Outline
from cellwave.usecases import rollouts
from cellwave.usecases.surroundings import Surroundings
from cellwave.usecases.views import MOST, RolloutStory, RolloutSummary, RolloutView
from cellwave.waves.model import Plan

app = typer.Typer(help="Start, watch and steer rollouts.", no_args_is_help=True, rich_markup_mode="rich")
Name = Annotated[str | None, typer.Argument(metavar="[ROLLOUT]", help="Default: the newest that is no `up`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the journal.")]
Question = Annotated[
    int | None,
    typer.Option(
        "--question", metavar="N", help="Answer this question only (`status` names it), and no later one."
    ),
]
SHARE = 9  # times as long as a picture of it took, a rollout is not drawn again
EXITS = {"done": 0, "failed": 1, "rolled_back": 3, "waiting": 4, "paused": 4}


@app.command()
def start(
    release: Annotated[str, typer.Argument(metavar="RELEASE")],
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not follow it.")] = False,
    everything: Everything = False,
) -> None:
    """Roll a release out, and follow it. Ctrl-C detaches; the rollout goes on.

    Example: [bold]cellwave rollout start v2[/]
    """
    around = here()
    name = rollouts.begin(around, release, show=show_plan, everything=everything)
    if detach:
        with detachable(name):
            rollouts.await_begun(around, name)
        tell(name)
        return
    raise typer.Exit(follow(around, name))


def show_plan(made: Plan) -> None:
    """What is about to be started, where a person sees it."""
    if console().is_terminal:
        console().print(table_of(made))


@app.command()
def status(name: Name = None, as_json: Json = False) -> None:
    """Show where a rollout stands, once.

    Example: [bold]cellwave rollout status[/]
    """
    around = here()
    name = rollouts.find(around, name).id
    if as_json:
        found = rollouts.view(around, name, every_gate=True)
        parts = {"gates": found.gates, "failures": found.failures}
        lists = {k: [one.model_dump(mode="json") for one in v] for k, v in parts.items()}
        ahead = found.ahead.model_dump() if found.ahead else None
        tell_json(summary(rollouts.story(around, name)) | lists | {"ahead": ahead})
    else:
        found = rollouts.view(around, name)
        console().print(drawn(around, found))
        tell_what_next(found)


def drawn(around: Surroundings, found: RolloutView) -> RenderableType:
    """A rollout as a person sees it now."""
    return picture(found, around.records.progress(found.running[:MOST]), time.time())


@app.command()
def watch(name: Name = None) -> None:
    """Follow a rollout to its end. Ctrl-C detaches; the rollout goes on.

    Example: [bold]cellwave rollout watch v2-1[/]
    """
    around = here()
    found = rollouts.find(around, name)
    if not found.outcome:
        rollouts.require_same_target(around, found.id, found.target)
    raise typer.Exit(follow(around, found.id))


@app.command("list")
def list_rollouts(as_json: Json = False) -> None:
    """List all rollouts, the newest first.

    Example: [bold]cellwave rollout list[/]
    """
    around = here()
    if as_json:
        tell_json([summary(found) for found in rollouts.stories(around)])
        return
    shown = table("rollout", "release", "status", "started", "by: reason")
    for found in rollouts.summaries(around):
        reason = shorten(found.reason, 90, placeholder=" ...")
        if found.waiting:
            reason = f"since {when(found.waiting.since)}: {reason}"
        about = (found.id, found.version, found.status, when(found.created))
        row(shown, *about, f"{found.actor}: {reason}" if reason else found.actor)
    keep_whole(shown, 0, 1, 2, 3)
    console().print(shown)


@app.command()
def approve(name: Name = None, reason: Reason = "", question: Question = None) -> None:
    """Say yes: to a wave that wants approval or that its previews speak against, or to a bake that stayed inconclusive.

    Example: [bold]cellwave rollout approve v2-1 -m "traffic is low tonight"[/]
    """
    around = here()
    give(around, "approve", rollouts.find(around, name), reason, question)


@app.command()
def pause(name: Name = None, reason: Reason = "") -> None:
    """Start nothing new; what runs is finished, gates are still watched.

    Example: [bold]cellwave rollout pause[/]
    """
    around = here()
    give(around, "pause", rollouts.find(around, name), reason)


@app.command()
def resume(name: Name = None, reason: Reason = "", question: Question = None) -> None:
    """Go on after a pause, or try again what failed for want of a credential, quota or lock.

    One that has ended is continued by a new rollout of its release, to the cells that do not run it.

    Example: [bold]cellwave rollout resume[/]
    """
    around = here()
    found = rollouts.find(around, name)
    if found.outcome:
        raise typer.Exit(follow(around, rollouts.begin_again(around, found.id, show_plan)))
    give(around, "resume", found, reason, question)


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
    around = here()
    found = rollouts.find(around, name)
    if found.outcome:
        try:
            name = reverse(around, found.id, reason or "no reason given", yes=yes)
        except rollouts.NothingLeft:
            if found.outcome != "rolled_back":
                raise
            # Somebody was faster: whoever asks for the same gets the same answer, however late.
            say(f"{found.id}: rollback already: it has gone back: {found.reason}")
            raise typer.Exit(EXITS[found.outcome]) from None
        raise typer.Exit(follow(around, name))
    give(around, "rollback", found, reason)
    raise typer.Exit(follow(around, found.id))


def reverse(around: Surroundings, ended: str, reason: str, *, yes: bool) -> str:
    """Begin the way back of an ended rollout, when nothing is lost by it or a person agrees; the new one's name."""
    back = rollouts.way_back(around, ended)
    if back.left:
        say(f"left as they are, since they have moved on: {'; '.join(back.left)}")
    if back.lost and not yes:
        confirm_losses(ended, back.lost)
    return rollouts.begin_reverse(around, ended, reason, back.lost)


def give(
    around: Surroundings, action: Action, seen: RolloutSummary, reason: str, question: int | None = None
) -> None:
    """Give a command to a rollout, and say what became of it."""
    answer = rollouts.command(around, seen, action, reason, question)
    say(f"{seen.id}: {action} {answer.kind}: {answer.said}")


def summary(found: RolloutStory) -> dict[str, object]:
    """A rollout in a few fields, for scripts."""
    return {
        "rollout": found.id,
        "release": found.version,
        "status": found.status,
        "reason": found.reason,
        "actor": found.actor,
        "started": found.created,
        "ended": found.ended_at or None,
        "cells": list(found.cells),
        "touched": list(found.touched),
        "wave": found.wave,
        "waiting": waiting_json(found),
        "paused": found.paused or None,
        "trouble": found.trouble or None,
    }


@contextlib.contextmanager
def detachable(name: str) -> Iterator[None]:
    """Ctrl-C only leaves the rollout alone."""
    try:
        yield
    except KeyboardInterrupt:
        raise Detached(name) from None


def follow(around: Surroundings, name: str) -> int:
    """Show a rollout until it ends or waits for a person; the exit code. Detached: Ctrl-C stopped the showing."""
    out = console()
    with detachable(name):
        last = _draw(around, name, out) if out.is_terminal else _tell(around, name)
    tell_what_next(last)
    return EXITS[last.status]


def _draw(around: Surroundings, name: str, out: Console) -> RolloutSummary:
    known: dict[str, Outline] = {}
    again = 0.0
    with Live(console=out, auto_refresh=False, transient=False) as live:
        for seen in rollouts.looks(around, name):
            began = time.monotonic()
            if began < again and seen.status not in EXITS:
                continue
            live.update(drawn(around, rollouts.view(around, name, known)), refresh=True)
            again = time.monotonic() + SHARE * (time.monotonic() - began)
            if seen.status in EXITS:
                break
    return seen


def _tell(around: Surroundings, name: str) -> RolloutSummary:
    told, trouble = 0, ""
    for seen in rollouts.looks(around, name):
        if seen.trouble and seen.trouble != trouble:
            say(f"it can't go on: {seen.trouble}")
        trouble = seen.trouble
        for entry in around.records.journal(name, after=told):
            tell(line(entry))
            told = entry.seq
        if seen.status in EXITS:
            break
    return seen


def tell_what_next(found: RolloutSummary) -> None:
    """What a person can do now."""
    for said in what_next(found, time.time()):
        say(said)
