"""The viewer as people use it: in Debian's Chromium, over HTTPS, by keyboard, in frames, in light and dark."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from audit.handlers.common import aws
from audit.handlers.query import api, export_worker
from cellwave.errors import Unavailable
from tests.audit.logs import Logs
from tests.audit.streaming import create_streams
from tests.audit.support import AuditCell, event
from tests.audit.test_viewer import HOSTILE
from tests.audit.viewing import ask_link
from tests.browser.install import find
from tests.browser.site import Answer, of_handler, served

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
Theme = Literal["light", "dark"]
EVERY_LOOK = pytest.mark.parametrize(
    ("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
)
WIDE, PHONE = 1280, 390
KEPT = {
    ("events", "light", WIDE),
    ("events", "dark", PHONE),
    ("event", "dark", WIDE),
    ("exports", "light", WIDE),
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser that looks for every name on this machine."""
    try:
        found = find()
    except Unavailable as error:
        pytest.skip(f"{error.message}: {error.hint}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.program,
            env=dict(found.environment),
            args=["--host-resolver-rules=MAP * 127.0.0.1", "--font-render-hinting=none"],
        )
        yield browser
        browser.close()


PATIENCE_MS = 120_000  # on the busiest machine
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Viewer:
    """A viewer that is served, and the browser's contexts that look at it."""

    cell: AuditCell
    key: str
    browser: Browser
    port: int
    contexts: list[BrowserContext]

    def link(self, **asked: object) -> str:
        """The URL of a new link."""
        url = str(ask_link(self.cell, self.key, **{"tenantId": "north", **asked}).body["url"])
        return f"https://query.example:{self.port}/v1/{url.partition('/v1/')[2]}"

    def page(self, theme: Theme = "light", width: int = WIDE, **how: Any) -> Page:
        """A new page of a new context. What a page logs, or breaks, fails the test at its end (`broken`)."""
        context = self.browser.new_context(
            ignore_https_errors=True, color_scheme=theme, viewport={"width": width, "height": 800}, **how
        )
        context.set_default_timeout(PATIENCE_MS)
        self.contexts.append(context)
        return context.new_page()


@pytest.fixture
def viewer(
    cell: AuditCell, logs: Logs, chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Viewer]:
    """The viewer of a tenant with sixty events, one of which is hostile."""
    create_streams(monkeypatch, cell.account)
    cell.key("acme", "north")
    cell.land("acme/a.jsonl", *map(of_a_day, range(60)))
    cell.process()
    contexts: list[BrowserContext] = []
    with served(of_handler(api.handler)) as port:
        yield Viewer(cell, cell.key("acme", scopes=["view"]), chromium, port, contexts)
        for context in contexts:
            context.close()


DAY = (
    ("user.invited", "ana.silva@north.example", "user/2041", {"role": "editor"}),
    ("document.viewed", "jonas.weber@north.example", "document/quarterly-figures", {"pages": 12}),
    ("role.updated", "ana.silva@north.example", "user/1877", {"from": "viewer", "to": "admin"}),
    ("api-key.revoked", "svc-deploy", "api-key/7f31", {"reason": "rotation"}),
    ("login", "mei.tanaka@north.example", "session/99120", {"method": "passkey"}),
    ("report.exported", "jonas.weber@north.example", "report/2025-02", {"format": "xlsx", "rows": 1840}),
)


def of_a_day(number: int) -> dict[str, Any]:
    """An event as a product has them."""
    name, actor, resource, details = DAY[number % len(DAY)]
    found = event(
        "north",
        eventName=name,
        actor={"id": actor, "details": {"team": "finance", "mfa": True}},
        resources=[{"id": resource}, {"id": "workspace/north"}],
        context={"sourceIpAddress": f"203.0.113.{number}", "userAgent": "Mozilla/5.0 (X11; Linux x86_64)"},
        eventDetails={**details, "attempts": [1, 2.50], "changed": {"by": "console", "note": None}},
        tags={"env": "prod"},
    )
    found["eventTime"] = (
        f"2025-03-01T{8 + number // 12:02}:{number % 12 * 5:02}:{number % 60:02}.{number:03}Z"
    )
    return found


