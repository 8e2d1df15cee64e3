"""Two versions of one content are one release: whatever is said of one is said of both."""

from __future__ import annotations

import json
from pathlib import Path

from cellwave.cli.context import here
from cellwave.rollout.records import StackRow
from tests.cli.conftest import Run


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
    cells = {c["cell"]: c["services"] for c in json.loads(run("cells", "--json").out)}
    assert cells["us-west-2"]["storage"] == "v1 = v1b (held)"
    started = run("rollout", "start", "v1b")
    assert (started.code, "as v1 is: the same content" in started.err) == (2, True), started.err
    assert "v1b: the same content" in run("release", "unhold", "v1").out
    [line] = [e.text for e in context.records.journal() if e.kind == "unheld"]
    assert line == f"{digest}: v1, v1b"
