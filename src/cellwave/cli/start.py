"""Where the `cellwave` command begins: next to nothing else has been imported yet."""

from __future__ import annotations

import os
import sys

from cellwave.cli.interrupted import interrupted


def main() -> None:
    """Run the command line; say so when a PYTHONPATH keeps it from being loaded (exit code 2)."""
    try:
        from cellwave.cli.main import main as run
    except Exception as error:
        path = os.environ.get("PYTHONPATH")
        if not path:
            raise
        print(f"error: PYTHONPATH: with {path!r} cellwave can't be loaded: {error!r}", file=sys.stderr)
        print("  right would be: without modules of these names, or not set", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(interrupted(sys.argv[1:]))
    run()


if __name__ == "__main__":
    main()
