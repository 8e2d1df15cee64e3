"""A disk that fills up under the database, and is freed again: nothing is lost, nothing is done twice."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cellwave.rollout.journal import faults
from cellwave.rollout.records import Records
from tests.rollout.test_crashes import begin, folder  # noqa: F401 - a fixture

ANY = resource.RLIM_INFINITY


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("stack", ["a.app", "b.app"])
def test_a_worker_goes_on_when_there_is_room_again(folder: Path, stack: str) -> None:  # noqa: F811
    """No file of the worker's can grow from the moment that an engine is at work; what came of it is told when there is
    room."""
    records: Records = begin(folder, bad=False)
    (folder / "faults").touch()
    slow = folder / f"slow-{stack}"
    slow.touch()
    argv = [sys.executable, "-m", "tests.rollout.crashing", str(folder), "v2-1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while not (folder / "attempts").exists() or not list((folder / "attempts").glob(f"*:{stack}:*")):
            assert process.poll() is None
            time.sleep(0.05)
        [worker] = psutil.Process(process.pid).children()
        worker.rlimit(psutil.RLIMIT_FSIZE, (0, ANY))
        slow.unlink()
        assert process.stdout is not None
        while "OperationalError" not in (line := process.stdout.readline()):
            assert line
        worker.rlimit(psutil.RLIMIT_FSIZE, (ANY, ANY))
        out, _ = process.communicate(timeout=200)
    assert out.splitlines()[-2] == "done", out
    attempts = (folder / "engine.log").read_text().splitlines()
    assert len(attempts) == len(set(attempts)) == 2
    entries = records.journal()
    assert not faults(entries)
    assert [entry.kind for entry in entries].count("deploying") == 2
