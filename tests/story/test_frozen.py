"""A deployment that freezes in mid-rollout: whoever looks reads what hangs, and a rollback does not wait for it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cellwave.processes import holders
from tests.story import test_other_service
from tests.story.conftest import Story
from tests.story.test_other_service import PROGRAM, greeting

pytestmark = pytest.mark.engine
hello = test_other_service.hello  # a fixture

# The new greeting is set, and then the program goes on for an hour.
ENDLESS = """
import time
def wait(_value):
    time.sleep(3600)
if not pulumi.runtime.is_dry_run():
    greeting.value.apply(wait)
"""


def freeze_driver(story: Story) -> int | None:
    """Stop the driver of the attempt that runs; None when none does."""
    for lock in (story.project.home / "deploy").glob("*/lock"):
        found = {process.pid: process for process in holders(lock)}
        for pid, process in found.items():
            if process.name() != "pulumi" and process.ppid() not in found:
                os.kill(pid, signal.SIGSTOP)
                return pid
    return None


def test_a_frozen_deployment_is_named_and_a_rollback_does_not_wait_for_it(hello: Story) -> None:
    """The old release is back in every cell, and nothing of the frozen attempt is left."""
    program = hello.project.root / "hello" / "__main__.py"
    hello.run("release", "build", "--version", "v1")
    hello.run("rollout", "start", "v1")
    program.write_text(PROGRAM.replace('"hello"', '"good day"') + ENDLESS)
    hello.run("release", "build", "--version", "v2")
    hello.run("rollout", "start", "v2", "--detach")
    hello.wait("the new greeting", lambda: greeting(hello, "one") == "good day")
    pid = freeze_driver(hello)
    assert pid
    named = "the process that runs the deployment, silent for"
    hello.wait("a word on what hangs", lambda: named in " ".join(hello.run("rollout", "status").split()))
    hello.run("rollout", "rollback", "-m", "it hangs", "--yes", code=3)
    assert {greeting(hello, cell) for cell in ("one", "two")} == {"hello"}
    assert not Path(f"/proc/{pid}").exists()
