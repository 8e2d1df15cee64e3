"""`pulumi-language-python` for an engine that came without one: a literal `pulumi up` runs Python programs.

The engine starts it with its own address as the last argument, reads the port from the first line of standard
output and calls the language runtime's gRPC service there.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from cellwave.toolchain.program import ProgramServer, serve

GRACE = 5.0  # seconds that a running program gets to notice that its engine is leaving


def main() -> None:
    """Serve until the engine says SIGINT or SIGTERM, or is gone."""
    leaving = threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        leaving.set()

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    engine = os.getppid()
    address = next((arg for arg in reversed(sys.argv[1:]) if not arg.startswith("-")), None)
    server, port = serve(ProgramServer(address))
    print(port, flush=True)
    # A killed engine sends no signal; its child is then adopted by another process.
    while not leaving.wait(0.5):
        if os.getppid() != engine:
            break
    server.stop(GRACE if os.getppid() == engine else 0).wait()
    # A program that hangs in a thread must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
