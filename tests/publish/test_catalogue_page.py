"""The catalogue's page in a real browser: copied lines pass the lint; phone, keyboard, no script, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.publish import lab, sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

#: .ci/run runs them with the slow tests of images: a browser sets its priorities itself.
pytestmark = pytest.mark.slow

#: Nothing but the page: a browser in the background looks for updates and for its maker's hosts.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PUBLIC = "https://images.example.org/condor"


def _roost(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(lab.PROJECT), "ROOST_ROOT": str(root)}
    argv = [sys.executable, "-m", "roost", *words]
    return subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a project with a catalogue, `site` by the real task with a public URL, and `local` without one."""
    root = tmp_path_factory.mktemp("project")
    patch = pytest.MonkeyPatch()
    for name in ("state", "config"):
        patch.setenv({"state": "ROOST_STATE", "config": "XDG_CONFIG_HOME"}[name], str(root / name))
    patch.setenv("ROOST_ROOT", str(root))
    patch.chdir(root)
    sample.fill(lab.project(root), str(root / "catalogue"))
    for directory, more in (("site", ["--public", PUBLIC]), ("local", ["--public", "/shared/images"])):
        done = _roost(root, "catalogue", "--html", directory, "--from", "catalogue", *more, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["html"] == str(root / directory)
    yield root
    patch.undo()


def _chromium() -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("there is no Chromium to look with: apt-get install chromium")
    return program


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return the distribution's Chromium, headless."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=_chromium(), args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Return a context that may use the clipboard and has no network; whatever is asked for or fails is an error."""
    made = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    asked: list[str] = []
    made.on("request", lambda request: asked.append(request.url))
    made.on("console", lambda message: asked.append(message.text))
    made.on("weberror", lambda error: asked.append(str(error.error)))
    yield made
    made.close()
    assert [one for one in asked if not one.startswith("file:///")] == []


def _open(context: BrowserContext, path: Path) -> Page:
    page = context.new_page()
    page.goto(path.as_uri())
    return page


def _clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def _lint(home: Path, text: str) -> None:
    (home / "copied.sub").write_text(text)
    done = _roost(home, "lint", "copied.sub", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert found["effect"] == "ok"


def test_pick_an_image_choose_xen_and_url_copy_the_lines(home: Path, context: BrowserContext) -> None:
    page = _open(context, home / "site/index.html")
    page.get_by_role("link", name="analysis").click()
    page.get_by_role("radio", name="xen").check(force=True)
    page.get_by_role("radio", name="URL").check(force=True)
    assert page.get_by_text("xen: checked, not booted.").locator("visible=true").count() == 1
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").wait_for()
    text = _clipboard(page)
    assert "vm_type        = xen" in text
    assert f"{PUBLIC}/analysis/2026.11/root.raw" in text
    _lint(home, text)


def test_every_choice_shows_one_block_that_passes(home: Path, context: BrowserContext) -> None:
    page = _open(context, home / "site/images/analysis.html")
    seen = set()
    for hypervisor in ("kvm", "xen"):
        for transfer in ("Files", "Shared directory", "URL"):
            page.get_by_role("radio", name=hypervisor).check(force=True)
            page.get_by_role("radio", name=transfer).check(force=True)
            page.get_by_role("button", name="Copy").click()
            page.get_by_text("Copied.").wait_for()
            assert page.locator(".lines:visible").count() == 1
            text = _clipboard(page)
            assert text == page.locator(".lines:visible code").inner_text()
            seen.add(text)
            _lint(home, text)
    assert len(seen) == 6
    page.get_by_role("radio", name="Disk lines").check(force=True)
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").wait_for()
    assert "universe" not in _clipboard(page)
    assert "vm_disk" in _clipboard(page)


def test_a_place_that_the_page_does_not_know_must_be_said(home: Path, context: BrowserContext) -> None:
    page = _open(context, home / "local/images/analysis.html")
    page.get_by_role("radio", name="URL").check(force=True)
    button = page.get_by_role("button", name="Copy")
    assert button.is_disabled()
    place = page.get_by_label("Catalogue at").locator("visible=true")
    for wrong in ("images", "https://a b/c", "https://x/$(Process)", "https://x/a,b", "https://x/a?b", "file://host/x"):
        place.fill(wrong)
        assert button.is_disabled(), wrong
        assert place.get_attribute("aria-invalid") == "true"
    place.fill(f"{PUBLIC}/")
    button.click()
    page.get_by_text("Copied.").wait_for()
    text = _clipboard(page)
    assert f"{PUBLIC}/analysis/2026.11/root.raw" in text
    assert "invalid" not in text
    _lint(home, text)
    # Said once, it holds for the other hypervisor as well.
    page.get_by_role("radio", name="xen").check(force=True)
    assert f"{PUBLIC}/analysis" in page.locator(".lines:visible").inner_text()


def test_keyboard_only(home: Path, context: BrowserContext) -> None:
    page = _open(context, home / "site/index.html")

    def focused() -> str:
        return str(page.evaluate("(document.activeElement.value || document.activeElement.textContent).trim()"))

    def tab_to(text: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if focused() == text:
                shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                radio = page.evaluate("document.activeElement.type === 'radio'")
                assert shown != "none" or radio, f"{text} does not show that it has the focus"
                return
        pytest.fail(f"the keyboard does not reach {text!r}")

    page.keyboard.press("Tab")
    assert focused() == "Skip to the content"
    tab_to("analysis")
    page.keyboard.press("Enter")
    page.wait_for_url("**/images/analysis.html")
    tab_to("kvm")
    page.keyboard.press("ArrowRight")
    assert focused() == "xen"
    tab_to("files")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused() == "url"
    tab_to("Copy the lines")
    page.keyboard.press("Enter")
    page.get_by_text("Copied.").wait_for()
    text = _clipboard(page)
    assert "vm_type        = xen" in text
    assert PUBLIC in text
    _lint(home, text)


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_a_phone(home: Path, context: BrowserContext, width: int) -> None:
    for path in sorted((home / "site").rglob("*.html")):
        page = _open(context, path)
        page.set_viewport_size({"width": width, "height": 800})
        for more in page.locator("summary").all():
            more.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        page.close()


def test_without_a_script_all_of_it_can_be_read(home: Path, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = _open(context, home / "site/images/analysis.html")
    assert page.locator("#choose").is_hidden()
    assert page.locator(".lines:visible").count() == 12
    assert page.get_by_text("xen, url: the whole submit description").is_visible()
    assert page.get_by_role("cell", name="openssl", exact=True).first.is_visible()
    page.get_by_role("link", name="2026.10", exact=True).click()
    page.wait_for_url("**/versions/analysis/2026.10.html")
    context.close()


def test_two_versions_are_compared_and_packages_searched(home: Path, context: BrowserContext) -> None:
    page = _open(context, home / "site/images/analysis.html")
    compared = page.locator("#compared")
    page.get_by_label("From").select_option("2026.09")
    # Across two steps: what the one in between was is not told.
    assert "3.0.14-1 3.0.16-1" in compared.inner_text()
    assert "3.0.15-1" not in compared.inner_text()
    page.get_by_label("From").select_option("2026.11")
    page.get_by_label("to", exact=True).select_option("2026.10")
    # Backwards, what was removed is added.
    assert "3.0.16-1 3.0.15-1" in compared.inner_text()
    page.get_by_label("Search the packages").fill("OPENSSL")
    assert page.locator("#packages tr:visible").count() == 1
    assert page.locator("#packages-count").inner_text() == "1 of 122"


def test_what_lies_between_two_versions_has_its_bytes(home: Path, context: BrowserContext) -> None:
    page = _open(context, home / "site/images/analysis.html")
    page.get_by_label("From").select_option("2026.09")
    # root.raw is another one, io.raw is the same.
    assert "195.3 KiB to fetch for those who have 2026.09, of 293 KiB." in page.locator("#compared").inner_text()
    page.get_by_label("From").select_option("2026.11")
    assert "0 B to fetch" in page.locator("#compared").inner_text()


def test_images_are_filtered_by_hypervisor_and_verdict(home: Path, context: BrowserContext) -> None:
    page = _open(context, home / "site/index.html")
    shown = page.locator(".card:visible h2")
    hypervisor, verdict, count = page.get_by_label("Hypervisor"), page.get_by_label("Test boot"), "#images-count"
    assert shown.count() == 3 and page.locator(count).inner_text() == ""
    assert hypervisor.locator("option").all_inner_texts() == ["any", "kvm", "xen"]
    verdict.select_option("untested")
    assert shown.all_inner_texts() == ["experiment"] and page.locator(count).inner_text() == "1 of 3"
    hypervisor.select_option("xen")
    assert shown.count() == 0 and page.locator(count).inner_text() == "0 of 3"
    # One side has both: analysis has passed, but not under Xen.
    verdict.select_option("passed")
    assert "analysis" not in shown.all_inner_texts()
    hypervisor.select_option("kvm")
    assert "analysis" in shown.all_inner_texts()
    hypervisor.select_option("any")
    verdict.select_option("any")
    assert shown.count() == 3 and page.locator(count).inner_text() == ""


def test_it_is_said_how_to_verify(home: Path, context: BrowserContext) -> None:
    page = _open(context, home / "site/images/analysis.html")
    page.get_by_text("How to verify what you downloaded").click()
    assert page.get_by_text("inv verify").locator("visible=true").count() >= 1
    commands = page.get_by_label("verify with ssh-keygen and sha256sum").inner_text()
    version = home / "catalogue/analysis/2026.11"
    done = subprocess.run(["sh", "-ec", commands], cwd=version, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hostile_metadata_does_nothing(home: Path, context: BrowserContext) -> None:
    for path in ("index.html", "images/hostile.html", "versions/hostile/2026.11.html"):
        page = _open(context, home / "site" / path)
        page.on("dialog", lambda _: pytest.fail("it ran"))
        assert "owned" not in page.title()
        assert page.locator("img").count() == 0
        assert page.get_by_text(sample.HOSTILE).first.is_visible()
        if path != "index.html":
            for more in page.locator("summary").all():
                more.click()
            # Description, system, kernel, what an expectation saw, the console, two packages, in the title perhaps.
            assert page.get_by_text(sample.HOSTILE).locator("visible=true").count() >= 7


def test_the_policy_stops_what_would_get_past_the_escaping(home: Path, browser: Browser) -> None:
    """As if a template had forgotten to escape: the page's own policy lets no other script, style or request be."""
    context = browser.new_context(offline=True)
    refused: list[str] = []
    context.on("console", lambda message: refused.append(message.text))
    page = _open(context, home / "site/images/hostile.html")
    policy = page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    page.evaluate(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(sample.HOSTILE)})")
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'owned'";
        document.body.append(script);
        const image = document.createElement("img");
        image.src = "https://example.org/track.png";
        document.body.append(image);
    }""")
    page.wait_for_timeout(200)
    assert "owned" not in page.title()
    assert sum("Content Security Policy" in text for text in refused) >= 3, refused
    context.close()


def test_on_paper(home: Path, context: BrowserContext) -> None:
    """Printed, there is nothing to press, and nothing is cut off."""
    page = _open(context, home / "site/images/analysis.html")
    page.emulate_media(media="print")
    for control in page.locator("button, input, select, .crumbs").all():
        assert not control.is_visible()
    assert page.get_by_text("universe   = vm").locator("visible=true").count() == 1
    assert page.get_by_role("cell", name="python3-minimal").first.is_visible()
    cut = page.evaluate(
        "[...document.querySelectorAll('pre, .scroll')].filter((one) => one.checkVisibility()"
        " && getComputedStyle(one).maxHeight !== 'none').length"
    )
    assert cut == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(home: Path, browser: Browser, scheme: str) -> None:
    """WCAG 2.1, 1.4.3: at least 4.5 between each text and the nearest colour behind it."""
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    pages = ("index.html", "images/analysis.html", "images/experiment.html", "images/hostile.html")
    for path in (
        *(f"site/{one}" for one in pages),
        "site/versions/analysis/2026.10.html",
        "local/images/analysis.html",
    ):
        page = _open(context, home / path)
        for more in page.locator("summary").all():
            more.click()
        for choice in ("kvm", "xen", "URL") if "analysis" in path else ():
            page.get_by_role("radio", name=choice).check(force=True)
            low = page.evaluate(CONTRAST)
            assert low == [], (path, choice, low)
        low = page.evaluate(CONTRAST)
        assert low == [], (path, low)
        # WCAG 2.1, 1.4.11: what shows the focus has at least 3 beside what is around it.
        rings = page.evaluate(RING)
        assert rings
        assert min(rings) >= 3, (path, rings)
        page.close()
    context.close()


COLOURS = """
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return found.length < 4 ? [...found, 1] : found;
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const ratio = (one, other) => {
    const [a, b] = [light(one.slice(0, 3)), light(other.slice(0, 3))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
"""
CONTRAST = f"""() => {{{COLOURS}
  const low = [];
  for (const node of document.querySelectorAll("body *")) {{
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
    if (!own || !node.checkVisibility() || node.matches(":disabled, script, style, .skip")) continue;
    const found = ratio(parse(getComputedStyle(node).color), behind(node));
    if (found < 4.5) low.push([node.className, node.textContent.trim().slice(0, 40), Math.round(10 * found) / 10]);
  }}
  return low;
}}"""
RING = f"""() => {{{COLOURS}
  const found = [];
  for (const node of document.querySelectorAll("a[href], button, select, input, summary, [tabindex='0']")) {{
    if (!node.checkVisibility() || node.disabled) continue;
    node.focus({{ focusVisible: true }});
    const shown = node.matches("[type=radio]") ? node.nextElementSibling : node;
    if (document.activeElement !== node || getComputedStyle(shown).outlineStyle === "none") return [0];
    found.push(ratio(parse(getComputedStyle(shown).outlineColor), behind(shown.parentElement)));
  }}
  return found;
}}"""
