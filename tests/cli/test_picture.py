"""A rollout as a picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from cellwave.cli import rollout as cli
from cellwave.cli.picture import picture
from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.glance import Glance, LegGlance
from cellwave.rollout.leg import Position
from cellwave.rollout.model import first_state
from cellwave.rollout.outline import Outline
from cellwave.rollout.track import Phase
from cellwave.usecases import rollouts
from cellwave.usecases.surroundings import Surroundings
from cellwave.usecases.views import MOST, RolloutView, view_of
from cellwave.waves.model import Plan
from tests.rollout.plans import plan
from tests.rollout.states import glance_of, row_of


def shown(made: Plan, phases: dict[str, Phase], **others: object) -> str:
    """The picture of a rollout whose deployments are in these phases, as a wide terminal shows it."""
    forward = LegGlance(Position(stage="deploying"), Outline.of(made), phases, {}, frozenset())
    seen = view_of(Glance(row_of(first_state("v2-1", made)), forward), ())
    out = io.StringIO()
    view = seen.model_copy(update=others)
    Console(file=out, width=160, markup=False).print(picture(view, {}, 2.0))
    return out.getvalue()


def test_of_a_large_wave_what_is_at_work_is_shown_and_the_rest_counted() -> None:
    """A thousand cells at rest are a line; one that runs or has failed has its own."""
    cells = [f"c{n}" for n in range(1000)]
    services = {"storage": (), "ingest": ()}
    phases: dict[str, Phase] = {f"c{n}.{name}": "converged" for n in range(600) for name in services}
    odd: dict[str, Phase] = {"at-work.storage": "proving", "in-trouble.ingest": "failed"}
    drawn = shown(plan([[*cells, "at-work", "in-trouble"]], services=services), phases | odd)
    assert "1,000 more" in drawn
    assert "● 1,200 converged" in drawn
    assert "· 800 pending" in drawn
    assert "at-work    ◐ storage  · ingest" in drawn
    assert "in-trouble · storage  ✗ ingest" in drawn
    assert "c0 " not in drawn
    assert "c0 " in shown(plan([cells[:MOST]], services=services), phases)


def test_in_a_large_rollout_a_small_wave_has_all_its_cells() -> None:
    """And of more cells at work than anybody reads, the first."""
    cells = [f"c{n}" for n in range(100)]
    made = plan([["canary"], cells], services={"s": ()})
    busy: dict[str, Phase] = {f"{cell}.s": "running" for cell in cells}
    drawn = shown(made, {"canary.s": "converged", **busy})
    assert "canary ● s" in drawn
    assert f"c{MOST - 1} " in drawn
    assert f"c{MOST} " not in drawn
    assert f"{100 - MOST} more ◐ {100 - MOST} running" in drawn


def test_of_many_engines_and_gates_the_telling_ones_are_shown_and_the_rest_counted() -> None:
    """What does not pass is read first."""
    gates = [
        GateResult(cell=f"c{n}", service="ingest", gate="errors", verdict=Verdict.PASS, reason="0 of 9")
        for n in range(100)
    ]
    doubt = gates[0].model_copy(update={"cell": "odd", "verdict": Verdict.INCONCLUSIVE})
    drawn = shown(plan([["a"]]), {}, gates=(*gates, doubt), running=tuple(f"c{n}.query" for n in range(100)))
    assert "odd.ingest errors" in drawn
    assert f"and {101 - MOST} PASS" in drawn
    assert f"and {100 - MOST} more" in drawn


@pytest.mark.parametrize(("takes", "drawn"), [(0.0, 51), (0.1, 11)])
def test_a_large_rollout_is_drawn_for_a_tenth_of_the_time(
    monkeypatch: pytest.MonkeyPatch, takes: float, drawn: int
) -> None:
    """Of ten seconds at five looks each; a small one at each look, and the last is drawn however that was."""
    now, pictures = [0.0], list[float]()
    made = view_of(glance_of(first_state("v2-1", plan([["a"]]))), ())

    def looks(*_: object) -> Iterator[RolloutView]:
        for _look in range(50):
            yield made
            now[0] += 0.2
        yield made.model_copy(update={"status": "done"})

    def view(*_: object) -> RolloutView:
        pictures.append(now[0])
        now[0] += takes
        return made

    monkeypatch.setattr(cli, "time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0]))
    monkeypatch.setattr(rollouts, "looks", looks)
    monkeypatch.setattr(rollouts, "view", view)
    monkeypatch.setattr(cli, "drawn", lambda *_: "a picture")
    last = cli._draw(cast(Surroundings, None), "v2-1", Console(file=io.StringIO()))
    assert (last.status, len(pictures)) == ("done", drawn)
