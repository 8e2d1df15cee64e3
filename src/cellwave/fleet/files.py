"""Which files are read, and how: one rule for the command line and for the programs that ride in a release. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from cellwave.errors import BadInput

FOLDER = "cells"
_CONFIG_LIKE = re.compile(r"(.+?)\.(?:ya?ml|json|toml)(?:\.txt)?\s*", re.IGNORECASE)

Read = Callable[[str], bytes]


def config_texts(paths: Iterable[str], read: Read) -> dict[str, str]:
    """The text of each `cells/*.yaml` by path, in order, of all `paths` below cells/ (relative to the project, posix).

    Hidden files, and those of hidden folders, are an editor's and passed over.

    BadInput: one can't be read or is not UTF-8, or a file is there that somebody may take for a region's and nobody
    reads.
    """
    ordered = sorted(path for path in paths if not any(part.startswith(".") for part in path.split("/")))
    for path in ordered:
        refuse_unread(path, FOLDER)
    return {path: text_of(path, read) for path in ordered if is_read(path, FOLDER)}


def is_read(path: str, folder: str) -> bool:
    """Whether it is `folder`/*.yaml, or waves.yaml in the project's own folder ("")."""
    return path.endswith(".yaml") and path.rpartition("/")[0] == folder if folder else path == "waves.yaml"


def refuse_unread(path: str, folder: str) -> None:
    """BadInput for what looks like configuration and is not read: it would be passed over in silence."""
    looks = _CONFIG_LIKE.fullmatch(path.rpartition("/")[2])
    if looks and not is_read(path, folder):
        right = f"{looks[1]}.yaml, in {folder}/ itself" if folder else f"{looks[1].lower()}.yaml"
        raise BadInput(path, "a file of this name, in this place, is not read", right)


def text_of(path: str, read: Read) -> str:
    """The file's text; BadInput when it can't be read or is not UTF-8."""
    try:
        return read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{path}:byte {error.start + 1}"
        raise BadInput(where, "not UTF-8 text", "a file saved as UTF-8") from error
    except OSError as error:
        raise BadInput(path, f"it can't be read: {error.strerror}", "a file that can be read") from error
