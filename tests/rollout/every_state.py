"""Every state that a rollout of a small plan can come to, and how it comes from one to the other.

States that only times, numbers of attempts and words tell apart are one; of each a real one is kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.decide import BACK_ATTEMPTS, decide
from cellwave.rollout.model import (
    Action,
    Applied,
    Check,
    Checked,
    Commanded,
    Deployed,
    Event,
    Failure,
    Foreseen,
    Observe,
    Observed,
    Previewed,
    Proved,
    Started,
    State,
    Ticked,
    first_state,
)
from cellwave.rollout.track import FRESH
from cellwave.waves.model import Plan

GOOD, BAD, WATCHED = (
    "good",
    "bad",
    "watched",
)  # how something ends; what a person does is called by the command
ACTIONS: tuple[Action, ...] = ("approve", "pause", "resume", "rollback")
FAILURES = (
    Failure(reason="no"),
    Failure(reason="no", changed=False),
    Failure(reason="slow down", fault="throttle"),
    Failure(reason="slow down", fault="throttle", changed=False),
    Failure(reason="no", refused=True, changed=False),
)
Key = Hashable
LONG = 5.0  # seconds: longer than any bake or patience here
ENDED = ("converged", "failed")


@dataclass(frozen=True)
class Node:
    """A state, the look that is out, and the time that it is."""

    state: State
    look: Check | Observe | None
    now: float

    @property
    def key(self) -> Key:
        """What tells it from others that another future lies before."""
        state, head = self.state, self.state.head
        if head.outcome:
            return head.outcome
        tracks = tuple(tracks_of(state))
        looking = self.look.kind if self.look else ""
        if head.condemned:
            back = state.back and (state.back.stage, min(state.back.position.watched, LONG))
            return (head.begun, tracks, back, looking)
        position = state.forward.position
        watched = min(position.watched, LONG) if position.stage in {"checking", "baking"} else 0.0
        return (
            (
                head.begun,
                head.paused,
                head.waiting and head.waiting.kind,
                head.approved,
                frozenset(head.harmed),
            ),
            (position.wave, position.stage, bool(position.checking_since), watched),
            (looking, state.due is None),
            (position.previewing, position.ahead),
            tracks,
        )


def tracks_of(state: State) -> Iterator[Key]:
    """What matters of the tracks: of two attempts after which none is made by itself, neither differs."""
    going = not state.head.condemned
    for step in state.forward.shape.steps:
        track = state.forward.track(step.deployment)
        tries = (
            min(track.attempt, state.forward.plan.retries + 1) if going and track.phase != "converged" else 0
        )
        spoken = going and not track.attempt and track.foreseen is not None and bool(track.foreseen.problem)
        yield (track.phase, tries, track.changed, track.transient and going, spoken)
    for step in state.back.shape.steps if state.back else ():
        track = state.back.track(step.deployment) if state.back else FRESH
        yield (track.phase, 0 if track.phase in ENDED else min(track.attempt, BACK_ATTEMPTS))


@dataclass
class Graph:
    """All that can happen: from a state (by key) to others, and whether it goes well or badly, or
    by which command."""

    nodes: dict[Key, Node] = field(default_factory=dict)
    edges: dict[Key, list[tuple[str, Key]]] = field(default_factory=dict)


def walk(plan: Plan) -> Graph:
    """Every state that a rollout of a plan can come to."""
    first = Node(first_state("v2-1", plan), None, 1000.0)
    found = Graph({first.key: first})
    todo = [first]
    while todo:
        node = todo.pop()
        edges: dict[tuple[str, Key], None] = {}
        for how, event in moves(node):
            then = after(node, event)
            if then.key not in found.nodes:
                found.nodes[then.key] = then
                todo.append(then)
            if then.key != node.key:
                edges[WATCHED if is_watch(node, event, then) else how, then.key] = None
        found.edges[node.key] = list(edges)
    return found


def is_watch(node: Node, event: Event, then: Node) -> bool:
    """Whether that is no more than a look at what has changed already, and finds nothing new."""
    at_something_else = node.state.forward.stage not in {"checking", "baking"} or bool(
        node.state.head.waiting
    )
    same = (node.state.head.harmed, node.state.head.condemned) == (
        then.state.head.harmed,
        then.state.head.condemned,
    )
    return (
        isinstance(event, Ticked | Observed) and at_something_else and same and not then.state.head.condemned
    )


def after(node: Node, event: Event) -> Node:
    """What follows from an event."""
    turn = decide(node.state, event)
    look = node.look
    if isinstance(event, Checked | Observed):
        look = None
    for effect in turn.effects:
        if isinstance(effect, Check | Observe):
            look = effect  # one that is out still is not waited for any more
    return Node(turn.state, look, max(node.now, event.at))


def moves(node: Node) -> Iterator[tuple[str, Event]]:
    """All that can happen next."""
    state, now = node.state, node.now
    if state.outcome:
        return
    if not state.head.begun:
        yield GOOD, Started(at=now, actor="ann")
    for back, leg in ((False, state.forward), (True, state.back)):
        for step in leg.running if leg else ():
            track = leg.track(step.deployment) if leg else None
            assert track is not None
            said = {"at": now, "deployment": step.deployment, "attempt": track.attempt, "back": back}
            if track.phase == "proving":
                yield GOOD, Proved.model_validate(said)
                for failure in FAILURES[::2]:
                    yield BAD, Proved.model_validate(said | {"failure": failure})
            else:
                yield GOOD, Deployed.model_validate(said | {"result": Applied()})
                for failure in FAILURES:
                    yield BAD, Deployed.model_validate(said | {"result": failure})
    yield from previewed(state, now)
    yield from seen(node)
    if state.due is not None:
        yield GOOD, Ticked(at=max(now, state.due))
    question = state.head.waiting.question if state.head.waiting else 0
    for action in ACTIONS:
        yield action, Commanded(at=now, action=action, actor="bob", question=question)


def previewed(state: State, now: float) -> Iterator[tuple[str, Event]]:
    """How the preview that is out can end."""
    position = state.forward.position
    if name := position.previewing:
        said = {"at": now, "deployment": name, "number": position.previews}
        yield GOOD, Previewed.model_validate(said | {"foreseen": Foreseen()})
        yield BAD, Previewed.model_validate(said | {"foreseen": Foreseen(problem="it would replace data")})
        yield BAD, Previewed.model_validate(said)


def seen(node: Node) -> Iterator[tuple[str, Event]]:
    """How a look can end: all is well, one cell is red, all are, or too little is known."""
    match node.look:
        case Check(look=number):
            yield GOOD, Checked(at=node.now, look=number)
            yield BAD, Checked(at=node.now, look=number, problems=("an alarm is red",))
        case Observe(look=number):
            leg = node.state.forward
            cells = tuple({s.cell: None for s in leg.steps(leg.index.converged)} or leg.current.cells)
            for how, red in ((GOOD, ()), *((BAD, (cell,)) for cell in cells), (BAD, cells)):
                gates = tuple(gate(cell, Verdict.FAIL if cell in red else Verdict.PASS) for cell in cells)
                yield how, Observed(at=node.now, look=number, gates=gates)
            thin = tuple(gate(cell, Verdict.INCONCLUSIVE) for cell in cells)
            yield BAD, Observed(at=node.now, look=number, gates=thin)


def gate(cell: str, verdict: Verdict) -> GateResult:
    """A gate's result; each cell has a gate of its own, so that two red ones are two cells' faults."""
    return GateResult(cell=cell, service="s", gate=f"errors of {cell}", verdict=verdict, reason="as seen")
