"""An `up` that looks ahead: what its preview shows decides whether the program is run for the update."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import grpc
import pytest
from pulumi.runtime.proto import events_pb2, language_pb2

from cellwave.deploy.events import Story
from cellwave.deploy.hosts import Look, LookingHost, Program
from cellwave.deploy.port import Result

NO_CONTEXT = cast(grpc.ServicerContext, SimpleNamespace())
NOWHERE = "127.0.0.1:1"  # the host that would run the update


def looking(folder: Path, refusal: Result | None) -> LookingHost:
    """A host whose look comes to that, of an update that nobody would run."""
    program = Program(folder, folder, None, {}, folder / "program.log")
    return LookingHost(program, Look(lambda _story: refusal, folder / "events", folder / "refused"), NOWHERE)


def stream(host: LookingHost, *events: object) -> None:
    """The engine's events of one run."""
    host.StreamEvents(
        (events_pb2.EventRequest(event=json.dumps(event) + "\n") for event in events), NO_CONTEXT
    )


def update(host: LookingHost) -> str:
    """What the engine is told when it wants the program run for the update."""
    return host.Run(language_pb2.RunRequest(dryRun=False), NO_CONTEXT).error


def test_an_update_that_is_refused_runs_no_program(tmp_path: Path) -> None:
    """The engine is told why, and so is the attempt."""
    host = looking(tmp_path, Result(outcome="refused", reason="it would delete the bucket"))
    stream(host, {"summaryEvent": {"resourceChanges": {"delete": 1}}})
    assert update(host) == "it would delete the bucket"
    assert Result.model_validate_json((tmp_path / "refused").read_text()).outcome == "refused"


def test_what_could_not_be_looked_at_is_not_updated(tmp_path: Path) -> None:
    """No events came: the look did not fail, it did not happen."""
    host = looking(tmp_path, None)
    assert update(host) == "what the preview showed could not be looked at"
    assert not (tmp_path / "refused").exists()


def test_what_nothing_speaks_against_is_handed_on(tmp_path: Path) -> None:
    """To a host that has run nothing yet: here there is none."""
    host = looking(tmp_path, None)
    stream(host, {"summaryEvent": {}})
    with pytest.raises(grpc.RpcError):
        update(host)


def test_only_what_the_preview_shows_is_looked_at(tmp_path: Path) -> None:
    """The events of the update follow; what is left of them afterwards are those of the update."""
    seen: list[Story] = []

    def look(story: Story) -> None:
        seen.append(story)

    program = Program(tmp_path, tmp_path, None, {}, tmp_path / "program.log")
    host = LookingHost(program, Look(look, tmp_path / "events", tmp_path / "refused"), NOWHERE)
    stream(host, {"summaryEvent": {"resourceChanges": {"create": 1}}})
    stream(host, {"summaryEvent": {"resourceChanges": {"create": 2}}})
    assert [story.changes for story in seen] == [{"create": 1}]
    assert json.loads((tmp_path / "events").read_text()) == {
        "summaryEvent": {"resourceChanges": {"create": 2}}
    }
