"""What the state backend's files tell, and how torn ones are mended."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from cellwave.deploy.checkpoint import StackFiles, StackLock, break_lock, locks_in, made_since, stack_files
from tests.deploy.worlds import another_engine

CONTENT = json.dumps({"version": 3, "checkpoint": {"latest": {"resources": []}}})


@pytest.fixture
def files(tmp_path: Path) -> StackFiles:
    """A backend with one stack."""
    found = stack_files({"PULUMI_BACKEND_URL": f"file://{tmp_path}"}, "shop", "a.b")
    assert found is not None
    found.file.parent.mkdir(parents=True)
    found.file.write_text(CONTENT)
    (found.root / "meta.yaml").write_text("version: 1\n")
    return found


def test_other_backends_are_no_directory() -> None:
    """A bucket's or the service's state is asked for through the engine."""
    for url in ("s3://bucket", "https://api.example", ""):
        assert stack_files({"PULUMI_BACKEND_URL": url}, "shop", "a.b") is None


def test_a_stack_is_there_or_not(files: StackFiles) -> None:
    """A stack counts in whatever encoding; an older layout is left to the engine."""
    assert files.has_stack()
    files.file.rename(files.file.with_name("a.b.json.gz"))
    assert files.has_stack()
    assert not StackFiles(files.root, "shop", "c.d").has_stack()
    assert files.is_usable
    (files.root / "meta.yaml").write_text("version: 0\n")
    assert not files.is_usable


def test_a_new_stack_holds_nothing_and_one_that_is_there_stays(files: StackFiles) -> None:
    """It is made whole, as the engine names it; nothing else is left in the folder."""
    new = StackFiles(files.root, "shop", "c.d")
    for stack in (new, files):
        stack.make_stack()
    assert json.loads(new.file.read_text())["checkpoint"] == {"stack": "organization/shop/c.d"}
    assert new.export() == {"version": 3, "deployment": None}
    assert files.file.read_text() == CONTENT
    assert sorted(files.file.parent.iterdir()) == [files.file, new.file]


@pytest.mark.parametrize("ago", [0, 3, 10**7, -7200])
def test_a_lock_is_dead_when_its_engine_is_gone_whatever_the_clock_says(ago: float) -> None:
    """A living engine holds its lock, though the clock was corrected since; a pid that nobody or anybody else has
    holds none."""
    here, at = socket.gethostname(), time.time() - ago
    with another_engine() as engine:
        assert not StackLock(here, engine.pid, "me", at).is_dead_to({})
        engine.kill()
        os.waitid(os.P_PID, engine.pid, os.WEXITED | os.WNOWAIT)
        assert StackLock(here, engine.pid, "me", at).is_dead_to({}), "nobody has waited for it yet"
    assert StackLock(here, engine.pid, "me", at).is_dead_to({})
    assert StackLock(here, os.getpid(), "me", at).is_dead_to({})


def test_another_host_s_lock_is_dead_only_as_far_as_that_host_is_known_to_be() -> None:
    """Nobody here can know whether its process lives; one that is younger than what is known may be a person's."""
    lock = StackLock("elsewhere", 2**22 + 1, "me", 100.0)
    assert not lock.is_dead_to({})
    assert not lock.is_dead_to({"another": 200.0})
    assert not lock.is_dead_to({"elsewhere": 99.0})
    assert lock.is_dead_to({"elsewhere": 100.0})
    here = socket.gethostname()
    with another_engine() as engine:
        assert not StackLock(here, engine.pid, "me", 100.0).is_dead_to({here: 200.0}), "it is seen from here"
        engine.kill()


def test_only_the_broken_lock_goes(files: StackFiles) -> None:
    """A lock that somebody took meanwhile stays."""
    folder = files.root / "locks" / "organization" / "shop" / "a.b"
    folder.mkdir(parents=True)
    content = {"pid": 1, "username": "me", "hostname": "here", "timestamp": "2026-01-01T00:00:00.123456789Z"}
    for name in ("one.json", "two.json"):
        (folder / name).write_text(json.dumps(content))
    first, _second = sorted(files.locks(), key=lambda lock: str(lock.file))
    assert first.owner == "me@here (pid 1)"
    break_lock(first)
    assert [path.name for path in folder.iterdir()] == ["two.json"]


def test_the_engine_s_words_on_locks_are_understood() -> None:
    """Where the backend is no directory, the engine's refusal names the owners."""
    text = (
        "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete "
        "the lock file with `pulumi cancel`.\n  s3://b/.pulumi/locks/x.json: created by me@host-1 (pid 42) at "
        "2026-11-24T22:29:32Z\n"
    )
    (lock,) = locks_in(text)
    assert (lock.user, lock.host, lock.pid, lock.file) == ("me", "host-1", 42, None)
    assert locks_in("error: something else, created by me@host (pid 1) at now") == ()


def test_torn_attributes_are_removed(files: StackFiles) -> None:
    """An engine killed while it wrote them would leave a checkpoint that can't be read."""
    torn, whole = files.file.with_name("a.b.json.attrs"), files.file.with_name("a.b.json.bak.attrs")
    torn.write_text("")
    whole.write_text("{}")
    files.tidy(crashed=False)
    assert not torn.exists()
    assert whole.exists()


def test_half_written_files_go_after_a_crash(files: StackFiles) -> None:
    """While an engine may run, they may be its own."""
    partial = files.file.with_name("a.b.json.18eb.tmp")
    partial.write_text("{")
    files.tidy(crashed=False)
    assert partial.exists()
    files.tidy(crashed=True)
    assert not partial.exists()


def test_a_torn_checkpoint_s_predecessor_takes_its_place(files: StackFiles) -> None:
    """A full disk can tear a checkpoint; the one before it is kept beside it."""
    backup = files.file.with_name("a.b.json.bak")
    backup.write_text(CONTENT)
    files.file.write_text(CONTENT[:20])
    files.tidy(crashed=False)
    assert files.export() == {"version": 3, "deployment": {"resources": []}}


@pytest.mark.parametrize(
    ("noted", "since", "expected"),
    [
        ("1970-01-01T00:01:40.5Z", 100.5, True),
        ("1970-01-01T00:01:40.5Z", 100.6, False),
        ("2026-11-25T05:59:06.926145734Z", 0.0, True),
        (None, 0.0, False),
        ("2026-11-25T05:59:06Z", None, False),
    ],
)
def test_only_what_is_noted_as_new_is_new(noted: str | None, since: float | None, expected: bool) -> None:
    """A way back takes away what its rollout made; what has no date may be somebody's, and stays."""
    resource = {"urn": "x", "type": "aws:sqs/queue:Queue"} | ({"created": noted} if noted else {})
    assert made_since(resource, since) is expected
