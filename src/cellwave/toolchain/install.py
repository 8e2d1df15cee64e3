"""Install Pulumi's programs into `.cellwave/bin`: the engine, and the language host that runs YAML programs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.toolchain.engine import Engine, find_engine
from cellwave.toolchain.gobuild import Report, Tool, build
from cellwave.toolchain.hosts import PREFIX, PULUMI_YAML, PYTHON, find_host

INSTALLER = "https://get.pulumi.com/install.sh"
CONNECT_TIMEOUT = 4.0  # seconds: without a network nobody should wait for longer
INSTALL_TIMEOUT = 900.0  # seconds for the official installer's download
HOST = f"{PREFIX}{PYTHON}"
DYNAMIC = "pulumi-resource-pulumi-python"
# What lies beside a program may be imported by its providers, and hides no module of Python's own.
RUN_DYNAMIC = "; ".join(
    (
        "import sys",
        "sys.path.append(sys.path.pop(0))",
        "import runpy",
        "runpy.run_module('pulumi.dynamic', None, '__main__')",
    )
)
ENGINE = Tool(
    name="the Pulumi engine",
    program="pulumi",
    folder="pulumi",
    module="github.com/pulumi/pulumi/pkg/v3",
    version_variable="github.com/pulumi/pulumi/sdk/v3/go/common/version.Version",
)
YAML_HOST = Tool(
    name="the language host for YAML",
    program=f"{PREFIX}{PULUMI_YAML}",
    folder="pulumi-yaml",
    module="github.com/pulumi/pulumi-yaml",
    version_variable="github.com/pulumi/pulumi-yaml/pkg/version.Version",
)


def ensure_engine(project: Project, report: Report) -> Engine:
    """The engine, installed when there is none yet; `report` gets lines of progress.

    Raises Unavailable when it can't be had. Safe to kill at any moment and to run twice at once.
    """
    with _alone(project, report):
        engine = find_engine(project) or _install_engine(project, report)
        install_language_host(project, engine)
    return engine


def ensure_yaml_host(project: Project, report: Report) -> Path:
    """The language host that the engine runs YAML programs with, built when there is none yet; as `ensure_engine`."""
    with _alone(project, report):
        if found := find_host(PULUMI_YAML, project.bin, os.environ):
            return found
        with _staged(project) as staging:
            build(project, YAML_HOST, staging / "bin", report)
        report(f"{YAML_HOST.program} is in {project.bin}")
        return project.bin / YAML_HOST.program


def install_language_host(project: Project, engine: Engine) -> None:
    """Put what runs Python programs, and dynamic providers in them, into `.cellwave/bin` unless the engine has its own
    beside it."""
    beside = engine.path.resolve().parent / HOST
    if beside.exists() and (
        beside.parent != project.bin.resolve() or not beside.read_bytes().startswith(b"#!")
    ):
        return
    _write_script(project.bin / HOST, f'exec "{sys.executable}" -P -m cellwave.toolchain.language_host "$@"')
    # The engine says by which virtual environment the program runs.
    python = f'"${{PULUMI_RUNTIME_VIRTUALENV:-{sys.prefix}}}/bin/python"'
    _write_script(project.bin / DYNAMIC, f'exec {python} -u -c "{RUN_DYNAMIC}" "$@"')


def _write_script(script: Path, line: str) -> None:
    text = f"#!/bin/sh\n{line}\n"
    if script.exists() and script.read_text() == text:
        return
    script.parent.mkdir(parents=True, exist_ok=True)
    fresh = script.with_name(f".{script.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o755)
    fresh.replace(script)


def _install_engine(project: Project, report: Report) -> Engine:
    version = ENGINE.version(project)
    with _staged(project) as staging:
        if reason := _official(staging, version, report):
            report(
                f"building the engine {version}, some minutes, once; Pulumi's installer can't be used: {reason}"
            )
            build(project, ENGINE, staging / "bin", report)
    engine = find_engine(project)
    if engine is None:
        raise Unavailable(f"the engine in {project.bin} does not answer `pulumi version`")
    report(f"Pulumi engine {engine.version} is in {project.bin}")
    return engine


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


@contextmanager
def _staged(project: Project) -> Iterator[Path]:
    """An empty folder whose `bin` is moved into the project's when the block ends well; call it `_alone`."""
    staging = Path(tempfile.mkdtemp(prefix="engine-", dir=project.bin.parent))
    try:
        yield staging
        _place(staging / "bin", project.bin)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _place(built: Path, into: Path) -> None:
    """Move every program into place, `pulumi` last: whoever finds it finds all of it."""
    into.mkdir(parents=True, exist_ok=True)
    for program in sorted(built.iterdir(), key=lambda path: path.name == ENGINE.program):
        program.replace(into / program.name)


@contextmanager
def _alone(project: Project, report: Report) -> Iterator[None]:
    """Hold the project's lock, what killed installers left cleared away; waits for whoever holds it."""
    home = project.bin.parent
    home.mkdir(parents=True, exist_ok=True)
    with (home / "engine.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is installing Pulumi's programs; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        # Every time: a compiler that outlived its installer may have written after the next one had cleared up.
        for leftover in home.glob("engine-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
