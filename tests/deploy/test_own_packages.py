"""Programs with packages of their own, run by the engine with those and no others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from importlib.metadata import version
from pathlib import Path

import pytest

from cellwave.deploy.port import Deployer, Job
from cellwave.programs.environments import ensure_environment
from cellwave.programs.packages import LOCK, find_packages, renew_lock
from cellwave.programs.settings import project_of
from cellwave.project import find_project
from cellwave.releases.build import freeze
from cellwave.releases.store import write_folder
from cellwave.releases.verify import verify_release
from tests.deploy.test_other_programs import EAST, QUEUE, WEST, deploy, stand_in
from tests.deploy.worlds import RealWorld
from tests.toolchain.test_language_host import Shell

pytestmark = pytest.mark.engine

REQUIREMENTS = f"pulumi=={version('pulumi')}\npulumi-aws=={version('pulumi-aws')}\niniconfig\n"
PROGRAM = f"""{QUEUE}
import importlib.util, subprocess, sys, iniconfig
subprocess.run(["python", "-I", "-c", "import iniconfig"], check=True)
from cells import words
pulumi.export("prefix", sys.prefix)
pulumi.export("sees_cellwave", str(importlib.util.find_spec("scipy") is not None))
pulumi.export("words", words)
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program as `pulumi new aws-python` makes them, with its lock."""
    folder = tmp_path_factory.mktemp("own") / "app"
    folder.mkdir()
    runtime = "{name: python, options: {toolchain: pip, virtualenv: venv}}"
    (folder / "Pulumi.yaml").write_text(f"name: other\nruntime: {runtime}\n")
    (folder / "requirements.txt").write_text(REQUIREMENTS)
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / "cells.py").write_text("words = 'its own module'\n")
    for name in ("types.py", "platform.py", "uv.py", "runpy.py"):  # as tools may meet them too early
        (folder / name).write_text("raise SystemExit(f'{__name__} is not what was asked for')\n")
    packages = find_packages(folder, project_of(folder))
    assert packages
    renew_lock(packages)
    return folder


@pytest.fixture
def deployer(engine_world: RealWorld) -> Deployer:
    """The engine's."""
    return engine_world.deployer()


@pytest.mark.parametrize("where", [EAST, WEST])
def test_a_program_runs_with_the_packages_of_its_lock(
    deployer: Deployer, app: Path, where: tuple[str, str]
) -> None:
    """In its cell, by the Python of an environment that is made once, without anything of cellwave's.

    It is as in a shell where the environment is active; modules called like Python's own are not in the way.
    """
    result = deploy(deployer, app, f"own-{uuid.uuid4().hex[:8]}.app", where)
    assert result.outcome == "succeeded", result.reason
    home = find_project(Path(__file__)).home
    assert Path(result.outputs["prefix"]).parent == home / "envs"
    assert result.outputs["sees_cellwave"] == "False"
    assert result.outputs["words"] == "its own module"
    assert result.outputs["arn"].startswith(f"arn:aws:sqs:{where[1]}:{where[0]}:jobs-own-")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('broken on purpose')", "ValueError: broken on purpose"),
        ("import scipy", "No module named 'scipy'"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import os; os._exit(7)", "ended with 7"),
    ],
)
def test_what_such_a_program_does_wrong_is_told(
    deployer: Deployer, app: Path, tmp_path: Path, program: str, reason: str
) -> None:
    """As of one that runs with cellwave's packages."""
    shutil.copytree(app, tmp_path / "app")
    (tmp_path / "app" / "__main__.py").write_text(program)
    result = deploy(deployer, tmp_path / "app", f"own-{uuid.uuid4().hex[:8]}.app", EAST)
    assert result.outcome == "failed"
    assert reason in result.reason
    assert result.fault == "release"


DYNAMIC = """
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider
class Provider(ResourceProvider):
    def create(self, props):
        import sys
        return CreateResult("one", {"prefix": sys.prefix})
class Thing(Resource):
    prefix: pulumi.Output[str]
pulumi.export("prefix", Thing(Provider(), "thing", {"prefix": None}).prefix)
"""


