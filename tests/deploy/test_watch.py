"""The end of an attempt that is over its time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from cellwave.deploy.attempt import open_attempt
from cellwave.deploy.port import Result
from cellwave.deploy.watch import end


def test_an_attempt_that_was_ended_keeps_its_result_though_its_lock_is_let_go_a_moment_later(
    tmp_path: Path,
) -> None:
    """A killed process of many threads is seen to have ended before its files are closed; run again, the attempt must
    not begin anew."""
    attempt = open_attempt(tmp_path, "rollout:a.app:forward:1")
    held = attempt.try_lock()
    assert held is not None
    threading.Timer(0.3, os.close, [held]).start()
    hung = Result(outcome="failed", reason="it hangs", fault="host")
    assert end(attempt, hung) == attempt.result() == hung
    assert not attempt.runs


def test_an_attempt_that_ended_at_the_last_moment_keeps_its_own_result(tmp_path: Path) -> None:
    """What it did counts, not that it was thought to hang."""
    attempt, done = open_attempt(tmp_path, "rollout:a.app:forward:1"), Result(outcome="succeeded")
    attempt.finish(done)
    assert end(attempt, Result(outcome="failed", reason="it hangs")) == attempt.result() == done
