"""`cellwave isolation check`: what is deployed, by the rules."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cellwave.deploy.port import Deployer, Job, Progress, Result
from cellwave.fleet.model import Isolation
from cellwave.isolation.model import Finding
from cellwave.project import Project
from tests.cli.conftest import Run
from tests.isolation.graph import let_in

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:hush"}


def put_there(project: Path, stack: str, *resources: tuple[str, dict[str, Any]]) -> None:
    """Leave a stack with these resources of us-west-2 in the state backend."""
    root, kind = project.parent / "state" / ".pulumi", "pulumi:providers:aws"
    given = {"region": "us-west-2", "allowedAccountIds": '["200000000003"]'}
    states: list[dict[str, Any]] = [
        {"urn": f"urn::{stack}::{kind}::cell", "type": kind, "custom": True, "inputs": given}
    ]
    for typ, inputs in resources:
        urn, provider = f"urn::{stack}::{typ}::one", f"urn::{stack}::{kind}::cell::1"
        states.append({"urn": urn, "type": typ, "custom": True, "inputs": inputs, "provider": provider})
    file = root / "stacks" / "audit" / f"{stack}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": states}}}))
    (root / "meta.yaml").write_text("version: 1\n")


def test_what_is_found_is_told_and_ends_with_1(project: Path, run: Run) -> None:
    """Rule, stack, resource, what was found and what would be right; no secret."""
    key = {"policy": let_in("*"), "description": SECRET}
    put_there(project, "us-west-2.query", ("aws:kms/key:Key", key))
    put_there(project, "us-west-2.storage", ("aws:s3/bucket:Bucket", {"bucket": "b"}))
    ran = run("isolation", "check", "us-west-2", "--json")
    told = {stack["stack"]: stack for stack in json.loads(ran.out)}
    assert ran.code == 1
    (finding,) = told["us-west-2.query"]["findings"]
    assert (finding["rule"], finding["resource"]) == ("principal", "aws:kms/key:Key one")
    assert "lets anyone in" in finding["found"]
    assert "200000000003" in finding["right"]
    clean = {"stack": "us-west-2.storage", "deployed": True, "findings": [], "trouble": ""}
    assert told["us-west-2.storage"] == clean
    assert not told["us-west-2.ingest"]["deployed"]
    shown = run("isolation", "check")
    assert shown.code == 1
    assert "2 stacks looked at, 1 finding" in shown.out
    assert "hush" not in ran.out + shown.out


def test_where_nothing_is_found_it_ends_with_0(project: Path, run: Run) -> None:
    """It says how much was looked at."""
    put_there(project, "us-west-2.storage", ("aws:s3/bucket:Bucket", {"bucket": "b"}))
    ran = run("isolation", "check", "us-west-2.storage")
    assert (ran.code, ran.out.splitlines()) == (0, ["1 stack looked at, nothing found"])


def test_bad_input_ends_with_2(project: Path, run: Run) -> None:
    """A name of nothing, a state that can't be read, and an allowance that is none, by file and line."""
    ran = run("isolation", "check", "us-wst-2")
    assert (ran.code, "did you mean 'us-west-2'?" in ran.err) == (2, True)
    put_there(project, "us-west-2.storage")
    (project.parent / "state/.pulumi/stacks/audit/us-west-2.storage.json").write_text("{")
    ran = run("isolation", "check", "us-west-2")
    assert (ran.code, "the state of us-west-2.storage can't be read" in ran.err) == (2, True)
    file = project / "cells" / "fleet.yaml"
    file.write_text(file.read_text().replace('expires: "2029-12-31"', 'expires: "soon"', 1))
    ran = run("isolation", "check")
    assert ran.code == 2
    assert re.search(
        r"cells/fleet.yaml:[0-9]+: control.services.control.isolation.*expires is 'soon'", ran.err
    )


class Previewing(Deployer):
    """Tells what a test says of each stack, and keeps what it was told."""

    told: ClassVar[dict[str, Job]] = {}
    results: ClassVar[dict[str, Result]] = {}

    def __init__(self, project: Project, environment: Mapping[str, str]) -> None:
        """See PulumiDeployer."""

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """See Deployer."""
        self.told[job.stack] = job
        return self.results[job.stack]

    def close(self) -> None:
        """See PulumiDeployer."""


def test_a_preview_tells_what_the_working_tree_would_make(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same rules as an update, of what is there; what it could not tell is no good news."""
    monkeypatch.setattr("cellwave.deploy.pulumi.PulumiDeployer", Previewing)
    found = Finding(rule="egress", resource="r", what="w", found="calls out", right="none")
    Previewing.results = {
        "us-west-2.storage": Result(outcome="succeeded"),
        "us-west-2.query": Result(outcome="refused", findings=(found,), reason=found.words),
        "us-west-2.ingest": Result(outcome="refused", reason="it would delete data"),
    }
    for stack in Previewing.results:
        put_there(project, stack)
    ran = run("isolation", "check", "us-west-2", "--preview", "--json")
    told = {stack["stack"]: stack for stack in json.loads(ran.out)}
    assert ran.code == 1
    assert [name for name, stack in told.items() if stack["findings"]] == ["us-west-2.query"]
    not_there = [name for name, stack in told.items() if not stack["deployed"]]
    assert not_there == ["us-west-2.directory", "us-west-2.router"]
    job = Previewing.told["us-west-2.storage"]
    assert (job.operation, job.isolation) == ("preview", Isolation(strict=True))
    assert run("isolation", "check", "us-west-2.ingest", "--preview").code == 0
    Previewing.results["us-west-2.ingest"] = Result(outcome="failed", reason="no network", fault="network")
    ran = run("isolation", "check", "us-west-2.ingest", "--preview")
    assert (ran.code, "could not be previewed: no network" in ran.out) == (1, True)
    assert run("isolation", "check", "--release", "v1").code == 2
