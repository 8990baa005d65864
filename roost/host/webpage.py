"""What all pages that roost writes have in common: one look, templates that escape, a policy that runs nothing else.

What a page shows (names, logs, a guest's console) is a stranger's text. Autoescaping keeps it text; the
Content-Security-Policy names the sha256 of roost's own style and script, so that nothing else would run even if it did
not; and no page asks for anything from a network. A template extends `page.html.j2` and fills the blocks title, body.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.errors import UsageError
from roost.host.safetext import safe

if TYPE_CHECKING:
    from jinja2 import Environment

_STYLE = Path(__file__).parent / "templates" / "page.css"


def environment(package: str) -> Environment:
    """Return jinja2's environment for the templates of a package, which may extend those here.

    Text is escaped for HTML, and so are the characters that HTML lets through: controls, and those that turn the
    direction of what follows.
    """
    # jinja2 takes as long to import as all the rest of a verdict: only those who write a page pay.
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(package, "templates"), PackageLoader("roost.host", "templates")])
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    # Not of markup: that is roost's own.
    return safe(value) if type(value) is str else value


def look(style: Path, script: Path | None = None, *, pictures: bool = False) -> dict[str, str]:
    """Return what a page's template needs: `style` (the common one and the page's own), `script`, and their `policy`.

    `pictures` allows images that are part of the page (data: URLs).
    """
    css = _STYLE.read_text() + style.read_text()
    own = script.read_text() if script else ""
    allowed = [f"style-src {_sum(css)}"]
    if own:
        allowed.append(f"script-src {_sum(own)}")
    if pictures:
        allowed.append("img-src data:")
    policy = "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])
    return {"style": css, "script": own, "policy": policy}


def require_replaceable(directory: Path, mark: str, what: str) -> None:
    """Raise `UsageError` for a directory that roost may not replace whole: it holds something, and no file `mark`.

    `mark` is in every directory of pages that roost wrote; `what` is what would be written now.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    if any(directory.iterdir()) and not (directory / mark).is_file():
        raise UsageError(
            f"{directory} holds something else, and writing {what} would replace it",
            hint="name a directory that does not exist, or is empty",
        )


def _sum(text: str) -> str:
    """Return the policy's source of an inline text (CSP level 3, hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
