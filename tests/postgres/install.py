"""`python -m tests.postgres.install`: find a PostgreSQL that tests can start, or unpack Debian's into `.cellwave/`.

Neither needs root, and nothing of the machine is changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellwave.errors import CellwaveError, Unavailable
from cellwave.project import find_project

OLDEST = 13  # what DBOS asks for
OWN = find_project(Path(__file__).parent).root / ".cellwave" / "postgres"
HINT = (
    "`make postgres` finds one, or unpacks Debian's; elsewhere install PostgreSQL and put `postgres` on PATH"
)


@dataclass(frozen=True)
class Postgres:
    """Where the programs of a PostgreSQL server are, and the shared libraries that came with them (or none)."""

    bin: Path
    libraries: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What its programs are started with."""
        more = {"LD_LIBRARY_PATH": str(self.libraries)} if self.libraries else {}
        return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **more}

    @property
    def version(self) -> int | None:
        """The major version; None when one of its programs can't be run."""
        said = ""
        for name in ("initdb", "postgres"):
            try:
                said = subprocess.run(
                    [self.bin / name, "--version"],
                    env=self.environment,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            except (OSError, subprocess.CalledProcessError):
                return None
        number = re.search(r"\d+", said)
        return int(number.group()) if number else None


def find() -> Postgres:
    """A PostgreSQL that can be run, the machine's before our own; Unavailable when there is none."""
    for candidate in candidates():
        if (candidate.version or 0) >= OLDEST:
            return candidate
    raise Unavailable(f"no PostgreSQL {OLDEST} or newer is on this machine", hint=HINT)


def candidates() -> Iterator[Postgres]:
    """Where one may be: on PATH (what is there may be a link), where pg_config says, where Debian puts it, our own."""
    if found := shutil.which("postgres"):
        yield Postgres(Path(found).resolve().parent)
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        yield Postgres(Path(told.stdout.strip()))
    for root in (Path("/"), OWN):
        folders = root.glob("usr/lib/postgresql/*/bin")
        libraries = None if root == Path("/") else own_libraries()
        for folder in sorted(folders, key=lambda path: path.parent.name, reverse=True):
            yield Postgres(folder, libraries)


def own_libraries() -> Path:
    """The folder of the shared libraries that were unpacked, named by the machine's kind."""
    return next(iter((OWN / "usr" / "lib").glob("*-linux-gnu*")), OWN / "usr" / "lib")


def fetch() -> None:
    """Unpack Debian's packages in OWN: the server, and those of its libraries that this machine lacks.

    Package lists that are missing or too old are fetched anew, beside the machine's own.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Unavailable("no PostgreSQL is on this machine, and no apt-get to fetch one with", hint=HINT)
    OWN.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="postgres-", dir=OWN.parent) as folder:
        try:
            unpack(Path(folder), [])
        except Unavailable:
            for name in ("lists", "cache/archives"):
                Path(folder, name, "partial").mkdir(parents=True)
            lists = ["-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
            say("apt-get update")
            run(["apt-get", *lists, "-o", "APT::Sandbox::User=root", "-q", "update"])
            unpack(Path(folder), lists)


def unpack(folder: Path, lists: Sequence[str]) -> None:
    """Download what is wanted to a folder, and put it in the place of OWN."""
    packages = wanted(lists)
    say(f"fetching {', '.join(packages)}")
    run(["apt-get", *lists, "-o", "APT::Sandbox::User=root", "-q", "download", *packages], folder)
    for archive in sorted(folder.glob("*.deb")):
        run(["dpkg-deb", "-x", str(archive), str(folder / "tree")])
    shutil.rmtree(OWN, ignore_errors=True)
    (folder / "tree").replace(OWN)


def wanted(lists: Sequence[str]) -> list[str]:
    """The packages to unpack, as apt would choose them for this machine; Unavailable when apt knows of none."""
    shown = run(["apt-cache", *lists, "show", "postgresql"])
    server = re.search(r"^Depends: (?:.*, )?(postgresql-\d+)", shown, re.MULTILINE)
    if server is None:
        raise Unavailable("apt knows of no PostgreSQL", hint=HINT)
    plan = run(["apt-get", *lists, "-s", "install", "--no-install-recommends", "--reinstall", server[1]])
    chosen = re.findall(r"^Inst (\S+) ", plan, re.MULTILINE)
    # LLVM is for compiling queries only: the server runs without it.
    return [server[1], *(name for name in chosen if re.match(r"lib(?!llvm|.*-perl$|.*-dev$)", name))]


def run(argv: list[str], folder: Path | None = None) -> str:
    """Run a command of apt's; its output, or Unavailable with what it said."""
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"`{' '.join(argv)}` failed: {done.stderr.strip()}", hint=HINT)
    return done.stdout


def say(text: str) -> None:
    """A line for the person who waits."""
    print(f"PostgreSQL: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """See that there is one; returns the exit code."""
    try:
        try:
            find()
        except Unavailable:
            fetch()
            found = find()
            say(f"version {found.version} is in {found.bin}")
    except CellwaveError as error:
        print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
