"""kill -9 of whoever has a part in a rollout, at every moment that has a name, on the real engine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from cellwave.deploy.attempt import Attempt, attempts_in
from cellwave.processes import holders
from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.rollout.journal import faults
from cellwave.rollout.presence import stop_worker
from cellwave.sandbox import server
from cellwave.sandbox.orphans import orphans, read_states
from cellwave.toolchain.engine import require_engine
from cellwave.usecases.surroundings import Surroundings
from tests.story.conftest import ROOT, Story
from tests.story.test_other_service import CELLS, FILES

pytestmark = pytest.mark.engine

PROGRAM = '''"""A greeting, and what proves it; where it is broken, it is so when the greeting is changed already."""
import os
import pulumi
import pulumi_aws as aws
from cellwave.cell.context import context
from sitecustomize import come_by

text, broken = "first", False

def when_changed(_):
    come_by("in the middle", os.environ["CELLWAVE_ATTEMPT"])
    if broken:
        raise RuntimeError("broken on purpose")

greeting = aws.ssm.Parameter("greeting", name="/one/greeting", type="String", value=text)
if not pulumi.runtime.is_dry_run():
    greeting.version.apply(when_changed)
digest = context().inputs
options = pulumi.ResourceOptions(depends_on=[greeting])
aws.ssm.Parameter("release", name="/one/release", type="String", value=digest, opts=options)
'''
ONE_CELL = {
    "hello/__main__.py": PROGRAM,
    "cells/fleet.yaml": FILES["cells/fleet.yaml"].replace(
        "program: hello", "program: hello, proof: {parameter: /one/release}"
    ),
    "cells/here.yaml": "".join(
        line for line in FILES["cells/here.yaml"].splitlines(True) if "two" not in line
    ),
    "waves.yaml": "waves:\n  - {name: only, cells: [one]}\n",
}
# In the engine's place: notes each run of it on a stack, and which others were alive on that stack in that moment.
# Then it becomes the engine. A process is told from a later one of its number by the ticks of its birth since boot.
WITNESS = """#!{python} -IS
import fcntl, json, os, sys

