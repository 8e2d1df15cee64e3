"""docs/semantics.md names a test for every rule, and docs/security.md one for every line of its table."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/semantics.md").read_text()
SECURITY = (ROOT / "docs/security.md").read_text()
RULES = [line for line in TEXT.splitlines() if line.startswith("- ") and "::" in line]


def test_every_rule_is_held_by_a_test_that_exists() -> None:
    """Whoever renames a test renames it there too."""
    threats = [line for line in SECURITY.splitlines() if line.startswith("| ")][1:]
    assert RULES
    assert threats
    assert all("::" in line for line in threats)
    for path, name in re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT + SECURITY):
        found = ROOT / "tests" / (path if "/" in path else f"rollout/{path}")
        assert re.search(rf"^(def {name}\(|{name}\b)", found.read_text(), re.M), f"{path}::{name}"


def test_every_invariant_is_a_check_that_exists() -> None:
    """The names after the rules of the model test are those of its checks."""
    laws = "".join((ROOT / "tests/rollout" / name).read_text() for name in ("laws.py", "outside.py"))
    for name in re.findall(r"`(\w+)`", TEXT.split("## Whatever happens")[1]):
        assert f"def {name}(" in laws, name
