"""What a team shares: PostgreSQL for rollouts, S3 for releases and for the engine's state. Each person has a home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from cellwave.project import Project
from cellwave.rollout.presence import stop_worker
from cellwave.sandbox import server
from tests.postgres.server import Server
from tests.story.conftest import ROOT, Story
from tests.story.test_other_service import FILES, edit, greeting

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Team:
    """Two checkouts of one project, each with a home of its own, and the sandbox that plays AWS for both."""

    ann: Story
    bob: Story
    aws: Story

    def greetings(self) -> set[str]:
        """What the service says, read from outside."""
        return {greeting(self.aws, cell) for cell in ("one", "two")}


@pytest.fixture
def team(tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    """Ann and Bob, who share a database, the releases and the state backend, and nothing else."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "PULUMI_", "CELLWAVE_"))]:
        monkeypatch.delenv(name)
    aws = Project(checkout(tmp_path / "aws"))
    people = []
    with postgres.database() as url:
        server.up(aws, print)
        try:
            shared = {**account(aws), "CELLWAVE_DATABASE_URL": url}
            for name in ("ann", "bob"):
                project = Project(checkout(tmp_path / name))
                own = {"PULUMI_HOME": str(project.home / "pulumi"), "CELLWAVE_ACTOR": name}
                people.append(Story(project, {**os.environ, **shared, **own}))
            ann, bob = people
            yield Team(ann, bob, aws=Story(aws, {}))
        finally:
            for person in people:
                stop_worker(person.project)
            server.down(aws)


def checkout(root: Path) -> Path:
    """The project's files in a folder."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ".cellwave").mkdir()
    (root / ".cellwave" / "bin").symlink_to(ROOT / ".cellwave" / "bin")
    return root


def account(aws: Project) -> dict[str, str]:
    """The variables of whoever works in that account as one would in a real one, with its buckets made."""
    given = server.environment(aws)
    endpoint = given["AWS_ENDPOINT_URL"]
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=given["AWS_REGION"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )
    for bucket in ("releases", "state"):
        client.create_bucket(Bucket=bucket)
    host = endpoint.removeprefix("http://")
    return {
        **{name: value for name, value in given.items() if name != "CELLWAVE_SANDBOX"},
        "PULUMI_BACKEND_URL": f"s3://state?endpoint={host}&disableSSL=true&s3ForcePathStyle=true&region=us-east-1",
        "CELLWAVE_RELEASES": "s3://releases/hello",
    }


def test_what_one_person_began_another_sees_decides_and_takes_back(team: Team) -> None:
    """From a home that has never seen the release, over a database that a worker of another home writes."""
    ann, bob = team.ann, team.bob
    ann.run("release", "build", "--version", "v1")
    ann.run("rollout", "start", "v1")
    assert [row["status"] for row in bob.json("rollout", "list")] == ["done"]
    assert {row["cell"]: row["services"] for row in bob.json("cells")} == {
        "one": {"hello": "v1"},
        "two": {"hello": "v1"},
    }

    edit(ann.project.root / "waves.yaml", "cells: [two]", "cells: [two], approve: true")
    edit(ann.project.root / "hello" / "__main__.py", '"hello"', '"good day"')
    ann.run("release", "build", "--version", "v2")
    ann.run("rollout", "start", "v2", code=4)
    stop_worker(ann.project)  # one home's at a time
    assert bob.json("rollout", "status")["status"] == "waiting"
    bob.run("rollout", "approve", "-m", "fine")
    bob.run("rollout", "watch", "v2-1")
    assert team.greetings() == {"good day"}

    assert "removed: " in bob.run("gc", "--keep", "1")
    bob.run("rollout", "rollback", "v2-1", "-m", "too formal", code=3)
    assert team.greetings() == {"hello"}
    status = ann.json("fleet", "status")
    assert {(s["expected"]["name"], s["observed"]["name"], s["drift"]) for s in status} == {("v1", "v1", "")}
    assert "held" in ann.run("release", "list")
    entries = ann.json("journal", "verify")
    assert entries["faults"] == []
