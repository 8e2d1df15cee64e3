"""Which code runs: the digest that a release names and the outside world compares."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from audit.handlers.common.aws import setting
from audit.handlers.common.http import Reply, Request

# <task root>/audit/handlers/common/digest.py
_TASK_ROOT = Path(__file__).parents[3]


def digest_of(root: Path) -> str:
    """SHA-256 (hex) over the lines `<sha256 of content>  <path>` of every *.py below root, sorted by path."""
    lines = {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.py")
    }
    text = "".join(f"{content}  {name}\n" for name, content in sorted(lines.items()))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def running_digest() -> str:
    """The digest of this function's own code."""
    return digest_of(_TASK_ROOT)


def healthz(_: Request) -> Reply:
    """GET /healthz, without a key."""
    return Reply(200, {"service": setting("SERVICE"), "digest": running_digest()})
