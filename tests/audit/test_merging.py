"""Pages of several cells become one answer: each event once, newest first, and the cursor loses none."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from audit.handlers.common.ocsf import activity
from audit.handlers.router.merging import END, Page, Position, merged, place_of
from tests.audit.test_properties import events as valid_events

SECRET, QUESTION = b"secret", [("eventName", "login")]
identities = st.tuples(st.integers(0, 9), st.integers(0, 9))
stored = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sets(identities, max_size=12), min_size=1)
# How much of its index each cell reads for its next pages; of that every third is not what is asked for.
lengths = st.lists(st.integers(1, 4), min_size=1, max_size=8)


def an_event(identity: tuple[int, int]) -> dict[str, Any]:
    """An event of a second, known by a number."""
    return {"eventId": str(identity[1]), "eventTime": f"2025-01-01T00:00:0{identity[0]}Z"}


def page_of(kept: set[tuple[int, int]], cursor: str | None, length: int) -> Page:
    """What a cell answers from its cursor, where the page before ended, on."""
    events = sorted(map(an_event, kept), key=place_of, reverse=True)
    start = int(cursor or 0)
    goes_on = start + length < len(events)
    return Page(
        [one for one in events[start : start + length] if asked_for(one)],
        str(start + length) if goes_on else END,
    )


def asked_for(one: dict[str, Any]) -> bool:
    """Whether a filter lets it be."""
    return int(one["eventId"]) % 3 > 0


@given(stored, lengths, st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_every_event_is_told_once_newest_first(
    kept: dict[str, set[tuple[int, int]]], sizes: list[int], limits: list[int]
) -> None:
    """However the cells' pages fall, and though many are empty; the limit may change from page to page."""
    position, told = Position(), list[str]()
    for turn in range(200):
        limit = limits[turn % len(limits)]
        left = [cell for cell in kept if position.cursors.get(cell) != END]
        if not left:
            break
        pages = {
            cell: page_of(
                kept[cell], position.cursors.get(cell), min(sizes[(turn + number) % len(sizes)], limit)
            )
            for number, cell in enumerate(left)
        }
        events, position = merged(pages, position, limit)
        assert len(events) <= limit
        told += map(place_of, events)
        again = Position.of(position.text(SECRET, QUESTION), SECRET, QUESTION)
        assert again == position
    every = [an_event(one) for found in kept.values() for one in found]
    assert told == sorted({place_of(one) for one in every if asked_for(one)}, reverse=True)


@given(stored, st.integers(1, 4))
def test_a_cell_that_is_not_asked_is_where_it_was(kept: dict[str, set[tuple[int, int]]], limit: int) -> None:
    """Its cursor is kept for whoever asks again from the cursor before."""
    missing, *others = kept
    before = Position(dict.fromkeys(kept, None))
    pages = {cell: page_of(kept[cell], None, limit) for cell in others}
    _, after = merged(pages, before, limit)
    assert after.cursors[missing] is None


@given(valid_events)
def test_an_event_has_its_place_in_whatever_shape_it_is_told(event: dict[str, Any]) -> None:
    """As it was sent, or as OCSF has it."""
    stored = {"eventId": "0" * 32, **event}
    assert place_of(activity("acme", stored, None)) == place_of(stored)


def test_a_cursor_is_of_one_key_and_question() -> None:
    """And of nobody who changed a letter of it."""
    text = Position({"a": "x"}, "last").text(SECRET, QUESTION)
    assert Position.of(text, SECRET, QUESTION) == Position({"a": "x"}, "last")
    for other in (
        Position.of(text, b"other", QUESTION),
        Position.of(text, SECRET, []),
        Position.of("A" + text[1:] if text[0] != "A" else "B" + text[1:], SECRET, QUESTION),
        Position.of("no cursor", SECRET, QUESTION),
        Position.of("é", SECRET, QUESTION),
    ):
        assert other is None
