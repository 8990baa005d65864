"""What all pages of roost have in common: one style, escaping templates, a policy that runs nothing else.

The content of a page (names, logs, a guest's console) is untrusted text. Autoescaping keeps it text; the
Content-Security-Policy names the sha256 of roost's own style and script, so that nothing else runs even if escaping
failed; and no page loads anything from a network. A template extends `page.html.j2` and fills the blocks title, body.
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

    Text is escaped for HTML, and so are characters that HTML allows: control characters, and those that change the
    direction of text.
    """
    # Importing jinja2 takes as long as everything else a verdict imports: only tasks that write a page pay for it.
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
    # Not markup, which is roost's own.
    return safe(value) if type(value) is str else value


def look(style: Path, script: Path | None = None, *, pictures: bool = False) -> dict[str, str]:
    """Return the values for a page's template: `style` (common and the page's own), `script`, and their `policy`.

    `pictures` allows images embedded in the page (data: URLs).
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
    """Raise `UsageError` for a directory that roost must not replace: it is not empty and has no file `mark`.

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
    """Return the policy source of an inline text (CSP level 3, hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
