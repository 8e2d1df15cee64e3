"""What a rollout looks at: whether a wave may start, what the gates say, and whether all is good again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cellwave.errors import CellwaveError, Unavailable
from cellwave.fleet.model import AlarmSignal, Fleet
from cellwave.health.model import GateResult
from cellwave.health.ports import Scope, SignalSource
from cellwave.health.read import Watched, counting, open_alarms, read_gates
from cellwave.releases.sources import fleet_in
from cellwave.releases.store import ReleaseStore
from cellwave.rollout.backward import restored
from cellwave.rollout.model import Leg, State
from cellwave.rollout.records import Records, StackRow
from cellwave.rollout.space import require_space
from cellwave.waves.model import Step

Seen = tuple[tuple[str, ...], tuple[GateResult, ...]]  # problems in words, and gates


def fleet_of(store: ReleaseStore, release: str) -> Fleet:
    """The fleet as a release froze it."""
    return fleet_in(store.path(release))


def scope_of(store: ReleaseStore, step: Step, outputs: Mapping[str, str]) -> Scope:
    """Where a deployment's signals are read, and what their texts may name."""
    return Scope.of(fleet_of(store, step.release), step.cell, step.service, outputs)


@dataclass(frozen=True)
class Looks:
    """The ports that looks go through. `home` is where space must be free, `target` names the state backend."""

    home: Path
    target: str
    records: Records
    store: ReleaseStore
    signals: SignalSource

    def before(self, state: State) -> Seen:
        """What speaks against starting the current wave, a full disk or a red alarm, and the gates of earlier waves."""
        problems: list[str] = []
        try:
            require_space(self.home)
        except Unavailable as full:
            problems.append(full.message)
        leg, running = state.forward, self.records.stacks(self.target)
        scopes = self._scopes(leg.current.steps, running)
        problems += open_alarms(fleet_of(self.store, leg.plan.release), scopes, self.signals, time.time())
        return tuple(problems), self._gates(state, running)

    def during(self, state: State) -> tuple[GateResult, ...]:
        """Every gate of the cells that the rollout has changed, as it reads now, wave by wave."""
        return self._gates(state, self.records.stacks(self.target))

    def _gates(self, state: State, running: Mapping[str, StackRow]) -> tuple[GateResult, ...]:
        leg, now = state.forward, time.time()
        fleet = fleet_of(self.store, leg.plan.release)
        gates = counting(fleet, ((step.cell, step.service) for step in leg.plan.steps))

        @cache
        def control(service: str, previous: str | None) -> tuple[Scope, ...]:
            return self._control(state, service, previous, running)

        def beside(scope: Scope) -> tuple[Scope, ...]:
            return control(scope.service, leg.step(f"{scope.cell}.{scope.service}").previous)

        found: list[GateResult] = []
        for number, wave in enumerate(leg.plan.waves[: leg.position.wave + 1]):
            # Whatever the clock was set to meanwhile. What bakes converged before; an earlier wave's bake is over.
            bakes = number == leg.position.wave and leg.stage == "baking"
            since = now - leg.position.watched if bakes else 0.0
            touched = {step.cell for step in wave.steps if not leg.keeps(step)}
            watched = [
                Watched(
                    scope=scope_of(self.store, step, running[step.deployment].outputs),
                    since=min(leg.track(step.deployment).at, since or now),
                )
                for step in wave.steps
                if leg.phase_of(step) == "converged" and step.deployment in running and step.cell in touched
            ]
            found += read_gates(
                fleet, watched, self.signals, wave.bake, since, gates=gates, now=now, control=beside
            )
        return tuple(found)

    def after(self, state: State, back: Leg) -> Seen:
        """After the way back: the alarms that are still red, and the other gates of what runs again."""
        problems: list[str] = []
        found: list[GateResult] = []
        steps, running = restored(back), self.records.stacks(self.target)
        for release in sorted({step.release for step in steps}):
            fleet, scopes = (
                fleet_of(self.store, release),
                self._scopes((s for s in steps if s.release == release), running),
            )
            problems += open_alarms(fleet, scopes, self.signals, time.time())
            watched = [
                Watched(scope=scope, since=back.track(f"{scope.cell}.{scope.service}").at)
                for scope in scopes.values()
            ]
            bake, gates = state.forward.current.bake, counting(fleet, scopes)
            results = read_gates(fleet, watched, self.signals, bake, 0.0, gates=gates, now=time.time())
            # An alarm that was red meanwhile, and is no more, is good again.
            found += [r for r in results if not isinstance(_signal(fleet, r), AlarmSignal)]
        return tuple(problems), tuple(found)

    def _scopes(self, steps: Iterable[Step], running: Mapping[str, StackRow]) -> dict[tuple[str, str], Scope]:
        return {
            (step.cell, step.service): scope_of(self.store, step, running[step.deployment].outputs)
            for step in steps
            if step.deployment in running
        }

    def _control(
        self, state: State, service: str, previous: str | None, running: Mapping[str, StackRow]
    ) -> tuple[Scope, ...]:
        """The service where the records know that the release before runs, which is not held, and nobody changes it."""
        release = state.leg.plan.release
        if previous in (None, release) or self._is_doubtful(str(previous)):
            return ()
        fleet, leases = fleet_of(self.store, release), self.records.leases()
        touched = {name.split(".")[0] for name in state.touched}
        return tuple(
            Scope.of(fleet, cell.name, service, row.outputs)
            for cell in fleet.every_cell
            if service in {known.name for known in fleet.services_of(cell.name)}
            and leases.get(cell.name, state.head.rollout) == state.head.rollout
            and (row := running.get(f"{cell.name}.{service}")) is not None
            and row.known
            and row.release == previous
            and cell.name not in touched
        )

    def _is_doubtful(self, release: str) -> bool:
        """Whether it is held, or the store can't say: what it does says nothing of what is right."""
        with suppress(CellwaveError, OSError):
            return self.store.held(release) is not None
        return True


def _signal(fleet: Fleet, result: GateResult) -> object:
    return fleet.service(result.cell, result.service).signals[result.gate]
