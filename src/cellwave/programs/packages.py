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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from cellwave.errors import Fault, Unavailable
from cellwave.programs.settings import runtime_of
from cellwave.text import redact
from cellwave.words import of_installer

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
    "pip": (LOCK, ".python-version", "uv.toml"),
    "uv": ("pyproject.toml", ".python-version", "uv.toml"),
    "poetry": (".python-version",),
    "npm": ("package.json",),
}
_WRITES = {"uv": "uv lock", "poetry": "poetry lock", "npm": "npm install"}
_INDEX = re.compile(r"\s*(-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host)\b")
_NESTED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]*(\S+)", re.MULTILINE)
_LOCKED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w,. -]+\])?==|#|--hash=|$")
# A user with a password, or a token alone: not `${NAME}`, nor the fixed user's name that some registries have.
_CREDENTIALS = re.compile(
    r"https?://(?:[^/\s:@\"']+:(?!\$\{\w+\}@)[^/\s\"']*|(?!\$\{\w+\}@)[^/\s:@\"']{20,})@"
)
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
    folders = folders_of(root.resolve(), str(project.get("main", ".")))
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


def folders_of(root: Path, main: str) -> list[Path]:
    """From the folder of the program (`main` of the Pulumi.yaml in `root`) up to the root."""
    program = (root / main).resolve()
    start = program if program.is_dir() else program.parent
    return [folder for folder in (start, *start.parents) if folder.is_relative_to(root)] or [root]


def renew_lock(packages: Packages) -> bool:
    """Write `cellwave.lock` when a requirements.txt needs one and it is missing or of other requirements; whether it
    was written. Versions that still fit stay.

    NoLock: requirements of no index or without Pulumi, a file that is none, or one with credentials in it. Unavailable:
    there is no solution, or a uv.lock is not of its pyproject.toml any more.
    """
    named = _with_nested(packages.source) if packages.kind == "pip" else []
    for file in dict.fromkeys((*packages.files, *named)):
        _refuse_credentials(file)
    if packages.kind == "uv":
        uv(packages, "lock", "--check")
    if packages.kind != "pip" or _has_hashes(text_of(packages.source)):
        return False
    lock = packages.folder / LOCK
    head = f"# of {packages.source.name}, sha256:{_digest(named)}\n"
    if lock.is_file() and _of_cellwave(lock).startswith(head):
        return False
    lines = [line for file in named for line in text_of(file).splitlines()]
    head += "".join(line + "\n" for line in lines if _INDEX.match(line))
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch, LOCK)
        if lock.is_file():
            shutil.copyfile(lock, fresh)
        uv(packages, "pip", "compile", "--universal", "--generate-hashes", "--no-annotate", "--no-header",
           "--python", python_of(packages), packages.source.name, "-o", str(fresh))  # fmt: skip
        locked = _with_pulumi(packages, _of_indexes(packages, fresh.read_text("utf-8")))
    # Of no release, should this be killed here.
    partial = packages.folder / f"{LOCK}.{os.getpid()}~"
    try:
        partial.write_text(head + locked, "utf-8")
        partial.replace(lock)
    finally:
        partial.unlink(missing_ok=True)
    return True


def _refuse_credentials(file: Path) -> None:
    """NoLock for credentials in a file that a release holds, and so whoever reads releases."""
    for number, line in enumerate(text_of(file).splitlines(), 1):
        if found := _CREDENTIALS.search(line):
            host = re.split(r"[/\s\"']", line[found.end() :])[0]
            right = "${NAME} of the environment in its place in requirements.txt, or ~/.netrc or ~/.npmrc"
            raise NoLock(f"{file.name}:{number} holds a password or token for {host}", right)


def text_of(file: Path) -> str:
    """A file's text without a byte-order mark; NoLock when it is not UTF-8."""
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise NoLock(f"{file.name} is not in UTF-8", "UTF-8") from None


def _of_indexes(packages: Packages, text: str) -> str:
    """Requirements that each have a version and hashes; NoLock for a folder, a repository or an address."""
    for line in text.splitlines():
        if not _LOCKED.match(line.strip()):
            raise NoLock(f"{packages.source.name} asks for {redact(line.strip())!r}", "a package of an index")
    return text


def lock_of(packages: Packages) -> str:
    """The lock: requirements with versions and hashes, or what npm wrote. NoLock when there is none, or no Pulumi."""
    text = {"pip": _of_pip, "uv": _of_uv, "poetry": _of_poetry, "npm": _of_npm}[packages.kind](packages)
    return text if packages.kind == "npm" else _with_pulumi(packages, text)


def _with_pulumi(packages: Packages, text: str) -> str:
    if not _PULUMI.search(text):
        raise NoLock(f"{packages.source.name} has no pulumi", "pulumi among the packages of a program")
    return text


def _of_pip(packages: Packages) -> str:
    text = text_of(packages.source)
    if _has_hashes(text):
        return text
    lock = packages.folder / LOCK
    if not lock.is_file():
        raise NoLock(f"{packages.source.name} has no hashes, and there is no {LOCK}", "one of them")
    return _of_cellwave(lock)


