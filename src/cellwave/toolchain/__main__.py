"""`python -m cellwave.toolchain [engine|yaml]`: install the engine, or the language host that runs YAML programs, for
the project around the working directory."""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from cellwave.errors import CellwaveError
from cellwave.project import find_project
from cellwave.toolchain.install import ensure_engine, ensure_yaml_host

QUIET = 15.0  # seconds between two lines of one step where no terminal is


class ProgressLine:
    """Progress on standard error: a line that changes in place on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._step = ""
        self._shown_at = 0.0

    def __call__(self, line: str) -> None:
        """Show the line."""
        step, now = line.partition(":")[0], time.monotonic()
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            start = "\r\x1b[K" if step == self._step else "\n" if self._step else ""
            print(f"{start}{line[:width]}", end="", file=sys.stderr, flush=True)
        elif step != self._step or now - self._shown_at > QUIET:
            print(line, file=sys.stderr, flush=True)
            self._shown_at = now
        self._step = step

    def end(self) -> None:
        """Leave the line."""
        if self._step and sys.stderr.isatty():
            print(file=sys.stderr)


def main() -> int:
    """Install what is missing; returns the exit code."""
    steps = {"engine": ensure_engine, "yaml": ensure_yaml_host}
    parser = argparse.ArgumentParser(prog="python -m cellwave.toolchain")
    parser.add_argument("what", nargs="?", choices=steps, default="engine")
    step = steps[parser.parse_args().what]
    progress = ProgressLine()
    try:
        step(find_project(), progress)
    except CellwaveError as error:
        progress.end()
        print(f"error: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.exit_code
    progress.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
