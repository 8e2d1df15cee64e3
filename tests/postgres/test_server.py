"""The tests' PostgreSQL: found or fetched, and gone with the run that started it, however that ended."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from cellwave.errors import Unavailable
from tests.postgres import install
from tests.postgres.server import Server, running

RUN = """
import json, sys
from tests.postgres.server import running
with running() as server:
    print(json.dumps({"port": server.port, "keeper": server.keeper.pid}), flush=True)
    sys.stdin.read()
"""


def test_a_machine_without_one_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of the database is passed over."""
    monkeypatch.setattr(install, "candidates", lambda: iter(()))
    with pytest.raises(Unavailable, match="no PostgreSQL") as missing, running():
        pass
    assert "make postgres" in missing.value.hint


def test_debians_is_unpacked_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its programs can be run from where they were unpacked; where Debian's tools are not, that is said."""
    monkeypatch.setattr(install, "OWN", tmp_path / "own")
    if not shutil.which("apt-get"):
        with pytest.raises(Unavailable, match="no apt-get"):
            install.fetch()
        return
    install.fetch()
    *_, own = install.candidates()
    assert own.bin.is_relative_to(tmp_path)
    assert (own.version or 0) >= install.OLDEST
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_nobody_comes_in_without_the_password(postgres: Server) -> None:
    """Not even on this machine."""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url("postgres").replace(postgres.password, "another"))


def test_a_run_that_was_killed_leaves_no_server_behind() -> None:
    """Nor its folder."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout
        told = json.loads(run.stdout.readline())
        server = subprocess.run(
            ["ps", "-o", "args=", "--ppid", str(told["keeper"])], capture_output=True, text=True, check=True
        ).stdout.split()
        folder = Path(server[server.index("-D") + 1]).parent
        assert folder.is_dir()
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(host="127.0.0.1", port=told["port"], dbname="postgres")
