"""What nobody expected keeps its traceback, where a person looks; what is told of it elsewhere is short."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from pulumi.runtime.proto.events_pb2 import EventRequest
from pulumi.runtime.proto.language_pb2 import RunRequest

from cellwave.deploy import drive as driving
from cellwave.deploy.attempt import open_attempt
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.drive import Task, drive
from cellwave.deploy.fence import since_boot, write_deadline
from cellwave.deploy.hosts import UNSEEN, Look, LookingHost, Program, hosting
from cellwave.deploy.logs import newest_log
from cellwave.deploy.port import Job, Result
from cellwave.errors import Unavailable
from cellwave.rollout.model import Deploy, Deployed, Failure, Prove, Proved
from cellwave.rollout.records import Records
from cellwave.rollout.track import Track
from tests.rollout.test_view_effects import World, world  # noqa: F401 - a fixture

JOB = Job(
    attempt="v1-1:a.app:forward:1", stack="a.app", operation="up", program="/nowhere", source="/nowhere"
)


def driven(home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Result:
    """What comes of an attempt in whose preparation something is raised."""

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(driving, "prepare_work", broken)
    attempt = open_attempt(home, JOB.attempt)
    result = drive(Task(JOB, "/nowhere", dict(os.environ), attempt, -1, home, Deadlines()))
    attempt.finish(result)
    return result


def test_an_unexpected_exception_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the attempt's folder and `cellwave logs`, whole but for secrets; it condemns nothing."""
    result = driven(tmp_path, monkeypatch, KeyError("password=hunter2"))
    assert (result.outcome, result.fault) == ("failed", "unknown")
    assert result.reason == "cellwave itself failed: KeyError: 'password=[secret]'; see `cellwave logs`"
    left = newest_log(tmp_path, "a.app")
    assert left.fault == "unknown"
    assert left.traceback.startswith("Traceback (most recent call last):")
    assert "in broken\n" in left.traceback
    assert "hunter2" not in left.model_dump_json()


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ValueError("Pulumi.yaml names no project"), "release"),
        (Unavailable("the packages can't be had", fault="network"), "network"),
        (ConnectionResetError(104, "Connection reset by peer"), "network"),
    ],
)
def test_what_is_expected_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, fault: str
) -> None:
    """A traceback would say no more."""
    result = driven(tmp_path, monkeypatch, error)
    assert result.fault == fault
    assert str(error) in result.reason
    assert newest_log(tmp_path, "a.app").traceback == ""


def test_an_attempt_that_begins_again_has_no_traceback_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has one that succeeded."""
    driven(tmp_path, monkeypatch, KeyError("x"))
    attempt = open_attempt(tmp_path, JOB.attempt)
    assert attempt.traceback.exists()
    assert attempt.traceback.stat().st_mode & 0o777 == 0o600
    attempt.begin(JOB)
    assert not attempt.traceback.exists()


def test_a_program_s_host_that_breaks_tells_why(tmp_path: Path) -> None:
    """It is a fork: what it raises is in the attempt's folder too."""
    missing = tmp_path / "there" / "is none"
    program = Program(missing, missing, None, dict(os.environ), tmp_path / "program.log")
    gone, alive = os.pipe()
    with (
        pytest.raises(Unavailable, match="did not start: FileNotFoundError"),
        hosting(program, None, gone, alive),
    ):
        pass
    assert "in _be_host" in (tmp_path / "traceback.log").read_text()


@pytest.mark.parametrize("effect", [Deploy, Prove])
def test_an_effect_that_breaks_keeps_its_traceback(
    world: World,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    effect: type[Deploy] | type[Prove],
) -> None:
    """Before anything of the attempt was begun; the rollout hears the short form."""

    def broken(*_: object) -> None:
        raise KeyError("token=hunter2")

    asked = world.asked(effect(step=world.step(""), attempt=1, back=False), Track())
    monkeypatch.setattr("cellwave.rollout.effects.fleet_of", broken)
    told: list[object] = []
    monkeypatch.setattr(Records, "begin", lambda *_: asked)
    monkeypatch.setattr(Records, "finish", lambda _records, _asked, event, _worker: told.append(event))
    world.effects.perform(asked.key)
    [event] = told
    assert isinstance(event, Deployed | Proved)
    failure = event.result if isinstance(event, Deployed) else event.failure
    assert failure == Failure(reason="KeyError: 'token=[secret]'", fault="unknown")
    left = newest_log(tmp_path, "a.app")
    assert "in broken\n" in left.traceback
    assert "hunter2" not in left.traceback


def test_a_look_ahead_that_breaks_keeps_its_traceback(tmp_path: Path) -> None:
    """The engine tells no more of it than that it was in vain, and the program runs no further."""

    def broken(_: object) -> Result:
        raise KeyError("password=hunter2")

    look = Look(broken, tmp_path / "events.jsonl", tmp_path / "refused")
    program = Program(tmp_path, tmp_path, None, dict(os.environ), tmp_path / "program.log")
    host = LookingHost(program, look, "nowhere")
    with pytest.raises(KeyError):
        host.StreamEvents(iter([EventRequest(event="{}\n")]), Mock())
    assert host.Run(RunRequest(dryRun=False), Mock()).error == UNSEEN
    left = (tmp_path / "traceback.log").read_text()
    assert "in broken\n" in left
    assert "hunter2" not in left


def test_a_driver_whose_time_is_over_before_it_begins_surprises_nobody(tmp_path: Path) -> None:
    """No engine has printed anything then: it is told that this host had lost touch."""
    (tmp_path / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    write_deadline(tmp_path / "until", since_boot() - 1)
    program = {"program": str(tmp_path), "source": str(tmp_path), "fence": str(tmp_path / "until")}
    attempt = open_attempt(tmp_path, JOB.attempt)
    environment = {**os.environ, "PULUMI_BACKEND_URL": f"file://{tmp_path}"}
    job = JOB.model_copy(update=program)
    result = drive(Task(job, "/nowhere", environment, attempt, -1, tmp_path, Deadlines()))
    assert (result.outcome, result.fault) == ("failed", "network"), result.reason
    assert "lost touch" in result.reason
    assert not attempt.traceback.exists()
