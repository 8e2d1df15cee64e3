"""The rollout loop, made durable by DBOS: kill it anywhere, and it goes on where it was.

One workflow a rollout: it takes an event, decides, keeps the decision, performs the effects. One child workflow a
deployment attempt: deploy, prove, report to the inbox. Everything a workflow sees comes from a recorded step or
message, so a replay decides the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from pydantic import TypeAdapter

from cellwave.deploy.port import Result
from cellwave.errors import CellwaveError
from cellwave.frozen import Frozen, digest_of
from cellwave.health.model import GateResult, Verdict
from cellwave.releases.store import ReleaseStore, versions_of
from cellwave.rollout.decide import decide
from cellwave.rollout.records import Records
from cellwave.rollout.shell import Order, Shell, ended
from cellwave.rollout.state import (
    Abort,
    Check,
    Checked,
    Deploy,
    Deployed,
    Effect,
    Event,
    Hold,
    Note,
    Observe,
    Observed,
    Started,
    State,
    Ticked,
    Turn,
)
from cellwave.text import redact

V = TypeVar("V", bound=Frozen)
log = structlog.get_logger()
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
INBOX = "inbox"
LONGEST_WAIT = 3600.0
RETRY_SECONDS = 3.0
INBOX_POLL_SECONDS = 0.05


def launch(url: str, shell: Shell) -> Callable[[str], str]:
    """Bring up DBOS on the database; interrupted workflows go on at once. Returns the rollout workflow."""
    config: DBOSConfig = {
        "name": "cellwave",
        "system_database_url": url,
        "application_version": "1",
        # What another state backend's rollouts were doing when their worker died is not for this one to go on with.
        "executor_id": digest_of(shell.target)[:16],
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "notification_listener_polling_interval_sec": INBOX_POLL_SECONDS,
        "enable_otlp": False,
    }
    DBOS(config=config)
    workflow = register(shell)
    DBOS.launch()
    return workflow


def pump(records: Records, rollout: Callable[[str], str], target: str) -> bool:
    """Start what is recorded and not started, pass commands on; whether any rollout is unfinished."""
    unfinished = records.unfinished(target)
    for name in unfinished:
        if DBOS.get_workflow_status(name) is None:
            with SetWorkflowID(name):
                DBOS.start_workflow(rollout, name)
    for identity, name, event in records.undelivered():
        if name in unfinished:
            DBOS.send(name, event, topic=INBOX, idempotency_key=identity)
            records.delivered(identity)
    return bool(unfinished)


def revive(records: Records, target: str) -> None:
    """Let workflows that ended in an error go on from the step that failed: a disk was full, a database away.

    What an effect meets is a value (see `step`), so this is about keeping decisions and messages alone.
    """
    unfinished = records.unfinished(target)
    for dead in DBOS.list_workflows(status="ERROR", load_input=False):
        name = dead.workflow_id.split(":")[0]
        if name not in unfinished:
            continue
        steps = DBOS.list_workflow_steps(dead.workflow_id)
        failed = [step["function_id"] for step in steps if step["error"] is not None]
        at = min(failed, default=len(steps) + 1)
        note = Note(kind="revived", text=f"went on after: {dead.error}", subject=dead.workflow_id)
        records.note(f"{dead.workflow_id}/revived/{at}", note, rollout=name)
        DBOS.rewind_workflow(dead.workflow_id, start_step=at)


def wake_forgotten(records: Records) -> None:
    """Tell workflows whose rollout was ended by another hand, and that wait for their inbox: they see it, and end."""
    over = records.over(keep=0)
    for flow in DBOS.list_workflows(status="PENDING", name="rollout", load_input=False):
        if flow.workflow_id in over:
            tick = Ticked(at=time.time()).model_dump_json()
            DBOS.send(flow.workflow_id, tick, topic=INBOX, idempotency_key=f"{flow.workflow_id}/over")


def register(shell: Shell) -> Callable[[str], str]:
    """Register the workflows with DBOS (before its launch); returns the one that runs a rollout by name."""

    # However often a worker dies, a rollout is not given up: None takes DBOS's own limit away.
    @DBOS.workflow(name="deployment", max_recovery_attempts=None)
    def deployment(text: str) -> None:
        order = Order.model_validate_json(text)
        if order.attempt > 1:
            DBOS.sleep(RETRY_SECONDS * (order.attempt - 1))  # throttling and a held lock pass with time
        result = step("deploy", Result, lambda: shell.deploy(order), undeployed)
        event = step(
            "prove", Deployed, lambda: shell.prove(order, result), lambda why: ended(order, undeployed(why))
        )
        DBOS.send(order.rollout, event.model_dump_json(), topic=INBOX)

    @DBOS.workflow(name="rollout", max_recovery_attempts=None)
    def rollout(name: str) -> str:
        state = State.model_validate_json(plain_step("load", lambda: load(shell, name)))
        begun = Started(at=state.started_at, actor=plain_step("actor", lambda: actor(shell, name)))
        events: deque[Event] = deque([begun])
        while not state.outcome:
            event = events.popleft() if events else receive(state)
            turn = decide(state, event)
            # (A workflow that began with an earlier version remembers None for what it has kept.)
            if plain_step("commit", partial(commit, shell, turn, event.at)) is False:
                return "it was over"
            state = turn.state
            for effect in turn.effects:
                events.extend(perform(shell, deployment, effect, state))
        return state.outcome

    return rollout


def perform(shell: Shell, deployment: Callable[[str], None], effect: Effect, state: State) -> Iterator[Event]:
    """Do what a decision asked for; what is known at once comes back as an event, the rest through the inbox."""
    match effect:
        case Deploy():
            order = order_for(state, effect)
            with SetWorkflowID(order.name):
                DBOS.start_workflow(deployment, order.model_dump_json())
        case Abort():
            name = attempt_name(state.rollout, effect.deployment, effect.attempt, back=False)
            plain_step("abort", lambda: shell.records.ask_abort(name))
        case Check():
            yield step("check", Checked, lambda: shell.check(state), unchecked)
        case Observe():
            yield step("observe", Observed, lambda: shell.observe(state), unseen)
        case Hold():
            plain_step("hold", lambda: hold(shell, effect, state.rollout))


def hold(shell: Shell, effect: Hold, rollout: str) -> None:
    """Hold a release, as far as the store can be reached: the way back does not wait for it."""
    try:
        shell.store.hold(effect.release, effect.reason, rollout)
        note = Note(kind="held", text=f"{effect.release}{named(shell.store, effect.release)}")
    except (CellwaveError, OSError) as error:
        log.exception("a release could not be held", release=effect.release)
        note = Note(kind="not_held", text=f"{effect.release}: {error}")
    shell.records.note(f"{rollout}/hold", note, rollout=rollout)


def named(store: ReleaseStore, digest: str) -> str:
    """The versions whose content is held, as far as the store tells: a hold on one holds all."""
    versions: tuple[str, ...] = ()
    with suppress(CellwaveError, OSError):
        versions = versions_of(digest, store.list())
    if not versions:
        return ""
    first, *others = versions
    return f": {first}" + (f", and {', '.join(others)}: the same content" if others else "")


def step(name: str, kind: type[V], call: Callable[[], V], otherwise: Callable[[str], V]) -> V:
    """Run an effect once and remember its value: a replay gets the recorded one.

    What goes wrong in it becomes a value too, made by `otherwise` of its description: a workflow that raises would end
    for good, and the cells it left half-changed would have nobody.
    """

    def run() -> str:
        try:
            return call().model_dump_json()
        except Exception as error:
            log.exception("an effect failed", effect=name)
            return otherwise(redact(f"{type(error).__name__}: {error}")).model_dump_json()

    return kind.model_validate_json(plain_step(name, run))


def plain_step(name: str, call: Callable[[], Any]) -> Any:
    """Run a call once and remember what it returned."""
    return DBOS.run_step({"name": name}, call)


def undeployed(why: str) -> Result:
    """An attempt that broke off for a reason that is not the release's: worth another try."""
    return Result(outcome="failed", transient=True, reason=why)


