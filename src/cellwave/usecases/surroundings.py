"""What every use case stands on: the project, the environment it works in, the records."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cellwave.environment import portable, whoami, with_account
from cellwave.errors import Unavailable
from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project
from cellwave.releases.open import open_store
from cellwave.releases.sources import fleet_in
from cellwave.releases.store import ReleaseStore
from cellwave.target import backend_folder, canonical_target, makes_folder
from cellwave.waves.model import Strategy
from cellwave.waves.parse import parse_strategy

if TYPE_CHECKING:
    from cellwave.deploy.backend import StateBackend
    from cellwave.rollout.records import Records, StackRow


@dataclass(frozen=True)
class Surroundings:
    """Where something is asked for. `tell` takes what a person should hear beside what comes of it."""

    project: Project
    tell: Callable[[str], None] = lambda _: None

    @cached_property
    def _variables(self) -> Mapping[str, str]:
        """This shell's variables; when they name no state backend and this project's sandbox is up, the sandbox's."""
        environment = dict(os.environ)
        if not environment.get("PULUMI_BACKEND_URL"):
            from cellwave.sandbox.server import environment as sandbox_environment

            # A profile or token of the shell would win over the sandbox's keys.
            own = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
            environment = own | sandbox_environment(self.project)
        return portable(environment, os.getcwd())

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The environment of deployments. Unavailable when there is no state backend, its folder is gone, or the
        variables are those of a sandbox that is no longer there."""
        url = self._variables["PULUMI_BACKEND_URL"]
        from cellwave.sandbox import server

        # The sandbox's state with other credentials would be taken for what runs in real accounts.
        if self._variables.get("CELLWAVE_SANDBOX") or self.target == server.target(self.project):
            server.require_current(self.project, self._variables)
        folder = backend_folder(url)
        if folder is None or makes_folder(url) or (folder.is_dir() and os.access(folder, os.W_OK)):
            return self._variables
        raise Unavailable(
            f"the state backend can't be reached: {folder} is not a folder that can be written",
            hint="PULUMI_BACKEND_URL names it; `cellwave sandbox up` makes the sandbox's",
        )

    def ready(self) -> None:
        """Unavailable when a deployment could not work: no engine, no state backend, a full disk."""
        from cellwave.rollout.space import require_space
        from cellwave.toolchain.engine import require_engine

        require_engine(self.project)
        require_space(self.project.home)
        _ = self.environment

    @property
    def target(self) -> str:
        """The state backend's one name: what a rollout works on, and what stacks are recorded under."""
        return canonical_target(self._variables["PULUMI_BACKEND_URL"])

    @cached_property
    def records(self) -> Records:
        """The database of rollouts. Unavailable when it is not the one that this project has worked with."""
        from cellwave.rollout.identity import remember, require_known, require_same
        from cellwave.rollout.records import Records

        self.project.make_home()
        require_known(self.project.home, self.project.database_url)
        records = Records(self.project.database_url)
        require_same(self.project.home, records)
        remember(self.project.home, records)
        return records

    @cached_property
    def store(self) -> ReleaseStore:
        """The releases."""
        return open_store(self.project)

    @cached_property
    def backend(self) -> StateBackend:
        """The state backend, to be asked what is there. Unavailable as `environment`, or without an engine."""
        from cellwave.deploy.backend import open_backend
        from cellwave.toolchain.engine import require_engine

        environment = with_account(self.environment, self.project.home)
        return open_backend(require_engine(self.project).path, environment)

    def configuration(self, release: str | None = None) -> tuple[Fleet, Strategy]:
        """Fleet and strategy: as a release (its digest) froze them, or of the working tree."""
        if release is None:
            source, fleet = self.project, parse_fleet(self.project.config_files())
        else:
            folder = self.store.path(release)
            source, fleet = Project(folder), fleet_in(folder)
        return fleet, parse_strategy(source.waves_file(), fleet)

    def stacks(self) -> dict[str, StackRow]:
        """What each stack runs, as far as a state backend is there to speak of."""
        records = self.records  # a database that can't be used is no lesser trouble
        try:
            return records.stacks(self.target)
        except Unavailable as missing:
            self.tell(f"what runs where is not known: {missing.message}")
            return {}

    def running(self) -> dict[str, str | None]:
        """The release that each stack runs."""
        return {name: row.release for name, row in self.stacks().items()}

    @contextmanager
    def exported(self) -> Iterator[None]:
        """The deployments' environment as this process's own, for boto3."""
        before, wanted = dict(os.environ), dict(self.environment)
        os.environ.clear()
        os.environ.update(wanted)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def note(self, kind: str, text: str, subject: str, key: str = "") -> None:
        """Append a journal line of something that was asked for; the same `key` is written once."""
        from cellwave.rollout.model import Note

        note = Note(kind=kind, text=text, actor=whoami(), subject=subject)
        self.records.note(key or str(uuid.uuid4()), note)
