"""Environments of programs that have packages of their own: made once for each lock and interpreter, and cached."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from cellwave.programs.packages import Packages, lock_of, python_of, run, uv

STAMP = "cellwave.stamp"
UNUSED = 30 * 86400.0  # seconds after which an environment that no deployment has used is collected
NEEDED = "import pulumi.automation._server"  # by the language host; a lock may be short of packages
IDENTITY = "import platform, sys; print(sys.version, sys.base_prefix, platform.platform())"


def ensure_environment(home: Path, packages: Packages, report: Callable[[str], None]) -> Path:
    """The folder with a program's packages: a virtual environment, or one with a `node_modules`.

    Made when it is not there (`report` is told), whole or not at all; two at once wait for each other. Raises NoLock
    and Unavailable as `lock_of` does, and OSError.
    """
    lock = lock_of(packages)
    python = "" if packages.kind == "npm" else python_of(packages)
    said = run(["node", "--version"] if packages.kind == "npm" else [python, "-I", "-c", IDENTITY], packages)
    told = "\n".join(line for line in lock.splitlines() if not line.startswith("#"))
    folder = home / "envs" / hashlib.sha256(f"{told}\0{said}".encode()).hexdigest()[:32]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / STAMP).exists():
            report(f"installing the packages of {packages.source}")
            shutil.rmtree(folder, ignore_errors=True)
            if packages.kind == "npm":
                _install_node(folder, packages, held)
            else:
                _install_python(folder, packages, lock, python, held)
        (folder / STAMP).touch()
    return folder


def _install_python(folder: Path, packages: Packages, lock: str, python: str, held: IO[str]) -> None:
    uv(packages, "venv", "--no-project", "--python", python, str(folder), held=held)
    requirements = folder / "requirements.txt"
    requirements.write_text(lock, "utf-8")
    into = ("--python", str(folder / "bin" / "python"), "--require-hashes")
    uv(packages, "pip", "sync", *into, str(requirements), held=held)
    run([str(folder / "bin" / "python"), "-I", "-c", NEEDED], packages, held)


def _install_node(folder: Path, packages: Packages, held: IO[str]) -> None:
    folder.mkdir()
    for file in (*packages.files, packages.folder / ".npmrc"):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    run(["npm", "ci", "--no-audit", "--no-fund", "--prefix", str(folder)], packages, held)


def sweep(home: Path, now: float) -> int:
    """Remove the environments that nobody has used for long, half made ones too; how many. `now` is epoch seconds."""
    gone = 0
    for lock in (home / "envs").glob("*.lock"):
        folder = lock.with_suffix("")
        with lock.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # somebody is at work there
            stamp = folder / STAMP
            used = (stamp if stamp.exists() else lock).stat().st_mtime
            if folder.is_dir() and used < now - UNUSED:
                stamp.unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                gone += 1
    return gone
