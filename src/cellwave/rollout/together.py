"""Writes of many threads in few transactions: what is asked for while one is under way is written by the next, whole.

A transaction that is to outlast a power cut waits for the disk; of a hundred effects that end at once, none waits for
ninety-nine others to have waited.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

Told = TypeVar("Told")


@dataclass
class Together:
    """Takes the writes of one database. `transaction` opens one."""

    transaction: Callable[[], AbstractContextManager[sa.Connection]]
    _waiting: deque[tuple[Callable[[sa.Connection], Any], Future[Any]]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, what: Callable[[sa.Connection], Told]) -> Told:
        """Write it, and maybe others' beside it; what it returned, once that is kept. Raises what kept any of them from
        being written: then none was."""
        mine: Future[Told] = Future()
        self._waiting.append((what, mine))
        with self._lock:
            if not mine.done():
                self._write_waiting()
        return mine.result()

    def _write_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            with self.transaction() as db:
                found = [what(db) for what, _ in batch]
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            raise
        for (_, future), told in zip(batch, found, strict=True):
            future.set_result(told)
