"""A rollout as a picture."""

from __future__ import annotations

import io

from rich.console import Console

from cellwave.cli.picture import MOST, picture
from cellwave.health.model import GateResult, Verdict
from cellwave.usecases.views import CellView, RolloutView, WaveView


def shown(cells: tuple[CellView, ...], **others: object) -> str:
    """The picture of a rollout with one wave of these cells, as a wide terminal shows it."""
    wave = WaveView(number=1, name="all", stage="deploying", cells=cells)
    values: dict[str, object] = {
        "id": "v2-1", "version": "v2", "target": "t", "actor": "ann", "created": 1.0, "started_at": 1.0,
        "ended_at": 0.0, "status": "running", "outcome": "", "reason": "", "waiting": None, "trouble": "",
        "paused": "", "cells": (), "touched": (), "wave": "all", "release": "n", "waves": (wave,),
        "running": (), "gates": (), "attempts": 0, "first_change_at": 0.0, "condemned_at": 0.0, "failures": (),
        "ahead": None,
    }  # fmt: skip
    out = io.StringIO()
    view = RolloutView.model_validate({**values, **others})
    Console(file=out, width=160, markup=False).print(picture(view, {}, 2.0))
    return out.getvalue()


def cell(name: str, phase: str) -> CellView:
    """A cell with two services in one phase."""
    return CellView(name=name, services=(("storage", phase), ("ingest", phase)))


def test_of_a_large_wave_what_is_at_work_is_shown_and_the_rest_counted() -> None:
    """A thousand cells at rest are a line; one that runs or has failed has its own."""
    cells = tuple(cell(f"c{n}", "converged" if n < 600 else "pending") for n in range(1000))
    drawn = shown((*cells, cell("at-work", "running"), cell("in-trouble", "failed")))
    assert "1,000 more" in drawn
    assert "● 1,200 converged" in drawn
    assert "· 800 pending" in drawn
    assert "at-work" in drawn
    assert "in-trouble" in drawn
    assert "c0 " not in drawn
    assert "c0 " in shown(cells[:MOST])


def test_of_many_engines_and_gates_the_telling_ones_are_shown_and_the_rest_counted() -> None:
    """What does not pass is read first."""
    gates = [
        GateResult(cell=f"c{n}", service="ingest", gate="errors", verdict=Verdict.PASS, reason="0 of 9")
        for n in range(100)
    ]
    doubt = gates[0].model_copy(update={"cell": "odd", "verdict": Verdict.INCONCLUSIVE})
    drawn = shown((), gates=(*gates, doubt), running=tuple(f"c{n}.query" for n in range(100)))
    assert "odd.ingest errors" in drawn
    assert f"and {101 - MOST} PASS" in drawn
    assert f"and {100 - MOST} more" in drawn
