"""Three hosts carry one rollout; one of them is killed, frozen or cut off while its engine runs.

Each is a process with a home and a name of its own, over one PostgreSQL; their engines are processes of their own too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cellwave.errors import Leased
from cellwave.rollout.beats import beats
from cellwave.rollout.journal import faults
from cellwave.rollout.records import Records
from cellwave.rollout.tables import OUTBOX
from tests.postgres.server import Server
from tests.rollout.host import SHARED
from tests.rollout.test_crashes import FLEET, begin

NAMES = ("ann", "bob", "cid")
REGION = """
region: one
endpoint: one.example
residency: here
cells:
  - {name: a, account: "100000000001", aws_region: us-east-1}
  - {name: b, account: "100000000002", aws_region: us-east-1}
  - {name: c, account: "100000000003", aws_region: us-east-1}
"""
WAVES = """
bake: {seconds: 0.2, samples: 0, limit: 5}
waves:
  - {name: all, cells: [a, b, c], concurrency: 3}
"""


class Wire:
    """What a host reaches the server through; it can be cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cut = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.end = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                mine, _ = self._listener.accept()
                try:
                    assert not self.cut.is_set()
                    theirs = socket.create_connection(("127.0.0.1", self.port))
                except (AssertionError, OSError):  # the server may be away
                    mine.close()
                    continue
                self._open += [mine, theirs]
                for pair in ((mine, theirs), (theirs, mine)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            # A cut wire carries nothing, and tells neither end that it is cut.
            while data := one.recv(1 << 16):
                if not self.cut.is_set():
                    other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let it carry again; what was open meanwhile is over."""
        self.cut.clear()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """End."""
        self._listener.close()
        self.mend()


@dataclass
class Hosts:
    """The hosts, by name, and what their engines did."""

    folder: Path
    records: Records
    wires: dict[str, Wire]
    url: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *target: str) -> None:
        """Let a host work, through its wire; on another state backend, if one is named."""
        own = {"CELLWAVE_HOST": name, "CELLWAVE_DATABASE_URL": self.url_of(name)}
        with self.log(name).open("w") as log:
            self.running[name] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.rollout.host",
                    str(self.folder),
                    str(self.folder / name),
                    *target,
                ],
                env={**os.environ, **own},
                stdout=log,
                stderr=log,
            )

    def start_together(self) -> None:
        """Let all work, each when all can: none is still on its way when trouble comes."""
        waits = self.folder / "wait"
        waits.touch()
        for name in NAMES:
            self.start(name)
        self.until(lambda: all("ready" in self.log(name).read_text().splitlines() for name in NAMES))
        waits.unlink()

    def log(self, name: str) -> Path:
        """What a host said."""
        return self.folder / f"{name}.log"

    def url_of(self, name: str) -> str:
        """The database as a host reaches it."""
        wire = self.wires[name]
        return self.url.replace(f":{wire.port}/", f":{wire.end}/")

    def did(self) -> list[dict[str, Any]]:
        """What engines did, in order."""
        file = self.folder / "engines"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def at_work(self) -> set[str]:
        """The hosts on which an engine runs now."""
        lines = self.did()
        begun = {(line["host"], line["attempt"]) for line in lines if line["did"] == "begin"}
        over = {(line["host"], line["attempt"]) for line in lines if line["did"] != "begin"}
        return {host for host, _ in begun - over}

    def until(self, holds: Callable[[], object], seconds: float = 120.0) -> None:
        """Wait until something holds; fails with the hosts' logs when it never does."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                logs = "\n".join(self.log(name).read_text()[-3000:] for name in self.running)
                pytest.fail(f"it never came to that\n{self.did()}\n{logs}")
            time.sleep(0.05)

    def outcome(self) -> str:
        """How the rollout has ended; "" while it has not."""
        row = self.records.rollout("v2-1")
        assert row
        return row.head.outcome

    def said(self, name: str) -> str:
        """The last line of a host that has left."""
        assert self.running[name].wait(60) == 0, self.log(name).read_text()[-3000:]
        return self.log(name).read_text().splitlines()[-1]


@pytest.fixture
def hosts(tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """A rollout of three cells that can go side by side, and three hosts that may work on it."""
    with postgres.database() as url:
        monkeypatch.delenv("CELLWAVE_HOME", raising=False)
        monkeypatch.setenv("CELLWAVE_DATABASE_URL", url)
        root = tmp_path / "project"
        for name, text in {"cells/fleet.yaml": FLEET, "cells/one.yaml": REGION, "waves.yaml": WAVES}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (root / "app").mkdir()
        (root / "app" / "__main__.py").touch()
        (tmp_path / "faults").touch()  # no signal that is read kills its reader
        records = begin(tmp_path, bad=False, cells=("a", "b", "c"), target=SHARED)
        made = Hosts(tmp_path, records, {name: Wire(postgres.port) for name in NAMES}, url)
        try:
            yield made
        finally:
            for process in made.running.values():
                process.kill()
                process.wait()
            for wire in made.wires.values():
                wire.close()
            records.engine.dispose()


@contextmanager
def troubled(hosts: Hosts, trouble: str, server: Server) -> Iterator[str]:
    """The name of a host whose engine runs, and which is in that trouble until the rollout is over."""
    hosts.until(hosts.at_work)
    victim = sorted(hosts.at_work())[0]
    process, wire = hosts.running[victim], hosts.wires[victim]
    match trouble:
        case "killed":
            process.kill()
        case "frozen":
            process.send_signal(signal.SIGSTOP)
        case "cut off":
            wire.cut.set()
        case "restart":
            server.stop()
            server.start()
    yield victim
    process.send_signal(signal.SIGCONT)
    if wire.cut.is_set():
        wire.mend()


@pytest.mark.parametrize("trouble", ["killed", "frozen", "cut off", "restart"])
def test_whatever_becomes_of_a_host_the_rollout_ends_right(
    hosts: Hosts, postgres: Server, trouble: str
) -> None:
    """The others take up what it was at when its lease has run out, and nothing runs side by side on a stack; when the
    host is back it has begun nothing more, and leaves."""
    hosts.start_together()
    with troubled(hosts, trouble, postgres) as victim:
        hosts.until(hosts.outcome)
        begun = [line for line in hosts.did() if line["host"] == victim]
    assert hosts.outcome() == "done"
    if trouble in ("frozen", "cut off"):
        assert hosts.said(victim) == "lost"
        assert [line for line in hosts.did() if line["host"] == victim] == begun, "it deploys nothing more"
    assert_one_at_a_time(hosts.did())
    plan = hosts.records.state("v2-1").forward.plan
    for step in plan.steps:
        assert (hosts.folder / f"runs-{step.deployment}").read_text() == step.release
    assert hosts.records.leases() == {}
    entries = hosts.records.journal()
    assert not faults(entries)
    assert [entry.kind for entry in entries].count("done") == 1
    for name in set(NAMES) - {victim}:
        assert hosts.said(name) == "over"


@pytest.mark.parametrize("trouble", ["killed", "frozen", "cut off"])
def test_a_cell_is_free_when_the_command_that_had_it_is_gone(
    hosts: Hosts, postgres: Server, trouble: str
) -> None:
    """Whatever worker is there sees to it when no engine of it can run any more; back again, it does nothing."""
    hosts.start("bob", "s3://elsewhere")
    hosts.start("ann", "down")
    with troubled(hosts, trouble, postgres):
        with pytest.raises(Leased):
            hosts.records.lease(["d"], "v3-1")
        hosts.until(lambda: "d" not in hosts.records.leases())
        did = hosts.did()
        assert hosts.at_work() == set()
        hosts.records.lease(["d"], "v3-1")
    if trouble != "killed":
        assert hosts.said("ann") == "lost"
    assert hosts.did() == did
    assert hosts.records.leases()["d"] == "v3-1"


def test_a_worker_of_another_state_backend_takes_nothing(hosts: Hosts) -> None:
    """It has other credentials, and would deploy elsewhere."""
    hosts.start("ann", "s3://elsewhere")
    hosts.until(lambda: beats(hosts.records, "s3://elsewhere"))
    hosts.start("bob")
    hosts.until(hosts.outcome)
    assert hosts.outcome() == "done"
    assert {line["host"] for line in hosts.did()} == {"bob"}
    with hosts.records.engine.connect() as db:
        owners = db.execute(sa.select(OUTBOX.c.owner)).scalars().all()
    assert all(owner.startswith("bob:") for owner in owners)


def assert_one_at_a_time(did: list[dict[str, Any]]) -> None:
    """Between the begin of an engine and its end, no other one runs on the stack."""
    at_work: dict[str, str] = {}
    for line in sorted(did, key=lambda line: line["at"]):
        who = f"{line['host']} {line['attempt']}"
        if line["did"] == "begin":
            assert line["stack"] not in at_work, f"{who} beside {at_work[line['stack']]}"
            at_work[line["stack"]] = who
        else:
            assert at_work.pop(line["stack"]) == who
    assert at_work == {}
