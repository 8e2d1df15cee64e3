"""Is it the database that this home has worked with? One that vanished, was replaced or restored from an older copy
does not know what runs where: whoever went on with it would deploy over what others did."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import ValidationError

from cellwave.errors import Unavailable
from cellwave.frozen import Frozen
from cellwave.rollout.database import database_files, require_there
from cellwave.rollout.records import Records

HINT = "put the right one back; or, if this is the right one, `cellwave journal accept` and go on with it"


class Known(Frozen):
    """A database as it was last seen: its identity, and its journal's last entry (0 and "": it had none)."""

    id: str
    seq: int
    hash: str


def require_known(home: Path, url: str) -> None:
    """Unavailable when the database that this home has worked with was a file and is gone: no other is made."""
    if _read(home) is not None:
        for file in database_files(url)[:1]:
            require_there(file)


def require_same(home: Path, records: Records) -> None:
    """Unavailable when the database is not the one that this home knows, or has lost what was in its journal."""
    known = _read(home)
    if known is None:
        return
    if known.id != (found := records.identity()):
        raise Unavailable(
            f"the database is not the one that this project has worked with: "
            f"it is {found[:12] or 'empty'}, not {known.id[:12]}",
            hint=HINT,
        )
    if known.seq and records.hash_at(known.seq) != known.hash:
        raise Unavailable(
            f"the database is an older copy, or was changed: entry {known.seq} of its journal is another, or missing",
            hint=HINT,
        )


def remember(home: Path, records: Records) -> None:
    """Keep what the database is now, for the next look."""
    seq, digest = records.head()
    now = Known(id=records.identity(), seq=seq, hash=digest)
    if now != _read(home):
        # Any number of commands do this at once, each by a file of its own.
        with NamedTemporaryFile(
            "w", dir=home, prefix="database.", suffix=".partial", delete=False
        ) as partial:
            partial.write(now.model_dump_json())
        os.replace(partial.name, _file(home))


def forget(home: Path) -> None:
    """Know nothing: whatever database comes next is taken for the right one."""
    _file(home).unlink(missing_ok=True)


def _file(home: Path) -> Path:
    return home / "database.json"


def _read(home: Path) -> Known | None:
    with suppress(FileNotFoundError, ValidationError):
        return Known.model_validate_json(_file(home).read_text())
    return None
