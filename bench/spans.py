"""Where each second of a rollout went: the spans of its effects and of its engines, from its database and its home."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from pydantic import TypeAdapter

from cellwave.deploy.attempt import ENGINE, open_attempt
from cellwave.project import Project
from cellwave.rollout.model import Deploy, Effect, Prove
from cellwave.rollout.records import Records
from cellwave.rollout.tables import OUTBOX

EFFECT: TypeAdapter[Effect] = TypeAdapter(Effect)
# What an instant counts as, when several things go on in it: the first of these.
KINDS = (
    "2 engines or more",
    "1 engine",
    "preparing",
    "proving",
    "looking",
    "in a queue",
    "turns and commands",
)


class Span(NamedTuple):
    """Something that went on, from `begin` to `end` (epoch seconds), for a `track` such as a stack."""

    kind: str
    name: str
    track: str
    begin: float
    end: float


def spans_of(project: Project) -> list[Span]:
    """The spans of every effect that is recorded."""
    engine = Records(project.database_url).engine
    with engine.connect() as db:
        effects = db.execute(
            sa.select(OUTBOX).where(OUTBOX.c.done.is_not(None)).order_by(OUTBOX.c.asked)
        ).all()
    found: list[Span] = []
    for row in effects:
        effect = EFFECT.validate_json(row.effect)
        name = type(effect).__name__
        track = effect.step.deployment if isinstance(effect, Deploy | Prove) else name
        if isinstance(effect, Deploy):
            found += _engine(project, row.key, track, row.asked, row.done)
        else:
            kind = "proving" if isinstance(effect, Prove) else "looking"
            found.append(Span(kind, name, track, row.asked, row.done))
    return found


def _engine(project: Project, key: str, track: str, begin: float, end: float) -> list[Span]:
    """How long a deployment waited for a driver, and what that was at."""
    boot = time.time() - time.monotonic()
    trail = [(boot + at, phase, detail) for at, phase, detail in open_attempt(project.home, key).trail()]
    stops = [*(at for at, _, _ in trail[1:]), end]
    first = Span("in a queue", "Deploy", track, begin, trail[0][0] if trail else end)
    rest = [
        Span("1 engine" if phase == ENGINE else "preparing", f"{phase} {detail}".strip(), track, at, stop)
        for (at, phase, detail), stop in zip(trail, stops, strict=True)
    ]
    return [first, *rest]


def shares(spans: Sequence[Span], begin: float, end: float) -> dict[str, float]:
    """The seconds from `begin` to `end`, each counted once, by what went on."""
    edges = sorted({begin, end, *(edge for s in spans for edge in (s.begin, s.end) if begin < edge < end)})
    spent = dict.fromkeys(KINDS, 0.0)
    for left, right in itertools.pairwise(edges):
        at_work = [span.kind for span in spans if span.begin <= left and span.end >= right]
        engines = at_work.count("1 engine")
        kind = KINDS[0] if engines > 1 else next((kind for kind in KINDS[1:] if kind in at_work), KINDS[-1])
        spent[kind] += right - left
    return spent


def table(spans: Sequence[Span], begin: float, end: float) -> str:
    """Where the seconds from `begin` to `end` went, as Markdown."""
    rows = [f"| {kind} | {spent:.1f} s |" for kind, spent in shares(spans, begin, end).items()]
    return "\n".join(["| where the time went | |", "|---|---:|", *rows])


def write_trace(spans: Sequence[Span], path: Path) -> None:
    """The spans as a trace that chrome://tracing and Perfetto show."""
    events = [
        {"name": s.name, "cat": s.kind, "ph": "X", "pid": 1, "tid": s.track}
        | {"ts": s.begin * 1e6, "dur": (s.end - s.begin) * 1e6}
        for s in spans
    ]
    path.write_text(json.dumps({"traceEvents": events}))
