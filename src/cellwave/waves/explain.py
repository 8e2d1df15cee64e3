"""A plan for people: rows of a table, pictures (Graphviz, Mermaid) and answers to "why is this cell here?".
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from cellwave.errors import BadInput
from cellwave.fleet.yamlfile import did_you_mean
from cellwave.text import counted, visible
from cellwave.waves.model import Bake, Plan, PlannedWave, Step, is_foreseeable

MOST_ROWS = 30  # of a wave, that a person still reads one by one
SHOWN = 3


class Row(NamedTuple):
    """A cell of a plan, in words. The texts of `wave`, `concurrency` and `bake` are those of its wave."""

    wave: str
    cell: str
    services: str
    concurrency: str
    bake: str
    why: str


def to_rows(plan: Plan) -> list[Row]:
    """A row a cell, in the plan's order."""
    return [row for wave in plan.waves for row in _rows(wave)]


def _rows(wave: PlannedWave) -> Iterator[Row]:
    number, steps, doors = f"{wave.number} {wave.name}", _by_cell(wave), _one_way(wave)
    concurrency = _concurrency(wave) + (f" ({wave.note})" if wave.note else "")
    bake = _bake(wave.bake)
    for cell in dict.fromkeys((*steps, *wave.reasons)):
        own = steps.get(cell, [])
        services = "; ".join((_services(own), *doors, *_no_way_back(own)))
        yield Row(number, cell, services, concurrency, bake, wave.reasons.get(cell, ""))


def summed(rows: Iterable[Row]) -> list[Row]:
    """These rows; of a wave with many, a row for all cells that have the same services."""
    found: list[Row] = []
    for _, group in groupby(rows, attrgetter("wave")):
        some = [*group]
        alike: dict[str, list[Row]] = {}
        for row in some:
            alike.setdefault(row.services if len(some) > MOST_ROWS else row.cell, []).append(row)
        found += [_one_row(same) for same in alike.values()]
    return found


