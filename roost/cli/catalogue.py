"""The task `catalogue`: the list of what is published, and its web page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.cli import terminal
from roost.cli.verb import finish, verb
from roost.errors import UsageError

if TYPE_CHECKING:
    from roost.catalogue.model import Catalogue


@verb(
    help={
        "html": "write the web page into this directory: new, empty, or an earlier one",
        "from_": "the catalogue, or one image of it: a directory or URL; default: where this project has published",
        "public": "the URL or path under which jobs find the catalogue, if that is not --from",
    },
)
def catalogue(_context: object, html: str = "", from_: str = "", public: str = "", json: bool = False) -> None:
    """List what is published: images, versions, verdicts; with --html as a static web page."""
    from roost.catalogue import read, site
    from roost.events import Stages

    with terminal.events() as events:
        stages = Stages(events)
        url = from_ or published_to()
        with stages.stage("catalogue", url):
            found = read.read(url, events)
        directory = None
        if html:
            with stages.stage("page", html):
                directory = site.write(found, Path(html), public=public or None, events=events)
    result = {**found.to_json(), "html": str(directory) if directory else None}
    terminal.write_json(result) if json else terminal.write_text(_listed(found, result))
    finish(not found.problems)


def published_to() -> str:
    """Return the single place where this project's builds were published; raise `UsageError` for none or several."""
    from roost.host import jsontext, paths
    from roost.pipeline.publish import RECORD

    places = set()
    for record in (paths.project_root() / "build").glob(f"*/{RECORD}"):
        try:
            places.add(str(jsontext.read(record)["url"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    if len(places) == 1:
        return places.pop()
    if places:
        raise UsageError(f"several catalogues: {', '.join(sorted(places))}", hint="name one: inv catalogue --from URL")
    raise UsageError(
        "nothing was published from this project", hint="inv catalogue --from URL, or inv publish NAME --to URL"
    )


def _listed(found: Catalogue, result: Mapping[str, Any]) -> str:
    from roost.cli.show import indented, table
    from roost.recipe.quantities import format_size

    lines = [found.target.url, ""]
    rows = [["image", "version", "", "tested", "transfer", "verdict"]]
    for image in found.images:
        for number, one in enumerate(image.versions):
            verdicts = ", ".join(f"{side.hypervisor} {side.verdict}" for side in one.sides)
            state = f"WRONG: {one.problem}" if one.problem else f"UNTESTED: {verdicts}" if one.untested else verdicts
            rows.append(
                [
                    "" if number else image.name,
                    one.version,
                    "latest" if one.version == image.latest else "",
                    one.created if one.booted or not one.created else f"built {one.created}",
                    format_size(one.transfer),
                    state,
                ]
            )
    lines.append(indented(table(rows)) if found.images else "  no published versions")
    if result["html"]:
        lines += ["", f"the page: {result['html']}/index.html"]
    return "\n".join(lines)
