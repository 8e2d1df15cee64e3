"""The database behind a URL: a SQLite file, or a PostgreSQL server that many hosts share. What is in it, others say."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from cellwave.errors import BadInput, Unavailable
from cellwave.faults import of_error

VARIABLE = "CELLWAVE_DATABASE_URL"
DATABASES = "postgresql://USER:PASSWORD@HOST/DATABASE, sqlite:///FILE, or none: then it is a file"
DRIVERS = {"sqlite": ("pysqlite",), "postgresql": ("psycopg",)}
GONE = "put it back; or begin anew without it: `cellwave journal accept`"
LOCK_SECONDS = 30  # how long a writer of a SQLite file waits for another
# A server that does not answer, or is cut off, is noticed within seconds (libpq's words; milliseconds for the last).
REACHED = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def database_url(text: str) -> sa.URL:
    """The URL with the driver that speaks to it. BadInput when it is another database's, or none; a word of it may be
    a password."""
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise BadInput(VARIABLE, "no URL of a database", DATABASES) from None
    backend, _, driver = url.drivername.partition("+")
    if backend not in DRIVERS:
        raise BadInput(VARIABLE, f"a database of {backend!r}", DATABASES)
    [ours] = DRIVERS[backend]
    if driver not in ("", ours):
        raise BadInput(VARIABLE, f"no such driver: {driver!r}", f"{backend}://… without one, or +{ours}")
    if backend == "postgresql" and not url.database:
        raise BadInput(VARIABLE, "it names no database", DATABASES)
    return url.set(drivername=f"{backend}+{ours}")


def open_engine(text: str) -> sa.Engine:
    """An engine for a database that can be reached; Unavailable, with the server's own words, for one that can't.

    A SQLite file is made when it is not there. BadInput as `database_url`.
    """
    url = database_url(text)
    if url.get_backend_name() == "sqlite":
        # To open a file costs more than most of what is done in it. As many as want one have a connection at once.
        own = {"timeout": LOCK_SECONDS, "check_same_thread": False}
        engine = sa.create_engine(
            url, connect_args=own, poolclass=sa.pool.QueuePool, max_overflow=-1, hide_parameters=True
        )
        sa.event.listen(engine, "connect", _prepare_sqlite)
    else:
        # What the URL says itself goes first. A connection that a restart of the server broke is made anew.
        reached = {name: value for name, value in REACHED.items() if name not in url.query}
        engine = sa.create_engine(url, connect_args=reached, pool_pre_ping=True, hide_parameters=True)
    try:
        engine.connect().close()
    except sa.exc.DBAPIError as error:
        raise unreachable(url, error) from error
    if files := database_files(text):
        # From now on the file is there: to connect must not put an empty one in the place of one that was deleted.
        sa.event.listen(engine, "do_connect", partial(require_there, files[0]))
        sa.event.listen(engine, "connect", partial(_note_file, files[0]))
        sa.event.listen(engine, "checkout", partial(_require_same_file, files[0]))
        engine.pool.dispose()  # the first connection was made before
    return engine


def reading(engine: sa.Engine) -> sa.Engine:
    """The same database for who only reads: a server is not told of a transaction's begin and end."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def require_there(file: Path, *_: object) -> None:
    """Unavailable when the file of a database that was there is not there any more."""
    if not file.exists():
        raise Unavailable(f"the database is gone: {file}", hint=GONE)


def _note_file(file: Path, _connection: object, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info["file"] = _number(file)


def _require_same_file(
    file: Path, _connection: object, record: sa.pool.ConnectionPoolEntry, _: object
) -> None:
    """A file that was deleted, or replaced by another, lives on for who has it open: they are to open it anew."""
    if record.info.get("file") != _number(file):
        raise sa.exc.DisconnectionError


def _number(file: Path) -> tuple[int, int] | None:
    with suppress(FileNotFoundError):
        found = file.stat()
        return found.st_dev, found.st_ino
    return None


def existing(text: str) -> str:
    """The URL for somebody else who connects by it, and must not make a SQLite file that is not there."""
    url = database_url(text)
    if not database_files(text) or str(url.database).startswith("file:"):
        return text
    there = url.set(
        database=f"file:{quote(str(url.database))}", query={**url.query, "mode": "rw", "uri": "true"}
    )
    return there.render_as_string(hide_password=False)


def unreachable(url: sa.URL, error: sa.exc.DBAPIError) -> Unavailable:
    """A database's refusal in one line, without its password."""
    said = " ".join(str(error.orig).split())
    return Unavailable(
        f"the database can't be opened: {url.render_as_string(hide_password=True)}: {said}",
        hint=f"a database that is there, lets you in and lets you make tables; {VARIABLE} names it",
        fault=of_error(error),
    )


def unwritable(text: str, error: Exception) -> Unavailable | None:
    """A database's word, in one line, that it takes nothing from us; None when the error says anything else: it is
    locked, full or away."""
    refusal = getattr(error, "orig", None)
    if getattr(refusal, "sqlite_errorname", "").startswith("SQLITE_READONLY"):
        right = "a file, in a folder, that this user may write to"
    elif getattr(refusal, "sqlstate", "") in (
        "25006",
        "42501",
    ):  # a transaction that only reads; no such privilege
        right = "a server that is no standby, and a user who may write to its tables"
    else:
        return None
    named = database_url(text).render_as_string(hide_password=True)
    said = " ".join(str(refusal).split())
    return Unavailable(
        f"the database can't be written to: {named}: {said}", hint=f"{right}; {VARIABLE} names it"
    )


@contextmanager
def alone(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that no other of its kind runs beside: the next one waits for its end."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7264)"))
        yield connection


def database_files(text: str) -> tuple[Path, ...]:
    """A SQLite database's own file, then those that writers leave beside it, there or not; none of any other."""
    url = database_url(text)
    if url.get_backend_name() != "sqlite" or not url.database:
        return ()
    return tuple(Path(f"{url.database}{more}") for more in ("", "-wal", "-shm"))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Without the driver's own implicit BEGIN, a writer can take the lock up front and a reader takes none.
    connection.isolation_level = None
    _write_ahead(connection)
    # A turn that a power cut takes back was told of, and had begun things outside.
    connection.execute("PRAGMA synchronous=FULL")


def _write_ahead(connection: sqlite3.Connection) -> None:
    # Of several that make a file at once, SQLite lets one choose how it is written and sends the others away unheard.
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
