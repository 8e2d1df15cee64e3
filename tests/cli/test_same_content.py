"""Two versions of one content are one release: whatever is said of one is said of both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellwave.cli.here import here
from cellwave.releases.build import build_release
from cellwave.rollout.model import first_state
from cellwave.rollout.records import StackRow
from cellwave.usecases.plans import plan_for
from cellwave.usecases.rollouts import begin_again
from tests.cli.conftest import Run
from tests.rollout.states import record, with_head


def test_what_is_said_of_one_version_names_the_other(project: Path, run: Run) -> None:
    """The list, the cells, the refusal of a start, and the journal's line when the hold is taken away."""
    assert project.exists()
    for version in ("v1", "v1b"):
        assert run("release", "build", "--version", version).code == 0
    context = here()
    digest = context.store.get("v1").digest
    context.store.hold(digest, "it lost events", "v1-1")
    context.records.set_stack(StackRow("us-west-2.storage", context.target, digest, {}, 1.0))

    known = {
        r["version"]: (r["same_as"], r["held"]) for r in json.loads(run("release", "list", "--json").out)
    }
    assert known == {"v1": (["v1b"], "it lost events"), "v1b": (["v1"], "it lost events")}
    tree = build_release(context.project, None).version  # as `up` does: it is named, but nobody calls it so
    cells = {c["cell"]: c["services"] for c in json.loads(run("cells", "--json").out)}
    assert cells["us-west-2"]["storage"] == "v1 = v1b (held)"
    started = run("rollout", "start", "v1b")
    assert (started.code, f"as v1, {tree} is: the same content" in started.err) == (2, True), started.err
    assert f"v1b, {tree}: the same content" in run("release", "unhold", "v1").out
    [line] = [e.text for e in context.records.journal() if e.kind == "unheld"]
    assert line == f"{digest}: v1, v1b, {tree}"


def test_what_is_gone_on_with_keeps_its_name(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollout of v1 is continued as v1, whatever else the same content is called."""
    assert project.exists()
    for version in ("v1", "v1b"):
        assert run("release", "build", "--version", version).code == 0
    begun: list[str] = []
    monkeypatch.setattr("cellwave.usecases.rollouts.begin", lambda _, wanted, *__: begun.append(wanted))
    context = here()
    made = plan_for(context, context.store.get("v1"))
    record(context.records, with_head(first_state("v1-1", made), outcome="failed", turn=1), context.target)
    begin_again(context, "v1-1")
    assert begun == ["v1"]