def unchecked(why: str) -> Checked:
    """A look before a wave that broke off: it is no permission."""
    return Checked(at=time.time(), problems=(why,))


def unseen(why: str) -> Observed:
    """A look at the gates that broke off: it is no PASS."""
    error = GateResult(cell="", service="", gate="observation", verdict=Verdict.ERROR, reason=why)
    return Observed(at=time.time(), gates=(error,))


def load(shell: Shell, name: str) -> str:
    """The rollout's first state, with its start time."""
    row = shell.records.rollout(name)
    if row is None:
        raise LookupError(f"no rollout {name} is recorded")
    return row.state.model_copy(update={"started_at": row.created}).model_dump_json()


def actor(shell: Shell, name: str) -> str:
    """Who started the rollout."""
    row = shell.records.rollout(name)
    return row.actor if row else ""


def commit(shell: Shell, turn: Turn, at: float) -> bool:
    """Keep a decision; False when the rollout was ended by another hand."""
    return shell.records.commit_turn(turn, at, shell.target)


def receive(state: State) -> Event:
    """The next message of the inbox; when none comes by the time of the next look, that time has come."""
    now = float(plain_step("now", time.time))
    due = now + LONGEST_WAIT if state.next_look is None else state.next_look
    message = DBOS.recv(INBOX, timeout_seconds=max(0.0, due - now))
    return EVENTS.validate_json(message) if message is not None else Ticked(at=due)


def attempt_name(rollout: str, deployment: str, attempt: int, *, back: bool) -> str:
    """An attempt's name, unique for ever."""
    return f"{rollout}:{deployment}:{'back' if back else 'forward'}:{attempt}"


def order_for(state: State, effect: Deploy) -> Order:
    """The order that a child workflow carries out."""
    return Order(
        name=attempt_name(state.rollout, effect.step.deployment, effect.attempt, back=effect.back),
        rollout=state.rollout,
        step=effect.step,
        attempt=effect.attempt,
        back=effect.back,
        undo_since=state.undo_since if effect.back else None,
    )
