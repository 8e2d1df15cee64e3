"""A PostgreSQL server of a test run's own, in a temporary folder, behind a password and on loopback only.

`python -m tests.postgres.server` is its keeper: it stops the server and removes the folder as soon as whoever started
it closes its standard input, or dies.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from tests.postgres.install import OWN, Postgres, find

USER = "cellwave"
READY_SECONDS = 60.0
# Whatever a test writes need not outlive this machine; many processes with a pool each are at work.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "fsync": "off",
    "jit": "off",
}


@dataclass(frozen=True)
class Server:
    """A running server, as tests see it."""

    port: int
    password: str
    keeper: subprocess.Popen[str]

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: sql.Composed | sql.SQL) -> None:
        """Run a statement outside of any transaction."""
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as db:
            db.execute(statement)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database of one's own, which is dropped afterwards whoever is still in it."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        opened: list[Any] = []
        listener = (sa.pool.Pool, "connect", lambda connection, _record: opened.append(connection))
        sa.event.listen(*listener)
        try:
            yield self.url(name)
        finally:
            sa.event.remove(*listener)
            for connection in opened:  # a pool keeps them for whoever comes next: here nobody does
                connection.close()
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Stop the server at once, as a crash would: every connection breaks."""
        self._tell("stop")

    def start(self) -> None:
        """Start it again, at the same port and with what was committed."""
        self._tell("start")

    def _tell(self, word: str) -> None:
        assert self.keeper.stdin
        assert self.keeper.stdout
        print(word, file=self.keeper.stdin, flush=True)
        assert self.keeper.stdout.readline().strip() == word


@contextmanager
def running() -> Iterator[Server]:
    """A server, and its end. Unavailable when no PostgreSQL is on this machine."""
    find()
    argv = [sys.executable, "-m", "tests.postgres.server"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as keeper:
        assert keeper.stdout
        told = keeper.stdout.readline()
        assert told, "the server did not start: see above"
        yield Server(**json.loads(told), keeper=keeper)


def main() -> None:
    """Keep a server: say where it is, do as standard input says, and leave nothing behind at its end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input is the only end
    # Not in a folder of root's own, which the server's account could not enter.
    folder = Path(tempfile.mkdtemp(prefix="cellwave-postgres-", dir="/tmp" if _account() else None))
    server = None
    try:
        if account := _account():
            os.chown(folder, account["user"], account["group"])
        programs, password = _programs(folder), secrets.token_urlsafe()
        _make(programs, folder, password)
        port = _free_port()
        server = _start(programs, folder, port, password)
        print(json.dumps({"port": port, "password": password}), flush=True)
        for line in sys.stdin:
            if line.strip() == "stop":
                _stop(server)
            else:
                server = _start(programs, folder, port, password)
            print(line.strip(), flush=True)
    finally:
        if server is not None:
            _stop(server)
        shutil.rmtree(folder)


def _account() -> dict[str, Any]:
    """As whom the server runs, as subprocess takes it: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            known = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}
    raise SystemExit("there is no account `postgres` or `nobody` to run PostgreSQL as: it refuses root")


def _programs(folder: Path) -> Postgres:
    """The PostgreSQL to run: a copy of ours where the account can't enter the project's folder."""
    found = find()
    if not found.bin.is_relative_to(OWN) or not _account():
        return found
    copy = folder / "programs"
    shutil.copytree(OWN, copy, ignore=shutil.ignore_patterns("bitcode", "doc", "man", "locale"))
    copy.chmod(0o755)
    assert found.libraries
    return Postgres(copy / found.bin.relative_to(OWN), copy / found.libraries.relative_to(OWN))


def _make(programs: Postgres, folder: Path, password: str) -> None:
    """Make the server's files."""
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o644)  # the folder is the account's alone
    options = [
        "-U",
        USER,
        "-A",
        "scram-sha-256",
        f"--pwfile={secret}",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]
    made = subprocess.run(
        [programs.bin / "initdb", *options, "-D", folder / "data"],
        env=programs.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **_account(),
    )
    if made.returncode:
        raise SystemExit(f"initdb failed: {made.stderr}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _start(programs: Postgres, folder: Path, port: int, password: str) -> subprocess.Popen[bytes]:
    """Start the server, and wait until it answers."""
    settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [programs.bin / "postgres", "-D", folder / "data", "-p", str(port), *settings],
            env=programs.environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **_account(),
        )
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            psycopg.connect(
                host="127.0.0.1", port=port, user=USER, password=password, dbname="postgres"
            ).close()
            return server
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                _stop(server)
                raise SystemExit(
                    f"PostgreSQL did not start: {error}\n{(folder / 'log').read_text()}"
                ) from error
            time.sleep(0.05)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server without a farewell."""
    server.send_signal(signal.SIGQUIT)
    server.wait()


if __name__ == "__main__":
    main()
