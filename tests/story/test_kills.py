"""kill -9 of whoever has a part in a rollout, at every moment that has a name, on the real engine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.releases.open import open_store
from cellwave.rollout.journal import faults
from cellwave.sandbox import server
from cellwave.sandbox.orphans import orphans, read_states
from cellwave.toolchain.engine import require_engine
from cellwave.usecases.surroundings import Surroundings
from tests.keeping import kept
from tests.story.conftest import ROOT, Story
from tests.story.test_other_service import CELLS, FILES

pytestmark = pytest.mark.engine

PATIENCE = 300  # seconds in which a rollout ends on the busiest machine
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

    def release(self, version: str, *, broken: bool = False) -> str:
        """Build a release whose greeting is its version; its digest."""
        program = PROGRAM.replace('"first", False', f'"{version}", {broken}')
        (self.story.project.root / "hello" / "__main__.py").write_text(program)
        return build_release(self.story.project, version).digest

    @contextlib.contextmanager
    def command(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """`cellwave rollout` at work; it and whoever halts are let go at the end."""
        argv = [sys.executable, "-m", "cellwave.cli.main", "rollout", *arguments]
        story, out = self.story, subprocess.PIPE
        with subprocess.Popen(
            argv, cwd=story.project.root, env=story.environment, stdout=out, stderr=out, text=True
        ) as process:
            try:
                yield process
            finally:
                self.halt_at("")
                process.kill()

    def halt_at(self, moment: str) -> None:
        """Let whoever halts go on, and whoever comes by this moment first halt there ("": nobody)."""
        (self.halts / "at").write_text(moment)
        for done in ("waits", "halted"):
            (self.halts / done).unlink(missing_ok=True)

    def end(self, process: subprocess.Popen[str], name: str) -> tuple[int, str]:
        """How a command ended that follows a rollout, and what it said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            said = process.communicate(timeout=PATIENCE)
            return process.returncode, "".join(said)
        untold = [asked.key for asked in self.story.records.unfinished_effects(self.target)]
        last = [f"{entry.kind} {entry.text}" for entry in self.story.records.journal(name)][-3:]
        pytest.fail(f"{name} has not ended after {PATIENCE} s: {untold} is not told, and {last} was last")

    @property
    def target(self) -> str:
        """The state backend."""
        return Surroundings(self.story.project).target

    @property
    def runs(self) -> tuple[str | None, bool]:
        """The digest of the release that is recorded as last proven, and whether it is known to run now."""
        row = self.story.records.stacks(self.target)["one.hello"]
        return row.release, row.known

    def is_held(self, digest: str) -> bool:
        """Whether a release is held."""
        return open_store(self.story.project).held(digest) is not None

    def engines(self, rollout: str) -> list[dict[str, Any]]:
        """What was witnessed of the engines of a rollout ("": of all)."""
        lines = self.witnessed.read_text().splitlines()
        return [engine for line in lines if (engine := json.loads(line))["attempt"].startswith(rollout)]

    def side_by_side(self) -> list[str]:
        """The engines that began while others ran on their stack, in words."""
        return [
            f"{one['does']} of {one['attempt']} beside {[(b['does'], b['attempt']) for b in one['beside']]}"
            for one in self.engines("")
            if one["beside"]
        ]

    def updates(self, rollout: str) -> list[str]:
        """The attempts of a rollout, each as often as an engine updated a stack for it."""
        return [engine["attempt"] for engine in self.engines(rollout) if engine["does"] == "up"]

    def greeting(self) -> tuple[str, int]:
        """What the service says, and how often it was told to say something; read from outside."""
        account, aws_region = CELLS["one"]
        session = boto3.Session(account, os.environ["AWS_SECRET_ACCESS_KEY"], region_name=aws_region)
        told = session.client("ssm").get_parameter(Name="/one/greeting")["Parameter"]
        return str(told["Value"]), int(told["Version"])

    def at_work(self) -> dict[int, psutil.Process]:
        """The processes that have the lock of any attempt open, and every engine that was witnessed and lives.

        The system is asked: cellwave may be mistaken, and an engine may have been begun without the lock.
        """
        locks = (self.story.project.home.resolve() / "deploy").as_posix() + "/"
        found = {}
        for engine in self.engines(""):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(engine["pid"])
                if engine["attempt"] and process.environ().get("CELLWAVE_ATTEMPT") == engine["attempt"]:
                    found[process.pid] = process
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(f.path.startswith(locks) and f.path.endswith("/lock") for f in process.open_files()):
                    found[process.pid] = process
        return found

    def workers(self) -> list[psutil.Process]:
        """The project's workers; likewise."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_worker = process.cmdline()[2:4] == ["cellwave.cli.main", "worker"]
                if is_worker and process.cwd() == str(self.story.project.root.resolve()):
                    found.append(process)
        return found

    def parts(self) -> dict[str, set[int]]:
        """The processes that run now, by what they are."""
        [worker] = self.workers()
        warm = {p.pid for p in worker.children() if "cellwave.deploy.forks" in p.cmdline()}
        held = self.at_work()
        engines = {pid for pid, process in held.items() if process.name() == "pulumi"}
        attempt = held.keys() - warm - {worker.pid}
        ours = attempt - engines
        drivers = {pid for pid in ours if held[pid].ppid() not in ours}
        sandbox = {part.name: {part.pid} for part in server.status(self.story.project)}
        return {
            "worker": {worker.pid}, "warm process": warm, "driver": drivers, "engine": engines, "attempt": attempt,
            "provider": sandbox["provider"], "worker and driver": {worker.pid} | drivers,
            "everything": {worker.pid} | warm | attempt,
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
        with kept(project):
            server.up(project, print)
            made = Ground(Story(project, {**os.environ, **own}), halts, witnessed)
            for name, value in server.environment(project).items():
                patch.setenv(name, value)
            made.release("v1")
            with made.command("start", "v1") as start:
                ended, said = made.end(start, "v1-1")
            assert ended == 0, said
            yield made


def kill(ground: Ground, who: str, moments: Sequence[str], version: str, code: int) -> str:
    """Roll a release out and kill at each moment; the rollout's name, when it has ended with that code."""
    name = f"{version}-1"
    ground.halt_at(moments[0])
    with ground.command("start", version) as start:
        for moment, following in pairwise([*moments, ""]):
            doomed = strike(ground, who, moment, start)
            ground.halt_at(following)
        ended, said = ground.end(start, name)
    if start.pid in doomed:
        recorded = ground.story.records.rollout(name) is not None
        with ground.command(*(("watch", name) if recorded else ("start", version))) as follow:
            ended, said = ground.end(follow, name)
    assert not ground.side_by_side()
    assert ended == code, said
    return name


