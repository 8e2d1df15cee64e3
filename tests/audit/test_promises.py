"""What docs/audit.md promises is tested, by the tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_is_named_is_there() -> None:
    """In tests/audit, under that name."""
    text = (ROOT / "docs" / "audit.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "tests" / "audit").glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named
    assert named <= set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
