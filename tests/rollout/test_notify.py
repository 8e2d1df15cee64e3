"""Somebody is told when a rollout wants a person, turns round or ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from cellwave.deploy.port import Deployer
from cellwave.health.model import Verdict
from cellwave.health.ports import SignalSource
from cellwave.releases.store import DirectoryStore
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import Notify, first_state
from cellwave.rollout.outbox import Asked
from cellwave.rollout.records import Records
from cellwave.waves.model import Bake
from tests.rollout.driven import World, gate
from tests.rollout.plans import plan


class OneFolder(DirectoryStore):
    """One folder for whatever release is asked for."""

    def path(self, digest: str) -> Path:
        """See ReleaseStore."""
        return self._root


def test_whom_the_plan_names_is_told_what_a_person_should_hear() -> None:
    """That an approval is wanted, that a gate turned it round, that it is undone; nothing where nobody is named."""
    made = plan([["a"]], approve=True, bake=Bake(seconds=10, samples=1, limit=20))
    for command in ((), ("page", "on-call")):
        world = World(made.model_copy(update={"notify": command}))
        world.order("approve")
        world.passed_check()
        world.run_all()
        world.observe(gate("a", Verdict.FAIL))
        world.run_all()
        told = [effect.what for effect in world.take(Notify)]
        assert told == (["waiting", "rolling_back", "rolled_back"] if command else [])


def perform(folder: Path, command: tuple[str, ...]) -> Records:
    """Tell the command that a rollout is done."""
    records = Records(f"sqlite:///{folder / 'db'}")
    made = plan([["a"]]).model_copy(update={"notify": command})
    row = records.create_rollout(first_state("v2-1", made), "ann", "t", 1.0)
    ports = (cast(Deployer, None), cast(SignalSource, None))
    effects = Effects(folder, "t", records, OneFolder(folder), *ports)
    news = Notify(turn=7, what="done", text="v2 runs in 1 cell")
    asked = Asked(
        key=f"{row.name}:notify:7:done", rollout=row.id, effect=news, at=5.0, round=0, undo_since=0.0
    )
    effects.notify(asked, news)
    return records


def test_the_command_gets_the_news_as_json(tmp_path: Path) -> None:
    """It runs in the release's folder, and learns which rollout of what it is about."""
    (tmp_path / "page").write_text("#!/bin/sh\ncat > $1\n")
    (tmp_path / "page").chmod(0o755)
    records = perform(tmp_path, ("./page", "told.json"))
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["rollout"], told["version"], told["what"], told["text"]) == (
        "v2-1",
        "v2",
        "done",
        "v2 runs in 1 cell",
    )
    assert records.journal("v2-1") == []


def test_a_command_that_fails_is_journaled(tmp_path: Path) -> None:
    """Nobody was told: whoever reads the journal learns it, with what the command said."""
    (tmp_path / "page").write_text("#!/bin/sh\necho no line >&2\nexit 3\n")
    (tmp_path / "page").chmod(0o755)
    for command, why in ((("./page",), "no line"), (("./nobody",), "No such file")):
        (tmp_path / "db").unlink(missing_ok=True)
        [entry] = perform(tmp_path, command).journal("v2-1")
        assert entry.kind == "not_notified"
        assert why in entry.text
