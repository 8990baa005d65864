"""The report in a real browser, without a network: it is drawn, it can be searched, a hostile console does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.boot import report
from tests.unit.boot.test_report import FAILED, HOSTILE, PASSED, result

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("width", [1100, 390])
@pytest.mark.parametrize("verdict", [PASSED, FAILED], ids=["passed", "failed"])
def test_the_page_in_a_browser(verdict: object, width: int, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    from roost.boot.verdict import Verdict

    assert isinstance(verdict, Verdict)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "serial.log").write_bytes(b"Linux version 6.1\n" + HOSTILE * (50_000_000 // len(HOSTILE)) + b"needle\n")
    report.write(result(tmp_path / "out", verdict), logs, tmp_path / "out")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
        page = context.new_page()
        wrong: list[str] = []
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if "http" in request.url[:5] else None)
        page.goto((tmp_path / "out/report.html").as_uri())
        assert page.title() == f"debian-12: {'passed' if verdict.passed else 'failed'}"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than the screen"
        page.fill("#search", "NEEDLE")
        assert page.inner_text("#count").startswith("1 of ")
        page.check("#only")
        assert page.inner_text("#console").strip() == "needle"
        assert wrong == []
        browser.close()
