"""Brings a database up to date, and dies after its first change; begun again, after its second; until it lives.

Usage: python -m tests.rollout.upgrading URL: prints what the database had after each death, then how often it died.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import sqlalchemy as sa

from cellwave.rollout.database import open_engine
from cellwave.rollout.schema import bring_up_to_date, revision


def main(url: str, last: int) -> None:
    """Die after so many changes."""
    engine, done = open_engine(url), 0

    def count(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        nonlocal done
        done += statement.split(maxsplit=1)[0] in ("CREATE", "DROP", "INSERT", "UPDATE", "DELETE")
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(engine, "after_cursor_execute", count)
    bring_up_to_date(engine)
    os._exit(0)


def there(url: str) -> str:
    """The revision, and how many rows each table has."""
    engine = open_engine(url)
    with engine.connect() as db:
        names = sorted(sa.inspect(db).get_table_names())
        rows = {name: db.execute(sa.text(f'SELECT count(*) FROM "{name}"')).scalar() for name in names}
        found = revision(db)
    engine.dispose()
    return f"{found} {rows}"


if __name__ == "__main__":
    kills = 0
    while (child := os.fork()) and os.waitpid(child, 0)[1] == signal.SIGKILL:
        kills += 1
        print(there(sys.argv[1]), flush=True)
    if child == 0:
        main(sys.argv[1], kills + 1)
    print(kills)
