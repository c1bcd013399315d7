"""A headless browser, the system's own Chromium by Playwright, in which no page may raise, or ask another machine."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OWN = ("127.0.0.1", "localhost", "::1", None)  # None: of data: and blob:
READY = "window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents.every((doc) => doc.is_idle)"


class Watched:
    """A tab, with what its console said and which machines it asked."""

    def __init__(self, page) -> None:
        self.page, self.errors, self.outside = page, [], []
        page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)
        page.on("websocket", self._asked)
        page.on("dialog", lambda dialog: (self.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _asked(self, request) -> None:
        if urlsplit(request.url).hostname not in OWN:
            self.outside.append(request.url)

    def open(self, url: str, timeout: float = 20_000) -> None:
        """Opens a page, and waits until Bokeh has drawn it."""
        self.page.goto(url)
        self.page.wait_for_function(READY, timeout=timeout)

    def ask(self, expression: str):
        """What a JavaScript expression gives; `all(type)` are the models of a type, `step` is the slider of the step."""
        code = (
            "const every = [...Bokeh.documents[0].all_models]; const all = (type) => every.filter((m) => m.type === type);"
            "const step = all('Slider').find((m) => m.css_classes.includes('step'));"
        )
        return self.page.evaluate(f"() => {{ {code} return {expression} }}")

    def image(self) -> list[float]:
        """The numbers of the first heat map; none while there is none."""
        return self.ask("Array.from(all('ColumnDataSource').find((m) => m.data.image)?.data.image[0] ?? [])")

    def until(self, expression: str, timeout: float = 10_000) -> None:
        """Waits until an expression, as of `ask`, is true."""
        deadline = time.monotonic() + timeout / 1000
        while not self.ask(expression):
            assert time.monotonic() < deadline, f"not within {timeout / 1000} s: {expression}"
            self.page.wait_for_timeout(30)

    def handle(self):
        """The handle of the slider of the step."""
        return self.page.locator(".step [role=slider]").first

    def finish(self) -> None:
        """Asserts that nothing was wrong."""
        assert self.errors == [] and self.outside == []


@pytest.fixture(scope="module")  # while it is open Playwright's event loop runs, and no other can
def chromium() -> Iterator[object]:
    """The browser; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra test has playwright")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    alone = ["--no-sandbox"]  # containers often have none to give; only pages of the tests are opened
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=path, args=alone)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium) -> Iterator[Watched]:
    """A tab of 1400 × 900 pixels in a profile of its own, whose errors and requests are looked at in the end."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    watched = Watched(context.new_page())
    yield watched
    context.close()
    watched.finish()


@pytest.fixture
def offline_tab(chromium) -> Iterator[Watched]:
    """As `tab`, with the network off."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    watched = Watched(context.new_page())
    yield watched
    context.close()
    watched.finish()


def file_url(path: Path) -> str:
    return path.resolve().as_uri()
