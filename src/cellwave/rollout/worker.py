"""The one process that runs rollouts. Command lines talk to it through the records only."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import IO

from cellwave.project import Project
from cellwave.rollout.records import Records

POLL_SECONDS = 0.1


def take_lock(project: Project) -> IO[str] | None:
    """Become the worker of this project; None when another process is. The kernel gives the lock back at death."""
    project.home.mkdir(parents=True, exist_ok=True)
    file = (project.home / "worker.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def worker_pid(project: Project) -> int | None:
    """The running worker's process id; None when none runs."""
    path = project.home / "worker.lock"
    if not path.exists():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read().strip() or 0)
    return None


def ensure_worker(project: Project, environment: Mapping[str, str]) -> None:
    """Start a worker in the background when none runs and a rollout wants one; it leaves when it has been idle."""
    if worker_pid(project) is not None:
        return
    project.home.mkdir(parents=True, exist_ok=True)
    with (project.home / "worker.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "cellwave.cli.main", "worker", "--idle-exit", "20"],
            cwd=project.root,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def stop_worker(project: Project, seconds: float = 10.0) -> None:
    """Ask the worker to leave, and wait until it has."""
    deadline = time.monotonic() + seconds
    while (pid := worker_pid(project)) and time.monotonic() < deadline:
        os.kill(pid, signal.SIGTERM)
        time.sleep(POLL_SECONDS)


def work(project: Project, environment: Mapping[str, str], idle_exit: float | None) -> int:
    """Run rollouts until a signal (or `idle_exit` seconds without any); 0, also when another worker runs already."""
    lock = take_lock(project)
    if lock is None:
        return 0
    os.environ.update(environment)
    records = Records(project.database_url)
    rollout, close = launch(project, environment, records)
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
    close()
    # DBOS's threads outlive its end; an engine that still runs is waited for by the next worker.
    os._exit(0)


def launch(
    project: Project, environment: Mapping[str, str], records: Records
) -> tuple[Callable[[str], str], Callable[[], None]]:
    """Bring up DBOS with the real ports; interrupted workflows go on at once. Returns the rollout and an end."""
    from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

    from cellwave.deploy.pulumi import PulumiDeployer
    from cellwave.health.read import LiveSource
    from cellwave.releases.store import open_store
    from cellwave.rollout.runner import register
    from cellwave.rollout.shell import Shell

    deployer = PulumiDeployer(project, environment)
    shell = Shell(
        home=project.home,
        target=environment["PULUMI_BACKEND_URL"],
        records=records,
        store=open_store(project),
        deployer=deployer,
        signals=LiveSource(),
    )
    config: DBOSConfig = {
        "name": "cellwave",
        "system_database_url": project.database_url,
        "application_version": "1",
        "executor_id": "local",
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "notification_listener_polling_interval_sec": 0.1,
        "enable_otlp": False,
    }
    DBOS(config=config)
    workflow = register(shell)
    DBOS.launch()

    return workflow, deployer.close


def pump(records: Records, rollout: Callable[[str], str], target: str) -> bool:
    """Start what is recorded and not started, pass commands on; whether any rollout is unfinished."""
    from dbos import DBOS, SetWorkflowID

    unfinished = {row.id for row in records.rollouts() if not row.state.outcome and row.target == target}
    for name in unfinished:
        if DBOS.get_workflow_status(name) is None:
            with SetWorkflowID(name):
                DBOS.start_workflow(rollout, name)
    for identity, name, event in records.undelivered():
        if name in unfinished:
            DBOS.send(name, event, topic="inbox", idempotency_key=identity)
            records.delivered(identity)
    return bool(unfinished)
