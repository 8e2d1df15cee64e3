"""What a plan's deployments are called, wave by wave: enough to show a rollout without reading its plan. Pure.

It is kept beside the plan, a twentieth of its size: most of a plan is what each step is to do.
"""

from __future__ import annotations

from itertools import chain
from typing import Self

from cellwave.frozen import Frozen
from cellwave.waves.model import Plan, is_foreseeable


class WaveOutline(Frozen):
    """A wave: its deployments in the plan's order, of how many cells, those that are kept, and how many can be
    previewed before it."""

    number: int
    name: str
    deployments: tuple[str, ...]
    cells: int
    kept: frozenset[str] = frozenset()
    previewable: int = 0


def cell_of(deployment: str) -> str:
    """The cell of a deployment, `<cell>.<service>`."""
    return deployment.rpartition(".")[0]


class Outline(Frozen):
    """A plan's outline: see `Plan`."""

    release: str
    by_hand: bool
    waves: tuple[WaveOutline, ...]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The outline of a plan."""
        steps = {step.deployment: step for step in plan.steps}
        waves = (
            WaveOutline(
                number=wave.number,
                name=wave.name,
                deployments=tuple(step.deployment for step in wave.steps),
                cells=len(wave.cells),
                kept=frozenset(step.deployment for step in wave.steps if step.kept),
                previewable=sum(is_foreseeable(step, steps.get) for step in wave.steps),
            )
            for wave in plan.waves
        )
        return cls(release=plan.release, by_hand=plan.by_hand, waves=tuple(waves))

    @property
    def deployments(self) -> tuple[str, ...]:
        """All deployments, wave after wave."""
        return tuple(chain.from_iterable(wave.deployments for wave in self.waves))

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell, in order."""
        return tuple(dict.fromkeys(map(cell_of, self.deployments)))
