"""What waits for an engine, and which of it is next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SECONDS = 120.0


def test_a_preview_waits_for_whatever_changes_something(tmp_path: Path) -> None:
    """Though it was there first."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.rollout.one_engine", f"sqlite:///{tmp_path / 'cellwave.db'}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert ran.stdout.split() == ["deploy1", "deploy2", "preview0"], ran.stderr
