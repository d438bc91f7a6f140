"""The page at /docs in a real browser."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.scenario import Server

CALL = "#post-lists-list-id-members"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of Debian."""
    path = shutil.which("chromium")
    if path is None:
        reason = "there is no chromium: apt-get install chromium"
        if os.environ.get("BATCHWAY_TESTS_COMPLETE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """The errors and warnings of the browser."""
    return []


@pytest.fixture
def docs(browser: Browser, sqlite_server: Server, complaints: list[str]) -> Iterator[Page]:
    """The page on a phone. After the test, the browser must have reported no error."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.goto(f"{sqlite_server.url}/docs")
    yield page
    page.close()
    assert [] == complaints


def test_search_narrows_the_calls(docs: Page) -> None:
    """The search shows the calls that contain all words, with their groups and their number."""
    everything = docs.locator(".call:visible").count()

    docs.get_by_label("Search").fill("skip_duplicate_check")

    expect(docs.locator(".call:visible")).to_have_count(1)
    expect(docs.locator("h2:visible")).to_have_text(["Members"])
    expect(docs.locator("#found")).to_have_text("1 call")

    docs.get_by_label("Search").fill("no-call-says-this")

    expect(docs.locator(".call:visible")).to_have_count(0)
    expect(docs.get_by_text("No call contains all of these words.")).to_be_visible()

    docs.get_by_label("Search").fill("")

    expect(docs.locator(".call:visible")).to_have_count(everything)


def test_a_call_can_be_opened(docs: Page) -> None:
    """An open call has parameters, a body, an example and a link."""
    docs.locator(f"{CALL} > summary").click()

    expect(docs.locator(CALL)).to_contain_text("email_address required")
    expect(docs.locator(f"{CALL} pre")).to_contain_text(
        '"$BATCHWAY_URL/3.0/lists/a1b2c3d4e5/members"'
    )
    expect(docs).to_have_url(docs.url.partition("#")[0] + CALL)


def test_an_address_opens_its_call(docs: Page) -> None:
    """A link to a call opens it."""
    docs.goto("about:blank")
    docs.go_back()
    docs.evaluate(f"location.hash = '{CALL}'")

    expect(docs.locator(f"{CALL} pre")).to_be_visible()


def test_the_page_fits_a_phone(docs: Page) -> None:
    """The page needs no horizontal scrolling, even if everything is open."""
    docs.evaluate("document.querySelectorAll('details').forEach((group) => { group.open = true; })")

    assert 390 == docs.evaluate("document.documentElement.scrollWidth")


def test_examples_name_the_address_that_the_reader_uses(docs: Page, sqlite_server: Server) -> None:
    """Examples have the address of the page, so that they can be pasted."""
    docs.get_by_text("How to try a call").click()

    expect(docs.locator("#base")).to_have_text(sqlite_server.url)
