"""Write the pages to a directory atomically: it holds the old or the new site, even if the writer is killed.

    DIR/index.html                       all images
    DIR/images/NAME.html                 an image: its current version, and the changes between versions
    DIR/versions/NAME/VERSION.html       one version

The same catalogue gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from roost.catalogue.model import Catalogue
from roost.catalogue.page import Pages
from roost.catalogue.submit_lines import roots
from roost.errors import UsageError
from roost.events import Events
from roost.host import causes, webpage
from roost.store import staging

#: The file that marks a directory as one that roost may replace.
MARK = ".roost-catalogue"


def write(catalogue: Catalogue, directory: Path, *, public: str | None, events: Events) -> Path:
    """Write the site; return the directory. `public` is the URL or path of the catalogue for jobs.

    Raises `UsageError` for a directory that contains anything but an earlier site.
    """
    if public is not None and "://" not in public and not public.startswith("/"):
        raise UsageError(f"--public {public} is neither a URL nor an absolute path")
    final = Path(os.path.abspath(directory)).resolve()  # noqa: PTH100
    _check(catalogue, final)
    where = roots(catalogue.target, public)
    pages = Pages(catalogue, where, _files(catalogue, where.url, final))
    try:
        with staging.passing_lock(final, lambda: events.note(f"{final} is being written by another process: waiting")):
            _check(catalogue, final)
            with staging.staged(final) as new:
                for path, data in _pages(pages):
                    file = new / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)
                (new / MARK).write_text("written by inv catalogue, which replaces this directory\n")
    except OSError as error:
        raise causes.unwritable(final, error) from error
    return final


def _pages(pages: Pages) -> Iterator[tuple[str, bytes]]:
    yield "index.html", pages.index()
    for image in pages.catalogue.images:
        yield f"images/{image.name}.html", pages.image(image)
        for version in image.versions:
            yield f"versions/{image.name}/{version.version}.html", pages.version(image, version)


def _check(catalogue: Catalogue, final: Path) -> None:
    if catalogue.target.local is not None and final == catalogue.target.local.resolve():
        raise UsageError(f"{final} is the catalogue itself", hint=f"--html {final}/web")
    webpage.require_replaceable(final, MARK, "the catalogue")


def _files(catalogue: Catalogue, url: str | None, final: Path) -> str | None:
    """Return the base of the root page's links to published files: a URL, or the path to an enclosing catalogue."""
    if url is not None and url.partition("://")[0] in {"http", "https"}:
        return url
    local = catalogue.target.local
    if local is None or not final.is_relative_to(local.resolve()):
        return None
    return "/".join([".."] * len(final.relative_to(local.resolve()).parts))