def strike(ground: Ground, who: str, moment: str, start: subprocess.Popen[str]) -> set[int]:
    """Wait for the moment, kill, and see that the next worker waits for what was left; the killed."""
    story, halted, waits = ground.story, ground.halts / "halted", ground.halts / "waits"
    story.wait(moment, lambda: halted.exists() or start.poll() is not None, PATIENCE)
    assert halted.exists(), ("it ended before that moment", start.communicate())
    if moment.startswith(UNDER_WAY):
        assert not ground.runs[1], "what runs while an engine is at work is not known"
    parts = {**ground.parts(), "command line": {start.pid}}
    doomed = parts[who] | (parts["command line"] if who == "everything" else set())
    assert doomed, f"no {who} at that moment"
    for pid in sorted(doomed):  # who has seen a child of its own die would tell of it
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if who == "provider":
        # What was killed is there for a moment longer, and would be taken for what runs.
        story.wait(
            "its end",
            lambda: not any(p.alive for p in server.status(story.project) if p.pid in doomed),
            PATIENCE,
        )
        server.up(story.project, print)
    if parts["worker"] <= doomed and (left := parts["attempt"] - doomed):
        # One that nothing holds up may have ended before anybody could wait for it.
        story.wait(
            "the next worker, which waits for what was left",
            lambda: waits.exists() or ground.side_by_side() or not any(map(psutil.pid_exists, left)),
            PATIENCE,
        )
    return doomed


