"""A rollout as a picture for a terminal: waves from left to right, cells in them, each cell's services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cellwave.cli.show import text
from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.state import Leg, State
from cellwave.text import visible

MARKS = {
    "pending": ("·", "dim"),
    "running": ("◐", "yellow"),
    "converged": ("●", "green"),
    "failed": ("✗", "bold red"),
    "back_running": ("◑", "magenta"),
    "back": ("↺", "cyan"),
}
STATUS_STYLES = {
    "running": "bold yellow",
    "paused": "bold yellow",
    "waiting": "bold yellow",
    "rolling_back": "bold magenta",
    "done": "bold green",
    "rolled_back": "bold cyan",
    "failed": "bold red",
}
VERDICT_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "red",
}


def picture(state: State, progress: Mapping[str, tuple[str, int]], now: float) -> RenderableType:
    """The whole picture. `progress` is what each engine is doing; `now` is epoch seconds."""
    end = state.ended_at or now
    title = Text.assemble(
        (visible(state.rollout), "bold"),
        "  ",
        (state.status.replace("_", " "), STATUS_STYLES[state.status]),
        f"  {max(0.0, end - state.started_at):.0f} s" if state.started_at else "",
    )
    panels = [_wave(state, number) for number in range(len(state.forward.plan.waves))]
    gates = () if state.outcome else state.gates
    parts: list[RenderableType] = [title]
    if failing := [gate for gate in gates if gate.verdict == Verdict.FAIL]:
        parts.append(_gates(failing))  # first: a low window shows the beginning
    parts.append(Columns(panels, padding=(0, 1)))
    if why := state.reason or state.condemned or state.waiting:
        parts.append(text(why, STATUS_STYLES[state.status]))
    if engines := _engines(state.leg, progress):
        parts.append(engines)
    if others := [gate for gate in gates if gate.verdict != Verdict.FAIL]:
        parts.append(_gates(others))
    return Group(*parts)


def _wave(state: State, number: int) -> Panel:
    leg = state.forward
    wave = leg.plan.waves[number]
    table = Table.grid(padding=(0, 1))
    for cell in wave.cells:
        marks = Text()
        for step in (s for s in wave.steps if s.cell == cell):
            mark, style = MARKS[_phase(state, step.deployment)]
            marks.append(f"{mark} {step.service}  ", style=style)
        table.add_row(text(cell, "bold"), marks)
    stage, style = _stage(state, number)
    return Panel(table, title=text(f"wave {wave.number} {wave.name}"), subtitle=stage, border_style=style)


def _phase(state: State, deployment: str) -> str:
    if state.back and deployment in {s.deployment for s in state.back.plan.steps}:
        back = state.back.track(deployment).phase
        if back in ("running", "converged"):
            return "back_running" if back == "running" else "back"
    return state.forward.track(deployment).phase


def _stage(state: State, number: int) -> tuple[str, str]:
    leg = state.forward
    if number > leg.wave or state.outcome in ("rolled_back", "failed"):
        return "", "dim"
    if number < leg.wave or state.outcome == "done":
        return "done", "green"
    if state.condemned:
        return "going back", "magenta"
    return leg.stage, "yellow"


def _engines(leg: Leg, progress: Mapping[str, tuple[str, int]]) -> Table | None:
    if not leg.running:
        return None
    table = Table.grid(padding=(0, 2))
    for step in leg.running:
        doing, done = progress.get(step.deployment, ("starting", 0))
        table.add_row(text(step.deployment, "yellow"), f"{done} done" if done else "", text(doing, "dim"))
    return table


def _gates(gates: Sequence[GateResult]) -> Table:
    table = Table.grid(padding=(0, 2))
    for gate in gates:
        style = VERDICT_STYLES[gate.verdict]
        table.add_row(
            text(gate.verdict, style),
            text(f"{gate.cell}.{gate.service} {gate.gate}"),
            text(gate.reason, "dim"),
        )
    return table
