"""A systemd user unit that keeps this project's worker running on this host."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from cellwave.environment import portable
from cellwave.frozen import digest_of
from cellwave.project import Project

SECRET = ("KEY", "TOKEN", "PASSWORD", "PASSPHRASE", "SECRET")  # parts of the names of variables that hold one
NAMES_A_FILE = "_FILE"
OWN = ("CELLWAVE_", "PULUMI_", "AWS_")
OTHERS = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Installed:
    """A unit that is there: its file and name, whether that was written just now, and the file for `secrets`, which are
    the names of variables that this shell has and no unit is to hold."""

    file: Path
    name: str
    written: bool
    secrets_file: Path
    secrets: tuple[str, ...]


def install(project: Project, environment: Mapping[str, str]) -> Installed:
    """Write the unit for a shell with these variables; one that says the same already stays as it is."""
    name = f"cellwave-{digest_of(str(project.root))[:8]}.service"
    config = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    file, secrets = Path(config, "systemd", "user", name), project.home / "worker.env"
    known, kept = variables(portable(environment, os.getcwd()))
    text = unit(project.root, secrets, known)
    written = not file.exists() or file.read_text() != text
    if written:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{name}.partial")
        partial.write_text(text)
        partial.replace(file)
    return Installed(file, name, written, secrets, kept)


def variables(environment: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables that a worker needs, and the names of those among them that hold a secret. Pure."""
    wanted = {n: v for n, v in sorted(environment.items()) if v and (n.startswith(OWN) or n in OTHERS)}
    secret = {n for n, v in wanted.items() if holds_secret(n, v)}
    return {n: v for n, v in wanted.items() if n not in secret}, tuple(sorted(secret))


def holds_secret(name: str, value: str) -> bool:
    """Whether a variable holds a secret, by its name or because its value is a URL with a password. Pure."""
    if any(part in name for part in SECRET) and not name.endswith(NAMES_A_FILE):
        return True
    try:
        return "://" in value and sa.make_url(value).password is not None
    except (sa.exc.ArgumentError, ValueError):
        return "@" in value


def unit(root: Path, secrets: Path, environment: Mapping[str, str]) -> str:
    """The text of the unit. Pure."""
    told = "\n".join(f"Environment={quoted(f'{name}={value}')}" for name, value in environment.items())
    return f"""\
# Written by `cellwave worker --install`.
[Unit]
Description=cellwave worker of {plain(root)}
After=network-online.target

[Service]
WorkingDirectory={plain(root)}
ExecStart={quoted(sys.executable).replace("$", "$$")} -m cellwave.cli.main worker
{told}
EnvironmentFile=-{plain(secrets)}
Restart=always
RestartSec=5
# Engines go on while the worker is started anew, and are waited for.
KillMode=process

[Install]
WantedBy=default.target
"""


def quoted(text: str) -> str:
    """A word of a unit's, whatever is in it. Pure."""
    for char, instead in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n")):
        text = text.replace(char, instead)
    return f'"{text}"'


def plain(path: Path) -> str:
    """A path where a unit takes it as it stands. Pure."""
    return str(path).replace("%", "%%")
