"""What the worker process does: bring up DBOS with the real ports, start what is recorded, pass commands on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

import structlog
from sqlalchemy.exc import SQLAlchemyError

from cellwave.deploy.port import Deployer
from cellwave.deploy.pulumi import PulumiDeployer
from cellwave.health.read import LiveSource
from cellwave.project import Project
from cellwave.releases.open import open_store
from cellwave.rollout.gc import collect
from cellwave.rollout.records import KEPT, Records
from cellwave.rollout.runner import launch, pump, revive, wake_forgotten
from cellwave.rollout.shell import Shell

POLL_SECONDS = 0.1
REVIVE_SECONDS = 10.0
COLLECT_SECONDS = 300.0
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
    records = Records(project.database_url)
    deployer = PulumiDeployer(project, environment)
    rollout = launch(project.database_url, real_shell(project, target, records, deployer))
    stopped = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = 0
    ready()
    try:
        serve(
            records,
            rollout,
            target,
            idle_exit,
            stopped=lambda: stopped,
            tidy=lambda: collect(project.home, records, project.database_url, KEPT),
        )
    except Exception:
        log.exception("the worker ends; the next one goes on where it was")
        code = 1
    deployer.close()
    # DBOS's threads outlive its end; an engine that still runs is waited for by the next worker.
    os._exit(code)


def serve(
    records: Records,
    rollout: Callable[[str], str],
    target: str,
    idle_exit: float | None,
    *,
    stopped: Callable[[], bool],
    tidy: Callable[[], object],
) -> None:
    """Keep every recorded rollout going, until stopped or idle for `idle_exit` seconds; `tidy` now and then."""
    busy_at, revived_at, tidied_at = time.monotonic(), 0.0, 0.0
    while not stopped():
        now = time.monotonic()
        if now - revived_at > REVIVE_SECONDS:
            revive(records, target)
            wake_forgotten(records)
            revived_at = now
        if pump(records, rollout, target):
            busy_at = now
        if now - tidied_at > COLLECT_SECONDS:
            try:
                tidy()
            except (OSError, SQLAlchemyError):
                log.exception("what ended rollouts left behind could not be removed")
            tidied_at = now
        if idle_exit is not None and now - busy_at > idle_exit:
            return
        time.sleep(POLL_SECONDS)


def real_shell(project: Project, target: str, records: Records, deployer: Deployer) -> Shell:
    """The ports of a real rollout."""
    return Shell(
        home=project.home,
        target=target,
        records=records,
        store=open_store(project),
        deployer=deployer,
        signals=LiveSource(),
    )
