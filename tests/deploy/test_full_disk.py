"""A disk that takes nothing more condemns no release, wherever it is met: each on a real file system that is full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cellwave.deploy.attempt import open_attempt
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.disk import unwritable
from cellwave.deploy.drive import Task, drive
from cellwave.deploy.hosts import Program, hosting
from cellwave.deploy.port import Job, Result
from cellwave.errors import Unavailable
from cellwave.faults import of_error
from cellwave.programs.environments import ensure_environment
from cellwave.programs.packages import Packages
from cellwave.releases.build import freeze
from cellwave.releases.store import write_folder
from cellwave.rollout.database import open_engine
from tests.deploy.test_other_programs import EAST, place
from tests.deploy.worlds import RealWorld

SIZE = 1 << 20  # bytes of the small disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small disk here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, spare: int = 0) -> None:
    """Leave no room but `spare` bytes."""
    with (folder / "filler").open("wb", buffering=0) as file:
        free = shutil.disk_usage(folder).free
        assert file.write(bytes(free - spare)) == free - spare


def task(home: Path, job: Job) -> Task:
    """What a driver is told; no engine is reached."""
    attempt = open_attempt(home, job.attempt)
    return Task(job, "/nowhere/pulumi", dict(os.environ), attempt, -1, home, Deadlines())


def job(program: Path, **more: Any) -> Job:
    """An update."""
    return Job(attempt="a", stack="a.app", operation="up", program=str(program), source=str(program), **more)


def test_the_disk_itself_is_asked(small: Path, tmp_path: Path) -> None:
    """Which folder, and how much is free there."""
    assert unwritable([tmp_path, small]) == ""
    fill(small)
    assert unwritable([tmp_path, small]).startswith(f"the disk is full: 0 KiB free in {small}")


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_driver_that_can_not_write_its_attempt_down(small: Path, tmp_path: Path, how: str) -> None:
    """Its result is told all the same, and is the disk's."""
    at = task(small, job(tmp_path))
    if how == "full":
        fill(small)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    result = drive(at)
    assert (result.outcome, result.fault) == ("failed", "disk")
    assert result.reason.startswith("the disk is full" if how == "full" else "the disk can't be written to")


NO_MORE_FILES = """
import os, resource, sys
from pathlib import Path
from cellwave.deploy.attempt import open_attempt
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.drive import Task, drive
from cellwave.deploy.port import Job
home = Path(sys.argv[1])
job = Job(attempt="a", stack="a.app", operation="up", program="/x", source="/x")
attempt = open_attempt(home, "a")
(attempt.folder / "events.jsonl").touch()
used = max(map(int, os.listdir("/proc/self/fd")))
resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
result = drive(Task(job, "/nowhere", {}, attempt, -1, home, Deadlines()))
os.write(1, f"{result.outcome} {result.fault} {result.reason}".encode())
"""


def test_a_driver_that_may_open_no_more_files(tmp_path: Path) -> None:
    """That is the host's, and a person sees which limit."""
    argv = [sys.executable, "-c", NO_MORE_FILES, str(tmp_path)]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert told.startswith("failed host OSError: [Errno 24] Too many open files"), told


def test_a_release_that_can_not_be_unpacked(small: Path, tmp_path: Path) -> None:
    """A copy of it is made for each attempt."""
    content = {"Pulumi.yaml": b"name: other\nruntime: python\n", "big": bytes(SIZE)}
    made = freeze("v1", content, ())
    write_folder(tmp_path / made.digest, made, content)
    result = drive(task(small, job(tmp_path / made.digest, release=made.digest)))
    assert (result.outcome, result.fault) == ("failed", "disk"), result.reason


def test_a_program_s_host_that_can_not_open_its_log(small: Path, tmp_path: Path) -> None:
    """The fork says why before it goes."""
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    program = Program(tmp_path, tmp_path, None, dict(os.environ), small / "program.log")
    gone, alive = os.pipe()
    with (
        pytest.raises(Unavailable, match="did not start: OSError") as told,
        hosting(program, None, gone, alive),
    ):
        pass
    assert told.value.fault == "disk"


def test_packages_that_can_not_be_installed(small: Path, tmp_path: Path) -> None:
    """What uv says of it."""
    (tmp_path / "requirements.txt").write_text(f"pulumi==3.200.0 --hash=sha256:{'0' * 64}\n")
    fill(small, spare=8192)
    with pytest.raises((Unavailable, OSError)) as told:
        ensure_environment(small, Packages("pip", tmp_path), lambda line: None)
    assert of_error(told.value) == "disk", told.value


def test_a_database_that_can_not_grow(small: Path) -> None:
    """SQLite's own name of it."""
    engine = open_engine(f"sqlite:///{small / 'db'}")
    with engine.begin() as db:
        db.exec_driver_sql("CREATE TABLE t (x)")
    fill(small)
    with pytest.raises(sa.exc.OperationalError) as told, engine.begin() as db:
        db.exec_driver_sql("INSERT INTO t VALUES (zeroblob(300000))")
    assert of_error(told.value) == "disk"
    engine.dispose()


PROGRAMS = {
    "its own words": "raise ValueError('the template could not be made')",
    "its errno": "raise",
}


@pytest.mark.engine
@pytest.mark.parametrize("said", PROGRAMS)
def test_a_program_on_a_full_disk(engine_world: RealWorld, small: Path, tmp_path: Path, said: str) -> None:
    """Whatever it makes of that."""
    (tmp_path / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(
        "import os\ntry:\n    with open(os.environ['TMPDIR'] + '/x', 'wb') as file:\n"
        "        file.write(bytes(1 << 21))\n"
        f"except OSError:\n    {PROGRAMS[said]}\n"
    )
    result = run(engine_world, tmp_path, TMPDIR=str(small))
    assert (result.outcome, result.fault) == ("failed", "disk"), result.reason
    assert str(small) in result.reason


@pytest.mark.engine
def test_an_engine_whose_state_can_not_be_written(
    engine_world: RealWorld, small: Path, tmp_path: Path
) -> None:
    """It alone has spoken."""
    (tmp_path / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (tmp_path / "__main__.py").write_text("import pulumi\npulumi.export('x', 'y')\n")
    fill(small)
    result = run(engine_world, tmp_path, PULUMI_BACKEND_URL=f"file://{small}")
    assert (result.outcome, result.fault) == ("failed", "disk"), result.reason


def run(world: RealWorld, folder: Path, **variables: str) -> Result:
    """Run the program in a folder."""
    stack = f"full{uuid.uuid4().hex[:8]}.app"
    wanted = Job(
        attempt=stack, stack=stack, operation="up", program=str(folder), source=str(folder), place=place(EAST)
    )
    return world.restarted(**variables).run(wanted, progress=lambda event: None, aborted=lambda: False)
