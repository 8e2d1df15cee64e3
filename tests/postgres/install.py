"""`python -m tests.postgres.install`: find a PostgreSQL that tests can start, or unpack Debian's into `.cellwave/`.

Neither needs root, and nothing of the machine is changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cellwave.errors import Unavailable
from cellwave.project import find_project
from tests.debian import Apt, Unpacked

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
        libraries = None if root == Path("/") else _debians().libraries
        for folder in sorted(folders, key=lambda path: path.parent.name, reverse=True):
            yield Postgres(folder, libraries)


def fetch() -> None:
    """Unpack Debian's packages in OWN: the server, and those of its libraries that this machine lacks."""
    _debians().fetch()


def _debians() -> Unpacked:
    # LLVM is for compiling queries only: the server runs without it.
    return Unpacked("PostgreSQL", OWN, HINT, _server, r"lib(?!llvm|.*-perl$|.*-dev$)")


def _server(apt: Apt) -> list[str]:
    """The package of the server; Unavailable when apt knows of none."""
    shown = apt("apt-cache", "show", "postgresql")
    server = re.search(r"^Depends: (?:.*, )?(postgresql-\d+)", shown, re.MULTILINE)
    if server is None:
        raise Unavailable("apt knows of no PostgreSQL", hint=HINT)
    return [server[1]]


def _said() -> str:
    found = find()
    return f"version {found.version} is in {found.bin}"


if __name__ == "__main__":
    sys.exit(_debians().ensure(_said))
