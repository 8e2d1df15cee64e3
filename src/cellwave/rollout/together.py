"""Writes of many threads in few transactions: what is asked for while one is under way is written by the next, whole,
and what is of one kind by one call.

A transaction that is to outlast a power cut waits for the disk; of a hundred effects that end at once, none waits for
ninety-nine others to have waited.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

One = TypeVar("One")
Told = TypeVar("Told")


@dataclass
class _Asked:
    """A write that waits: to be `called` to write for all that wait (or told that another has), and what it came to."""

    what: Callable[[sa.Connection, Sequence[Any]], Sequence[Any]]
    one: Any
    called: Future[bool] = field(default_factory=Future)
    told: Future[Any] = field(default_factory=Future)


@dataclass
class Together:
    """Takes the writes of one database. `transaction` opens one."""

    transaction: Callable[[], AbstractContextManager[sa.Connection]]
    _waiting: list[_Asked] = field(default_factory=list)
    _is_written: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, what: Callable[[sa.Connection, Sequence[One]], Sequence[Told]], one: One) -> Told:
        """Let `what` write it, and maybe others' with it, and others beside it; what it returned for this one, once
        that is kept. Raises what kept any of them from being written: then none was."""
        mine = _Asked(what, one)
        with self._lock:
            self._waiting.append(mine)
            if not self._is_written:
                self._is_written = True
                mine.called.set_result(True)
        if mine.called.result():
            self._write_waiting()
        told: Told = mine.told.result()
        return told

    def _write_waiting(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            self._write_all(batch)
        finally:
            for asked in batch:
                if not asked.called.done():
                    asked.called.set_result(False)
            with self._lock:
                self._is_written = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].called.set_result(True)

    def _write_all(self, batch: Sequence[_Asked]) -> None:
        kinds: dict[Any, list[_Asked]] = {}
        for asked in batch:
            kinds.setdefault(asked.what, []).append(asked)
        try:
            with self.transaction() as db:
                found = [what(db, [asked.one for asked in some]) for what, some in kinds.items()]
        except BaseException as error:
            for asked in batch:
                asked.told.set_exception(error)
            raise
        for some, all_told in zip(kinds.values(), found, strict=True):
            for asked, told in zip(some, all_told, strict=True):
                asked.told.set_result(told)
