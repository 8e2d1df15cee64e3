"""`cellwave demo`: the main job from end to end, in a fresh sandbox."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellwave.cli.context import Context, here, say
from cellwave.cli.sandbox import end_engines
from cellwave.cli.show import tell, tell_json
from cellwave.deploy.attempt import attempts_folder
from cellwave.errors import BadInput, CellwaveError, Leased, Unavailable
from cellwave.project import Project
from cellwave.rollout.database import database_files
from cellwave.rollout.records import commands_at_work, recorded
from cellwave.rollout.state import State

if TYPE_CHECKING:
    from cellwave.demo.customers import Customers

EXPECTED = {"v1": "done", "v2": "rolled_back", "v3": "done"}


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print only the last line's JSON object.")] = False,
) -> None:
    """Six cells, a good release, a bad one that undoes itself, a fixed one; customers' events flow meanwhile.

    It begins with an empty sandbox: what this project's sandbox held, its rollouts and its releases are forgotten. A
    project that works on anything else is refused, and nothing of it is touched.

    Example: [bold]cellwave demo[/]   or   [bold]cellwave demo --json | jq .rollouts[/]
    """
    # The demo is for the sandbox alone, whatever this shell otherwise works on.
    for name in ("PULUMI_BACKEND_URL", "CELLWAVE_RELEASES"):
        os.environ.pop(name, None)
    # Everything for people goes to standard error when only the JSON is wanted.
    shown = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with shown:
        summary, lines = run(here())
        for line in lines:
            tell(line)
    tell_json(summary)
    outcomes = {r["release"]: r["outcome"] for r in summary["rollouts"]}
    faults = summary["events_lost"] + summary["cross_tenant_reads"] + summary["orphans"]
    if outcomes != EXPECTED or faults:
        raise CellwaveError(
            "the demo did not come out as it should", hint="see above, and `cellwave journal show`"
        )


def run(context: Context) -> tuple[dict[str, Any], list[str]]:
    """The whole job; the summary, and the story in words."""
    from cellwave.cli.rollout import begin, follow
    from cellwave.cli.up import deploy_cell
    from cellwave.demo.customers import Customers, read_commands
    from cellwave.demo.report import in_words
    from cellwave.demo.trees import build_all

    commands = read_commands(context.project)
    folder = fresh(context)
    context = here()
    say("building three releases: v1, v2 with a defect, v3 with the fix")
    releases = build_all(context.project, folder / "trees", context.store)
    fleet, _ = context.configuration(releases[0].digest)
    if fleet.control:
        say("deploying the control plane, and making keys for the customers")
        context.ready()
        deploy_cell(context, fleet.control.name, releases[0].digest)
    customers = Customers(context.project, context.environment, commands, folder)
    customers.prepare()
    customers.begin()
    try:
        for release in releases:
            say(f"\nrolling out {release.version}")
            name = begin(context, release.version)
            follow(context, name)
            state = next(row.state for row in context.records.rollouts() if row.id == name)
            if state.outcome != EXPECTED[release.version]:
                raise CellwaveError(
                    f"{name} is {state.status}, not {EXPECTED[release.version]}", hint="see above"
                )
    finally:
        say("\nletting the traffic end")
        customers.end()
    say("reading every accepted event back, trying to read others', looking for orphans")
    states = [row.state for row in reversed(context.records.rollouts())]
    summary = examine(context, states, customers)
    return summary, in_words(states, summary)


def fresh(context: Context) -> Path:
    """Stop what an earlier demo left, forget the sandbox and its rollouts, and start anew; the demo's folder.

    Raises as `refuse_to_forget`, before anything else.
    """
    from cellwave.demo.customers import end_leftover
    from cellwave.rollout.worker import stop_worker
    from cellwave.sandbox import server

    refuse_to_forget(context.project)
    home = context.project.home
    context.project.make_home()
    folder = home / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    end_leftover(folder)
    if not stop_worker(context.project):
        raise Unavailable("the worker does not leave", hint="end it, and run the demo again")
    if records := recorded(context.project.database_url):
        end_engines(context.project, records)
    server.reset(context.project)
    for file in database_files(context.project.database_url):
        file.unlink(missing_ok=True)
    for spent in (context.project.releases, attempts_folder(home), folder):
        shutil.rmtree(spent, ignore_errors=True)
    folder.mkdir()
    server.up(context.project, say)
    return folder


def refuse_to_forget(project: Project) -> None:
    """BadInput, Unavailable or Leased, in words, unless this project has only ever worked on its own sandbox.

    What the demo forgets are a real project's releases, rollouts, and the records of what runs.
    """
    from cellwave.rollout.worker import workers, works_elsewhere
    from cellwave.sandbox import server

    if project.database_url != project.own_database_url:
        found = "it names another database than this project's own file, and the demo forgets all that is recorded"
        raise BadInput("CELLWAVE_DATABASE_URL", found, "the demo in a fresh clone, with the variable unset")
    elsewhere = "the demo in a fresh clone; this project is left as it is"
    if records := recorded(project.database_url):
        own = server.target(project)
        if others := [f"{what} on {target}" for target, what in records.targets().items() if target != own]:
            raise Unavailable(
                f"the demo would forget what is recorded here: {'; '.join(others)}", hint=elsewhere
            )
        if busy := commands_at_work(records.leases()):
            names = ", ".join(f"{cell} by {owner}" for cell, owner in busy.items())
            raise Leased(f"cells are being changed: {names}", hint=f"wait for its end, or {elsewhere}")
    if pids := [pid for pid in workers(project) if works_elsewhere(pid)]:
        raise Unavailable(f"worker {pids[0]} of this project works on another backend", hint=elsewhere)


def examine(context: Context, states: list[State], customers: Customers) -> dict[str, Any]:
    """Count what was lost, read by others, or orphaned."""
    from cellwave.demo.report import attempts, rollout_report
    from cellwave.sandbox import server
    from cellwave.sandbox.orphans import orphans, read_states

    fleet, _ = context.configuration(states[0].forward.plan.release)
    verified, crossed = customers.verify(), customers.cross()
    if not (verified.accepted and crossed.own):
        raise CellwaveError("the customers' traffic got nothing accepted, or nothing back: nothing is proven")
    with exported(context):
        left = orphans(fleet, read_states(server.state_folder(context.project)))
    return {
        "rollouts": [rollout_report(state) for state in states],
        "cells": len(fleet.cells),
        "deployments": sum(attempts(state) for state in states) + len(fleet.control_services),
        "events_accepted": verified.accepted,
        "events_lost": verified.lost,
        "cross_tenant_reads": crossed.reads + verified.misplaced,
        "orphans": len(left),
    }


@contextlib.contextmanager
def exported(context: Context) -> Iterator[None]:
    """The deployments' environment as this process's own, for boto3."""
    before, wanted = dict(os.environ), dict(context.environment)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
