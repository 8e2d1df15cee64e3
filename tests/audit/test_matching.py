"""What words, tags and sources a filter finds: by the event's own JSON."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.handlers.common.http import parse_json
from audit.handlers.query.matching import MOST_WORDS, comes_from, fold, has_tag, has_words

EVENT: dict[str, Any] = {
    "tenantId": "t1",
    "eventName": "unsearched",
    "actor": {"id": "unsearched", "details": {"role": "Straße 12"}},
    "resources": [
        {"id": "unsearched", "details": {"path": ["/etc/Passwd", {"deep": "日本語の文章"}]}},
        {"id": "r"},
    ],
    "context": {"sourceIpAddress": "192.0.2.7", "userAgent": "Mozilla/5.0", "device": "ＰＨＯＮＥ"},
    "eventDetails": {"name": "Élodie", "amount": 12.5, "count": 90210, "done": True, "none": None},
    "tags": {"unsearched": "unsearched"},
}


@pytest.mark.parametrize(
    "asked",
    ["straße", "STRASSE", "strasse 12", "passwd", "PASS", "etc/passwd mozilla", "日本", "phone", "élodie",
     "E\u0301LODIE", "12.5", "90210", "192.0.2.7", "  mozilla \t élodie\n"],
)  # fmt: skip
def test_words_are_found_in_details_and_context(asked: str) -> None:
    """However deep, whatever their case, width or way of writing an accent; each word where it may be."""
    assert has_words(asked)(EVENT)


@pytest.mark.parametrize(
    "asked",
    ["unsearched", "elodie", "mozilla nobody", "role", "sourceIpAddress", "true", "null", "passwdmozilla"],
)
def test_other_words_are_not_found(asked: str) -> None:
    """An accent counts, every word must be there, and neither names of fields nor other texts are searched."""
    assert not has_words(asked)(EVENT)


@pytest.mark.parametrize("asked", [" ", "\u3000", " ".join("a" * (MOST_WORDS + 1))])
def test_no_words_and_too_many_are_refused(asked: str) -> None:
    """With how many there may be."""
    with pytest.raises(ValueError, match="expected 1 to 10"):
        has_words(asked)


def test_a_number_is_found_by_the_digits_that_it_was_sent_with() -> None:
    """Not by those that a computer would write."""
    event = parse_json(b'{"eventDetails": {"amount": 0.40000000000000002}}')
    assert has_words("0.40000000000000002")(event)


@given(st.text(max_size=40))
def test_folding_is_done_once_and_for_all_ways_of_writing(text: str) -> None:
    """A folded text is its own fold, and composed or not, a text folds alike."""
    assert fold(fold(text)) == fold(text)
    assert fold(normalize("NFD", text)) == fold(normalize("NFC", text)) == fold(text)


@pytest.mark.parametrize("word", ["details", "resources", "context", "actor", "eventDetails"])
@pytest.mark.parametrize("empty", [None, "", {}, []])
def test_what_is_said_to_be_empty_is_searched_without_a_crash(word: str, empty: object) -> None:
    """In whatever way an event says so."""
    inner = {"id": "a", word: empty}
    event = {"actor": inner, "resources": [inner], "tags": empty, word: empty}
    for match in (has_words("x"), has_tag("x"), comes_from("192.0.2.7")):
        assert not match(event)


@pytest.mark.parametrize(
    ("asked", "found"),
    [("env", True), ("env:prod", True), ("a:b", True), ("a:b:c", True), ("a", False), ("a:b:", False),
     ("env:dev", False), ("ENV", False), ("prod", False), ("empty:", True)],
)  # fmt: skip
def test_a_tag_is_found_by_its_name_or_with_its_value(asked: str, found: bool) -> None:
    """As they were written, whatever they hold."""
    assert has_tag(asked)({"tags": {"env": "prod", "a:b": "c", "empty": ""}}) == found


@pytest.mark.parametrize(
    ("asked", "source", "found"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.70", False),
        ("192.0.2.0/24", "192.0.2.7", True),
        ("192.0.2.99/24", "192.0.2.7", True),
        ("192.0.3.0/24", "192.0.2.7", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("2001:db8:0:0::1", "2001:DB8::1", True),
        ("2001:db8::/32", "2001:db8:ffff::", True),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("::ffff:192.0.2.0/120", "192.0.2.7", True),
        ("192.0.2.0/24", "192.0.2.0/24", False),
        ("192.0.2.7", "somewhere", False),
        ("cloudformation.amazonaws.com", "cloudformation.amazonaws.com", True),
        ("AWS Internal", "AWS Internal", True),
        ("AWS Internal", "aws internal", False),
    ],
)
def test_a_source_is_an_address_a_network_or_the_very_text(asked: str, source: str, found: bool) -> None:
    """An address in whatever way it is written."""
    assert comes_from(asked)({"context": {"sourceIpAddress": source}}) == found


@pytest.mark.parametrize(
    "asked", ["192.0.2", "192.0.2.256", "10.0.0.0/33", "2001:db8::1::2", "1.2.3.4:80", "/"]
)
def test_what_looks_like_an_address_and_is_none_is_refused(asked: str) -> None:
    """It would find nothing, for ever."""
    with pytest.raises(ValueError, match="expected an IP address, or a network such as"):
        comes_from(asked)


@given(st.text(max_size=40), st.ip_addresses().map(str))
def test_any_text_may_be_asked_for(text: str, source: str) -> None:
    """Refused with a ValueError at most."""
    event = {"context": {"sourceIpAddress": text}}
    assert comes_from(source)(event) in (True, False)
    with suppress(ValueError):
        assert comes_from(text)({"context": {"sourceIpAddress": source}}) in (True, False)
