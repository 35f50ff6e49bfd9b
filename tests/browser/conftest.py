"""A headless Chromium for the tests of pages: outside requests are blocked and counted.

`scripts/debian` installs Chromium. Where there is none the tests are skipped by name; with
DEBIAN_TESTS=required, as in continuous integration, they fail instead.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Chromium itself must not call home either.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Hosts that count as this machine.
LOCAL_HOSTS = ("127.0.0.1", "localhost")
#: Window sizes, width x height in pixels.
WIDE, NARROW = (1400, 900), (390, 844)


@dataclass
class Visit:
    """One page of the browser, and what went wrong on it.

    Attributes:
        page: Playwright's page.
        outside: URLs that were asked for on other hosts; all of them are blocked.
        errors: errors on the console, uncaught ones included.
    """

    page: Any
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, place: Path | str) -> Any:
        """Open a file or a URL, wait until it is loaded, and return Playwright's page."""
        url = place.resolve().as_uri() if isinstance(place, Path) else place
        self.page.goto(url, wait_until="load")
        return self.page

    def accessibility_faults(self) -> list[str]:
        """What axe-core finds that is serious or critical: rule, element, reason."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{fault['id']}: {node['html'][:200]}: {node.get('failureSummary', '')[:300]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """The browser, started once for this package.

    Playwright's event loop runs until it is stopped, and other packages need their own.
    """
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        message = "needs Chromium, found none; scripts/debian installs it"
        if os.environ.get("DEBIAN_TESTS") == "required":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    """The colour scheme; a test that asks for it runs in both."""
    return str(request.param)


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    """The size of the window; a test that asks for it runs in both."""
    return tuple(request.param)


@pytest.fixture
def visit(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A new page, in the test's `scheme` and `size` if it has them.

    Fails at the end if the page asked for anything outside or logged an error; a test that
    expects either clears the list.
    """
    scheme = request.getfixturevalue("scheme") if "scheme" in request.fixturenames else "light"
    width, height = request.getfixturevalue("size") if "size" in request.fixturenames else WIDE
    context = chromium.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": height},
        accept_downloads=True,
    )
    seen = Visit(context.new_page())

    def answer(route: Any) -> None:
        url = urlsplit(route.request.url)
        if url.scheme == "file" or url.hostname in LOCAL_HOSTS:
            route.continue_()
            return
        seen.outside.append(route.request.url)
        route.abort()

    context.route("**/*", answer)
    seen.page.on("console", lambda said: said.type == "error" and seen.errors.append(said.text))
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    yield seen
    context.close()
    assert seen.outside == []
    assert seen.errors == []
