"""What a stack should run against what is there, in words."""

from __future__ import annotations

import pytest

from cellwave.deploy.backend import WORKTREE, BackendStack, Update
from cellwave.usecases.drift import UNKNOWN, Observed, Standing, drift, observe

V1, V2 = "1" * 64, "2" * 64
NAMES = {V1: "v1", V2: "v2"}
PROVEN = Standing(release=V1, name="v1", since=100.0)


def update(
    release: str | None, at: float, *, kind: str = "update", ok: bool = True, changed: bool = True
) -> Update:
    """An update that ended."""
    return Update(kind=kind, release=release, ended_at=at, succeeded=ok, changed=changed)


def seen(
    *updates: Update, written: float | None = None, resources: int = 5, trouble: str = ""
) -> BackendStack:
    """A stack, its newest update first."""
    at = written if written is not None else updates[0].ended_at if updates else 0.0
    return BackendStack(
        project="app", name="a.app", resources=resources, written_at=at, updates=updates, trouble=trouble
    )


FIRST = update(V1, 98.0)
CASES = {
    "as proven": (PROVEN, seen(FIRST), "v1", ""),
    "nothing was ever there": (None, None, None, ""),
    "made, and empty": (None, seen(resources=0), None, ""),
    "gone": (PROVEN, None, None, "it is gone: v1 was proven, and the backend has nothing of it"),
    "emptied": (PROVEN, seen(update(None, 200.0, kind="destroy"), FIRST, resources=0), None, "it is gone"),
    "by hand": (PROVEN, seen(update(None, 200.0), FIRST), WORKTREE, "changed by hand since v1 was proven"),
    "by hand, nothing changed": (PROVEN, seen(update(None, 200.0, changed=False), FIRST), "v1", ""),
    "by hand, and proven since": (PROVEN, seen(update(None, 98.0)), "v1", ""),
    "by hand, never proven": (None, seen(update(None, 200.0)), WORKTREE, "put there by hand"),
    "the same content again": (PROVEN, seen(update(V1, 200.0, changed=False), FIRST), "v1", ""),
    "refreshed": (PROVEN, seen(update(None, 200.0, kind="refresh"), FIRST), "v1", ""),
    "another release": (PROVEN, seen(update(V2, 200.0), FIRST), "v2", "v2 was put there since v1 was proven"),
    "another release, nothing to change": (
        PROVEN,
        seen(update(V2, 200.0, changed=False), FIRST),
        "v2",
        "v2 was put there since v1 was proven",
    ),
    "never proven": (None, seen(update(V2, 200.0)), "v2", "v2 was put there, and never proven"),
    "half way": (
        PROVEN,
        seen(update(V2, 200.0, ok=False), FIRST),
        "v2",
        "v2 was put there since v1 was proven; the last update, of v2, did not come to its end",
    ),
    "cut off": (PROVEN, seen(FIRST, written=150.0), "v1", "its state was written since its last update"),
    "no history": (PROVEN, seen(written=99.0), "v1", ""),
    "no history, and written since": (PROVEN, seen(written=200.0), UNKNOWN, "what it runs can't be told"),
    "a release that is gone": (
        None,
        seen(update("3" * 64, 9.0)),
        "333333333333",
        "333333333333 was put there",
    ),
    "torn": (PROVEN, seen(trouble="half a file"), UNKNOWN, "what it runs can't be told; half a file"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_is_there_is_told_and_how_it_is_other_than_proven(
    case: tuple[Standing | None, BackendStack | None, str | None, str],
) -> None:
    """A refresh, and what changed nothing, are no drift; a literal `pulumi up` is."""
    expected, stack, name, words = case
    observed = observe(stack, expected, NAMES)
    assert (observed.standing and observed.standing.name) == name
    said = drift(expected, observed, None, in_fleet=True)
    assert said.startswith(words)
    assert bool(said) == bool(words)


def test_since_when_is_the_end_of_the_update_that_put_it_there() -> None:
    """Not that of a refresh after it."""
    observed = observe(seen(update(None, 300.0, kind="refresh"), update(V2, 200.0), FIRST), PROVEN, NAMES)
    assert observed.standing == Standing(release=V2, name="v2", since=200.0)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (None, ""),
        ("v1", ""),
        ("v2", "asked for it, it says: v2"),
        ("nothing (no answer)", "it says: nothing"),
    ],
)
def test_what_a_stack_says_of_itself_counts_too(answers: str | None, words: str) -> None:
    """The state may be as it should be, and the code that answers another."""
    assert words in drift(PROVEN, Observed(standing=PROVEN), answers, in_fleet=True)
    assert bool(drift(PROVEN, Observed(standing=PROVEN), answers, in_fleet=True)) == bool(words)


def test_what_no_fleet_has_any_more_is_drift_whatever_it_runs() -> None:
    """It is live, and nobody will ever update it."""
    assert drift(PROVEN, Observed(standing=PROVEN), None, in_fleet=False) == "it is in no fleet any more"
