"""`python -m cellwave.sandbox.provider --port N`: prints the port once it listens; leaves on SIGTERM and SIGINT."""

from __future__ import annotations

import argparse
import signal
import threading

from cellwave.sandbox.provider.server import serve


def main() -> None:
    """Serve until SIGTERM or SIGINT; calls in flight get two seconds to end."""
    parser = argparse.ArgumentParser(prog="cellwave.sandbox.provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, port = serve(parser.parse_args().port)
    print(port, flush=True)
    stop.wait()
    server.stop(grace=2).wait()


if __name__ == "__main__":
    main()
