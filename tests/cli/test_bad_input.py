"""Bad input: says where, what was found and what would be right; exits with 2; changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cellwave.cli.main import COMMANDS, load, products
from cellwave.project import Project
from cellwave.rollout.model import first_state
from cellwave.rollout.presence import lock_of, stop_worker, take_lock
from cellwave.rollout.records import Records
from tests.cli.conftest import Run
from tests.rollout.plans import plan

FILES = [
    ("cells/us.yaml", "residency:", "residence:", "cells/us.yaml:3", "residence"),
    ("cells/us.yaml", "weight: 20", "weight: heavy", "cells/us.yaml:5", "heavy"),
    ("cells/us.yaml", '"200000000003"', '"20000000003"', "cells/us.yaml:5", "20000000003"),
    (
        "cells/us.yaml",
        'us-east-1, account: "200000000004", aws_region: us-east-1',
        'us-east-1, account: "200000000003", aws_region: us-west-2',
        "cells/us.yaml:6",
        "200000000003",
    ),
    ("cells/us.yaml", "cells:", "cells: [", "cells/us.yaml", ""),
    ("waves.yaml", "cells: [ap-south-1]", "cells: [ap-south-9]", "waves.yaml", "ap-south-9"),
    ("waves.yaml", "cells: [ap-south-1]", "cells: []", "waves.yaml", ""),
    ("waves.yaml", "cells: [eu-west-1]", "cells: [eu-west-1, ap-south-1]", "waves.yaml", "ap-south-1"),
    ("waves.yaml", "regions: [us, jp]", "regions: [us]", "waves.yaml", "ap-northeast-1"),
    ("waves.yaml", "concurrency: 2", "concurrency: !!python/object/apply:os.system ['id']", "waves.yaml:2", ""),
    ("waves.yaml", "seconds: 10", "seconds: -10", "waves.yaml", "-10"),
]  # fmt: skip


@pytest.mark.parametrize("case", FILES, ids=lambda case: f"{case[0]}: {case[2]}")
def test_a_mistake_in_a_file_is_named_by_line(
    project: Path, run: Run, case: tuple[str, str, str, str, str]
) -> None:
    """The error names file and line, what was found and what would be right; the exit code is 2."""
    file, old, new, where, found = case
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new, 1))
    ran = run("plan")
    assert ran.code == 2
    assert where in ran.err
    assert found in ran.err
    assert "right would be" in ran.err
    assert not ran.out


def test_a_file_that_is_no_text_is_named(project: Path, run: Run) -> None:
    """A file in another encoding is refused by name and place."""
    (project / "cells" / "us.yaml").write_bytes(b"region: \xff\xfe")
    ran = run("plan")
    assert (ran.code, "cells/us.yaml:byte 9" in ran.err) == (2, True)


def test_a_needs_cycle_is_named_edge_by_edge(project: Path, run: Run) -> None:
    """ingest needs query needs ingest: both edges are in the error."""
    fleet = project / "cells" / "fleet.yaml"
    text = fleet.read_text()
    before, query = text.split("  query:\n", 1)
    directory, ingest = before.split("  ingest:\n", 1)
    ingest, query = ingest.replace("[storage]", "[query]"), query.replace("[storage]", "[ingest]", 1)
    fleet.write_text(f"{directory}  ingest:\n{ingest}  query:\n{query}")
    ran = run("plan")
    assert ran.code == 2
    assert "ingest needs query" in ran.err
    assert "query needs ingest" in ran.err


def test_an_unknown_release_lists_the_known_ones(run: Run) -> None:
    """A wrong name is answered with the right ones."""
    assert run("release", "build", "--version", "v1").code == 0
    ran = run("rollout", "start", "v9")
    assert (ran.code, "v1" in ran.err) == (2, True)


def test_a_held_release_is_not_started(project: Path, run: Run) -> None:
    """A release that was rolled back stays held until a person says otherwise."""
    from cellwave.releases.open import open_store

    run("release", "build", "--version", "v2")
    store = open_store(Project(project))
    store.hold(store.get("v2").digest, "5xx in ap-south-1", "v2-1")
    ran = run("rollout", "start", "v2")
    assert ran.code == 2
    assert "5xx in ap-south-1" in ran.err
    planned = run("plan", "v2")
    assert (planned.code, "v2 is held by v2-1, and not started: 5xx in ap-south-1" in planned.err) == (
        0,
        True,
    )
    assert json.loads(run("plan", "v2", "--json").out)["held"] == "5xx in ap-south-1"
    assert run("rollout", "list", "--json").out.strip() == "[]"


def test_nobody_has_a_cell_that_there_is_not(run: Run) -> None:
    """A misspelt name is not free."""
    ran = run("lease", "us-wst-2")
    assert ran.code == 2
    assert "did you mean 'us-west-2'?" in ran.err


def test_leased_cells_are_refused_with_the_owners_name(project: Path, run: Run) -> None:
    """Two rollouts never work on one cell; the second changes nothing."""
    run("release", "build", "--version", "v1")
    database = Records(Project(project).database_url)
    state = first_state("v0-1", plan([["eu-west-1"]]))
    database.create_rollout(state, "bob", "file:///elsewhere", time.time())
    ran = run("rollout", "start", "v1")
    assert ran.code == 2
    assert "eu-west-1 by v0-1" in ran.err
    assert [r.id for r in database.rollouts()] == ["v0-1"]
    assert set(database.leases()) == {"eu-west-1"}


def test_a_newer_cellwaves_database_is_named_with_its_revision(project: Path, run: Run) -> None:
    """Whatever is asked for: nothing is read from it, and nothing written."""
    Project(project).make_home()
    with Records(Project(project).database_url).engine.begin() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
    for command in (("rollout", "list"), ("journal", "verify")):
        ran = run(*command)
        assert ran.code == 2
        assert "it has revision 0999" in ran.err


@pytest.mark.parametrize("command", [("rollout", "start", "v1"), ("up", "us-west-2")])
def test_a_state_backend_that_is_not_there_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Nothing is recorded when the engine could keep no state."""
    run("release", "build", "--version", "v1")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///nowhere/at/all")
    ran = run(*command)
    assert ran.code == 2
    assert "/nowhere/at/all" in ran.err


