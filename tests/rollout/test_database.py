"""A database that can't be used is said in words, at once, without its password; what can be written can be kept."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cellwave.errors import BadInput, Unavailable
from cellwave.rollout.database import open_engine
from cellwave.rollout.journal import faults
from cellwave.rollout.model import Note
from cellwave.rollout.records import Records
from tests.postgres.server import Server, running


def test_a_plain_url_is_spoken_to_without_naming_a_driver(postgres: Server) -> None:
    """`postgresql://` is all that a person writes."""
    with postgres.database() as url:
        engine = open_engine(url)
        assert engine.dialect.driver == "psycopg"
        engine.dispose()


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "postgresql+asyncpg://h/d", "sqlite+aiosqlite:///d", "postgresql://h"]
)
def test_another_database_is_refused_with_what_would_be_right(url: str) -> None:
    """Before anything is opened."""
    with pytest.raises(BadInput, match="CELLWAVE_DATABASE_URL") as refused:
        open_engine(url)
    assert "://" in refused.value.hint


def test_a_server_that_is_not_there_is_said(postgres: Server) -> None:
    """So are a wrong password, a database that is missing, and one in which no table may be made; none shows the
    password."""
    with postgres.database() as url, socket.create_server(("127.0.0.1", 0)) as silent:
        right = postgres.password
        port = silent.getsockname()[1]
        silent.close()
        wrong = {
            url.replace(f":{postgres.port}/", f":{port}/"): "refused",
            url.replace(right, "s3cret"): "password authentication failed",
            f"{url}x": "does not exist",
            f"{url}?options=-cdefault_transaction_read_only%3Don": "read-only",
        }
        for given, said in wrong.items():
            with pytest.raises(Unavailable) as refused:
                Records(given)
            assert said in refused.value.message
            assert "\n" not in refused.value.message
            assert "CELLWAVE_DATABASE_URL" in refused.value.hint
            assert not {right, "s3cret"} & set(
                refused.value.message.replace("@", " ").replace(":", " ").split()
            )


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    """One that accepts and is silent: it is given up, in the time that the URL says or within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="timeout"):
            open_engine(f"postgresql://ann@127.0.0.1:{port}/cellwave?connect_timeout=2")
        assert time.monotonic() - begun < 30


def test_after_a_restart_of_the_server_the_next_thing_asked_is_done() -> None:
    """Connections that it broke are made anew."""
    with running() as server, server.database() as url:
        records = Records(url)
        records.note("one", Note(kind="k", text=""))
        server.stop()
        server.start()
        records.note("two", Note(kind="k", text=""))
        assert [entry.seq for entry in records.journal()] == [1, 2]
        records.engine.dispose()


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    """And left as it is."""
    file = tmp_path / "db"
    file.write_text("not a database" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        Records(f"sqlite:///{file}")
    assert file.read_text() == "not a database" * 100


def test_whatever_an_engine_says_can_be_kept(database_url: str) -> None:
    """Also what a database can't hold as it is, such as a NUL; the chain stays whole."""
    records = Records(database_url)
    records.note("one", Note(kind="k", text="a\0b \U0001f600 \x1b[1m", actor="an\0n", subject="s\0"))
    records.set_progress("a.app", "create \0", 1)
    [entry] = records.journal()
    assert not faults([entry])
    assert (entry.text, entry.actor) == ("a\\x00b \U0001f600 \x1b[1m", "an\\x00n")
    assert records.progress(["a.app"]) == {"a.app": ("create \\x00", 1)}


def test_what_is_told_or_done_outlasts_a_power_cut(tmp_path: Path) -> None:
    """SQLite syncs it before a transaction is over; what people only watch need not be."""
    records = Records(f"sqlite:///{tmp_path / 'cellwave.db'}")
    for lasting, level in ((True, 2), (False, 1), (True, 2)):
        with records.transaction(lasting=lasting) as db:
            assert db.exec_driver_sql("PRAGMA synchronous").scalar() == level


def test_of_many_who_make_a_database_at_once_none_is_sent_away(tmp_path: Path) -> None:
    """Not even by SQLite, which doesn't wait for who chooses how a new file is written: that is one in sixty."""

    def opened(url: str) -> object:
        engine = open_engine(url)
        try:
            with engine.connect() as db:
                return db.exec_driver_sql("PRAGMA synchronous").scalar()
        finally:
            engine.dispose()

    with ThreadPoolExecutor(8) as pool:
        urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(40) for _ in range(8)]
        assert set(pool.map(opened, urls)) == {2}  # FULL
