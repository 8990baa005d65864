"""Render a submit description: roost's own templates here, a site's in a confined child (`host.template`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from roost.condor import layout
from roost.errors import Location, UsageError
from roost.host import template as foreign

_WORKER = "roost.condor.site_worker"


def render(template: str, directories: Sequence[Path], own: Path, values: Mapping[str, Any]) -> str:
    """Return a template's text; `directories` take precedence over roost's `own`. Raises `UsageError`."""
    known = [directory for directory in directories if _has_templates(directory)]
    if not known:
        try:
            return layout.environment((), own).get_template(template).render(values)
        except layout.UnsafeValueError as error:
            raise UsageError(str(error), hint="use names and directories without them") from error
    plain = {
        name: asdict(one) if is_dataclass(one) and not isinstance(one, type) else one for name, one in values.items()
    }
    request = {"template": template, "directories": [str(one) for one in known], "own": str(own), "values": plain}
    made = foreign.answers(_WORKER, request, 1)[0]
    if isinstance(made, str):
        return made
    where = Location(made.file, made.line) if made.file else Location(template, made.line)
    raise UsageError(f"template {template}: {made.what}", where=where, hint="see roost's own")


def _has_templates(directory: Path) -> bool:
    try:
        return any(one.suffix == ".j2" for one in directory.iterdir())
    except OSError:
        return False