def assert_clean(ground: Ground, name: str, who: str, moments: str, *, updates: int) -> None:
    """Nothing runs, is locked, leased, pending, orphaned or untold, and nothing was told or tried twice."""
    story, home = ground.story, ground.story.project.home
    ran = ground.updates(name)
    assert len(set(ran)) == updates or who == "provider", "what is killed costs no attempt"
    if who in HARMLESS or moments.startswith("result"):
        assert len(ran) == updates, "no engine ended with it"
    assert not ground.at_work()
    assert len(ground.workers()) <= 1
    state = home / "sandbox" / "state"
    assert not list(state.glob(".pulumi/locks/**/*.json"))
    states = read_states(state)
    assert not [s for s in states.values() if s["checkpoint"]["latest"].get("pending_operations")]
    fleet, _ = Surroundings(story.project).configuration()
    assert not orphans(fleet, states)
    assert story.records.leases() == {}
    assert story.records.unplaced(ground.target) == []
    assert story.records.unfinished_effects(ground.target) == []
    assert not faults(story.records.journal())
    told = [(entry.kind, entry.subject, entry.text) for entry in story.records.journal(name)]
    assert len(told) == len(set(told))


ATTEMPT = "one.hello:forward:1"
BACK = "one.hello:back:1"
UNDER_WAY = ("driver", "engine", "in the middle", "result")
HARMLESS = ("worker", "command line", "warm process")
GOOD = [
    ("worker", f"begun check:*, asked {ATTEMPT}, handed over {ATTEMPT}, begun {ATTEMPT}"),
    ("worker", f"driver begins {ATTEMPT}"),
    ("worker", f"in the middle {ATTEMPT}"),
    ("worker", f"driver ends {ATTEMPT}"),
    ("worker", f"ended {ATTEMPT}, told {ATTEMPT}, begun {ATTEMPT}:prove"),
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
    ("worker and driver", f"in the middle {ATTEMPT}"),
    ("warm process", f"driver begins {ATTEMPT}"),
    ("provider", f"in the middle {ATTEMPT}"),
    ("everything", f"driver begins {ATTEMPT}"),
    ("everything", f"in the middle {ATTEMPT}"),
    ("everything", f"driver ends {ATTEMPT}"),
]
BAD = [
    ("worker", f"asked hold, ended hold, in the middle {BACK}"),
    ("driver", f"in the middle {BACK}"),
    ("everything", f"in the middle {BACK}"),
]


@pytest.mark.parametrize(("who", "moments"), GOOD)
def test_a_good_release_gets_there_once_whatever_is_killed(ground: Ground, who: str, moments: str) -> None:
    """It was told once to say what it says; and nothing of the rollout is left anywhere."""
    version, (_, told) = f"v{ground.story.records.head()[0]}", ground.greeting()
    digest = ground.release(version)
    name = kill(ground, who, moments.split(", "), version, 0)
    assert ground.greeting() == (version, told + 1)
    assert ground.runs == (digest, True)
    assert not ground.is_held(digest)
    assert_clean(ground, name, who, moments, updates=1)


@pytest.mark.parametrize(("who", "moments"), BAD)
def test_a_bad_release_goes_back_once_whatever_is_killed(ground: Ground, who: str, moments: str) -> None:
    """It was told once to say something else, and once what it said before; and it is held."""
    version, (says, told), runs = f"v{ground.story.records.head()[0]}", ground.greeting(), ground.runs
    digest = ground.release(version, broken=True)
    name = kill(ground, who, moments.split(", "), version, 3)
    assert ground.greeting() == (says, told + 2)
    assert ground.runs == runs
    assert ground.is_held(digest)
    assert_clean(ground, name, who, moments, updates=2)
