"""What the worker process does: bring up DBOS with the real ports, start what is recorded, pass commands on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import NoReturn

from cellwave.deploy.port import Deployer
from cellwave.deploy.pulumi import PulumiDeployer
from cellwave.health.read import LiveSource
from cellwave.project import Project
from cellwave.releases.store import open_store
from cellwave.rollout.records import Records
from cellwave.rollout.runner import launch, pump
from cellwave.rollout.shell import Shell

POLL_SECONDS = 0.1


def work(project: Project, environment: Mapping[str, str], idle_exit: float | None) -> NoReturn:
    """Run rollouts until a signal, or until there was none for `idle_exit` seconds. The caller holds the lock."""
    os.environ.update(environment)
    records = Records(project.database_url)
    deployer = PulumiDeployer(project, environment)
    rollout = launch(project.database_url, real_shell(project, environment, records, deployer))
    stopped = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    busy_at = time.monotonic()
    while not stopped:
        if pump(records, rollout, environment["PULUMI_BACKEND_URL"]):
            busy_at = time.monotonic()
        if idle_exit is not None and time.monotonic() - busy_at > idle_exit:
            break
        time.sleep(POLL_SECONDS)
    deployer.close()
    # DBOS's threads outlive its end; an engine that still runs is waited for by the next worker.
    os._exit(0)


def real_shell(
    project: Project, environment: Mapping[str, str], records: Records, deployer: Deployer
) -> Shell:
    """The ports of a real rollout."""
    return Shell(
        home=project.home,
        target=environment["PULUMI_BACKEND_URL"],
        records=records,
        store=open_store(project),
        deployer=deployer,
        signals=LiveSource(),
    )
