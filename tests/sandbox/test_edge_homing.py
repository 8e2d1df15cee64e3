"""Home cells."""

from __future__ import annotations

import base64
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cellwave.fleet.model import Cell
from cellwave.sandbox.edge.homing import application_of, home_cell

CELLS = st.lists(
    st.builds(
        Cell,
        name=st.integers(0, 999).map("cell-{}".format).map(lambda name: name.replace("-", "")),
        account=st.just("200000000001"),
        aws_region=st.just("us-east-1"),
        weight=st.floats(0.1, 100),
    ),
    min_size=2,
    max_size=6,
    unique_by=lambda cell: cell.name,
)


@given(st.text(max_size=30), CELLS)
def test_the_order_of_the_cells_does_not_matter(application: str, cells: list[Cell]) -> None:
    """An application has the same home however the cells are listed."""
    assert home_cell(application, cells) == home_cell(application, reversed(cells))


@given(st.text(max_size=30), CELLS)
def test_removing_another_cell_moves_nobody(application: str, cells: list[Cell]) -> None:
    """An application stays where it is when a cell that isn't its home goes away (or comes back)."""
    home = home_cell(application, cells)
    for gone in cells:
        if gone != home:
            assert home_cell(application, [cell for cell in cells if cell != gone]) == home


@given(st.text(max_size=30), CELLS, st.floats(1, 10))
def test_more_weight_never_sends_an_application_away(
    application: str, cells: list[Cell], factor: float
) -> None:
    """Raising a cell's weight keeps every application that lives there."""
    home = home_cell(application, cells)
    heavier = home.model_copy(update={"weight": home.weight * factor})
    assert home_cell(application, [heavier, *(c for c in cells if c != home)]).name == home.name


def test_applications_spread_by_weight() -> None:
    """A cell of three times the weight is home to three times the applications."""
    cells = [
        Cell(name=name, account="200000000001", aws_region="us-east-1", weight=weight)
        for name, weight in (("light", 1), ("heavy", 3))
    ]
    homes = Counter(home_cell(f"app-{n}", cells).name for n in range(4000))
    assert 0.72 < homes["heavy"] / 4000 < 0.78


def test_the_application_is_the_first_field_of_the_key() -> None:
    """Writers' and readers' keys of one application name it alike."""
    for key in ("acme,secret", "acme,tenant-1,secret"):
        assert application_of("Bearer " + base64.b64encode(key.encode()).decode()) == "acme"


@given(st.text())
def test_any_key_has_an_application(key: str) -> None:
    """What can't be read counts as no application; nothing is raised."""
    assert isinstance(application_of(f"Bearer {key}"), str)
    assert application_of(key) == "" or key.lower().startswith("bearer ")
