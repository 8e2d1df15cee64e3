"""A program's own packages: which of its files tells them, and the lock that its release holds of them.

| beside the program, or up to its Pulumi.yaml | the lock |
|---|---|
| `requirements.txt` | itself when every line has a hash, else `cellwave.lock`, which is made of it |
| `pyproject.toml` with `uv.lock` | `uv.lock` |
| `poetry.lock`, of Poetry 2 | itself |
| `package.json` with `package-lock.json` | `package-lock.json` |

A lock of Python packages is read as pip reads requirements: exact versions with hashes, for every platform.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cellwave.deploy.settings import runtime_of
from cellwave.errors import Unavailable

Kind = Literal["pip", "uv", "poetry", "npm"]
LOCK = "cellwave.lock"
TIMEOUT = 900.0  # seconds for an index that answers slowly
_SOURCE: dict[Kind, str] = {
    "pip": "requirements.txt",
    "uv": "uv.lock",
    "poetry": "poetry.lock",
    "npm": "package-lock.json",
}
_KINDS: dict[str, tuple[Kind, ...]] = {"python": ("pip", "uv", "poetry"), "nodejs": ("npm",)}
_WITH: dict[Kind, tuple[str, ...]] = {
    "pip": (LOCK, ".python-version"),
    "uv": ("pyproject.toml", ".python-version"),
    "poetry": (".python-version",),
    "npm": ("package.json",),
}
_WRITES = {"uv": "uv lock", "poetry": "poetry lock", "npm": "npm install"}
_INDEX = re.compile(r"\s*(-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host)\b")
_NESTED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]*(\S+)", re.MULTILINE)
_LOCKED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w,. -]+\])?==|#|--hash=|$")
_PULUMI = re.compile(r"^pulumi(\[[\w,. -]+\])?==", re.MULTILINE)


class NoLock(ValueError):
    """A program's packages can't be told: what was found, and what would be right."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"{found}; expected: {expected}")
        self.found, self.expected = found, expected


@dataclass(frozen=True)
class Packages:
    """What tells a program's packages: the kind of its lock, and the folder that it lies in."""

    kind: Kind
    folder: Path

    @property
    def source(self) -> Path:
        """The file that a person writes, or the tool that people use."""
        return self.folder / _SOURCE[self.kind]

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that a release must hold to have the same environment made elsewhere."""
        names = (_SOURCE[self.kind], *_WITH[self.kind])
        return tuple(self.folder / name for name in names if (self.folder / name).is_file())


def find_packages(root: Path, project: dict[str, Any]) -> Packages | None:
    """What tells the packages of the program whose Pulumi.yaml (`project`, as read) lies in `root`; None when it has
    none of its own. NoLock when what Pulumi.yaml or package.json asks for is not there."""
    runtime, options = runtime_of(project), options_of(project)
    kinds = _KINDS.get(str(runtime), ())
    asked = options.get("packagemanager" if runtime == "nodejs" else "toolchain")
    if asked and kinds:
        if asked not in kinds:
            raise NoLock(f"packages of {asked}", " or ".join(kinds))
        kinds = (asked,)
    folders = _folders(root.resolve(), str(project.get("main", ".")))
    for folder in folders:
        for kind in kinds:
            if (folder / _SOURCE[kind]).is_file():
                return Packages(kind, folder)
    writes = next((_WRITES[kind] for kind in kinds if kind in _WRITES), "")
    if writes and (
        asked or any((folder / "package.json").is_file() for folder in folders if kinds == ("npm",))
    ):
        raise NoLock(f"there is no {_SOURCE[kinds[0]]}", f"the one that `{writes}` writes")
    return None


def options_of(project: dict[str, Any]) -> dict[str, Any]:
    """The options of a Pulumi.yaml's runtime."""
    runtime = project.get("runtime")
    options = runtime.get("options") if isinstance(runtime, dict) else None
    return options if isinstance(options, dict) else {}


def _folders(root: Path, main: str) -> list[Path]:
    """From the program's folder up to the root."""
    program = (root / main).resolve()
    start = program if program.is_dir() else program.parent
    return [folder for folder in (start, *start.parents) if folder.is_relative_to(root)] or [root]


def renew_lock(packages: Packages) -> bool:
    """Write `cellwave.lock` when a requirements.txt needs one and it is missing or of other requirements; whether it
    was written. Versions that still fit stay. NoLock: requirements of no index. Unavailable: there is no solution, or a
    uv.lock is not of its pyproject.toml any more."""
    if packages.kind == "uv":
        uv(packages, "lock", "--check")
    if packages.kind != "pip" or _has_hashes(text := packages.source.read_text("utf-8")):
        return False
    lock = packages.folder / LOCK
    head = f"# of {packages.source.name}, sha256:{_digest(packages.source)}\n"
    if lock.is_file() and lock.read_text("utf-8").startswith(head):
        return False
    head += "".join(line + "\n" for line in text.splitlines() if _INDEX.match(line))
    with tempfile.TemporaryDirectory(prefix=".cellwave-", dir=packages.folder) as scratch:
        fresh = Path(scratch, LOCK)
        if lock.is_file():
            shutil.copyfile(lock, fresh)
        uv(packages, "pip", "compile", "--universal", "--generate-hashes", "--no-annotate", "--no-header",
           "--python", python_of(packages), packages.source.name, "-o", str(fresh))  # fmt: skip
        fresh.write_text(head + _of_indexes(packages, fresh.read_text("utf-8")), "utf-8")
        fresh.replace(lock)
    return True


