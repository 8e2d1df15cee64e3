"""Customers as a process: `python -m audit.traffic keys|run|verify|cross FOLDER`, in the project's folder.

Each command works in one folder and tells what came of it as a JSON object on standard output. `AWS_*` lead to the
control plane's account, CELLWAVE_EDGE_URL to the product's hosts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from audit.traffic.crossing import cross_tenant_reads
from audit.traffic.customers import with_customers
from audit.traffic.load import ANSWER_WITHIN_S, IN_FLIGHT, Traffic
from audit.traffic.model import Config, Ledger, read_ledger
from audit.traffic.verify import verify
from cellwave.fleet.files import FOLDER, config_texts
from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet

# How long no accepted event may appear before those that are left count as lost: a busy machine indexes slowly.
READ_BACK_SECONDS = 180.0


async def make_traffic(config: Config, ledger: Ledger) -> Traffic:
    """Make traffic until SIGTERM or SIGINT; what is in flight then is finished."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connections = IN_FLIGHT * len(config.customers)
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(timeout=ANSWER_WITHIN_S, limits=limits, trust_env=False) as client:
        traffic = Traffic(config, ledger, client)
        await traffic.run(stop)
    return traffic


def keys(folder: Path, rate: float) -> dict[str, Any]:
    """Make customers and their keys, for their owner's eyes only; how many there are."""
    config = with_customers(_fleet(), os.environ["CELLWAVE_EDGE_URL"], rate)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(folder / "customers.json", flags, 0o600), "w") as file:
        file.write(config.model_dump_json())
    return {"customers": len(config.customers)}


def run(folder: Path) -> dict[str, Any]:
    """Make traffic until told to end: how many answers of each action and status."""
    ledger = Ledger(folder / "ledger.jsonl")
    traffic = asyncio.run(make_traffic(_config(folder), ledger))
    ledger.close()
    return {f"{action} {status}": n for (action, status), n in sorted(traffic.answers.items())}


def read_back(folder: Path) -> dict[str, Any]:
    """Look for every accepted event: how many were accepted, are lost, or are where they don't belong."""
    events = list(read_ledger(folder / "ledger.jsonl"))
    found = verify(events, _config(folder), _fleet(), within_s=READ_BACK_SECONDS)
    return {"accepted": found.accepted, "lost": found.lost, "misplaced": len(found.misplaced)}


def cross(folder: Path) -> dict[str, Any]:
    """Try to read what belongs to others."""
    return cross_tenant_reads(list(read_ledger(folder / "ledger.jsonl")), _config(folder)).model_dump()


def _config(folder: Path) -> Config:
    return Config.model_validate_json((folder / "customers.json").read_text())


def _fleet() -> Fleet:
    below = [path.as_posix() for path in Path(FOLDER).rglob("*")]
    return parse_fleet(config_texts(below, lambda name: Path(name).read_bytes()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it came to an end, 1 when what it needs did not answer."""
    parser = argparse.ArgumentParser(prog="python -m audit.traffic", description=__doc__)
    parser.add_argument("command", choices=("keys", "run", "verify", "cross"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, default=18.0, help="requests a second of all customers (keys)")
    asked = parser.parse_args(argv)
    try:
        if asked.command == "keys":
            answer = keys(asked.folder, asked.rate)
        else:
            answer = {"run": run, "verify": read_back, "cross": cross}[asked.command](asked.folder)
    except (BotoCoreError, ClientError, httpx.HTTPError) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
