"""What a test brings up goes with it, however that ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.test_processes import gone

RUN = """
import subprocess, sys
from pathlib import Path
from cellwave.project import Project
from cellwave.rollout.presence import lock_of, take_lock
from tests.keeping import kept
project = Project(Path(sys.argv[1]))
project.make_home()
with kept(project):
    lock = take_lock(lock_of(project, "file:///nowhere"))
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
    lock.write(f"{worker.pid} ready\\n")
    lock.close()
    print(worker.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_whoever_brought_a_worker_up_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """When it comes to its end, and when it is killed."""
    monkeypatch.delenv("CELLWAVE_HOME", raising=False)
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        worker = psutil.Process(int(run.stdout.readline()))
        if killed:
            run.kill()
    deadline = time.monotonic() + 60
    while not gone(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)
