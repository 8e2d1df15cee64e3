"""cellwave knows no product: no word of the one that this repository carries is in its source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = re.compile(
    r"audit|tenant|applications?/session|application(id|_of)|eventdetails|landing|/v1/events|ledger|\bshop\b",
    re.IGNORECASE,
)
# Where such a word may stand, as it stands there, and why.
ALLOWED = {
    # A key of the demo's last line, which others read.
    ("cli/demo.py", '"cross_tenant_reads"'),
    ("demo/report.py", "'cross_tenant_reads'"),
    # An option of npm.
    ("programs/environments.py", '"--no-audit"'),
}
SOURCES = sorted((ROOT / "src" / "cellwave").rglob("*.py"))


def test_no_product_is_named_in_the_source() -> None:
    """Every such word, in a name, a text or a comment, is one of the allowed; and none of these is left over."""
    assert len(SOURCES) > 100
    texts = {str(file.relative_to(ROOT / "src" / "cellwave")): file.read_text() for file in SOURCES}
    for name, allowed in ALLOWED:
        assert allowed in texts[name]
        texts[name] = texts[name].replace(allowed, "")
    assert {name: found.group() for name, text in texts.items() if (found := WORDS.search(text))} == {}


@pytest.mark.parametrize(
    "text", ["import audit", "tenantId", "GET /applications/session", "the landing bucket"]
)
def test_the_words_are_seen(text: str) -> None:
    """What the search is for, it finds."""
    assert WORDS.search(text)
