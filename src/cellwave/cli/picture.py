"""A rollout as a picture for a terminal: waves from left to right, cells in them, each cell's services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cellwave.cli.show import text
from cellwave.health.model import GateResult, Verdict
from cellwave.text import visible
from cellwave.usecases.views import MOST, AheadView, FailureView, RolloutView, WaveView

MARKS = {
    "pending": ("·", "dim"),
    "running": ("◐", "yellow"),
    "converged": ("●", "green"),
    "kept": ("○", "green"),
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
STAGE_STYLES = {"": "dim", "done": "green", "going back": "magenta"}  # else it is at work
VERDICT_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "red",
}


def picture(rollout: RolloutView, progress: Mapping[str, tuple[str, int]], now: float) -> RenderableType:
    """The whole picture. `progress` is what each engine is doing; `now` is epoch seconds."""
    end = rollout.ended_at or now
    title = Text.assemble(
        (visible(rollout.id), "bold"),
        "  ",
        (rollout.status.replace("_", " "), STATUS_STYLES[rollout.status]),
        f"  {max(0.0, end - rollout.started_at):.0f} s" if rollout.started_at else "",
    )
    gates = () if rollout.outcome else rollout.gates
    parts: list[RenderableType] = [title]
    if rollout.trouble:
        parts.append(text(f"it can't go on: {rollout.trouble}", STATUS_STYLES["failed"]))
    if failing := [gate for gate in gates if gate.verdict == Verdict.FAIL]:
        parts.append(_gates(failing, 0))  # first: a low window shows the beginning
    parts.append(Columns([_wave(wave) for wave in rollout.waves], padding=(0, 1)))
    if rollout.ahead and rollout.ahead.previewable:
        parts.append(text(ahead_in_words(rollout.ahead), "yellow" if rollout.ahead.findings else "dim"))
    if rollout.reason:
        parts.append(text(rollout.reason, STATUS_STYLES[rollout.status]))
    if rollout.failures:
        parts.append(_failures(rollout.failures))
    if rollout.running:
        parts.append(_engines(rollout.running, progress))
    if others := [gate for gate in gates if gate.verdict != Verdict.FAIL]:
        parts.append(_gates(others, rollout.passed))
    return Group(*parts)


def ahead_in_words(ahead: AheadView) -> str:
    """What is known of the next wave."""
    told = f"wave {ahead.wave}: {ahead.previewed} of {ahead.previewable} previewed"
    if ahead.previewed:
        told += f": {ahead.changing} change, {ahead.lost or 'nothing'} replaced or deleted"
    return told + "".join(f"; {name}: {problem}" for name, problem in ahead.findings.items())


def _wave(wave: WaveView) -> Panel:
    table = Table.grid(padding=(0, 1))
    for cell in wave.cells:
        marks = Text()
        for service, phase in cell.services:
            mark, style = MARKS[phase]
            marks.append(f"{mark} {service}  ", style=style)
        table.add_row(text(cell.name, "bold"), marks)
    if wave.more:
        counted = (
            (f"{mark} {wave.phases[phase]:,} {phase}  ", style)
            for phase, (mark, style) in MARKS.items()
            if wave.phases.get(phase)
        )
        more = text(f"{wave.more:,} {'more' if wave.cells else 'cells'}", "bold")
        table.add_row(more, Text.assemble(*counted))
    style = STAGE_STYLES.get(wave.stage, "yellow")
    title = text(f"wave {wave.number} {wave.name}")
    return Panel(table, title=title, subtitle=wave.stage, border_style=style)


def _failures(failures: Sequence[FailureView]) -> Table:
    """Each with its kind, and what mends that, once a kind."""
    table = Table.grid(padding=(0, 2))
    told: set[str] = set()
    for failure in failures[:MOST]:
        where = f"{failure.deployment}{' (back)' if failure.back else ''}"
        advice = "" if failure.fault in told else failure.advice
        told.add(failure.fault)
        table.add_row(text(failure.fault, "bold red"), text(where), text(advice, "dim"))
    if len(failures) > MOST:
        table.add_row(text(f"and {len(failures) - MOST:,} more", "bold red"))
    return table


def _engines(running: Sequence[str], progress: Mapping[str, tuple[str, int]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for deployment in running[:MOST]:
        doing, done = progress.get(deployment, ("starting", 0))
        table.add_row(text(deployment, "yellow"), f"{done} done" if done else "", text(doing, "dim"))
    if len(running) > MOST:
        table.add_row(text(f"and {len(running) - MOST:,} more", "yellow"))
    return table


def _gates(gates: Sequence[GateResult], passed: int) -> Table:
    """Gates, each in a row; of many, those that tell more than that all is well come first. So many more `passed`."""
    table = Table.grid(padding=(0, 2))
    order = sorted(gates, key=lambda gate: gate.verdict == Verdict.PASS) if len(gates) > MOST else gates
    for gate in order[:MOST]:
        style = VERDICT_STYLES[gate.verdict]
        table.add_row(
            text(gate.verdict, style),
            text(f"{gate.cell}.{gate.service} {gate.gate}"),
            text(gate.reason, "dim"),
        )
    rest = Counter(gate.verdict for gate in order[MOST:])
    rest[Verdict.PASS] += passed
    if rest := +rest:
        table.add_row("", text("and " + ", ".join(f"{count:,} {verdict}" for verdict, count in rest.items())))
    return table
