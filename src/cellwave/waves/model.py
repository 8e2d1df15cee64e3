"""The strategy a person writes (waves.yaml) and the plan made of it (frozen; a rollout runs its snapshot)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from cellwave.fleet.model import Name
from cellwave.frozen import Frozen, canonical


class Bake(Frozen):
    """The watch after a wave. Both must be reached: `seconds` elapsed and `samples` data points a service and
    cell.

    Too little traffic extends the watch up to `limit` seconds; then the verdict is INCONCLUSIVE and a person
    decides. Trouble that others have too extends it up to `patience` seconds.
    """

    seconds: float = Field(default=0, ge=0)
    samples: int = Field(default=0, ge=0)
    limit: float = Field(default=0, ge=0)
    patience: float = Field(default=0, ge=0)


class Wave(Frozen):
    """Cells changed together: named, or selected by region or label. `concurrency` is cells in flight at
    once.
    """

    name: Name
    cells: tuple[Name, ...] = ()
    regions: tuple[Name, ...] = ()
    labels: dict[str, str] = {}
    concurrency: int | None = Field(default=None, ge=1)
    bake: Bake | None = None
    approve: bool = False


class Strategy(Frozen):
    """waves.yaml. `tolerance` failed cells are let pass; `retries` is for a lone credential, throttling or
    quota error. `notify` is a command and its arguments: it is told when a rollout waits for a person, turns round or
    ends.
    """

    waves: tuple[Wave, ...] = Field(min_length=1)
    concurrency: int = Field(default=1, ge=1)
    bake: Bake = Bake()
    budget: float = Field(default=1.0, gt=0, le=1)
    tolerance: int = Field(default=0, ge=0)
    retries: int = Field(default=1, ge=0)
    rollback_concurrency: int = Field(default=4, ge=1)
    notify: tuple[str, ...] = ()


class Step(Frozen):
    """One deployment of a plan. `after` names the deployments of the same wave that must have converged
    first.

    `release` is the digest to run; `previous` the last one that was proven good there (None: none was). `one_way` is
    why the release may take away what the service keeps ("": it may not). A step that `removes` takes the stack away
    again, which nothing but `release` ever ran on. `unproven` says what stands there where no release is known to have
    been good ("": nothing, or `previous`): there is no way back from such a step, and nothing to take away.

    `inputs` is the digest of all that `release` is to this deployment, and `before` that of what `previous` was to it
    ("": not known). They are equal where a step is `kept`, and that says why: it runs no engine, and is only proved.
    """

    cell: str
    service: str
    after: tuple[str, ...] = ()
    release: str
    previous: str | None = None
    stateful: bool = False
    one_way: str = ""
    removes: bool = False
    unproven: str = ""
    inputs: str = ""
    before: str = ""
    kept: str = ""

    @property
    def deployment(self) -> str:
        """The stack's name, `<cell>.<service>`."""
        return f"{self.cell}.{self.service}"


def is_foreseeable(step: Step, find: Callable[[str], Step | None]) -> bool:
    """Whether a preview before its wave can tell what a step's update will do: there is a stack, and what it needs in
    its cell, over any number of steps, stays as it is. One whose needs are to change would read outputs of before; what
    is kept and needs such a one is deployed after all. `find` has the steps of the plan, by deployment."""
    if step.kept or (step.previous is None and not step.unproven):
        return False
    seen, left = set[str](), [*step.after]
    while left:
        if (name := left.pop()) in seen:
            continue
        seen.add(name)
        need = find(name)
        if need and need.cell == step.cell:
            if not need.kept:
                return False
            left += need.after
    return True


class PlannedWave(Frozen):
    """A wave of a plan, its steps in an order that respects `after`, and why each cell stands in it.

    `number` is its place in waves.yaml (a plan of some cells only may leave numbers out). `note` says in
    words why `concurrency` is lower than asked for.
    """

    number: int
    name: str
    steps: tuple[Step, ...]
    concurrency: int
    bake: Bake
    approve: bool = False
    reasons: dict[str, str] = {}
    note: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The wave's cells in the order of their first step."""
        return tuple(dict.fromkeys(step.cell for step in self.steps))

    @property
    def doors(self) -> dict[str, str]:
        """Why each service that is a one-way door in this wave is one."""
        return {step.service: step.one_way for step in self.steps if step.one_way and not step.kept}


class Plan(Frozen):
    """A frozen value: waves of deployments in order. A rollback's plan has direction "back": its waves are taken all at
    once. `partners` maps a cell to its failover partner: the two are never in flight together, on either way. (The
    partner may be no cell of the plan: then no other rollout may have it meanwhile.)

    One `by_hand` is of one cell, at a person's word: nothing is looked at before it, and its release is not held when
    it fails.
    """

    release: str
    version: str
    direction: Literal["forward", "back"] = "forward"
    tolerance: int = 0
    retries: int = 1
    rollback_concurrency: int = 4
    by_hand: bool = False
    notify: tuple[str, ...] = ()
    partners: dict[str, str] = {}
    waves: tuple[PlannedWave, ...] = Field(min_length=1)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, wave after wave."""
        return tuple(step for wave in self.waves for step in wave.steps)

    @property
    def kept(self) -> tuple[Step, ...]:
        """The steps that run no engine."""
        return tuple(step for step in self.steps if step.kept)

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell of the plan, in order."""
        return tuple(dict.fromkeys(step.cell for step in self.steps))

    def to_json(self) -> str:
        """The plan as canonical JSON."""
        return canonical(self.model_dump(mode="json"))
