"""A cell that somebody is changing is left alone by a literal `pulumi up`: the program itself asks, and refuses.

Only `cellwave` knows whose a cell is, and a program may run where it is not installed, so it is asked as a command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

ATTEMPT = "CELLWAVE_ATTEMPT"  # names the attempt of cellwave's that runs the program
PATIENCE_S = 60.0


def refuse_leased(cell: str, source: Path) -> None:
    """RunError when somebody has the cell, and this is an update of nobody's (a preview changes nothing).

    Where `source` is no project of cellwave's nobody is asked; what can't be asked is warned of.
    """
    if os.environ.get(ATTEMPT) or pulumi.runtime.is_dry_run() or isinstance(get_monitor(), MockMonitor):
        return
    if not (source / "waves.yaml").is_file():
        return
    try:
        lease = _ask(cell, source)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        pulumi.log.warn(f"whether somebody is changing {cell} can't be known: {error}")
        return
    if lease:
        raise pulumi.RunError(f"{cell} is leased to {lease['owner']} since {lease['since']}: {lease['hint']}")


def _ask(cell: str, source: Path) -> dict[str, Any] | None:
    """What `cellwave lease` says; None for a free cell. ValueError when it fails."""
    said = "cellwave is installed neither beside the program nor on PATH"
    there = shutil.which("cellwave")
    for command in ([sys.executable, "-m", "cellwave.cli.start"], [there] if there else []):
        if not command:
            continue
        ran = subprocess.run(
            [*command, "lease", cell, "--json"],
            cwd=source,
            # A folder of the program's own may be called like one of cellwave's modules.
            env={**os.environ, "CELLWAVE_PROJECT": str(source), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if ran.returncode == 0:
            answer: dict[str, Any] | None = json.loads(ran.stdout)
            return answer
        if "No module named" not in ran.stderr:
            said = ran.stderr.strip() or f"{command[0]} left with exit code {ran.returncode}"
    raise ValueError(said)
