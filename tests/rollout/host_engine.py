"""A fake engine that is a process of its own: it goes on when its worker is killed or frozen, and, as the real one's
driver does, looks itself until when it may run.

Usage: python -m tests.rollout.host_engine FILE FENCE STACK RELEASE ATTEMPT. It imports little, as there are many.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from cellwave.deploy.fence import is_over
from cellwave.environment import host_name

TAKES = 2.0  # seconds, a deployment


def tell(file: Path, **what: object) -> None:
    """Append a line to what engines did; a line is written at once."""
    line = json.dumps({"at": time.monotonic(), "host": host_name(), **what}) + "\n"
    with file.open("a") as out:
        out.write(line)


def main(file: Path, fence: str, stack: str, release: str, attempt: Path) -> None:
    """Deploy, which takes a while; or end early when there is no time left."""
    name = attempt.name
    if is_over(fence):
        return
    tell(file, stack=stack, attempt=name, did="begin")
    over = time.monotonic() + TAKES
    while time.monotonic() < over:
        time.sleep(0.02)
        if is_over(fence):
            tell(file, stack=stack, attempt=name, did="fenced")
            attempt.write_text("fenced")
            return
    (file.parent / f"runs-{stack}").write_text(release)
    tell(file, stack=stack, attempt=name, did="end")
    attempt.write_text("done")


if __name__ == "__main__":
    _, log, until, deploys, wanted, result = sys.argv
    main(Path(log), until, deploys, wanted, Path(result))
