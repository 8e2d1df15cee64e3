"""What many threads write at once is written in few transactions, each of them whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from cellwave.rollout.model import Note
from cellwave.rollout.records import Records
from cellwave.rollout.rows import append
from cellwave.rollout.together import Together


class World:
    """A database whose first transaction is held open, and a thread for each of three more writes."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(f"sqlite:///{folder / 'cellwave.db'}")
        self.transactions = 0
        self.calls: list[list[str]] = []
        self.held, self.go_on = threading.Event(), threading.Event()
        self.together = Together(self.transaction)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """The database's, counted."""
        with self.records.transaction() as db:
            self.transactions += 1
            yield db

    def write(self, name: str) -> str:
        """Write a line; the first one waits until it is let go on, and "bad" fails once it has written."""
        return self.together.write(self.lines_of, name)

    def lines_of(self, db: sa.Connection, names: Sequence[str]) -> list[str]:
        """Write these lines."""
        self.calls.append(list(names))
        for name in names:
            append(db, name, 1.0, "", Note(kind="k", text=name))
            if name == "first":
                self.held.set()
                self.go_on.wait()
            if name == "bad":
                raise OSError(28, "No space left on device")
        return [name.upper() for name in names]

    def run(self, *names: str) -> list[str]:
        """Write the first, and these while it is being written; what became of them."""
        with ThreadPoolExecutor(1 + len(names)) as pool:
            first = pool.submit(self.write, "first")
            self.held.wait()
            rest = [pool.submit(self.write, name) for name in names]
            while len(self.together._waiting) < len(names):
                pass
            self.go_on.set()
            return [str(future.exception() or future.result()) for future in (first, *rest)]

    @property
    def lines(self) -> list[str]:
        """What was written."""
        return sorted(entry.text for entry in self.records.journal())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A database of its own."""
    return World(tmp_path)


def test_what_comes_while_another_is_written_is_written_in_one_transaction(world: World) -> None:
    """And by one call; each is told what its own came to."""
    assert world.run("a", "b", "c") == ["FIRST", "A", "B", "C"]
    assert world.transactions == 2
    assert [sorted(names) for names in world.calls] == [["first"], ["a", "b", "c"]]
    assert world.lines == ["a", "b", "c", "first"]


def test_what_cant_be_written_is_written_for_none_beside_it_and_all_hear_why(world: World) -> None:
    """As if each had been alone on a full disk."""
    first, *rest = world.run("a", "bad")
    assert first == "FIRST"
    assert all("No space left" in told for told in rest)
    assert world.lines == ["first"]
    assert world.write("a") == "A"
