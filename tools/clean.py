"""End what runs from `.cellwave/` (worker, running deployments, sandbox), so that the folder can be removed."""

from cellwave.project import find_project
from cellwave.rollout.worker import stop_worker
from cellwave.sandbox import server


def main() -> None:
    """Ask the worker to leave, then bring the sandbox down."""
    project = find_project()
    stop_worker(project)
    server.down(project)


if __name__ == "__main__":
    main()
