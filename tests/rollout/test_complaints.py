"""The worker's log holds no secrets, and does not grow by what goes wrong again and again."""

from __future__ import annotations

import subprocess
import sys

from cellwave.rollout.complaints import AGAIN_SECONDS, Seldom

COMPLAINS = """
import logging, structlog
from cellwave.rollout.complaints import keep_the_log_small

keep_the_log_small()

def fails(environment):
    raise OSError("password=hunter2 was refused")

for number in range(100):
    try:
        fails({"AWS_SECRET_ACCESS_KEY": "wJalrX" + "UtnFEMI"})
    except OSError:
        structlog.get_logger().exception("nothing can be kept", effect="a")
    logging.getLogger("dbos").warning(f"Exception in queue thread {'' :s}no such table")
"""


def test_a_complaint_is_made_once_and_shows_no_secret() -> None:
    """A hundred of the same are one traceback and one line of DBOS's, without what local variables hold."""
    run = subprocess.run([sys.executable, "-c", COMPLAINS], capture_output=True, text=True, check=True)
    said = run.stdout + run.stderr
    assert said.count("Traceback") == said.count("in queue thread") == 1
    assert "in fails" in said, "a traceback says where"
    assert "UtnFEMI" not in said
    assert "hunter2" not in said
    assert len(said) < 1000


def test_what_still_goes_wrong_is_said_again_after_a_minute() -> None:
    """And what is another complaint is said at once."""
    now = [0.0]
    seldom = Seldom(clock=lambda: now[0])
    assert seldom.is_new("a")
    assert seldom.is_new("b")
    assert not seldom.is_new("a")
    now[0] += AGAIN_SECONDS
    assert seldom.is_new("a")