def _one_row(rows: Sequence[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    cells = ", ".join(row.cell for row in rows[:SHOWN])
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    reasons = dict.fromkeys(row.why.split("; ")[0] for row in rows)
    common = f"{next(iter(reasons))}; " if len(reasons) == 1 else ""
    return rows[0]._replace(cell=cells + more, why=f"{common}each cell's own with --why CELL")


def why(plan: Plan, cell: str) -> str:
    """Why a cell stands where it stands, in whole sentences; BadInput for a cell that the plan does not have."""
    known = dict.fromkeys(name for wave in plan.waves for name in (*wave.cells, *wave.reasons))
    if cell not in known:
        raise BadInput("cell", f"{cell!r} is not in the plan", did_you_mean(cell, known, "cells of the plan"))
    return "\n".join(visible(sentence) for sentence in _sentences(plan, cell))


def tally(plan: Plan) -> str:
    """How many deployments run an engine, and how many are kept, in words."""
    kept = len(plan.kept)
    return f"{len(plan.steps) - kept} to deploy" + (f", {kept} kept" if kept else "")


def to_dot(plan: Plan) -> str:
    """The plan as a Graphviz digraph: a cluster a wave and a cell, an edge where one waits for another."""
    font = "fontname=Helvetica"
    lines = [
        "digraph plan {",
        f"  graph [{font}, fontsize=12];",
        f"  label={_dot(_title(plan))}; labelloc=t; fontsize=15;",
        "  rankdir=LR; compound=true; nodesep=0.25; ranksep=0.6;",
        f'  node [shape=box, style="rounded,filled", fillcolor=white, color="#5b6b7f", {font}, fontsize=11];',
        '  edge [color="#5b6b7f", arrowsize=0.7];',
    ]
    for index, wave in enumerate(plan.waves):
        lines += _dot_wave(index, wave)
        if index + 1 < len(plan.waves):
            lines += _dot_gap(index, plan)
    return "\n".join([*lines, "}", ""])


def to_mermaid(plan: Plan) -> str:
    """The plan as a Mermaid flowchart, with the same parts as the Graphviz picture."""
    lines = ["---", f"title: {_quoted(_title(plan))}", "---", "flowchart LR"]
    for index, wave in enumerate(plan.waves):
        lines += _mermaid_wave(index, wave)
    for index, wave in enumerate(plan.waves[:-1]):
        lines.append(f'  w{index} == "{_bake(wave.bake)}" ==> w{index + 1}')
    lines.append("  classDef wave fill:#eef3fa,stroke:#9db2cf,color:#1f2d3d")
    lines.append("  classDef cell fill:#ffffff,stroke:#c3cfde,color:#1f2d3d")
    return "\n".join([*lines, ""])


def _sentences(plan: Plan, cell: str) -> Iterator[str]:
    for place, wave in enumerate(plan.waves):
        steps = [step for step in wave.steps if step.cell == cell]
        if not steps and cell not in wave.reasons:
            continue
        yield f"{cell} is in wave {wave.number} ({wave.name}): {wave.reasons.get(cell, 'no reason given')}."
        if place:
            previous = plan.waves[place - 1]
            yield f"It waits for wave {previous.number} ({previous.name}): {_bake(previous.bake)}."
            yield from _meanwhile(previous.bake, steps)
        others = sorted({name.split(".")[0] for s in steps for name in s.after} - {cell})
        if others:
            yield f"In its wave it waits for {', '.join(others)}."
        if steps:
            yield f"Order of its services: {_services(steps)}."
        for step in steps:
            if step.kept:
                yield f"{step.service} is kept: {step.kept}."
        for door in _doors(wave):
            yield f"It has a {door}."
        if wave.note:
            yield f"Its wave changes {_concurrency(wave)}: {wave.note}."


def _meanwhile(bake: Bake, steps: Sequence[Step]) -> Iterator[str]:
    """What is previewed of a cell while the wave before its own bakes."""
    known = {step.deployment: step for step in steps}
    told = [s.service for s in steps if is_foreseeable(s, known.get)]
    if told and bake != Bake():
        yield f"Meanwhile a preview tells what becomes of {' and '.join(told)}."


def _mermaid_wave(index: int, wave: PlannedWave) -> Iterator[str]:
    yield f"  subgraph w{index}[{_mermaid(_heading(wave))}]"
    if not wave.steps:
        yield f'    {_anchor(index, wave)}["nothing to change"]'
    for cell, steps in _by_cell(wave).items():
        yield f"    subgraph {_id(index, cell)}[{_mermaid(cell)}]"
        for step in steps:
            yield f"      {_id(index, step.cell, step.service)}({_mermaid(_service(step))})"
        yield "    end"
    for before, step in _edges(wave):
        yield f"    {_id(index, *before.split('.'))} --> {_id(index, step.cell, step.service)}"
    yield "  end"
    yield f"  class w{index} wave"
    for cell in wave.cells:
        yield f"  class {_id(index, cell)} cell"


def _dot_wave(index: int, wave: PlannedWave) -> Iterator[str]:
    yield f"  subgraph cluster_w{index} {{"
    yield f'    label={_dot(_heading(wave))}; style="rounded,filled"; color="#9db2cf"; fillcolor="#eef3fa";'
    if not wave.steps:
        yield f'    {_anchor(index, wave)} [label="nothing to change", style=dashed];'
    for cell, steps in _by_cell(wave).items():
        yield f"    subgraph cluster_{_id(index, cell)} {{"
        yield f'      label={_dot(cell)}; style="rounded,filled"; color="#c3cfde"; fillcolor=white;'
        for step in steps:
            look = ', style="rounded,dashed"' if step.kept else ""
            yield f"      {_id(index, step.cell, step.service)} [label={_dot(_service(step))}{look}];"
        yield "    }"
    for before, step in _edges(wave):
        yield f"    {_id(index, *before.split('.'))} -> {_id(index, step.cell, step.service)};"
    yield "  }"


def _dot_gap(index: int, plan: Plan) -> Iterator[str]:
    """What lies between two waves: one edge from cluster to cluster, over the bake."""
    wave, following = plan.waves[index], plan.waves[index + 1]
    text = _dot(_bake(wave.bake))
    yield f'  bake{index} [label={text}, shape=plaintext, style="", fontsize=10];'
    yield f"  {_anchor(index, wave, last=True)} -> bake{index} [ltail=cluster_w{index}, penwidth=2];"
    yield f"  bake{index} -> {_anchor(index + 1, following)} [lhead=cluster_w{index + 1}, penwidth=2];"


def _anchor(index: int, wave: PlannedWave, *, last: bool = False) -> str:
    if not wave.steps:
        return f"w{index}_empty"
    step = wave.steps[-1 if last else 0]
    return _id(index, step.cell, step.service)


def _edges(wave: PlannedWave) -> list[tuple[str, Step]]:
    return [(before, step) for step in wave.steps for before in step.after]


def _by_cell(wave: PlannedWave) -> dict[str, list[Step]]:
    steps: dict[str, list[Step]] = {}
    for step in wave.steps:
        steps.setdefault(step.cell, []).append(step)
    return steps


def _services(steps: Sequence[Step]) -> str:
    """Services of a cell by when they may start: "storage, then ingest and query"."""
    level: dict[str, int] = {}
    for step in steps:
        level[step.deployment] = 1 + max((level[name] for name in step.after if name in level), default=-1)
    stages = (
        " and ".join(", ".join(_service(s) for s in steps if level[s.deployment] == at).rsplit(", ", 1))
        for at in sorted({*level.values()})
    )
    return ", then ".join(stages)


def _service(step: Step) -> str:
    return f"{step.service} (kept)" if step.kept else step.service


def _doors(wave: PlannedWave) -> list[str]:
    """What a way back will not bring again, and why that is."""
    return [*_one_way(wave), *_no_way_back(wave.steps, whole=True)]


def _one_way(wave: PlannedWave) -> list[str]:
    return [f"one-way door {service}: {why}" for service, why in wave.doors.items()]


def _no_way_back(steps: Iterable[Step], *, whole: bool = False) -> list[str]:
    named = ((s.deployment if whole else s.service, s.unproven) for s in steps if s.unproven)
    return [f"no way back for {name}: {unproven}" for name, unproven in named]


def _title(plan: Plan) -> str:
    verb = "back from" if plan.direction == "back" else "to"
    whole = f"{counted(len(plan.cells), 'cell')}, {counted(len(plan.waves), 'wave')}"
    return f"{verb} {plan.version} ({plan.release[:12]}): {whole}, {tally(plan)}"


def _heading(wave: PlannedWave) -> str:
    return "; ".join((f"{wave.number} {wave.name}: {_concurrency(wave)}", *_doors(wave)))


def _concurrency(wave: PlannedWave) -> str:
    cells = "one cell at a time" if wave.concurrency == 1 else f"{wave.concurrency} cells at once"
    return f"{cells}, after a person's approval" if wave.approve else cells


def _bake(bake: Bake) -> str:
    if bake == Bake():
        return "no bake"
    samples = f" and {bake.samples} samples" if bake.samples else ""
    limit = f", {bake.limit:g} s at most" if bake.limit > bake.seconds else ""
    return f"bake {bake.seconds:g} s{samples}{limit}"


def _id(index: int, *names: str) -> str:
    return f"w{index}_" + "__".join(name.replace("-", "_") for name in names)


def _quoted(text: str) -> str:
    """A text between quotes, as DOT and YAML read it: what can't be seen is spelt out, no entity is made of it."""
    return json.dumps(visible(text), ensure_ascii=False)


def _dot(text: str) -> str:
    return _quoted(text).replace("&", "&amp;")


def _mermaid(text: str) -> str:
    """A text between quotes, as Mermaid reads it: it has entities (`#quot;`) in place of escapes."""
    shown = visible(text).replace("#", "#35;").replace("&", "#amp;").replace('"', "#quot;")
    return '"' + shown.replace("<", "#lt;").replace(">", "#gt;").replace("`", "#96;") + '"'