def born(pid):
    try:
        with open(f"/proc/{{pid}}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]

arguments = sys.argv[1:]
if "--stack" in arguments:
    me = {{"pid": os.getpid(), "born": born("self"), "attempt": os.environ.get("CELLWAVE_ATTEMPT", "")}}
    me |= {{"stack": arguments[arguments.index("--stack") + 1], "does": arguments[0]}}
    with open({log!r}, "a+") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        log.seek(0)
        before = [json.loads(line) for line in log]
        beside = [one for one in before if one["stack"] == me["stack"] and born(one["pid"]) == one["born"]]
        log.write(json.dumps({{**me, "beside": beside}}) + "\\n")
os.execv({engine!r}, [{engine!r}, *arguments])
"""


@dataclass(frozen=True)
class Ground:
    """A service in one cell, whose processes halt where a test wants it, and whose engines are witnessed."""

    story: Story
    halts: Path
    witnessed: Path

    def release(self, version: str, *, broken: bool = False) -> None:
        """Build a release whose greeting is its version."""
        program = PROGRAM.replace('"first", False', f'"{version}", {broken}')
        (self.story.project.root / "hello" / "__main__.py").write_text(program)
        build_release(self.story.project, version)

    def engines(self, rollout: str) -> list[dict[str, Any]]:
        """What was witnessed of the engines of a rollout ("": of all)."""
        lines = self.witnessed.read_text().splitlines()
        return [engine for line in lines if (engine := json.loads(line))["attempt"].startswith(rollout)]

    def side_by_side(self) -> list[dict[str, Any]]:
        """The engines that began while another one ran on their stack."""
        return [engine for engine in self.engines("") if engine["beside"]]

    def updates(self, rollout: str) -> list[str]:
        """The attempts of a rollout, each as often as an engine updated a stack for it."""
        return [engine["attempt"] for engine in self.engines(rollout) if engine["does"] == "up"]

    def greeting(self) -> tuple[str, int]:
        """What the service says, and how often it was told to say something; read from outside."""
        account, aws_region = CELLS["one"]
        session = boto3.Session(account, os.environ["AWS_SECRET_ACCESS_KEY"], region_name=aws_region)
        told = session.client("ssm").get_parameter(Name="/one/greeting")["Parameter"]
        return str(told["Value"]), int(told["Version"])

    def running(self) -> list[Attempt]:
        """The attempts of which a process lives."""
        return [attempt for _, attempt in attempts_in(self.story.project.home) if attempt.runs]

    def parts(self) -> dict[str, set[int]]:
        """The processes that run now, by what they are."""
        worker = self.story.pid_of_worker()
        assert worker
        warm = {p.pid for p in psutil.Process(worker).children() if "cellwave.deploy.warm" in p.cmdline()}
        held = {p.pid: p for attempt in self.running() for p in holders(attempt.lock_file)}
        engines = {pid for pid, process in held.items() if process.name() == "pulumi"}
        ours = held.keys() - engines - warm - {worker}
        drivers = {pid for pid in ours if held[pid].ppid() not in ours}
        sandbox = {part.name: {part.pid} for part in server.status(self.story.project)}
        everything = {worker} | warm | held.keys()
        return {
            "worker": {worker}, "warm process": warm, "driver": drivers, "engine": engines, "everything": everything,
            "provider": sandbox["provider"], "attempt": set(held) - warm - {worker},
        }  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The project, its sandbox up and a first release in its cell."""
    root = tmp_path_factory.mktemp("kills")
    for name, text in {**FILES, **ONE_CELL}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    project, halts, witnessed = Project(root), root / "halts", root / "engines"
    halts.mkdir()
    project.bin.mkdir(parents=True)
    witness = WITNESS.format(
        python=sys.executable, log=str(witnessed), engine=str(require_engine(Project(ROOT)).path)
    )
    (project.bin / "pulumi").write_text(witness)
    (project.bin / "pulumi").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("AWS_", "PULUMI_", "CELLWAVE_"))]:
            patch.delenv(name)
        patch.setenv("PATH", f"{project.bin}:{os.environ['PATH']}")
        own = {"CELLWAVE_HALTS": str(halts), "PYTHONPATH": str(Path(__file__).parent / "halting")}
        server.up(project, print)
        try:
            made = Ground(Story(project, {**os.environ, **own}), halts, witnessed)
            for name, value in server.environment(project).items():
                patch.setenv(name, value)
            made.release("v1")
            made.story.run("rollout", "start", "v1")
            yield made
        finally:
            (halts / "at").unlink(missing_ok=True)
            (halts / "halted").unlink(missing_ok=True)
            stop_worker(project)
            server.down(project)


def kill(ground: Ground, who: str, moment: str, version: str, code: int) -> str:
    """Roll a release out and kill at a moment; the rollout's name, when it has ended with that code."""
    story, halted, waits = ground.story, ground.halts / "halted", ground.halts / "waits"
    waits.unlink(missing_ok=True)
    (ground.halts / "at").write_text(moment)
    argv = [sys.executable, "-m", "cellwave.cli.main", "rollout", "start", version]
    with subprocess.Popen(
        argv, cwd=story.project.root, env=story.environment, stdout=subprocess.PIPE, text=True
    ) as start:
        story.wait(moment, halted.exists, 120)
        parts = {**ground.parts(), "command line": {start.pid}}
        doomed = parts[who] | (parts["command line"] if who == "everything" else set())
        assert doomed, f"no {who} at that moment"
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if who == "provider":
            server.up(story.project, print)
        if who == "worker" and parts["attempt"]:
            # One that nothing holds up may have ended before anybody could wait for it.
            story.wait(
                "the next one, which waits",
                lambda: (
                    waits.exists()
                    or ground.side_by_side()
                    or not any(map(psutil.pid_exists, parts["attempt"]))
                ),
            )
        halted.unlink()
        told, _ = start.communicate(timeout=300)
    if start.pid in doomed:
        if story.records.rollout(f"{version}-1"):
            story.run("rollout", "watch", f"{version}-1", code=code)
        else:
            story.run("rollout", "start", version, code=code)
    else:
        assert start.returncode == code, told
    return f"{version}-1"


