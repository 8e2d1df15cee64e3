"""What pages of the viewer fetch beside themselves: the style, htmx, and a script of a few lines. Their names change
with what they hold, so a browser may keep them."""

from __future__ import annotations

import hashlib

from audit.handlers.common.http import ApiError, Reply, Request, Text
from audit.handlers.query.viewer.htmx import SOURCE
from audit.handlers.query.viewer.style import STYLE

PLACE = "/v1/viewer-assets"
KEEP = 365 * 86400  # seconds

# What htmx leaves to be done: answers that are no pages change nothing, and a keyboard's or screen reader's place in
# the page, when it went away with what was replaced, is what came instead.
_SCRIPT = """\
"use strict";
let lost = false;
document.addEventListener("htmx:beforeSwap", (event) => {
  lost = event.detail.target.contains(document.activeElement);
  const type = event.detail.xhr.getResponseHeader("content-type") || "";
  if (!type.startsWith("text/html")) event.detail.shouldSwap = false;
});
document.addEventListener("htmx:afterSettle", () => {
  if (!lost || document.activeElement !== document.body) return;
  const find = (where) => document.querySelector(where);
  const place = find("#main .alert") || find("#results, #exports") || find("#main");
  if (place) place.focus({ preventScroll: place.id !== "results" });
});
"""


def _named(stem: str, ending: str, content: str) -> str:
    return f"{stem}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.{ending}"


_STYLE_NAME, _HTMX_NAME, _SCRIPT_NAME = (
    _named("viewer", "css", STYLE),
    _named("htmx", "js", SOURCE),
    _named("viewer", "js", _SCRIPT),
)
STYLES, SCRIPTS = (_STYLE_NAME,), (_HTMX_NAME, _SCRIPT_NAME)
_FILES = {
    _STYLE_NAME: ("text/css", STYLE),
    _HTMX_NAME: ("text/javascript", SOURCE),
    _SCRIPT_NAME: ("text/javascript", _SCRIPT),
}


def get_asset(request: Request) -> Reply:
    """GET /viewer-assets/{name}, without a link; raises ApiError 404."""
    name = request.path.rpartition("/")[2]
    if name not in _FILES:
        raise ApiError(404, "not_found", f"there is no {PLACE}/{name[:60]}")
    kind, content = _FILES[name]
    headers = {
        "content-type": f"{kind}; charset=utf-8",
        "cache-control": f"public, max-age={KEEP}, immutable",
        "cross-origin-resource-policy": "same-origin",
    }
    return Reply(200, Text(content), headers)
