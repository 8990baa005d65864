"""The catalogue as people read it: versions, what differs between them, lines to submit, pages that trust nothing."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import pytest

from roost.catalogue import changes, read, site, submit_lines
from roost.catalogue.model import Catalogue, CatalogueImage, Package, Version
from roost.catalogue.page import POLICY
from roost.condor.lint import lint_text
from roost.errors import UsageError
from roost.events import Silent
from roost.publish.targets.kinds import open_target
from tests.publish import lab, sample


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a project whose `catalogue` has three images; tests only read it."""
    root = tmp_path_factory.mktemp("project")
    patch = pytest.MonkeyPatch()
    patch.setenv("ROOST_STATE", str(root / "state"))
    patch.setenv("XDG_CONFIG_HOME", str(root / "config"))
    patch.setenv("ROOST_ROOT", str(root))
    patch.chdir(root)
    try:
        sample.fill(lab.project(root), str(root / "catalogue"))
    finally:
        patch.undo()
    return root


@pytest.fixture
def catalogue(filled: Path) -> Catalogue:
    return read.read(str(filled / "catalogue"), Silent())


def _version(catalogue: Catalogue, image: str, version: str) -> Version:
    (found,) = (
        one for each in catalogue.images if each.name == image for one in each.versions if one.version == version
    )
    return found


