"""The files of a NoCloud seed: user-data, meta-data and network-config, as cloud-init reads them from its disk.

cloud-init reads YAML 1.1, where `yes`, `0755` and `1:30` are not strings: every string is written in double quotes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from roost.errors import Problem, RecipeError
from roost.host import files
from roost.recipe.loader import Loaded
from roost.recipe.seed import LIMIT

#: Valid headers of user data (cloud-init's documentation, "User data formats"); gzip is decompressed first.
HEADERS = (
    b"#cloud-config",
    b"#!",
    b"#include",
    b"#cloud-boothook",
    b"#part-handler",
    b"## template:",
    b"Content-Type:",
    b"MIME-Version:",
    b"From ",
    b"\x1f\x8b",
)


def document(value: Mapping[str, Any]) -> str:
    """Return a mapping as YAML that reads the same in YAML 1.1 and 1.2."""
    yaml = YAML()
    yaml.width = 1 << 20
    yaml.default_flow_style = False
    out = io.StringIO()
    yaml.dump(_quoted(value), out)
    return out.getvalue()


def _quoted(value: Any) -> Any:
    if isinstance(value, str):
        return DoubleQuotedScalarString(value)
    if isinstance(value, Mapping):
        return {_quoted(key): _quoted(child) for key, child in value.items()}
    return [_quoted(child) for child in value] if isinstance(value, list | tuple) else value


def documents(loaded: Loaded) -> dict[str, bytes]:
    """Return the seed's files by name; empty without `cloud_init`. Raises `OSError` for a missing file."""
    wanted = loaded.recipe.cloud_init
    if wanted is None:
        return {}
    found = {"user-data": _content(wanted.user_data, loaded.directory, "#cloud-config\n")}
    if wanted.network_config is not None:
        found["network-config"] = _content(wanted.network_config, loaded.directory, "")
    name = loaded.recipe.hostname or "roost"
    # cloud-init runs again when the instance id differs, so the id is a digest of its configuration.
    digest = hashlib.sha256(json.dumps([loaded.recipe.name, name, dict(wanted.meta_data)], sort_keys=True).encode())
    for file, data in sorted(found.items()):
        digest.update(f"\0{file}\0".encode() + data)
    meta = {"instance-id": f"iid-{digest.hexdigest()[:20]}", "local-hostname": name, **wanted.meta_data}
    return {**found, "meta-data": document(meta).encode()}


def _content(value: str | Mapping[str, Any], directory: Path, header: str) -> bytes:
    if isinstance(value, str):
        return files.read_bytes(directory / value)
    return f"{header}{document(value)}".encode()


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield problems with cloud-init's input: user data of an unknown type, or more than the disk holds."""
    wanted = loaded.recipe.cloud_init
    try:
        files = documents(loaded)
    except OSError:
        return  # the loader reports what is wrong with the file
    key = ("cloud_init", "user_data")
    if wanted is not None and isinstance(wanted.user_data, str) and not files["user-data"].startswith(HEADERS):
        what = f"'{wanted.user_data}' is not in a format that cloud-init knows: it would be ignored"
        yield loaded.problem(key, what, "begin it with #cloud-config, or with #! if it is a script")
    if sum(map(len, files.values())) > LIMIT:
        yield loaded.problem(key, f"more than {LIMIT >> 20} MiB of user data", "put large content into `files`")


def write(loaded: Loaded, directory: Path, epoch: int) -> Path | None:
    """Write the seed's files into a new directory and return it; None without `cloud_init`."""
    try:
        files = documents(loaded)
    except OSError as error:
        raise RecipeError([loaded.problem(("cloud_init",), f"{error.filename}: {error.strerror}")]) from error
    if not files:
        return None
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
        os.utime(directory / name, (epoch, epoch))
    return directory
