"""All pages in a real browser: axe-core finds nothing; keyboard, phone, paper; no request, nothing refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.publish import pages
from tests.publish.test_catalogue_page import CONTRAST, FLAGS, RING, _chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: .ci/run runs them with the slow tests of images: a browser sets its priorities itself.
pytestmark = pytest.mark.slow

OPEN = "for (const one of document.querySelectorAll('details')) one.open = true"
#: One page of each kind.
ONE_HAND = ("boot failed", "run", "factory", "catalogue images/analysis")
WIDTHS = (1280, 390)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
#: Controls and boxes that scroll, as CSS selects them.
CONTROLS = "a[href], button, select, input, summary, [tabindex='0']"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Path]]:
    """Return one page of each kind and state → its file."""
    root = tmp_path_factory.mktemp("pages")
    patch = pytest.MonkeyPatch()
    for name, value in (("ROOST_STATE", "state"), ("XDG_CONFIG_HOME", "config"), ("ROOST_ROOT", ".")):
        patch.setenv(name, str(root / value))
    patch.chdir(root)
    yield pages.write(root)
    patch.undo()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return the distribution's Chromium, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=_chromium(), args=list(FLAGS))
        yield found
        found.close()


def _heard(page: Page) -> list[str]:
    """Return a list that gets what the page asks for, and what its console says."""
    said: list[str] = []
    page.on("request", lambda request: said.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def _each(browser: Browser, written: Mapping[str, Path], scheme: str = "light") -> Iterator[tuple[str, Page]]:
    """Yield each page with everything unfolded; what it asks a network for or is refused is an error."""
    context = browser.new_context(
        viewport={"width": WIDTHS[0], "height": 900}, offline=True, color_scheme="dark" if scheme == "dark" else "light"
    )
    for name, path in written.items():
        page = context.new_page()
        said = _heard(page)
        page.goto(path.as_uri())
        page.evaluate(OPEN)
        yield name, page
        assert [one for one in said if not one.startswith(("file:///", "data:image/png"))] == [], name
        page.close()
    context.close()


@pytest.mark.timeout(900)
def test_axe_finds_nothing(browser: Browser, written: Mapping[str, Path]) -> None:
    """On each width and in each colour scheme, of pages that are loaded once: most of the time goes into loading."""
    from axe_playwright_python.base import AXE_SCRIPT

    found = {}
    for name, page in _each(browser, written):
        page.evaluate(AXE_SCRIPT)
        for width, scheme in itertools.product(WIDTHS, SCHEMES):
            shown = (name, width, scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(f"matchMedia('(prefers-color-scheme: {scheme})').matches && innerWidth == {width}")
            result = page.evaluate("axe.run({ resultTypes: ['violations'] })")
            assert len(result["passes"]) > 15, shown
            for one in result["violations"]:
                found[*shown, one["id"]] = [node["html"][:200] for node in one["nodes"][:3]]
            # What axe leaves to people: text under 1.4.3 that it cannot judge, and what shows the focus.
            assert page.evaluate(CONTRAST) == [], shown
            if rings := page.evaluate(RING):
                assert min(rings) >= 3, shown
            assert page.evaluate("document.documentElement.scrollWidth") <= width, shown
    assert found == {}


def test_axe_finds_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    """The test above would fail: a page without a name, a language, a label and a contrast."""
    from axe_playwright_python.base import AXE_SCRIPT

    (tmp_path / "bad.html").write_text("<!doctype html><p style='color: #ddd; background: #fff'>text <input>")
    page = browser.new_page()
    page.goto((tmp_path / "bad.html").as_uri())
    page.evaluate(AXE_SCRIPT)
    found = {one["id"] for one in page.evaluate("axe.run()")["violations"]}
    page.close()
    assert {"document-title", "html-has-lang", "label", "color-contrast"} <= found


def test_the_keyboard_reaches_all_that_can_be_used(browser: Browser, written: Mapping[str, Path]) -> None:
    """Tab goes through each control that is shown, in the order of the page; of radio buttons one of each group."""
    for name, page in _each(browser, written):
        wanted = page.evaluate(
            f"""() => {{
              const found = [...document.querySelectorAll("{CONTROLS}")].filter((one) =>
                one.checkVisibility() && !one.disabled && (one.type !== "radio" || one.checked));
              found.forEach((one, number) => one.dataset.order = number);
              return found.length;
            }}"""
        )
        reached = []
        for _ in range(wanted):
            page.keyboard.press("Tab")
            reached.append(int(page.evaluate("document.activeElement.dataset.order ?? -1")))
        assert reached == list(range(wanted)), name


def test_nothing_is_pressed_or_cut_off_on_paper(browser: Browser, written: Mapping[str, Path]) -> None:
    for name, page in _each(browser, written, scheme="dark"):
        page.emulate_media(media="print", color_scheme="dark")
        shown = page.locator("input:visible, select:visible, .tools button:visible, #copy:visible")
        assert shown.count() == 0, name
        cut = page.evaluate(
            "[...document.querySelectorAll('pre, .scroll')].filter((one) => one.checkVisibility()"
            " && getComputedStyle(one).maxHeight !== 'none').map((one) => one.outerHTML.slice(0, 80))"
        )
        assert cut == [], name
        # Ink on paper, whatever the screen's colours are.
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)", name


def test_all_pages_are_by_one_hand(browser: Browser, written: Mapping[str, Path]) -> None:
    """The same colours, type and shapes, whatever kind of page it is."""
    seen = {}
    for name, page in _each(browser, {key: path for key, path in written.items() if key in ONE_HAND}):
        seen[name] = page.evaluate(
            """() => ["body", "h1", "pre"].map((selector) => {
              const style = getComputedStyle(document.querySelector(selector));
              return [style.fontFamily, style.fontSize, style.backgroundColor, style.borderRadius].join(" ");
            })"""
        )
    assert len({str(one) for one in seen.values()}) == 1, seen


def test_a_run_of_280_jobs_is_a_page_that_opens(browser: Browser, tmp_path: Path) -> None:
    path = pages.run(tmp_path / "run", 280)
    assert path.stat().st_size < 2 << 20
    for _, page in _each(browser, {"run": path}):
        assert page.locator("tbody").count() == 280
        timing = page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
        assert timing["domContentLoadedEventEnd"] < 10_000
        page.get_by_role("button", name="failed").click()
        page.get_by_label("Filter the jobs").fill("job-0004")
        assert page.locator("tbody:visible").count() == 1
        page.get_by_role("button", name="exit").click()
        assert page.locator("th[aria-sort=ascending]").count() == 1
