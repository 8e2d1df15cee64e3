"""The demonstration's defect is a real one: it breaks some ordinary requests, and its fix repairs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.audit.support import AuditCell, event

ROOT = Path(__file__).parents[2]
ASK = """
import json, sys
from audit.handlers.query.api import handler
key, *queries = sys.argv[1:]
for query in queries:
    answer = handler({
        "rawPath": query.partition("?")[0], "rawQueryString": query.partition("?")[2],
        "headers": {"authorization": f"Bearer {key}"}, "requestContext": {"http": {"method": "GET"}},
    })
    print(answer["statusCode"])
"""


def patched(tree: Path, *patches: str) -> Path:
    """A copy of the source with patches of demo/ applied one after the other."""
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for patch in patches:
        subprocess.run(["git", "apply", str(ROOT / "demo" / patch)], cwd=tree, check=True)
    return tree / "src"


def statuses(source: Path, key: str, *queries: str) -> list[int]:
    """How the query handler of that source answers."""
    answered = subprocess.run(
        [sys.executable, "-c", ASK, key, *queries],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in answered.stdout.splitlines()]


def test_v2_fails_some_ordinary_requests_and_v3_none(cell: AuditCell, tmp_path: Path) -> None:
    """With v2 a filter is answered 500, /healthz and everything else as ever; v3 answers all."""
    key = cell.key("acme", "t1")
    cell.land("acme/a.jsonl", event(actor={"id": "u1"}))
    cell.process()
    queries = ("/healthz", "/v1/events", "/v1/events?limit=1", "/v1/events?actorId=u1")
    v2 = patched(tmp_path / "v2", "v2-defect.patch")
    assert statuses(v2, key, *queries) == [200, 200, 200, 500]
    v3 = patched(tmp_path / "v3", "v2-defect.patch", "v3-fix.patch")
    assert statuses(v3, key, *queries) == [200, 200, 200, 200]
