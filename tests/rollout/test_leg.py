"""What a cell of a plan is, of the tracks of its steps."""

from __future__ import annotations

import pytest

from cellwave.rollout.leg import Leg
from cellwave.rollout.track import Phase, Track
from tests.rollout.plans import plan

IN_FLIGHT: dict[str, tuple[dict[str, Phase], bool]] = {
    "nothing has begun": ({}, False),
    "one step is at work": ({"a.storage": "running"}, True),
    "between two steps": ({"a.storage": "converged"}, True),
    "one failed, one still at work": (
        {"a.storage": "converged", "a.ingest": "failed", "a.query": "proving"},
        True,
    ),
    "stopped by a failure": ({"a.storage": "converged", "a.ingest": "failed"}, False),
    "wholly on the release": (dict.fromkeys(("a.storage", "a.ingest", "a.query"), "converged"), False),
}


@pytest.mark.parametrize(("phases", "flying"), IN_FLIGHT.values(), ids=tuple(IN_FLIGHT))
def test_a_cell_is_in_flight_while_it_is_partly_changed(phases: dict[str, Phase], flying: bool) -> None:
    """Begun, and neither wholly on the release nor stopped by a failure."""
    leg = Leg.of(
        plan([["a"]]), tracks={name: Track(phase=phase, attempt=1) for name, phase in phases.items()}
    )
    assert leg.flying_in("a") == flying


def test_a_cell_whose_rest_waits_for_another_ones_failure_is_not_in_flight() -> None:
    """It will not go on by itself, and holds up nobody."""
    made = plan([["a", "b"]], services={"s": (), "t": ()}, pairs=[("a", "b")])
    phases: dict[str, Phase] = {"a.s": "failed", "b.s": "converged"}
    leg = Leg.of(made, tracks={name: Track(phase=phase, attempt=1) for name, phase in phases.items()})
    assert not leg.flying_in("b")


def test_on_the_way_back_of_an_older_plan_cells_wait_for_each_other_only_as_partners() -> None:
    """Its waves are taken at once, and what it says to come after another cell is kept apart from it, no more."""
    old = plan([["a", "b"], ["c"]], pairs=[("a", "b")]).model_copy(
        update={"direction": "back", "partners": {}}
    )
    leg = Leg.of(old)
    assert {step.cell for step in leg.steps(leg.index.ready)} == {"a", "b", "c"}
    assert [site.partners for site in leg.shape.sites] == [("b",), ("a",), ()]
    assert len(leg.shape.waves) == 1
