"""What every page of the viewer has: who may see it, its frame, and headers by which a browser runs nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from audit.handlers.common.directory import Caller
from audit.handlers.common.http import ApiError, Reply, Request, Route, Text
from audit.handlers.query.limits import admit
from audit.handlers.query.viewer import assets, links
from audit.handlers.query.viewer.html import Html, alert, tag, together
from audit.handlers.query.viewer.links import Link

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors "
)
# What is not asked for is not done: no styles of htmx's own, no code in attributes, no copies of pages kept.
_HTMX = {
    "includeIndicatorStyles": False,
    "allowEval": False,
    "allowScriptTags": False,
    "historyCacheSize": 0,
    "refreshOnHistoryMiss": True,
    "responseHandling": [
        {"code": "[23]..|400", "swap": True},
        {"code": "...", "swap": True, "target": "#main", "select": "#main", "swapOverride": "outerHTML"},
    ],
}
_SECTIONS = {"events": "Events", "exports": "Exports", "settings": "Settings"}
_HEADINGS = {
    400: "That can't be asked",
    403: "This link opens nothing",
    404: "There is no such page",
    429: "Too many requests",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """A request for a page, whose link is good. `root` leads from the page to where the sections are."""

    request: Request
    link: Link
    caller: Caller
    root: str

    @property
    def asked(self) -> dict[str, str]:
        """The request's parameters but those that a form left empty."""
        return {name: value for name, value in self.request.query if value}

    def to(self, place: str, **parameters: str) -> str:
        """The address of another page of the same link, as it is seen from this one."""
        return f"{self.root}{place}{'?' + urlencode(parameters) if parameters else ''}"


@dataclass(frozen=True)
class Page:
    """What is drawn: which of the sections it is of, its title, what stands in it, and its heading if that is no
    title."""

    section: str
    title: str
    content: Html
    status: int = 200
    heading: Html | None = None


Draw = Callable[[View], Page | Reply]


def page(draw: Draw) -> Route:
    """What answers requests for a page `/v1/viewer/{link}/…`; whatever happens, it is a page."""

    def answer(request: Request) -> Reply:
        _, _, _, token, *below = request.path.split("/")
        root, link = "../" * (len(below) - 1), None
        try:
            link = links.opened(token)
            links.insist_on_time(link)
            caller = links.reader(link, token)
            admit(caller)
            drawn = draw(View(request, link, caller, root))
            return drawn if isinstance(drawn, Reply) else _whole(drawn, link, root)
        except ApiError as error:
            return _refusal(error, link, root)
        except Exception:  # whoever looks at a page is shown one
            log.exception("a page of the viewer failed")
            failed = ApiError(500, "internal", "The service failed; the page may be asked for again.")
            return _refusal(failed, link, root)

    return answer


def redirect(to: str) -> Reply:
    """Have the browser ask for another page."""
    return Reply(303, Text(""), {**_headers(()), "location": to})


def moment(text: str) -> Html:
    """A time as sort keys have it, in UTC: to the millisecond, if it is none of a whole second."""
    until = 19 if text[20:26] == "000000" else 23
    return tag("time", text[:until].replace("T", " "), tag("span", " UTC", class_="zone"), datetime=text)


def _whole(drawn: Page, link: Link, root: str) -> Reply:
    ends = datetime.fromtimestamp(link.expires, UTC)
    head = tag(
        "header",
        tag(
            "p",
            tag("span", "Audit log", class_="brand"),
            tag("span", "of tenant ", class_="quiet"),
            tag("strong", link.tenant),
            class_="who",
        ),
        _sections(drawn.section, link, root),
        class_="top",
    )
    foot = tag(
        "footer",
        tag(
            "p",
            "Times are in UTC. This link is good until ",
            moment(f"{ends:%Y-%m-%dT%H:%M:%S}.000000Z"),
            ".",
        ),
    )
    return _document(drawn, root, link.origins, together([head, _main(drawn), foot]))


def _sections(current: str, link: Link, root: str) -> Html:
    items = [
        tag("li", tag("a", text, href=f"{root}{name}", aria_current="page" if name == current else None))
        for name, text in _SECTIONS.items()
        if name != "exports" or "export" in link.can
    ]
    return tag("nav", tag("ul", *items), aria_label="Sections")


def _main(drawn: Page) -> Html:
    return tag("main", tag("h1", drawn.heading or drawn.title), drawn.content, id="main", tabindex="-1")


def _document(drawn: Page, root: str, origins: tuple[str, ...], body: Html) -> Reply:
    out = f"{root}../../viewer-assets/"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="htmx-config", content=json.dumps(_HTMX)),
        tag("title", f"{drawn.title} - Audit log"),
        tag("link", rel="icon", href="data:,"),
        *(tag("link", rel="stylesheet", href=out + name) for name in assets.STYLES),
        *(tag("script", src=out + name, defer=True) for name in assets.SCRIPTS),
    )
    skip = tag("a", "Skip to content", href="#main", class_="skip")
    whole = tag("html", head, tag("body", skip, body), lang="en")
    return Reply(drawn.status, Text(f"<!doctype html>{whole}"), _headers(origins))


def _refusal(error: ApiError, link: Link | None, root: str) -> Reply:
    title = _HEADINGS.get(error.status, "Something went wrong")
    drawn = Page("", title, alert(error.message), error.status)
    # The frame of a link that has ended may say so.
    origins = link.origins if link else ()
    reply = _document(drawn, root, origins, _main(drawn))
    return Reply(reply.status, reply.body, {**reply.headers, **error.headers})


def _headers(origins: tuple[str, ...]) -> dict[str, str]:
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": _POLICY + (" ".join(origins) or "'none'"),
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "x-robots-tag": "noindex",
    }