@pytest.mark.parametrize("requirements", [True, False])
def test_a_dynamic_provider_runs_with_the_packages_of_its_program(
    deployer: Deployer, app: Path, tmp_path: Path, requirements: bool
) -> None:
    """It is a process of its own, which the engine starts; taken away, it is asked too."""
    folder = tmp_path / "app"
    if requirements:
        shutil.copytree(app, folder)
    else:
        folder.mkdir()
        (folder / "Pulumi.yaml").write_text(
            "name: other\nruntime: {name: python, options: {virtualenv: venv}}\n"
        )
    (folder / "__main__.py").write_text(DYNAMIC)
    stack = f"dynamic-{uuid.uuid4().hex[:8]}.app"
    result = deploy(deployer, folder, stack, EAST)
    assert result.outcome == "succeeded", result.reason
    project = find_project(Path(__file__))
    made = Path(result.outputs["prefix"])
    if requirements:
        assert made.parent == project.home / "envs"
    else:
        assert made == Path(sys.prefix)
    job = Job(attempt=stack, stack=stack, operation="destroy", program=str(folder), source=str(folder))
    gone = deployer.run(job, progress=lambda event: None, aborted=lambda: False)
    assert gone.outcome == "succeeded", gone.reason


def test_a_lock_that_can_not_be_installed_is_not_the_release_s_fault(
    deployer: Deployer, app: Path, tmp_path: Path
) -> None:
    """An index that is not there fails the step, and it is worth another try."""
    shutil.copytree(app, tmp_path / "app")
    lock = (tmp_path / "app" / LOCK).read_text()
    (tmp_path / "app" / LOCK).write_text(f"--index-url http://127.0.0.1:9/simple\n{lock}")
    (tmp_path / "app" / "uv.toml").write_text(
        "no-cache = true\n[pip]\nindex-url = 'http://127.0.0.1:9/simple'\n"
    )
    result = deploy(deployer, tmp_path / "app", f"own-{uuid.uuid4().hex[:8]}.app", EAST)
    assert (result.outcome, result.fault) == ("failed", "network")
    assert "requirements.txt can't be had" in result.reason


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not here")
def test_a_node_program_finds_the_packages_of_its_lock(engine_world: RealWorld, tmp_path: Path) -> None:
    """Beside it, in its copy of the release; the host of its language is a stand-in that lets node look."""
    asks = "import subprocess\nsubprocess.run(['node', '-e', 'require(\"ms\")'], check=True)\n"
    manifest = '{"name": "app", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}}'
    (tmp_path / "package.json").write_text(manifest)
    subprocess.run(["npm", "install", "--package-lock-only"], cwd=tmp_path, check=True, capture_output=True)
    content = {
        "Pulumi.yaml": b"name: other\nruntime: nodejs\n",
        "__main__.py": asks.encode(),
        "package.json": manifest.encode(),
        "package-lock.json": (tmp_path / "package-lock.json").read_bytes(),
    }
    release = freeze("v1", content, ())
    folder = tmp_path / release.digest
    write_folder(folder, release, content)
    deployer = engine_world.restarted(PATH=f"{stand_in(tmp_path, 'nodejs')}:{os.environ['PATH']}")
    result = deploy(deployer, folder, f"node-{uuid.uuid4().hex[:8]}.app", EAST, release=release.digest)
    assert result.outcome == "succeeded", result.reason
    assert not verify_release(folder)


def test_a_literal_pulumi_up_runs_by_the_virtual_environment_that_pulumi_yaml_names(
    app: Path, tmp_path: Path
) -> None:
    """A person's own, made as people make them; one that is not there is named."""
    shutil.copytree(app, tmp_path / "app")
    (tmp_path / "app" / "__main__.py").write_text("import pulumi, sys\npulumi.export('prefix', sys.prefix)\n")
    (tmp_path / "state").mkdir()
    shell = Shell(tmp_path / "app", tmp_path / "state")
    assert shell.pulumi("stack", "init", "a.b").returncode == 0
    failed = shell.pulumi("up", "--yes", "--skip-preview")
    assert failed.returncode != 0
    assert f"names the virtual environment {tmp_path / 'app' / 'venv'}" in failed.stdout + failed.stderr
    packages = find_packages(app, project_of(app))
    assert packages
    made = ensure_environment(find_project(Path(__file__)).home, packages, print)
    (tmp_path / "app" / "venv").symlink_to(made)
    done = shell.pulumi("up", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shell.pulumi("stack", "output", "prefix").stdout.strip() == str(tmp_path / "app" / "venv")