def problems(page: Page) -> list[str]:
    """What axe finds wrong with a page, by WCAG and its own best practices."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]


def broken(page: Page) -> list[str]:
    """What the page logs as errors from now on: what its policy refuses, too."""
    said: list[str] = []
    page.on("console", lambda one: said.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    return said


def export(viewer: Viewer, page: Page) -> None:
    """Have an export made, and another that is being made."""
    page.get_by_role("button", name="Make an export").click()
    expect(page.locator("#status")).to_have_text("An export is being made.")
    answered = aws.sqs().receive_message(QueueUrl=os.environ["EXPORTS_QUEUE"])["Messages"]
    export_worker.work(export_worker.Message.of({"body": answered[0]["Body"]}), export_worker.clock() + 600)


HEADINGS = {"events": "Events", "event": "role.updated", "exports": "Exports", "settings": "Settings"}


def look(page: Page, name: str, width: int, theme: Theme) -> None:
    """Nothing of a page lies beside it. Some are kept as pictures for the docs: where there is none yet, or
    CELLWAVE_PICTURES asks for new ones."""
    expect(page.get_by_role("heading", level=1)).to_have_text(
        HEADINGS[name]
    )  # a click does not wait for its page
    page.wait_for_load_state()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{name} is {wide} px wide"
    file = PICTURES / f"viewer-{name}-{theme}{'' if width == WIDE else '-phone'}.png"
    if (name, theme, width) in KEPT and (os.environ.get("CELLWAVE_PICTURES") or not file.exists()):
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=file)


@EVERY_LOOK
def test_every_page_is_fit_for_everybody(viewer: Viewer, theme: Theme, width: int) -> None:
    """axe finds nothing wrong in light and dark, wide and on a phone; nothing is logged; no page is too wide."""
    page = viewer.page(theme, width)
    said = broken(page)
    page.goto(viewer.link(can=["export"]))
    look(page, "events", width, theme)
    found = problems(page)
    page.get_by_role("link", name="role.updated").first.click()
    look(page, "event", width, theme)
    found += problems(page)
    page.get_by_role("link", name="Exports").click()
    export(viewer, page)
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    look(page, "exports", width, theme)
    found += problems(page)
    page.get_by_role("link", name="Settings").click()
    look(page, "settings", width, theme)
    found += problems(page)
    assert said == []
    page.goto(viewer.link() + "?sourceIp=192.0.2.256")
    found += problems(page)
    page.goto(viewer.link().replace("/events", "x/events"))
    found += problems(page)
    assert found == []


def test_a_keyboard_does_it_all(viewer: Viewer) -> None:
    """Past the navigation, through the fields, to what is found; the page is not loaded anew, and its place is told."""
    page = viewer.page()
    said = broken(page)
    page.goto(viewer.link())
    page.evaluate("window.same = true")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Words")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("login")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("10 events, newest first; there are no others before.")
    assert "eventName=login" in page.url
    expect(page.get_by_role("rowheader")).to_have_count(10)
    expect(page.locator("#f-eventName")).to_be_focused()
    page.locator("#f-eventName").fill("")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("25 events, newest first.")
    page.get_by_role("link", name="Older events").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("25 older events, newest first.")
    # The link that had the focus is gone: it is where that was.
    expect(page.locator("#results")).to_be_focused()
    assert page.evaluate("window.same") is True
    # No copy of a page is kept: where it is, alone, and no longer than the tab is open.
    assert page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]") == [
        "htmx-current-path-for-history"
    ]
    page.go_back()
    expect(page.locator("#status")).to_have_text("25 events, newest first.")
    assert said == []


def test_what_can_not_be_asked_is_said_in_its_place(viewer: Viewer) -> None:
    """As an alert, which leads to its field; the next good question takes it away."""
    page = viewer.page()
    page.goto(viewer.link())
    page.get_by_label("Source address").fill("192.0.2.256")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Source address: found '192.0.2.256'")
    page.get_by_role("alert").get_by_role("link").click()
    expect(page.get_by_label("Source address")).to_be_focused()
    page.get_by_label("Source address").fill("203.0.113.0/30")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_role("rowheader")).to_have_count(4)


def test_a_link_that_ends_meanwhile_says_so(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the page that is open."""
    page = viewer.page()
    page.goto(viewer.link())
    viewer.cell.applications["acme"]["keys"].pop()
    viewer.cell.key("rival")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading")).to_have_text("This link opens nothing")


