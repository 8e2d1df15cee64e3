"""Home cells, and whose request it is."""

from __future__ import annotations

import base64
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cellwave.fleet.homing import home_cell, identity_of
from cellwave.fleet.model import Cell, Homing

KEYS = Homing(header="Authorization", scheme="bearer", base64=True, until=",")
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
def test_the_order_of_the_cells_does_not_matter(identity: str, cells: list[Cell]) -> None:
    """An identity has the same home however the cells are listed."""
    assert home_cell(identity, cells) == home_cell(identity, reversed(cells))


@given(st.text(max_size=30), CELLS)
def test_removing_another_cell_moves_nobody(identity: str, cells: list[Cell]) -> None:
    """An identity stays where it is when a cell that isn't its home goes away (or comes back)."""
    home = home_cell(identity, cells)
    for gone in cells:
        if gone != home:
            assert home_cell(identity, [cell for cell in cells if cell != gone]) == home


@given(st.text(max_size=30), CELLS, st.floats(1, 10))
def test_more_weight_never_sends_an_identity_away(identity: str, cells: list[Cell], factor: float) -> None:
    """Raising a cell's weight keeps every identity that lives there."""
    home = home_cell(identity, cells)
    heavier = home.model_copy(update={"weight": home.weight * factor})
    assert home_cell(identity, [heavier, *(c for c in cells if c != home)]).name == home.name


def test_identities_spread_by_weight() -> None:
    """A cell of three times the weight is home to three times the identities."""
    cells = [
        Cell(name=name, account="200000000001", aws_region="us-east-1", weight=weight)
        for name, weight in (("light", 1), ("heavy", 3))
    ]
    homes = Counter(home_cell(f"app-{n}", cells).name for n in range(4000))
    assert 0.72 < homes["heavy"] / 4000 < 0.78


def test_the_identity_is_what_the_rule_takes_of_a_header() -> None:
    """Keys whose first fields are alike are one identity; without scheme, base64 or end the value is taken whole."""
    for key in ("acme,secret", "acme,reader,secret"):
        header = {"authorization": "Bearer " + base64.b64encode(key.encode()).decode()}
        assert identity_of(header, KEYS) == "acme"
        assert identity_of(header, None) == ""
    assert identity_of({"x-shop": "acme, the first"}, Homing(header="X-Shop")) == "acme, the first"
    assert identity_of({}, Homing(header="X-Shop")) == ""


@given(st.text(), st.text())
def test_an_identity_is_the_same_without_padding(name: str, secret: str) -> None:
    """Else a key would lead to one cell or another by how it is written."""
    name = name.replace(",", "").encode(errors="replace").decode()
    key = base64.b64encode(f"{name},{secret}".encode(errors="replace")).decode()
    for written in (key, key.rstrip("=")):
        assert identity_of({"authorization": f"Bearer {written}"}, KEYS) == name


@given(st.text())
def test_any_header_has_an_identity(value: str) -> None:
    """What can't be read counts as none; nothing is raised."""
    assert isinstance(identity_of({"authorization": f"Bearer {value}"}, KEYS), str)
    assert identity_of({"authorization": value}, KEYS) == "" or value.lower().startswith("bearer ")