class _Page(html.parser.HTMLParser):
    """Collects a page's elements, their attributes and its text outside of scripts and styles."""

    def __init__(self, data: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._raw = ""
        self.feed(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = tag if tag in {"script", "style"} else self._raw

    def handle_endtag(self, tag: str) -> None:
        self._raw = "" if tag == self._raw else self._raw

    def handle_data(self, data: str) -> None:
        self.text += "" if self._raw else data


def _site(catalogue: Catalogue, directory: Path, public: str | None = None) -> dict[str, str]:
    site.write(catalogue, directory, public=public, events=Silent())
    return {str(one.relative_to(directory)): one.read_text() for one in directory.rglob("*.html")}


def test_what_is_published_is_listed_newest_first(catalogue: Catalogue) -> None:
    assert catalogue.problems == []
    listed = {one["name"]: one for one in catalogue.to_json()["images"]}
    assert list(listed) == ["analysis", "experiment", "hostile"]
    assert [one["version"] for one in listed["analysis"]["versions"]] == ["2026.11", "2026.10", "2026.09"]
    assert listed["analysis"]["latest"] == "2026.11"
    newest = listed["analysis"]["versions"][0]
    assert newest["hypervisors"] == {"kvm": "passed", "xen": "checked, not booted"}
    assert newest["transfer"] == 300_000
    assert newest["kernel"] == "6.1.0-37-cloud-amd64"
    assert newest["packages"] == 122
    assert newest["signed_by"].startswith("SHA256:")
    assert listed["experiment"]["versions"][0]["untested"] is True


def test_packages_are_those_of_the_sbom(catalogue: Catalogue) -> None:
    found = _version(catalogue, "analysis", "2026.11")
    assert Package("openssl", "3.0.16-1", "amd64", "openssl") in found.packages
    assert found.system == "Debian GNU/Linux 12 (bookworm)"


def test_what_differs_between_two_versions(catalogue: Catalogue) -> None:
    older, newer = (_version(catalogue, "analysis", one) for one in ("2026.10", "2026.11"))
    found = changes.between(older, newer)
    assert [(one.sign, one.what, one.old, one.new) for one in found.of("package")] == [
        ("±", "openssl", "3.0.15-1", "3.0.16-1"),
        ("−", "perl", "5.36.0-7", None),
        ("+", "python3-minimal", None, "3.11.2-1"),
    ]
    assert [(one.old, one.new) for one in found.of("kernel")] == [("6.1.0-35-cloud-amd64", "6.1.0-37-cloud-amd64")]
    assert [one.what for one in found.of("file")] == ["root.raw"]
    assert [(one.what, one.old, one.new) for one in found.of("recipe")] == [
        ("disks[root].partitions[/].free", "16 MiB", "32 MiB")
    ]
    # The io disk is the same bytes: who has the older version has it.
    assert found.fetched == 200_000
    assert found.summary == "packages +1 −1 ±1, kernel changed, recipe changed, 1 file"
    assert changes.between(newer, newer).summary == "the same content"
    assert changes.between(newer, newer).fetched == 0


@pytest.mark.parametrize(
    ("public", "shared", "url"),
    [
        (None, "{}", "file://{}"),
        ("https://images.example.org/condor/", "{}", "https://images.example.org/condor"),
        ("/shared/images", "/shared/images", None),
    ],
)
def test_every_choice_of_lines_passes_the_lint(
    catalogue: Catalogue, public: str | None, shared: str, url: str | None
) -> None:
    where = submit_lines.roots(catalogue.target, public)
    place = str(catalogue.target.local)
    assert (where.shared, where.url) == (shared.format(place), url.format(place) if url else None)
    found = submit_lines.choices(_version(catalogue, "analysis", "2026.11"), where)
    assert [(one.hypervisor, one.transfer) for one in found] == [
        (hypervisor, transfer) for hypervisor in ("kvm", "xen") for transfer in submit_lines.TRANSFERS
    ]
    for one in found:
        assert not one.refused
        assert one.known is (one.transfer != "url" or url is not None)
        text = "".join(one.whole)
        report = lint_text(text, "job.sub")
        assert report.ok, report.render()
        assert f"vm_type        = {one.hypervisor}" in text
        assert ("xen: checked, not booted" in text) is (one.hypervisor == "xen")
        root = where.of(one.transfer)[0]
        assert (f"{root}/analysis/2026.11/root.raw" in text) is (root is not None)
        # Each second piece is the root, and nothing else is.
        assert set(one.whole[1::2]) == ({root} if root else set())
        assert "".join(one.snippet)[-40:].strip()


def test_a_place_that_only_its_owner_reads_has_no_url_that_jobs_can_use() -> None:
    where = submit_lines.roots(open_target("memory://images"), None)
    assert where.of("url") == (submit_lines.UNKNOWN["url"], False)
    assert where.of("shared") == (submit_lines.UNKNOWN["shared"], False)
    assert where.of("files") == (None, True)


def test_the_pages(catalogue: Catalogue, tmp_path: Path) -> None:
    pages = _site(catalogue, tmp_path / "site")
    assert set(pages) == {
        "index.html",
        *(f"images/{one}.html" for one in ("analysis", "experiment", "hostile")),
        *(f"versions/analysis/2026.{one}.html" for one in ("09", "10", "11")),
        "versions/experiment/2026.11.html",
        "versions/hostile/2026.11.html",
    }
    for path, text in pages.items():
        page = _Page(text)
        for _tag, attributes in page.elements:
            address = attributes.get("href") or ""
            assert not attributes.get("src"), "no page fetches anything"
            if address and not address.startswith("#"):
                assert (tmp_path / "site" / path).parent.joinpath(address).resolve().is_file(), (path, address)
    index = _Page(pages["index.html"])
    assert "UNTESTED" in index.text
    assert "xen checked, not booted" in re.sub(r"\s+", " ", index.text)
    assert "UNTESTED" in _Page(pages["images/experiment.html"]).text
    assert "--allow-untested" in _Page(pages["images/experiment.html"]).text
    image = _Page(pages["images/analysis.html"]).text
    for said in ("6.1.0-37-cloud-amd64", "python3-minimal", "boot-loader", "293 KiB", "Changed since 2026.10"):
        assert said in image


def test_nothing_is_left_beside_the_site(catalogue: Catalogue, tmp_path: Path) -> None:
    site.write(catalogue, tmp_path / "web/site", public=None, events=Silent())
    site.write(catalogue, tmp_path / "web/site", public=None, events=Silent())
    assert [path.name for path in (tmp_path / "web").iterdir()] == ["site"]


def test_the_same_catalogue_gives_the_same_bytes(catalogue: Catalogue, tmp_path: Path) -> None:
    assert _site(catalogue, tmp_path / "one") == _site(catalogue, tmp_path / "two")


def test_no_word_of_a_catalogue_becomes_html(catalogue: Catalogue, tmp_path: Path) -> None:
    for path, text in _site(catalogue, tmp_path / "site").items():
        page = _Page(text)
        assert "img" not in {tag for tag, _ in page.elements}
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
        assert sum(tag == "script" for tag, _ in page.elements) <= 2
        if "hostile" in path:
            # It is there, as text: description, kernel, package, console.
            assert page.text.count(sample.HOSTILE) > 4
            assert "\x1b" not in text


def test_a_closing_script_tag_in_a_package_stays_data(filled: Path, tmp_path: Path) -> None:
    """The page of three versions carries their differences as JSON inside of a script element."""
    catalogue = read.read(str(filled / "catalogue"), Silent())
    (image,) = (one for one in catalogue.images if one.name == "analysis")
    evil = [
        Version(**{**{key: getattr(one, key) for key in one.__slots__}, "kernel": f"{number}{sample.HOSTILE}"})
        for number, one in enumerate(image.versions)
    ]
    changed = Catalogue(catalogue.target, (CatalogueImage(image.name, image.latest, tuple(evil)),))
    page = _site(changed, tmp_path / "site")["images/analysis.html"]
    data = re.search(r'<script type="application/json" id="steps">(.*?)</script>', page, re.DOTALL)
    assert data
    steps = json.loads(data[1])["steps"]
    assert ["kernel", "kernel", f"2{sample.HOSTILE}", f"1{sample.HOSTILE}"] in steps[0]
    assert "img" not in {tag for tag, _ in _Page(page).elements}


def test_only_our_own_style_and_script_may_run(catalogue: Catalogue, tmp_path: Path) -> None:
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; ")
    for text in _site(catalogue, tmp_path / "site").values():
        found = [attributes for tag, attributes in _Page(text).elements if tag == "meta"]
        assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in found
        assert not any("style" in attributes for _, attributes in _Page(text).elements)


def test_a_version_that_was_changed_is_shown_as_wrong_and_with_nothing_of_it(root: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "catalogue")
    for version in ("1", "2"):
        sample.publish(root, url, "analysis", version, packages={"busybox": version})
    (release := tmp_path / "catalogue/analysis/2/release.json").write_text(
        release.read_text().replace("busybox that runs", "malware that runs")
    )
    found = read.read(url, Silent())
    assert found.problems == ["analysis 2 does not match its signature"]
    assert found.images[0].current.version == "1"
    assert not found.to_json()["ok"]
    pages = _site(found, tmp_path / "site")
    assert "does not match its signature" in pages["index.html"]
    page = _Page(pages["versions/analysis/2.html"])
    assert "Do not use this version" in page.text
    assert "malware" not in page.text
    assert "universe" not in page.text.partition("main")[2].replace("vm universe", "")
    manifest = tmp_path / "catalogue/analysis/1/manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    assert len(read.read(url, Silent()).problems) == 2
    assert "wrong" in _site(read.read(url, Silent()), tmp_path / "site")["index.html"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of its own, with an account of its own."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ROOST_ROOT", str(project))
    monkeypatch.chdir(project)
    return lab.project(project)


def test_only_an_earlier_site_is_replaced(catalogue: Catalogue, tmp_path: Path) -> None:
    directory = tmp_path / "public"
    directory.mkdir()
    (directory / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="holds something else"):
        _site(catalogue, directory)
    assert (directory / "thesis.tex").read_text() == "x"
    (directory / "thesis.tex").unlink()
    _site(catalogue, directory)
    (directory / "images/gone.html").write_text("an image that was removed")
    assert "images/gone.html" not in _site(catalogue, directory)
    with pytest.raises(UsageError, match="the catalogue itself"):
        site.write(catalogue, Path(catalogue.target.url), public=None, events=Silent())
    with pytest.raises(UsageError, match="neither a URL"):
        site.write(catalogue, directory, public="images", events=Silent())
    link = tmp_path / "link"
    link.symlink_to(directory)
    _site(catalogue, link)
    assert link.is_symlink()


def test_the_old_site_stays_when_the_new_one_fails(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "site"
    before = _site(catalogue, directory)

    def fail(*_arguments: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("roost.catalogue.page.Pages.version", fail)
    with pytest.raises(KeyboardInterrupt):
        _site(catalogue, directory)
    assert {str(one.relative_to(directory)): one.read_text() for one in directory.rglob("*.html")} == before
    assert {one.name for one in tmp_path.iterdir()} <= {"site", ".site.lock"}


def test_links_to_the_files_where_the_page_can_reach_them(filled: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    report = "analysis/2026.11/boot/report.html"
    for public, directory, address in (
        ("https://images.example.org/x", tmp_path / "a", f"https://images.example.org/x/{report}"),
        (None, filled / "catalogue/web", f"../../{report}"),
        (None, tmp_path / "b", None),
    ):
        site.write(catalogue, directory, public=public, events=Silent())
        page = _Page((directory / "images/analysis.html").read_text())
        addresses = [attributes.get("href") for tag, attributes in page.elements if tag == "a"]
        assert (address in addresses) is (address is not None)
        assert any((one or "").endswith("report.html") for one in addresses) is (address is not None)
    # A page inside of a catalogue is not an image of it.
    assert [one.name for one in read.read(str(filled / "catalogue"), Silent()).images] == [
        "analysis",
        "experiment",
        "hostile",
    ]