def test_an_export_is_begun_watched_and_fetched(viewer: Viewer) -> None:
    """The page asks by itself how far it is, and takes nobody's place in it."""
    page = viewer.page()
    said = broken(page)
    page.goto(viewer.link(can=["export"]) + "?eventName=login")
    page.get_by_role("link", name="Export these").click()
    assert page.locator("#f-eventName").input_value() == "login"
    page.evaluate("window.same = true")
    page.locator("#f-format").focus()
    export(viewer, page)
    expect(page.locator("#status")).to_have_text("No export is being made.")
    assert page.evaluate("window.same") is True
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text("Event login")
    expect(row).to_contain_text("10")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Download").click()
    opened.value.close()
    assert said == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_works_without_a_script(viewer: Viewer, theme: Theme) -> None:
    """List, filter, older events, one event, and an export."""
    page = viewer.page(theme, java_script_enabled=False)
    page.goto(viewer.link(can=["export"]))
    page.get_by_label("Words").fill("passkey")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=passkey**")
    expect(page.get_by_role("rowheader")).to_have_count(10)
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("link", name="Older events").click()
    page.get_by_role("link", name="login").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("login")
    page.get_by_role("link", name="Exports").click()
    page.get_by_role("button", name="Make an export").click()
    expect(page.locator("#status")).to_have_text("An export is being made.")
    expect(page.get_by_role("link", name="Look again")).to_be_visible()


def test_what_an_event_contains_does_nothing(viewer: Viewer) -> None:
    """Nothing runs, nothing is fetched from elsewhere, and the policy has nothing to refuse."""
    for number, text in enumerate(HOSTILE):
        said = text[:60]
        viewer.cell.land(
            f"acme/{number}.jsonl",
            event(
                "north",
                number,
                eventName=said,
                actor={"id": said, "details": {said: [said]}},
                tags={said: said},
            ),
        )
        viewer.cell.process(f"acme/{number}.jsonl")
    page = viewer.page()
    said_ = broken(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    url = viewer.link()
    page.goto(f"{url}?limit=100&from=2025-03-01T10:00&to=2025-03-01T10:00:30")
    links = [one.get_attribute("href") for one in page.get_by_role("rowheader").get_by_role("link").all()]
    assert len(links) >= len(HOSTILE)
    for link in links:
        page.goto(f"{url.rpartition('/')[0]}/{link}")
        page.evaluate("htmx.process(document.body)")
    assert said_ == []
    assert {one.partition(":443")[0][:40] for one in asked if f"query.example:{viewer.port}" not in one} <= {
        "data:,"
    }


def portal(address: str) -> Any:
    """A site whose page frames that address."""

    def site(*_: object) -> Answer:
        page = f'<!doctype html><title>Portal</title><h1>Portal</h1><iframe src="{address}" title="Audit log"></iframe>'
        return 200, {"content-type": "text/html"}, page.encode()

    return site


def test_only_the_pages_that_a_link_names_frame_it(viewer: Viewer) -> None:
    """The browser shows it there, and works in it; to any other page it refuses it."""
    addresses: list[str] = []

    def site(*asked: Any) -> Answer:
        found: Answer = portal(addresses[0])(*asked)
        return found

    with served(site) as port:
        addresses.append(viewer.link(origins=[f"https://portal.example:{port}"]))
        page = viewer.page()
        said = broken(page)
        page.goto(f"https://portal.example:{port}/")
        frame = page.frame_locator("iframe")
        frame.get_by_label("Words").fill("passkey")
        frame.get_by_role("button", name="Search").click()
        expect(frame.locator("#status")).to_have_text("10 events, newest first; there are no others before.")
        assert said == []
        for refused in (f"https://other.example:{port}/", f"https://portal.example.evil.example:{port}/"):
            page = viewer.page()
            said = broken(page)
            page.goto(refused)
            expect(page.get_by_role("heading", name="Portal")).to_be_visible()
            page.wait_for_timeout(0)
            assert page.frames[1].url.startswith("chrome-error:") or any(
                "frame-ancestors" in one for one in said
            )
            assert page.frames[1].get_by_label("Words").count() == 0
