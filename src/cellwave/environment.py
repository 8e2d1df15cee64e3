"""A shell's variables, made fit for processes that run elsewhere and speak to this machine."""

from __future__ import annotations

import getpass
import os
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path

from cellwave.target import absolute

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Variables that name a file or folder: a worker and an engine have another working directory.
PATHS = (
    "CELLWAVE_HOME", "CELLWAVE_PROJECT", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE_FILE", "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


def host_name() -> str:
    """What this host is called among those that share a database: CELLWAVE_HOST where two have the same name."""
    return os.environ.get("CELLWAVE_HOST") or socket.gethostname()


def whoami() -> str:
    """The actor that everything is journaled under: CELLWAVE_ACTOR, else user@host (a uid where it has no name)."""
    if named := os.environ.get("CELLWAVE_ACTOR"):
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid-{os.getuid()}"
    return f"{user}@{host_name()}"


def portable(environment: Mapping[str, str], folder: str) -> dict[str, str]:
    """The same variables for another working directory: what is relative is relative to `folder`, the current one.

    Loopback goes past every proxy: engine, provider, emulator and language host speak over it.
    """
    made = dict(environment) | direct(environment)
    for name in PATHS:
        if value := made.get(name):
            made[name] = os.path.join(folder, value)
    if url := made.get("PULUMI_BACKEND_URL"):
        made["PULUMI_BACKEND_URL"] = absolute(url)
    return made


def with_account(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """The same variables for an account that has no passwd line, as in a container run by a number.

    The engine asks for its user: it takes USER and HOME where there is no such line, and fails without them.
    """
    made = dict(environment)
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        made["USER"] = made.get("USER") or str(os.getuid())
        made["HOME"] = made.get("HOME") or str(home)
        own = Path(made["HOME"], ".pulumi")
        if not made.get("PULUMI_HOME") and not os.access(own if own.exists() else own.parent, os.W_OK):
            made["PULUMI_HOME"] = str(home / ".pulumi")
    return made


def direct(environment: Mapping[str, str]) -> dict[str, str]:
    """What must be set so that loopback needs no proxy: nothing where there is none."""
    if not any(name.lower().endswith("_proxy") and value for name, value in environment.items()):
        return {}
    # The lower-case one wins where both are read.
    known = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if known.strip() == "*":
        return {}
    hosts = [host for part in known.split(",") if (host := part.strip())]
    text = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))
    return {"no_proxy": text, "NO_PROXY": text}
