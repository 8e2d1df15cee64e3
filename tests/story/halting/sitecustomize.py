"""Every Python process of a project under test loads this (by PYTHONPATH): at a moment that a test names, it halts.

A moment is a point and the effect that it is about, `begun one.hello:forward:1`. The file `at` in the folder of
CELLWAVE_HALTS holds a pattern of one. Whoever comes by first renames it to `halted`, and goes on when that is gone.
Who waits for another's end of an attempt says so in `waits`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import unquote

FOLDER = "CELLWAVE_HALTS"


def come_by(point: str, key: str) -> None:
    """Halt here if that is wanted; an effect's key begins with its rollout, which no moment names."""
    folder = Path(os.environ[FOLDER])
    try:
        if not fnmatch(f"{point} {key.partition(':')[2]}", (folder / "at").read_text()):
            return
        (folder / "at").rename(folder / "halted")
    except FileNotFoundError:
        return
    while (folder / "halted").exists():
        time.sleep(0.02)


def around(owner: Any, name: str, key: Callable[..., str], before: str = "", after: str = "") -> None:
    """Let a function come by before and after it does its work."""
    does = getattr(owner, name)

    @wraps(does)
    def passing(*args: Any, **more: Any) -> Any:
        if before:
            come_by(before, key(*args, **more))
        result = does(*args, **more)
        if after:
            come_by(after, key(*args, **more))
        return result

    setattr(owner, name, passing)


def turns() -> None:
    """Inside of a turn's transaction, when all is written and nothing is kept yet."""
    from cellwave.rollout import keys, rows

    keep = rows.keep

    def passing(db: Any, row: Any, taken: Any) -> None:
        keep(db, row, taken)
        for effect in (effect for one in taken for effect in one.turn.effects):
            come_by("asked", keys.effect_key("", effect))

    setattr(rows, "keep", passing)  # noqa: B010


def hand_overs() -> None:
    """Inside of a transaction too, when DBOS was given an effect and nothing is kept yet."""
    from cellwave.rollout.records import Records

    placed = Records.placed

    def passing(self: Records, found: Any, hand_over: Callable[[Any, Any], object]) -> None:
        def handed(db: Any, asked: Any) -> None:
            hand_over(db, asked)
            come_by("handed over", asked.key)

        placed(self, found, handed)

    setattr(Records, "placed", passing)  # noqa: B010


def locks() -> None:
    """A worker that finds an attempt's lock held waits for whoever holds it."""
    from cellwave.deploy.attempt import Attempt

    take = Attempt.try_lock

    def try_lock(self: Attempt) -> int | None:
        lock = take(self)
        if lock is None:
            Path(os.environ[FOLDER], "waits").write_text(unquote(self.folder.name))
        return lock

    setattr(Attempt, "try_lock", try_lock)  # noqa: B010


if FOLDER in os.environ:
    if "worker" in sys.orig_argv:
        from cellwave.rollout.records import Records

        locks()
        turns()
        hand_overs()
        around(Records, "begin", lambda _, key, worker: key, after="begun")
        around(Records, "finish", lambda _, asked, *more: asked.key, before="ended", after="told")
    elif "cellwave.deploy.forks" in sys.orig_argv:
        from cellwave.deploy.attempt import ENGINE, Attempt

        def name(attempt: Attempt, *_: object) -> str:
            """The attempt's, which is its effect's key."""
            return unquote(attempt.folder.name)

        around(Attempt, "begin", name, before="driver begins")
        around(Attempt, "finish", name, before="driver ends", after="result written")
        sign = Attempt.give_sign

        def give_sign(self: Attempt, phase: str = "", detail: str = "") -> None:
            """An engine's first sign comes when it has just started."""
            if phase == ENGINE:
                come_by("engine starts", name(self))
            sign(self, phase, detail)

        setattr(Attempt, "give_sign", give_sign)  # noqa: B010
    elif "start" in sys.orig_argv:
        from cellwave.rollout.records import Records

        around(Records, "create_rollout", lambda *_: ":", before="recording", after="recorded")
