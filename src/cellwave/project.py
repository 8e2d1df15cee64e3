"""Where a project's files are. Everything generated stays under `.cellwave/`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cellwave.errors import BadInput
from cellwave.fleet.files import FOLDER, config_texts, refuse_unread, text_of


@dataclass(frozen=True)
class Project:
    """A project's folder: the one that holds `waves.yaml` and `cells/`."""

    root: Path

    @property
    def home(self) -> Path:
        """The folder of everything generated; CELLWAVE_HOME moves it (tests give each run its own).

        BadInput for a path that can be none.
        """
        named = os.environ.get("CELLWAVE_HOME")
        home = Path(os.path.realpath(named or self.root / ".cellwave"))
        try:
            os.stat(home)
        except (FileNotFoundError, NotADirectoryError):
            pass  # made, or refused, by `make_home`
        except OSError as error:  # too long, or a circle of symbolic links
            where = "CELLWAVE_HOME" if named else str(home)
            raise BadInput(where, str(error.strerror), "the path of a folder") from None
        return home

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
            if self.home.stat().st_mode & 0o777 != 0o700:
                self.home.chmod(0o700)
        except OSError as error:
            raise BadInput(where, f"it can't be made private: {error.strerror}", right) from error
        if self.home.stat().st_mode & 0o077:
            raise BadInput(where, f"others can read {self.home}, whatever its permissions are set to", right)

    @property
    def bin(self) -> Path:
        """The engine and its language host; shared by every run of this checkout, so CELLWAVE_HOME leaves it."""
        return self.root / ".cellwave" / "bin"

    @property
    def database_url(self) -> str:
        """Where rollouts, journal and leases live: a SQLite file unless CELLWAVE_DATABASE_URL names a PostgreSQL."""
        return os.environ.get("CELLWAVE_DATABASE_URL") or self.own_database_url

    @property
    def own_database_url(self) -> str:
        """The SQLite file of this project alone."""
        return f"sqlite:///{quote(str(self.home / 'cellwave.db'))}"

    @property
    def releases(self) -> Path:
        """The folder of releases, or of local copies of those that are kept elsewhere."""
        return self.home / "releases"

    def config_files(self) -> dict[str, str]:
        """The text of `cells/*.yaml` by path relative to the project, in name order; BadInput as `config_texts`."""
        below = (self.root / FOLDER).rglob("*")
        return config_texts([path.relative_to(self.root).as_posix() for path in below], self._bytes)

    def waves_file(self) -> str:
        """The text of waves.yaml; BadInput if it is not UTF-8, or waves.yml lies beside it."""
        for path in sorted(self.root.glob("[Ww][Aa][Vv][Ee][Ss].*")):
            refuse_unread(path.name, "")
        return text_of("waves.yaml", self._bytes)

    def _bytes(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


def find_project(start: Path | None = None) -> Project:
    """The project around `start` (default: CELLWAVE_PROJECT, else the working directory); BadInput without one."""
    begin = (start or Path(os.environ.get("CELLWAVE_PROJECT") or Path.cwd())).resolve()
    for folder in (begin, *begin.parents):
        if (folder / "waves.yaml").is_file() and (folder / FOLDER).is_dir():
            return Project(folder)
    raise BadInput(
        str(begin), "no waves.yaml with a cells/ folder here or above", "run inside a cellwave project"
    )
