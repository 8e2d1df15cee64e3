"""The worker process: turns are taken, and effects performed on DBOS's queues, with the real ports."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

import structlog
from sqlalchemy.exc import SQLAlchemyError

from cellwave.deploy.pulumi import PulumiDeployer
from cellwave.errors import CellwaveError
from cellwave.health.read import LiveSource
from cellwave.project import Project
from cellwave.releases.open import open_store
from cellwave.rollout.beats import Beating, leave, new_worker, take_for_dead
from cellwave.rollout.clock import CLOCK
from cellwave.rollout.complaints import keep_the_log_small
from cellwave.rollout.effects import Effects
from cellwave.rollout.gc import collect
from cellwave.rollout.identity import remember, require_known, require_same
from cellwave.rollout.loop import take_turns
from cellwave.rollout.presence import fence_of
from cellwave.rollout.queues import TROUBLES, Queues
from cellwave.rollout.records import KEPT, Records
from cellwave.rollout.rows import Memory
from cellwave.rollout.schema import refuse_newer

POLL_SECONDS = 0.1  # between two looks for turns, while no effect ends
LOST_SECONDS = 5.0  # between two looks for effects that ended untold
COLLECT_SECONDS = 300.0
AGAIN_SECONDS = 2.0  # after something could not be kept
FEWEST_ENGINES = 4
log = structlog.get_logger()


def work(
    project: Project,
    environment: Mapping[str, str],
    target: str,
    idle_exit: float | None,
    ready: Callable[[], None],
) -> NoReturn:
    """Run a target's rollouts until a signal, or until there was none for `idle_exit` seconds; `ready` is called when
    nothing is in the way any more. The caller holds the lock."""
    os.environ.clear()  # what the shell had and deployments must not have, such as another profile
    os.environ.update(environment)
    keep_the_log_small()
    require_known(project.home, project.database_url)
    records = Records(project.database_url)
    look_again(project, records)
    deployer = PulumiDeployer(project, environment)
    queues = Queues(engines=max(FEWEST_ENGINES, 2 * (os.cpu_count() or 1)))
    beating = Beating(records, new_worker(project.home, target), queues.wake.set, fence_of(project, target))
    effects = Effects(
        home=project.home,
        target=target,
        records=records,
        store=open_store(project),
        deployer=deployer,
        signals=LiveSource(),
        worker=beating.me.id,
        fence=str(beating.deadline or ""),
    )
    beating.start()
    queues.launch(project.database_url, beating.me, effects.perform)
    stopped = threading.Event()

    def stop(_signal: int, _frame: object) -> None:
        stopped.set()
        queues.wake.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = 0
    ready()
    try:
        serve(
            records,
            effects.memory,
            queues,
            beating,
            idle_exit,
            stopped=stopped.is_set,
            familiar=lambda: look_again(project, records),
            tidy=lambda: collect(project.home, records, project.database_url, KEPT),
        )
    except CellwaveError as wrong:
        log.error(f"the worker ends: {wrong.message}", right=wrong.hint)
        code = wrong.exit_code
    except Exception:
        log.exception("the worker ends; the next one goes on where it was")
        code = 1
    beating.stop()
    with suppress(SQLAlchemyError):
        leave(records, beating.me)
    deployer.close()
    # DBOS's threads outlive its end; an engine that still runs is waited for by the next worker.
    os._exit(code)


def look_again(project: Project, records: Records) -> None:
    """Unavailable when the database is another than the home knows: its file was deleted, or an older copy put in its
    place; or when a newer cellwave, maybe on another host, has given it a schema that this one does not know."""
    refuse_newer(records.reader)
    require_same(project.home, records)
    remember(project.home, records)


def serve(
    records: Records,
    memory: Memory,
    queues: Queues,
    beating: Beating,
    idle_exit: float | None,
    *,
    stopped: Callable[[], bool],
    familiar: Callable[[], None],
    tidy: Callable[[], object],
) -> None:
    """Keep every recorded rollout going, until stopped, taken for dead, or idle for `idle_exit` seconds; `tidy` now and
    then.

    `familiar` raises when the database is no longer the one that it was; then this does too.
    """
    busy_at, looked_at, tidied_at = time.monotonic(), 0.0, 0.0
    target = beating.me.target
    while not stopped() and not beating.lost:
        queues.wake.clear()
        now = time.monotonic()
        try:
            while take_turns(records, memory, target, CLOCK.now()):
                familiar()  # nothing is done on the word of another database
                queues.place(records, target)
            if is_busy := bool(records.unfinished(target)):
                queues.place(records, target)
            if (silent := beating.silent()) and (dead := take_for_dead(records, silent)):
                log.warning("workers are not heard of any more; what they were at is taken up", workers=dead)
                looked_at = 0.0
            if now - looked_at > LOST_SECONDS:
                familiar()
                queues.place(records, target)  # what a rollout asked for at its end, before a crash
                queues.take_up(records)
                looked_at = now
            if is_busy or beating.hears_commands:
                busy_at = now
            if now - tidied_at > COLLECT_SECONDS:
                tidied_at = now
                tidy()
        except TROUBLES:
            # A full disk, a database that is away: nothing was kept by halves, and it is tried until it can be.
            log.exception("nothing can be kept at the moment")
            memory.states.clear()
            with suppress(OSError, SQLAlchemyError):
                familiar()
            queues.wake.wait(AGAIN_SECONDS)
            busy_at = now  # whether there is anything to do is not known
        if idle_exit is not None and now - busy_at > idle_exit:
            return
        queues.wake.wait(POLL_SECONDS)
