"""What of this machine a Python program in a view is given, beside its view: nothing that its inputs do not tell.

The engine and its plugins have all of the worker's variables: credentials of other providers are theirs.
"""

from __future__ import annotations

import site
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

OURS = ("AWS_", "PULUMI_", "CELLWAVE_", "LC_")
# Where things are, and how the network is reached.
KNOWN = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TMP", "TEMP", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
)  # fmt: skip


def given(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a program is given: those of AWS, Pulumi and cellwave, and what every process needs."""
    return {
        name: value for name, value in environment.items() if name.startswith(OURS) or name.upper() in KNOWN
    }


def installed(path: Iterable[str]) -> list[str]:
    """What of an import path holds installed packages: not a working tree, nor what PYTHONPATH names."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    places = [Path(found).resolve() for found in (*map(sysconfig.get_path, names), *site.getsitepackages())]
    return [entry for entry in path if entry and any(Path(entry).resolve().is_relative_to(p) for p in places)]
