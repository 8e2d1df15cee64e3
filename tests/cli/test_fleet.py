"""`cellwave fleet status` and `cellwave cells`: what is there against what was proven."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellwave.cli.here import here
from cellwave.rollout.records import StackRow
from tests.cli.conftest import Run

SECONDS = 1795598190  # of an update's end


def put_there(project: Path, stack: str, message: str, in_project: str = "audit") -> None:
    """Leave in the state backend what an update of a stack leaves."""
    root = project.parent / "state" / ".pulumi"
    update: Mapping[str, Any] = {
        "kind": "update",
        "message": message,
        "result": "succeeded",
        "endTime": SECONDS,
        "resourceChanges": {"create": 2},
    }
    latest = {"manifest": {"time": "2026-11-25T09:16:30.160523055Z"}, "resources": [{}, {}]}
    files: dict[str, Any] = {
        f"stacks/{in_project}/{stack}.json": {"version": 3, "checkpoint": {"latest": latest}},
        f"history/{in_project}/{stack}/{stack}-1795598190000000000.history.json": update,
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content))
    (root / "meta.yaml").write_text("version: 1\n")


@pytest.fixture
def drifted(project: Path, run: Run) -> Path:
    """v1 was proven on two stacks, one of which was changed by hand since; there is a stack of an old cell as well."""
    assert run("release", "build", "--version", "v1").code == 0
    around = here()
    digest = around.store.get("v1").digest
    for stack, message in (
        ("us-west-2.query", f"cellwave: release {digest}, attempt a"),
        ("us-west-2.ingest", "x"),
    ):
        around.records.set_stack(StackRow(stack, around.target, digest, {}, SECONDS - 10.0))
        put_there(project, stack, message)
    put_there(project, "old-cell.query", f"cellwave: release {digest}, attempt b")
    put_there(project, "shop.web", "another team's", in_project="shop")
    around.records.lease(["us-west-2"], "v2-1")
    return project


def statuses(run: Run) -> dict[str, tuple[str | None, str | None, str]]:
    """Expected, observed and drift by stack."""
    found = json.loads(run("fleet", "status", "--json").out)
    return {
        s["stack"]: (
            s["expected"] and s["expected"]["name"],
            s["observed"] and s["observed"]["name"],
            s["drift"],
        )
        for s in found
    }


def test_every_stack_says_what_was_proven_what_is_there_and_how_they_differ(drifted: Path, run: Run) -> None:
    """Those that are live and in no fleet any more too; another project's that share the backend are not ours."""
    assert drifted.exists()
    found = statuses(run)
    assert found["us-west-2.query"] == ("v1", "v1", "")
    assert found["us-west-2.ingest"] == ("v1", "worktree", "changed by hand since v1 was proven")
    assert found["us-west-2.storage"] == (None, None, "")
    assert found["old-cell.query"] == (
        None,
        "v1",
        "it is in no fleet any more; v1 was put there, and never proven",
    )
    assert "shop.web" not in found
    assert "control.control" in found


def test_what_was_tried_and_never_proven_is_drift(drifted: Path, run: Run) -> None:
    """A deployment is at work there, or came to no good end."""
    assert drifted.exists()
    around = here()
    row = around.records.stacks(around.target)["us-west-2.query"]
    around.records.set_stack(replace(row, known=False))
    assert statuses(run)["us-west-2.query"] == (
        "v1",
        "v1",
        "something was tried there that no proof has ended yet",
    )


def test_the_table_is_by_region_and_says_how_many_are_other_than_proven(drifted: Path, run: Run) -> None:
    """What is left over comes last."""
    assert drifted.exists()
    shown = run("fleet", "status").out
    order = [
        shown.index(name)
        for name in ("control plane", "eu-west-1", "us-west-2.ingest", "in no fleet any more")
    ]
    assert order == sorted(order)
    assert "changed by hand since v1 was proven" in shown
    assert "v2-1" in shown
    assert "32 stacks, 2 of them not as proven" in shown


def test_the_list_of_cells_shows_the_same_drift(drifted: Path, run: Run) -> None:
    """And nothing of it where there is none."""
    assert drifted.exists()
    cells = {cell["cell"]: cell for cell in json.loads(run("cells", "--json").out)}
    here = cells["us-west-2"]
    assert here["services"]["ingest"] == "v1"
    assert here["observed"] == {
        "storage": None,
        "directory": None,
        "ingest": "worktree",
        "router": None,
        "query": "v1",
    }
    assert here["observed_at"]["query"] == SECONDS
    assert here["drift"] == {"ingest": "changed by hand since v1 was proven"}
    assert (cells["old-cell"]["in_fleet"], cells["old-cell"]["account"]) == (False, None)
    assert run("cells").out.splitlines()[-2:] == [
        "us-west-2.ingest: changed by hand since v1 was proven",
        "old-cell.query: it is in no fleet any more; v1 was put there, and never proven",
    ]


def test_a_backend_that_cant_be_asked_is_said_and_what_is_recorded_still_shown(
    drifted: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 3 a.m. half an answer is better than none."""
    (drifted.parent / "state").rename(drifted.parent / "away")
    for command in ("cells", "fleet"):
        ran = run(command, *(["status"] if command == "fleet" else []))
        assert ran.code == 0
        assert "what really runs is not known: the state backend can't be reached" in ran.err
        assert "v1" in ran.out


def test_without_a_backend_that_is_said_once(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox is down, and the shell names no other."""
    assert project.exists()
    monkeypatch.delenv("PULUMI_BACKEND_URL")
    ran = run("fleet", "status")
    assert (ran.code, ran.err.count("is not known")) == (0, 1)
