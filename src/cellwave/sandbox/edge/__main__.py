"""Run the edge: `python -m cellwave.sandbox.edge --port N --project ROOT`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import uvicorn

from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project
from cellwave.sandbox.edge.app import Upstream, application


def main() -> None:
    """Serve on loopback until SIGTERM. The emulator and the secret key come from the environment."""
    parser = argparse.ArgumentParser(prog="cellwave.sandbox.edge")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--project", type=Path, required=True)
    arguments = parser.parse_args()
    fleet = parse_fleet(find_project(arguments.project).config_files())
    upstream = Upstream(url=os.environ["AWS_ENDPOINT_URL"], secret=os.environ["AWS_SECRET_ACCESS_KEY"])
    uvicorn.run(
        application(fleet, upstream),
        host="127.0.0.1",
        port=arguments.port,
        log_level="warning",
        access_log=False,
        # Whatever else is installed: what it lets through is tested.
        http="h11",
        ws="none",
        # A client does not say who it is.
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