def _of_indexes(packages: Packages, text: str) -> str:
    """Requirements that each have a version and hashes; NoLock for a folder, a repository or an address."""
    for line in text.splitlines():
        if not _LOCKED.match(line.strip()):
            raise NoLock(f"{packages.source.name} asks for {line.strip()!r}", "a package of an index")
    return text


def lock_of(packages: Packages) -> str:
    """The lock: requirements with versions and hashes, or what npm wrote. NoLock when there is none, or no Pulumi."""
    text = {"pip": _of_pip, "uv": _of_uv, "poetry": _of_poetry, "npm": _of_npm}[packages.kind](packages)
    if packages.kind != "npm" and not _PULUMI.search(text):
        raise NoLock(f"{packages.source.name} has no pulumi", "pulumi among the packages of a program")
    return text


def _of_pip(packages: Packages) -> str:
    text = packages.source.read_text("utf-8")
    if _has_hashes(text):
        return text
    lock = packages.folder / LOCK
    if not lock.is_file():
        raise NoLock(f"{packages.source.name} has no hashes, and there is no {LOCK}", "one of them")
    return lock.read_text("utf-8")


def _of_uv(packages: Packages) -> str:
    asked = ("--frozen", "--no-dev", "--no-emit-project", "--no-annotate", "--no-header")
    return _of_indexes(packages, uv(packages, "export", *asked))


def _of_poetry(packages: Packages) -> str:
    lock = tomllib.loads(packages.source.read_text("utf-8"))
    if str(lock.get("metadata", {}).get("lock-version", "0")).split(".") < ["2", "1"]:
        raise NoLock("poetry.lock is of an old format", "the one that `poetry lock` of Poetry 2 writes")
    lines = []
    for package in lock.get("package", []):
        if "main" not in package["groups"] or package.get("optional"):
            continue
        if (source := package.get("source", {}).get("type", "legacy")) != "legacy":
            raise NoLock(f"poetry.lock has {package['name']} of a {source}", "packages of an index")
        markers = package.get("markers", "")
        markers = markers.get("main", "") if isinstance(markers, dict) else markers
        hashes = " ".join(f"--hash={file['hash']}" for file in package["files"])
        lines.append(f"{package['name']}=={package['version']}{' ; ' * bool(markers)}{markers} {hashes}\n")
    return "".join(lines)


def _of_npm(packages: Packages) -> str:
    lock = packages.source.read_text("utf-8")
    if '"link": true' in lock:
        raise NoLock("package-lock.json links a folder", "packages of a registry")
    return "\n".join(file.read_text("utf-8") for file in packages.files)


def _has_hashes(text: str) -> bool:
    """Whether requirements are a lock already: each has a hash, and nothing is in another file."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#") and not _INDEX.match(line)]
    return bool(wanted) and all("--hash=" in line for line in wanted)


def _digest(file: Path) -> str:
    """Of requirements with all that they name."""
    found, ahead = [], [file]
    while ahead:
        file = ahead.pop()
        if file not in found and file.is_file():
            found.append(file)
            ahead += [file.parent / name for name in _NESTED.findall(file.read_text("utf-8"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in found)).hexdigest()


def python_of(packages: Packages) -> str:
    """The Python that runs the program: the one that `.python-version` asks for, else cellwave's own."""
    asked = packages.folder / ".python-version"
    if not asked.is_file():
        return sys.executable
    return uv(packages, "python", "find", "--no-project", asked.read_text("utf-8").split()[0]).strip()


def uv(packages: Packages, *arguments: str) -> str:
    """Run uv beside the program; what it printed. Unavailable, in its own words, when it can't."""
    return run([sys.executable, "-m", "uv", "-q", *arguments], packages, UV_PYTHON_DOWNLOADS="never")


def run(command: list[str], packages: Packages, **variables: str) -> str:
    """Run a tool in the program's folder; what it printed. Unavailable, in its own words, when it can't."""
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")} | variables
    try:
        done = subprocess.run(
            command, cwd=packages.folder, env=environment, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=TIMEOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the packages of {packages.source} can't be had: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise Unavailable(f"the packages of {packages.source} can't be had:\n{said[:2000]}")
    return done.stdout
