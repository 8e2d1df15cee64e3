"""What a team shares: PostgreSQL for rollouts, S3 for releases and for the engine's state. Each person has a home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from cellwave.deploy.attempt import attempts_in
from cellwave.project import Project
from cellwave.sandbox import server
from tests.keeping import kept
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
    aws, ann, bob = (Project(checkout(tmp_path / name)) for name in ("aws", "ann", "bob"))
    with postgres.database() as url, kept(aws, ann, bob):
        server.up(aws, print)
        shared = {**os.environ, **account(aws), "CELLWAVE_DATABASE_URL": url}
        people = []
        for project in (ann, bob):
            name = project.root.name
            own = {"PULUMI_HOME": str(project.home / "pulumi"), "CELLWAVE_ACTOR": name, "CELLWAVE_HOST": name}
            people.append(Story(project, {**shared, **own}))
        yield Team(people[0], people[1], aws=Story(aws, {}))


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


@contextmanager
def working(people: Sequence[Story]) -> Iterator[dict[Path, subprocess.Popen[bytes]]]:
    """Each person's own worker, as two hosts have one; by home."""
    argv = [sys.executable, "-m", "cellwave.cli.main", "worker"]
    started: dict[Path, subprocess.Popen[bytes]] = {}
    try:
        for person in people:
            with (person.project.root / "worker.out").open("wb") as out:
                started[person.project.home] = subprocess.Popen(
                    argv, cwd=person.project.root, env=person.environment, stdout=out, stderr=out
                )
        yield started
    finally:
        for process in started.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(60)


def engines(home: Path) -> list[str]:
    """The attempts whose engine runs in a home."""
    return [name for name, attempt in attempts_in(home) if attempt.runs]


def locks(team: Team) -> list[str]:
    """The engine's locks in the shared state backend."""
    given = team.ann.environment
    client = boto3.client(
        "s3",
        endpoint_url=given["AWS_ENDPOINT_URL"],
        region_name=given["AWS_REGION"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )
    found = client.list_objects_v2(Bucket="state", Prefix=".pulumi/locks/").get("Contents", [])
    return [str(entry["Key"]) for entry in found]


def test_when_a_host_hangs_in_the_middle_of_a_deployment_another_one_brings_it_home(team: Team) -> None:
    """Its engine ends by itself before the other's begins; awake again, it deploys nothing more and leaves."""
    ann, bob = team.ann, team.bob
    ann.run("release", "build", "--version", "v1")
    slow = "import time\ntime.sleep(25 if not pulumi.runtime.is_dry_run() else 0)\n"
    with working([ann, bob]) as workers:
        ann.run("rollout", "start", "v1")
        edit(ann.project.root / "hello" / "__main__.py", "cell, _ =", f"{slow}cell, _ =")
        edit(ann.project.root / "hello" / "__main__.py", '"hello"', '"good day"')
        ann.run("release", "build", "--version", "v2")
        ann.run("rollout", "start", "v2", "--detach")
        until(lambda: any(engines(home) for home in workers))
        [frozen] = [home for home in workers if engines(home)]
        hung = workers[frozen]
        hung.send_signal(signal.SIGSTOP)
        other = bob if frozen == ann.project.home else ann
        until(lambda: not engines(frozen))
        assert not engines(other.project.home), "nobody begins while it may still run"
        other.run("rollout", "watch", "v2-1")
        assert team.greetings() == {"good day"}
        assert locks(team) == []
        attempts = [name for name, _ in attempts_in(frozen)]
        hung.send_signal(signal.SIGCONT)
        assert hung.wait(60) is not None
        assert [name for name, _ in attempts_in(frozen)] == attempts
        assert other.json("journal", "verify")["faults"] == []


def until(holds: Callable[[], object], seconds: float = 240.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
