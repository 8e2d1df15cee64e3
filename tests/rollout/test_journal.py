"""The journal proves itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cellwave.rollout.journal import Entry, faults, seal

TEXTS = st.lists(st.text(max_size=20), min_size=1, max_size=12)


def chain(texts: list[str]) -> list[Entry]:
    """A journal with these texts."""
    entries: list[Entry] = []
    for text in texts:
        last = entries[-1] if entries else None
        entries.append(seal(last, at=1.5, rollout="v1-1", kind="k", subject="s", actor="ann", text=text))
    return entries


@given(TEXTS)
def test_a_journal_as_written_is_whole(texts: list[str]) -> None:
    """No fault is found in what was only appended."""
    assert faults(chain(texts)) == []


@given(TEXTS, st.data())
def test_a_changed_entry_is_found(texts: list[str], data: st.DataObject) -> None:
    """Whatever field of whatever entry is changed."""
    entries = chain(texts)
    place = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(st.sampled_from(["text", "actor", "kind", "rollout", "subject"]))
    entries[place] = entries[place].model_copy(update={field: getattr(entries[place], field) + "!"})
    assert faults(entries)


@given(TEXTS, st.data())
def test_a_removed_or_moved_entry_is_found(texts: list[str], data: st.DataObject) -> None:
    """Removed anywhere but at the very end, or moved."""
    entries = chain([*texts, "last"])
    place = data.draw(st.integers(0, len(entries) - 2))
    assert faults(entries[:place] + entries[place + 1 :])
    swapped = [*entries]
    swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
    assert faults(swapped)


@given(TEXTS)
def test_an_entry_put_in_between_is_found(texts: list[str]) -> None:
    """A forged entry with a right hash of its own does not fit the one after it."""
    entries = chain([*texts, "last"])
    forged = seal(
        entries[0], at=2.0, rollout="v1-1", kind="approve", subject="", actor="mallory", text="fine"
    )
    assert faults([entries[0], forged, *entries[1:]])
