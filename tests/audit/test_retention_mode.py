"""How long the archive is locked is a cell's own to say."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest

from audit.stacks.buckets import Retention
from cellwave.cell import CellContext
from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project


def context(**labels: str) -> CellContext:
    """The storage of a cell with these labels."""
    fleet = parse_fleet(find_project(Path(__file__).parent).config_files())
    cell = fleet.cell("us-west-2").model_copy(update={"labels": labels})
    return CellContext(fleet, cell, fleet.service("us-west-2", "storage"), Path(), "worktree")


def test_on_aws_nobody_deletes_for_a_year(monkeypatch: pytest.MonkeyPatch) -> None:
    """COMPLIANCE without a label; the sandbox locks for a day, and not against its owner."""
    monkeypatch.delenv("CELLWAVE_SANDBOX", raising=False)
    assert Retention.of(context()) == Retention("COMPLIANCE", 365)
    monkeypatch.setenv("CELLWAVE_SANDBOX", "1")
    assert Retention.of(context()) == Retention("GOVERNANCE", 1)


def test_labels_say_otherwise() -> None:
    """A cell whose law asks for more gets more, in the sandbox too."""
    found = Retention.of(context(retention_mode="COMPLIANCE", retention_days="3650"))
    assert found == Retention("COMPLIANCE", 3650)


@pytest.mark.parametrize(
    "labels", [{"retention_mode": "none"}, {"retention_days": "0"}, {"retention_days": "a week"}]
)
def test_labels_that_make_no_sense_are_refused(labels: dict[str, str]) -> None:
    """With what was found and what would be right."""
    with pytest.raises(pulumi.RunError, match=r"us-west-2: labels .* expected GOVERNANCE or COMPLIANCE"):
        Retention.of(context(**labels))