def _of_cellwave(lock: Path) -> str:
    """What cellwave has written; NoLock when somebody has worked on it since, or a merge has."""
    text = text_of(lock)
    for number, line in enumerate(text.splitlines(), 1):
        if not (_LOCKED.match(line.strip()) or _INDEX.match(line)):
            right = "the file as it was made; without it, the next `cellwave release build` makes it"
            raise NoLock(f"{LOCK}:{number} is {redact(line.strip())!r}", right)
    return text


def _of_uv(packages: Packages) -> str:
    asked = ("--frozen", "--no-dev", "--no-emit-project", "--no-annotate", "--no-header")
    return _of_indexes(packages, uv(packages, "export", *asked))


def _of_poetry(packages: Packages) -> str:
    try:
        lock = tomllib.loads(text_of(packages.source))
        if str(lock["metadata"]["lock-version"]).split(".") < ["2", "1"]:
            raise NoLock("poetry.lock is of an old format", "the one that `poetry lock` of Poetry 2 writes")
        return "".join(_poetry_lines(lock.get("package", [])))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise NoLock(f"poetry.lock can't be read: {error}", "what `poetry lock` of Poetry 2 writes") from None


def _poetry_lines(found: list[dict[str, Any]]) -> Iterator[str]:
    """The requirements of the main group, behind the indexes that are not PyPI."""
    wanted = [one for one in found if "main" in one["groups"] and not one.get("optional")]
    sources = [one.get("source", {"type": "legacy"}) for one in wanted]
    yield from dict.fromkeys(f"--extra-index-url {source['url']}\n" for source in sources if "url" in source)
    for package, source in zip(wanted, sources, strict=True):
        if source["type"] != "legacy":
            raise NoLock(f"poetry.lock has {package['name']} of a {source['type']}", "packages of an index")
        markers = package.get("markers", "")
        markers = markers.get("main", "") if isinstance(markers, dict) else markers
        hashes = " ".join(f"--hash={file['hash']}" for file in package["files"])
        yield f"{package['name']}=={package['version']}{' ; ' * bool(markers)}{markers} {hashes}\n"


def _of_npm(packages: Packages) -> str:
    if '"link": true' in text_of(packages.source):
        raise NoLock("package-lock.json links a folder", "packages of a registry")
    return "\n".join(text_of(file) for file in packages.files)


def _has_hashes(text: str) -> bool:
    """Whether requirements are a lock already: each has a hash, and nothing is in another file."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#") and not _INDEX.match(line)]
    return bool(wanted) and all("--hash=" in line for line in wanted)


def _with_nested(file: Path) -> list[Path]:
    """A file of requirements with all that it names."""
    found: list[Path] = []
    ahead = [file]
    while ahead:
        file = ahead.pop()
        if file not in found and file.is_file():
            found.append(file)
            ahead += [file.parent / name for name in _NESTED.findall(text_of(file))]
    return found


def _digest(files: list[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def python_of(packages: Packages) -> str:
    """The Python that runs the program: the one that `.python-version` asks for, else cellwave's own."""
    file = packages.folder / ".python-version"
    lines = [line.strip() for line in text_of(file).splitlines()] if file.is_file() else []
    asked = next((line for line in lines if line and not line.startswith("#")), None)
    if asked is None:
        return sys.executable
    # Not the one of a virtual environment beside the program, which may go.
    return uv(packages, "python", "find", "--no-project", "--system", asked).strip()


def uv(packages: Packages, *arguments: str, held: IO[str] | None = None) -> str:
    """Run uv beside the program; what it printed. `held` as for `run`. Unavailable, in its own words, when it can't."""
    quiet = () if arguments[0] == "python" else ("-q",)  # it would say nothing at all
    # -P: a program may have a types.py, and a uv.py of its own is not uv.
    command = [sys.executable, "-P", "-m", "uv", *quiet, *arguments]
    return run(command, packages, held=held, UV_PYTHON_DOWNLOADS="never")


def run(command: list[str], packages: Packages, held: IO[str] | None = None, **variables: str) -> str:
    """Run a tool in the program's folder; what it printed. Unavailable, in its own words, when it can't.

    `held` is a locked file that the tool holds too: when this process is killed, the tool goes on.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")} | variables
    try:
        done = subprocess.run(
            command, cwd=packages.folder, env=environment, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=TIMEOUT, pass_fds=[held.fileno()] if held else (),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        kinds: dict[type[Exception], Fault] = {
            subprocess.TimeoutExpired: "network",
            FileNotFoundError: "host",
        }
        fault = kinds.get(type(error), "unknown")  # else it says so itself
        raise Unavailable(f"the packages of {packages.source} can't be had: {error}", fault=fault) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise Unavailable(
            f"the packages of {packages.source} can't be had:\n{redact(said)[:2000]}",
            fault=of_installer(done.returncode, said),
        )
    return done.stdout
