"""`cellwave demo`: the main job from end to end, in a fresh sandbox."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellwave.cli.here import here
from cellwave.cli.rollout import follow
from cellwave.cli.show import say, tell, tell_json
from cellwave.errors import CellwaveError
from cellwave.usecases.rollouts import begin, begin_up, stories, story
from cellwave.usecases.surroundings import Surroundings
from cellwave.usecases.views import RolloutStory

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
    from cellwave.demo.fresh import alone

    # The demo is for the sandbox alone, whatever this shell otherwise works on.
    for name in ("PULUMI_BACKEND_URL", "CELLWAVE_RELEASES"):
        os.environ.pop(name, None)
    # Everything for people goes to standard error when only the JSON is wanted.
    aside = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    around = here()
    with aside, alone(around.project):
        summary, lines = run(around)
        for line in lines:
            tell(line)
    tell_json(summary)
    outcomes = {r["release"]: r["outcome"] for r in summary["rollouts"]}
    faults = summary["events_lost"] + summary["cross_tenant_reads"] + summary["orphans"]
    if outcomes != EXPECTED or faults:
        raise CellwaveError(
            "the demo did not come out as it should", hint="see above, and `cellwave journal show`"
        )


def run(around: Surroundings) -> tuple[dict[str, Any], list[str]]:
    """The whole job; the summary, and the story in words."""
    from cellwave.demo.customers import Customers, read_commands
    from cellwave.demo.fresh import fresh
    from cellwave.demo.report import in_words
    from cellwave.demo.trees import build_all

    commands = read_commands(around.project)
    folder = fresh(around)
    around = here()
    say("building three releases: v1, v2 with a defect, v3 with the fix")
    releases = build_all(around.project, folder / "trees", around.store)
    fleet, _ = around.configuration(releases[0].digest)
    if fleet.control:
        say("deploying the control plane, and making keys for the customers")
        watch(around, begin_up(around, fleet.control.name, releases[0].version), "done")
    customers = Customers(around.project, around.environment, commands, folder)
    customers.prepare()
    customers.begin()
    rollouts = []
    try:
        for release in releases:
            say(f"\nrolling out {release.version}")
            rollouts.append(watch(around, begin(around, release.version), EXPECTED[release.version]))
    finally:
        say("\nletting the traffic end")
        customers.end()
    say("reading every accepted event back, trying to read others', looking for orphans")
    summary = examine(around, rollouts, customers)
    return summary, in_words(rollouts, summary)


def watch(around: Surroundings, name: str, expected: str) -> RolloutStory:
    """Follow a rollout to its end; CellwaveError when it is another than the one that is expected."""
    follow(around, name)
    came = story(around, name)
    if came.outcome != expected:
        raise CellwaveError(f"{name} is {came.status}, not {expected}", hint="see above")
    return came


def examine(around: Surroundings, rollouts: list[RolloutStory], customers: Customers) -> dict[str, Any]:
    """Count what was lost, read by others, or orphaned."""
    from cellwave.demo.report import rollout_report
    from cellwave.sandbox import server
    from cellwave.sandbox.orphans import orphans, read_states

    fleet, _ = around.configuration(rollouts[0].release)
    verified, crossed = customers.verify(), customers.cross()
    if not (verified.accepted and crossed.own):
        raise CellwaveError("the customers' traffic got nothing accepted, or nothing back: nothing is proven")
    with around.exported():
        left = orphans(fleet, read_states(server.state_folder(around.project)))
    return {
        "rollouts": [rollout_report(rollout) for rollout in rollouts],
        "cells": len(fleet.cells),
        "deployments": sum(found.attempts for found in stories(around)),  # the control plane's too
        "events_accepted": verified.accepted,
        "events_lost": verified.lost,
        "cross_tenant_reads": crossed.reads + verified.misplaced,
        "orphans": len(left),
    }