def assert_clean(ground: Ground, name: str) -> None:
    """Nothing runs, is locked, leased, pending, orphaned or untold, and no two engines were on a stack at once."""
    story, home = ground.story, ground.story.project.home
    target = Surroundings(story.project).target
    assert ground.updates(name), "engines are witnessed"
    assert not ground.side_by_side()
    assert not ground.running()
    state = home / "sandbox" / "state"
    assert not list(state.glob(".pulumi/locks/**/*.json"))
    states = read_states(state)
    assert not [s for s in states.values() if s["checkpoint"]["latest"].get("pending_operations")]
    fleet, _ = Surroundings(story.project).configuration()
    assert not orphans(fleet, states)
    assert story.records.leases() == {}
    assert (story.records.unplaced(target), story.records.unfinished_effects(target)) == ([], [])
    assert not faults(story.records.journal())
    assert all(row.known for row in story.records.stacks(target).values())


ATTEMPT = "one.hello:forward:1"
BACK = "one.hello:back:1"
HARMLESS = ("worker", "command line", "warm process")  # no engine ends with these
GOOD = [
    ("worker", "begun check:*"),
    ("worker", f"asked {ATTEMPT}"),
    ("worker", f"handed over {ATTEMPT}"),
    ("worker", f"begun {ATTEMPT}"),
    ("worker", f"driver begins {ATTEMPT}"),
    ("worker", f"in the middle {ATTEMPT}"),
    ("worker", f"driver ends {ATTEMPT}"),
    ("worker", f"ended {ATTEMPT}"),
    ("worker", f"told {ATTEMPT}"),
    ("worker", f"begun {ATTEMPT}:prove"),
    ("command line", "recording "),
    ("command line", "recorded "),
    ("command line", f"in the middle {ATTEMPT}"),
    ("engine", f"engine starts {ATTEMPT}"),
    ("engine", f"in the middle {ATTEMPT}"),
    ("driver", f"driver begins {ATTEMPT}"),
    ("driver", f"engine starts {ATTEMPT}"),
    ("driver", f"in the middle {ATTEMPT}"),
    ("driver", f"driver ends {ATTEMPT}"),
    ("driver", f"result written {ATTEMPT}"),
    ("warm process", f"driver begins {ATTEMPT}"),
    ("warm process", f"in the middle {ATTEMPT}"),
    ("provider", f"in the middle {ATTEMPT}"),
    ("everything", f"driver begins {ATTEMPT}"),
    ("everything", f"in the middle {ATTEMPT}"),
    ("everything", f"driver ends {ATTEMPT}"),
]
BAD = [
    ("worker", "asked hold"),
    ("worker", "begun hold"),
    ("worker", f"in the middle {BACK}"),
    ("driver", f"in the middle {BACK}"),
    ("everything", f"in the middle {BACK}"),
]


@pytest.mark.parametrize(("who", "moment"), GOOD)
def test_a_good_release_gets_there_once_whatever_is_killed(ground: Ground, who: str, moment: str) -> None:
    """It was told once to say what it says; and nothing of the rollout is left anywhere."""
    version, (_, told) = f"v{ground.story.records.head()[0]}", ground.greeting()
    ground.release(version)
    name = kill(ground, who, moment, version, 0)
    assert ground.greeting() == (version, told + 1)
    if who in HARMLESS:
        assert len(ground.updates(name)) == 1
    assert_clean(ground, name)


@pytest.mark.parametrize(("who", "moment"), BAD)
def test_a_bad_release_goes_back_once_whatever_is_killed(ground: Ground, who: str, moment: str) -> None:
    """It was told once to say something else, and once what it said before."""
    version, (says, told) = f"v{ground.story.records.head()[0]}", ground.greeting()
    ground.release(version, broken=True)
    name = kill(ground, who, moment, version, 3)
    assert ground.greeting() == (says, told + 2)
    if who in HARMLESS:
        assert len(ground.updates(name)) == 2
    assert_clean(ground, name)
