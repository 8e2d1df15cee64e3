"""Run the traffic: `python -m cellwave.sandbox.traffic --config file.json --ledger file.jsonl`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path

import httpx

from cellwave.sandbox.traffic.load import ANSWER_WITHIN_S, IN_FLIGHT, Traffic
from cellwave.sandbox.traffic.model import Config, Ledger


async def run(config: Config, ledger: Ledger) -> Traffic:
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


def main() -> None:
    """Run, and at the end print one JSON object: how many answers of each action and status."""
    parser = argparse.ArgumentParser(prog="cellwave.sandbox.traffic")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args()
    ledger = Ledger(arguments.ledger)
    traffic = asyncio.run(run(Config.model_validate_json(arguments.config.read_text()), ledger))
    ledger.close()
    print(json.dumps({f"{action} {status}": n for (action, status), n in sorted(traffic.answers.items())}))


if __name__ == "__main__":
    main()