@pytest.mark.engine
def test_a_backend_that_lets_nobody_in_is_for_a_person(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing of what was to be deployed: it is tried again, then asked about; nothing is taken away."""
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://nowhere.invalid")
    argv = [sys.executable, "-m", "cellwave.cli.start", "up", "us-west-2"]
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    finally:
        stop_worker(Project(project))
    assert ran.returncode == 4, ran.stderr
    assert ran.stderr.count("the state backend can't be used") == 1
    assert "cellwave rollout resume up-us-west-2-1" in ran.stderr
    assert "away" not in ran.stdout


def test_without_backend_or_sandbox_a_command_says_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out is in the error."""
    monkeypatch.delenv("PULUMI_BACKEND_URL")
    ran = run("up", "us-west-2")
    assert ran.code == 2
    assert "cellwave sandbox up" in ran.err


def test_without_an_engine_nothing_starts(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Pulumi on the machine: said at once, before anything is recorded."""
    run("release", "build", "--version", "v1")
    (project / ".cellwave" / "bin").unlink()
    monkeypatch.setenv("PATH", "/nonexistent")
    for command in (("rollout", "start", "v1"), ("up", "us-west-2")):
        ran = run(*command)
        assert ran.code == 2, ran.err
        assert "engine" in ran.err.lower()
    assert run("rollout", "list", "--json").out.strip() == "[]"


def test_a_full_disk_is_noticed_before_anything_starts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little free space: the figures are named, nothing is recorded."""
    run("release", "build", "--version", "v1")
    monkeypatch.setattr("shutil.disk_usage", lambda _: (10**9, 10**9, 10**6))
    ran = run("rollout", "start", "v1")
    assert ran.code == 2
    assert "MiB" in ran.err
    assert run("rollout", "list", "--json").out.strip() == "[]"


def test_outside_a_project_a_command_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without waves.yaml and cells/ is no project."""
    monkeypatch.chdir(tmp_path)
    ran = run("plan")
    assert (ran.code, "waves.yaml" in ran.err) == (2, True)


def test_a_command_for_an_ended_or_unknown_rollout_is_refused(run: Run) -> None:
    """There is nothing to approve, and the error says what there is."""
    assert run("rollout", "approve").code == 2
    assert run("rollout", "status", "v7-1").code == 2


def test_one_worker_only(project: Path, run: Run) -> None:
    """A second worker leaves at once and says which one runs."""
    Project(project).make_home()
    lock = take_lock(lock_of(Project(project), os.environ["PULUMI_BACKEND_URL"]))
    assert lock is not None
    ran = run("worker")
    assert ran.code == 0
    assert "runs already" in ran.err
    lock.close()


def test_every_command_has_help_with_an_example(run: Run) -> None:
    """`--help` of each command shows how it is used."""

    def commands(command: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        if hasattr(command, "commands"):
            return [found for name, sub in command.commands.items() for found in commands(sub, (*path, name))]
        return [path]

    everything = [*COMMANDS, *products().names]
    paths = [path for name in everything for path in commands(load(name), (name,))]
    assert len(paths) > 15
    for path in paths:
        assert "Example" in run(*path, "--help").out, path


@pytest.mark.parametrize(
    "name",
    [
        "cells/jp.yml",
        "cells/JP.YAML",
        "cells/jp.Yml",
        "cells/jp.yaml.txt",
        "cells/jp.yaml ",
        "cells/asia/jp.yaml",
        "cells/jp.json",
        "cells/jp.toml",
        "waves.yml",
        "Waves.YAML",
        "Waves.yaml",
        "waves.json",
        "waves.yaml.txt",
    ],
)
def test_a_file_that_nobody_would_read_is_refused(project: Path, run: Run, name: str) -> None:
    """A region that was written is never passed over in silence for its file's name or folder."""
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("region: jp2\n")
    ran = run("plan")
    assert (ran.code, name in ran.err, ".yaml" in ran.err) == (2, True, True)


def test_a_hidden_file_is_an_editors(project: Path, run: Run) -> None:
    """It is passed over, whatever is in it."""
    (project / "cells" / ".jp.yaml").write_text("unknown: 1\n")
    (project / "cells" / ".idea").mkdir()
    (project / "cells" / ".idea" / "jp.yml").write_text("unknown: 1\n")
    ran = run("plan")
    assert ran.code == 0, ran.err


def test_a_cell_that_is_not_there_freezes_nothing(project: Path, run: Run) -> None:
    """`up` looks at the name before it makes a release of the working tree."""
    ran = run("up", "us-wst-2")
    assert (ran.code, "did you mean 'us-west-2'?" in ran.err) == (2, True), ran.err
    assert json.loads(run("release", "list", "--json").out) == []
    assert project.exists()
