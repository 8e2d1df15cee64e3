"""A state backend's URL, read as Pulumi reads it.

Pulumi takes `file://` away, cuts the query, puts the user's home for `~`, makes the rest absolute, and only then
decodes what is percent-encoded (pkg/v3/backend/diy, `massageBlobPath`).
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

FILE = "file://"


def backend_folder(url: str) -> Path | None:
    """The folder that a `file://` URL names, a relative one from the working directory; None for any other URL."""
    if not url.startswith(FILE):
        return None
    return Path(os.path.normpath(unquote(_absolute(url).split("#")[0])))


def absolute(url: str) -> str:
    """The URL with the same meaning in every working directory, its query kept."""
    if not url.startswith(FILE):
        return url
    _, mark, query = url.partition("?")
    return FILE + _absolute(url) + mark + query


def canonical_target(url: str) -> str:
    """The one name of a state backend, however it was written: what rollouts and stacks are recorded under.

    A folder's query says how it is written, not which it is; another backend's (its endpoint) is part of the name.
    """
    folder = backend_folder(url)
    if folder is not None:
        return file_url(Path(os.path.realpath(folder)))
    parts = urlsplit(url)
    if not parts.netloc:
        return url
    query = urlencode(sorted(parse_qsl(parts.query, keep_blank_values=True)))
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}" + (f"?{query}" if query else "")


def file_url(folder: Path) -> str:
    """The `file://` URL of an absolute folder, whatever characters its name has."""
    return FILE + quote(str(folder), safe="/~,:;@!$&'()*+=")


def makes_folder(url: str) -> bool:
    """Whether Pulumi makes the folder of this URL when it is not there."""
    return dict(parse_qsl(urlsplit(url).query)).get("create_dir", "").lower() in ("1", "t", "true")


def _absolute(url: str) -> str:
    path = url.removeprefix(FILE).split("?")[0]
    if path.startswith("~"):
        path = _home() if path == "~" else os.path.join(_home(), path[2:])
    return os.path.abspath(path)


def _home() -> str:
    """The user's home as Go finds it: the password file's, before $HOME."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return os.environ.get("HOME", "/")
