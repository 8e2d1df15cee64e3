"""What was known when an object was accepted, kept with it as S3 metadata.

Accepted means archived: the directory may change, or another process's copy of it be older, before the object is
processed. So the API writes down by which version of the directory it decided. A client can't: a post it does not
write itself, and the policy of an upload allows these fields with the API's values alone.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from audit.handlers.common.directory import Directory, directory, directory_at, newest_directory

POST, UPLOAD, REPLAY = "post", "upload", "replay"
_HOW, _VERSION = "accepted-as", "directory-version"
SESSION = "session"  # which upload session an object came through
DIGEST = "digest"  # of a post's lines, by which a second attempt is known
_SESSION = re.compile(r"(\d{4})(\d\d)(\d\d)-([0-9a-f]{32})", re.ASCII)


def acceptance(how: str, known: Directory) -> dict[str, str]:
    """The metadata of what is accepted by what is known."""
    return {_HOW: how} | ({_VERSION: known.version} if known.version else {})


def is_post(metadata: Mapping[str, str]) -> bool:
    """Whether the API has checked every event of the object, so that none of them can be the client's fault."""
    return metadata.get(_HOW) == POST


def is_replay(metadata: Mapping[str, str]) -> bool:
    """Whether the API has put the object to have rejected lines put through again."""
    return metadata.get(_HOW) == REPLAY


def new_session() -> str:
    """The id of an upload session; it begins with its day (UTC)."""
    return f"{datetime.now(UTC):%Y%m%d}-{uuid.uuid4().hex}"


def session_of(metadata: Mapping[str, str]) -> tuple[str, str] | None:
    """An object's session: its day as yyyy/mm/dd, and its id. None for an object of none, or of a release before."""
    found = _SESSION.fullmatch(metadata.get(SESSION, ""))
    return ("/".join(found.groups()[:3]), found[0]) if found else None


def known_then(metadata: Mapping[str, str]) -> Directory:
    """The directory that an object was accepted by; an empty one where that is not known. Raises as `directory_at`."""
    version = metadata.get(_VERSION)
    return directory_at(version) if version else Directory({})


def registration(application: str, metadata: Mapping[str, str]) -> Callable[[str], bool]:
    """Whether a tenant is registered to the application: at acceptance, or now.

    Nobody is unknown before the directory was read once more. Raises as `directory.read_directory`.
    """
    known: set[str] = set()
    version = metadata.get(_VERSION)
    accepted = [lambda: directory_at(version)] if version else []
    looks = iter([*accepted, directory, newest_directory])

    def registered(tenant: str) -> bool:
        while tenant not in known:
            look = next(looks, None)
            if look is None:
                return False
            known.update(look().tenants(application))
        return True

    return registered
