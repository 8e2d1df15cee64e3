"""End what runs from `.cellwave/` (worker, deployments, traffic of a demo, sandbox): then the folder can be removed."""

import sys

from cellwave.demo.customers import end_leftover
from cellwave.demo.fresh import alone
from cellwave.deploy.attempt import attempts_in, call_off
from cellwave.errors import CellwaveError, Unavailable
from cellwave.project import Project, find_project
from cellwave.rollout.presence import stop_worker
from cellwave.sandbox import server


def main() -> int:
    """Do so; the exit code, which is not 0 when something still runs, or a demo does."""
    try:
        project = find_project()
        with alone(project):
            end_all(project)
    except CellwaveError as error:
        print(f"error: {error.message}\n  {error.hint}".rstrip(), file=sys.stderr)
        return error.exit_code
    return 0


def end_all(project: Project) -> None:
    """Unavailable when the worker or an engine does not end."""
    end_leftover(project.home / "demo")
    if not stop_worker(project):
        raise Unavailable("the worker does not leave", hint="end it, and try again")
    rollouts = {name.partition(":")[0] for name, _ in attempts_in(project.home)}
    if left := call_off(project.home, rollouts):
        raise Unavailable(f"still at work: {', '.join(left)}", hint="end it, and try again")
    server.down(project)


if __name__ == "__main__":
    sys.exit(main())
