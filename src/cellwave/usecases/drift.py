"""What a stack should run against what the state backend says it runs, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from cellwave.deploy.backend import WORKTREE, BackendStack
from cellwave.frozen import Frozen

UNKNOWN = "unknown"
SLACK = 1.0  # seconds: an update's end is kept in whole ones


class Standing(Frozen):
    """A release on a stack: its digest (or WORKTREE, or UNKNOWN), its name, and since when (epoch seconds)."""

    release: str
    name: str
    since: float


class Observed(Frozen):
    """What a backend says that a stack runs, None for nothing, and what speaks against trusting in it."""

    standing: Standing | None = None
    doubts: tuple[str, ...] = ()


def observe(seen: BackendStack | None, expected: Standing | None, names: Mapping[str, str]) -> Observed:
    """What a stack really runs. `names` is what people call a release's digest.

    An update that was for no release of ours has put the working tree there, unless it changed nothing, or what is
    expected was proven after it. A refresh puts nothing there.
    """
    if seen is None or not (seen.resources or seen.trouble):
        return Observed()
    if seen.trouble:
        return Observed(standing=Standing(release=UNKNOWN, name=UNKNOWN, since=0.0), doubts=(seen.trouble,))
    doubts = []
    if seen.updates and seen.written_at > seen.updates[0].ended_at + SLACK:
        doubts.append("its state was written since its last update: another one is at work, or was cut off")
    last = next((u for u in seen.updates if u.kind != "refresh" and (u.release or u.changed)), None)
    release, since = (last.release, last.ended_at) if last else (None, seen.written_at)
    if release is None:
        is_proven = expected is not None and since <= expected.since + SLACK
        release = expected.release if expected and is_proven else WORKTREE if last else UNKNOWN
    standing = Standing(release=release, name=names.get(release, release[:12]), since=since)
    if last and not last.succeeded:
        doubts.append(f"the last update, of {standing.name}, did not come to its end")
    return Observed(standing=standing, doubts=tuple(doubts))


def drift(
    expected: Standing | None, observed: Observed, answers: str | None, *, in_fleet: bool, known: bool = True
) -> str:
    """How a stack is other than it should be, in words; "" when it is as it should be.

    `answers` is what it said itself when it was asked, in names of releases; None when it was not. Not `known`: an
    attempt has begun there since, and no proof has ended it.
    """
    said = [] if in_fleet else ["it is in no fleet any more"]
    said += [] if known else ["something was tried there since, and nothing was proven"]
    if words := _difference(expected, observed.standing):
        said.append(words)
    said += observed.doubts
    if answers is not None and answers != (expected.name if expected else None):
        said.append(f"asked for it, it says: {answers}")
    return "; ".join(said)


def _difference(expected: Standing | None, standing: Standing | None) -> str:
    if standing is None:
        return (
            f"it is gone: {expected.name} was proven, and the backend has nothing of it" if expected else ""
        )
    if expected is None:
        by_hand = standing.release == WORKTREE
        return "put there by hand" if by_hand else f"{standing.name} was put there, and never proven"
    if expected.release == standing.release:
        return ""
    if standing.release == WORKTREE:
        return f"changed by hand since {expected.name} was proven"
    if standing.release == UNKNOWN:
        return "what it runs can't be told"
    return f"{standing.name} was put there since {expected.name} was proven"
