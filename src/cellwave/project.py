"""Where a project's files are. Everything generated stays under `.cellwave/`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cellwave.errors import BadInput

YAML_LIKE = re.compile(r"(.+?)\.ya?ml(?:\.txt)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Project:
    """A project's folder: the one that holds `waves.yaml` and `cells/`."""

    root: Path

    @property
    def home(self) -> Path:
        """The folder of everything generated; CELLWAVE_HOME moves it (tests give each run its own)."""
        return Path(os.environ.get("CELLWAVE_HOME") or self.root / ".cellwave").resolve()

    def make_home(self) -> None:
        """Make the folder of everything generated, for its owner alone: state, keys and logs are in it.

        BadInput when it can't be made, is somebody else's, or stays readable for others.
        """
        named = os.environ.get("CELLWAVE_HOME")
        where = "CELLWAVE_HOME" if named else str(self.home)
        right = "a folder of your own, on a file system that keeps permissions"
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            owner = self.home.stat().st_uid
            if named and owner != os.geteuid():
                raise BadInput(where, f"{self.home} is uid {owner}'s, not uid {os.geteuid()}'s", right)
            self.home.chmod(0o700)
        except OSError as error:
            raise BadInput(where, f"{self.home} can't be made private: {error.strerror}", right) from error
        if self.home.stat().st_mode & 0o077:
            raise BadInput(where, f"others can read {self.home}, whatever its permissions are set to", right)

    @property
    def bin(self) -> Path:
        """The engine and its language host; shared by every run of this checkout, so CELLWAVE_HOME leaves it."""
        return self.root / ".cellwave" / "bin"

    @property
    def database_url(self) -> str:
        """Where rollouts, journal and leases live: a SQLite file unless CELLWAVE_DATABASE_URL names a PostgreSQL."""
        return os.environ.get("CELLWAVE_DATABASE_URL") or f"sqlite:///{self.home / 'cellwave.db'}"

    def config_files(self) -> dict[str, str]:
        """The text of `cells/*.yaml` by path relative to the project, in name order.

        BadInput: one is not UTF-8, or a file is there that somebody may take for a region's and nobody reads.
        """
        for path in sorted((self.root / "cells").rglob("*")):
            _refuse_unread(path, self.root, "cells")
        return {f"cells/{p.name}": self._text(p) for p in sorted((self.root / "cells").glob("*.yaml"))}

    def waves_file(self) -> str:
        """The text of waves.yaml; BadInput if it is not UTF-8, or waves.yml lies beside it."""
        for path in sorted(self.root.glob("[Ww][Aa][Vv][Ee][Ss].*")):
            _refuse_unread(path, self.root, "")
        return self._text(self.root / "waves.yaml")

    def _text(self, path: Path) -> str:
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError as error:
            where = f"{path.relative_to(self.root)}:byte {error.start + 1}"
            raise BadInput(where, "not UTF-8 text", "a file saved as UTF-8") from error
        except OSError as error:
            where = str(path.relative_to(self.root))
            raise BadInput(where, f"it can't be read: {error.strerror}", "a file that can be read") from error


def _refuse_unread(path: Path, root: Path, folder: str) -> None:
    """BadInput for what looks like a YAML file and is not `folder`/*.yaml: it would be passed over in silence."""
    looks = YAML_LIKE.fullmatch(path.name)
    if looks and not (path.suffix == ".yaml" and path.parent == root / folder):
        right = f"{looks[1]}.yaml, in {folder}/ itself" if folder else f"{looks[1].lower()}.yaml"
        raise BadInput(str(path.relative_to(root)), "a file of this name, in this place, is not read", right)


def find_project(start: Path | None = None) -> Project:
    """The project around `start` (default: CELLWAVE_PROJECT, else the working directory); BadInput without one."""
    begin = (start or Path(os.environ.get("CELLWAVE_PROJECT") or Path.cwd())).resolve()
    for folder in (begin, *begin.parents):
        if (folder / "waves.yaml").is_file() and (folder / "cells").is_dir():
            return Project(folder)
    raise BadInput(
        str(begin), "no waves.yaml with a cells/ folder here or above", "run inside a cellwave project"
    )
