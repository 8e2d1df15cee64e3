"""Texts that people read."""

from __future__ import annotations

import pytest

from cellwave.text import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 cells"), (1, "1 cell"), (2, "2 cells"), (10_000, "10,000 cells")]
)
def test_one_is_no_plural_and_many_are_readable(number: int, said: str) -> None:
    """A number and what it counts."""
    assert counted(number, "cell") == said
