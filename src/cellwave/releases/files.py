"""Which files of a folder a release holds: one rule, and a reason in words for whatever is left out.

Kept is every regular file, dot files too. Left out are what an ignore file names (`.gitignore`, `.cellwaveignore`, at
any depth up to the top of the git repository, read as git reads them) and what is never of a release: version control,
caches, byte code, installed packages, empty folders. A symbolic link, or anything else that is no file, is refused
unless it is left out: its content could lie anywhere.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from cellwave.errors import BadInput

BYTE_CODE = "byte code"
_EDITOR = "of an editor or the system"
_NEVER = {
    **dict.fromkeys((".git", ".hg", ".svn", ".jj"), "version control"),
    **dict.fromkeys((".cellwave", ".pulumi"), "generated"),
    **dict.fromkeys(
        (".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".tox", ".nox"), "a cache"
    ),
    "__pycache__": BYTE_CODE,
    "node_modules": "installed packages; the lock file names them",
    ".DS_Store": _EDITOR,
}
_ENDINGS = {".pyc": BYTE_CODE, ".pyo": BYTE_CODE, ".swp": _EDITOR, "~": _EDITOR}
_IGNORE_FILES = (".gitignore", ".cellwaveignore")
_RIGHT = "a file or folder, or a line for it in .gitignore or .cellwaveignore: a release holds content"


def never(path: Path) -> str:
    """Why a file or folder is of no release, whatever ignore files say; "" when it may be."""
    if path.name in _NEVER:
        return _NEVER[path.name]
    if (path / "pyvenv.cfg").is_file():
        return "a virtual environment; the lock file names its packages"
    return next((why for ending, why in _ENDINGS.items() if path.name.endswith(ending)), "")


@dataclass(frozen=True)
class _Ignore:
    """An ignore file: its folder, its name for a person, and its patterns, one a line."""

    folder: Path
    name: str
    spec: GitIgnoreSpec


@dataclass
class Selection:
    """A project's files as a release takes them. `left_out` says of each path that was met why it is not taken."""

    root: Path
    left_out: dict[str, str] = field(default_factory=dict)

    def below(self, relative: str) -> set[str]:
        """The paths (relative to the root, posix) of a file, or of all files below a folder.

        What is named here is taken although an ignore file above it names it. BadInput: a path that leads out of the
        project, a symbolic link or another thing without content, a name that is not UTF-8.
        """
        path = posixpath.normpath(relative)
        if path.startswith(("/", "..")):
            raise BadInput(
                relative, "a path that leads out of the project", "a file or folder of the project"
            )
        start, ignores = self.root, self._around()
        for part in PurePosixPath(path).parts:
            start = start / part
            if why := never(start):
                self.left_out[path] = why
                return set()
            self._check(start)
            if start.is_dir():
                ignores = ([] if _ignored(start, ignores) else ignores) + self._ignores(start)
        if start.is_file():
            return {path}
        return set(self._walk(start, ignores)) if start.is_dir() else set()

    def _walk(self, folder: Path, ignores: list[_Ignore]) -> Iterator[str]:
        entries = sorted(folder.iterdir())
        if not entries:
            self.left_out[self._named(folder) + "/"] = "an empty folder"
        for path in entries:
            is_folder = path.is_dir() and not path.is_symlink()
            if why := never(path) or _ignored(path, ignores):
                self.left_out[self._named(path) + "/" * is_folder] = why
                continue
            self._check(path)
            if is_folder:
                yield from self._walk(path, [*ignores, *self._ignores(path)])
            else:
                yield self._named(path)

    def _around(self) -> list[_Ignore]:
        """The ignore files from the top of the git repository (or the root) down to the root's own."""
        folders = [self.root, *self.root.parents]
        top = next((n for n, folder in enumerate(folders) if (folder / ".git").exists()), 0)
        return [ignore for folder in reversed(folders[: top + 1]) for ignore in self._ignores(folder)]

    def _ignores(self, folder: Path) -> list[_Ignore]:
        found = []
        for file in (folder / name for name in _IGNORE_FILES):
            if file.is_file() and not file.is_symlink():
                name = posixpath.relpath(file, self.root)
                lines = file.read_text("utf-8", errors="surrogateescape").splitlines()
                try:
                    # An empty line would be dropped, and the lines' numbers with it.
                    spec = GitIgnoreSpec.from_lines(line or "#" for line in lines)
                except ValueError as error:
                    raise BadInput(name, str(error), "patterns as git reads them") from None
                found.append(_Ignore(folder, name, spec))
        return found

    def _check(self, path: Path) -> None:
        name = self._named(path)
        if path.is_symlink():
            raise BadInput(name, "a symbolic link", _RIGHT)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise BadInput(name, "no file or folder, but a pipe, socket or device", _RIGHT)
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BadInput(ascii(name), "a name that is not UTF-8", "another name") from None

    def _named(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _ignored(path: Path, ignores: list[_Ignore]) -> str:
    """The pattern (`file:line`) that leaves the path out; "" when none does. As in git, the last match counts."""
    ending = "/" if path.is_dir() and not path.is_symlink() else ""
    for ignore in reversed(ignores):
        found = ignore.spec.check_file(path.relative_to(ignore.folder).as_posix() + ending)
        if found.include is not None:
            return f"{ignore.name}:{(found.index or 0) + 1}" if found.include else ""
    return ""
