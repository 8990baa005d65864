"""The result as a web page: every image's verdict, and links to the reports of its test boots.

    DIR/index.html                      the page
    DIR/boot/NUMBER-NAME/…              the reports of the test boots, with their consoles

The directory is replaced atomically, even if the writer is killed. Values from a recipe or a guest are
untrusted: the template escapes them, and the page runs no scripts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from roost.factory.graph import STEPS, Kind
from roost.factory.markdown import headline, seconds
from roost.factory.outcome import Image, Result
from roost.host import causes, files, webpage
from roost.store import staging

#: The file that marks a directory as one that roost may replace.
MARK = ".roost-factory"
TEMPLATES = Path(__file__).parent / "templates"
#: Size limit in bytes of a report or console that is copied.
MOST = 64 << 20


def write(result: Result, directory: Path) -> Path:
    """Write the page to a directory; return the directory.

    Raises `UsageError` for a directory that contains anything but an earlier page.
    """
    final = require(directory)
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    try:
        with staging.passing_lock(final, lambda: None), staging.staged(final) as new:
            reports = [_copied(image, number, new) for number, image in enumerate(result.images, 1)]
            (new / "index.html").write_bytes(render(result, reports, moment))
            (new / MARK).write_text("written by inv factory, which replaces this directory\n")
    except OSError as error:
        raise causes.unwritable(final, error) from error
    return final


def require(directory: Path) -> Path:
    """Return the directory, links resolved; raise `UsageError` unless a page may replace it."""
    final = Path(os.path.abspath(directory)).resolve()  # noqa: PTH100
    webpage.require_replaceable(final, MARK, "the page")
    return final


def _copied(image: Image, number: int, new: Path) -> dict[str, str]:
    """Copy the reports of an image's test boots, with the files they link to; return hypervisor → link."""
    links = {}
    place = Path("boot", f"{number}-{re.sub(r'[^A-Za-z0-9._+-]', '-', image.name)}")
    for one in image.verdicts:
        hypervisor, page = str(one["hypervisor"]), Path(str(one["report"]))
        boot = Path(image.directory) / "boot"
        for path in (page, boot / hypervisor / "serial.log"):
            target = new / place / path.relative_to(boot)
            try:
                # A workflow's job may have left a link to a file of this account.
                if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(image.directory)):
                    continue
                data = files.read_bytes(path, MOST)
            except OSError:
                # It was booted again meanwhile, or is too large for a page: the verdict is shown without a link.
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            if path == page:
                links[hypervisor] = quote(str(place / path.relative_to(boot)))
    return links


def render(result: Result, reports: Sequence[Mapping[str, str]], moment: str) -> bytes:
    """Return the page; `reports` has the links to each image's reports, by hypervisor."""
    environment = webpage.environment("roost.factory")
    steps = [kind for kind in STEPS if any(kind in image.steps for image in result.images)]
    text = environment.get_template("factory.html.j2").render(
        headline=headline(result),
        ok=result.ok,
        count=result.count(),
        taken=seconds(result.seconds),
        jobs=result.jobs,
        catalogue=result.catalogue,
        moment=moment,
        notes=result.notes,
        heads=[STEPS[kind] for kind in steps],
        rows=list(_rows(result, steps, reports)),
        **webpage.look(TEMPLATES / "factory.css"),
    )
    return text.encode("utf-8", "replace")


def _rows(result: Result, steps: Sequence[Kind], reports: Sequence[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield what the page shows of each image: those that failed first."""
    numbered = sorted(zip(result.images, reports, strict=True), key=lambda one: one[0].ok)
    for image, links in numbered:
        failure = image.failure
        yield {
            "name": result.title(image),
            "ok": image.ok,
            "cause": image.cause,
            "lines": failure.text if failure and "\n" in failure.text else "",
            "tail": failure.tail if failure else "",
            "log": failure.log if failure else None,
            "steps": [image.steps[kind].state if kind in image.steps else "skipped" for kind in steps],
            "seconds": seconds(image.seconds),
            "version": image.version,
            "verdicts": [{**one, "link": links.get(str(one["hypervisor"]))} for one in image.verdicts],
            "notes": [note for step in image.steps.values() for note in step.notes],
        }
