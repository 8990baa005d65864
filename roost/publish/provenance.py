"""provenance.json: who built the image, from what and with which tools, and who tested it.

The format is an in-toto Statement v1 (https://in-toto.io/Statement/v1) whose predicate is SLSA's provenance v1
(https://slsa.dev/spec/v1.0/provenance): subjects are the published images, resolved dependencies the archive's index,
the recipe's own files and every Debian package of the guest with its source, byproducts the verdicts of the test boots.
Every resource has a digest, a URI or its content, as in-toto requires of a descriptor.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import roost
from roost.errors import RoostError
from roost.host import process
from roost.publish import sbom
from roost.publish.gate import Passed
from roost.publish.layout import ReleaseFile
from roost.store.manifest import Manifest

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:roost:build:1"
TOOLS = {
    "mmdebstrap": ("--version",),
    "mke2fs": ("-V",),
    "sfdisk": ("--version",),
    "grub-mkimage": ("--version",),
    "qemu-img": ("--version",),
    "qemu-system-x86_64": ("--version",),
}


@functools.cache
def tool_versions() -> dict[str, str]:
    """Return the first line of each installed tool's version output."""
    found = {"roost": roost.__version__}
    for tool, words in TOOLS.items():
        if process.which(tool) is None:
            continue
        try:
            # mke2fs prints it to standard error.
            done = process.run(["sh", "-c", 'exec "$@" 2>&1', "sh", tool, *words], deadline=20, capture=True)
        except RoostError:
            continue
        found[tool] = done.text.splitlines()[0].strip() if done.text else ""
    return found


def packages(record: Manifest) -> list[dict[str, str]]:
    """Return name, version, architecture and source of each package in the guest, as found by the read-back.

    Removed packages that left their configuration are not included.
    """
    return [
        {key: str(one[key]) for key in ("name", "version", "architecture", "source", "source_version") if key in one}
        for one in record.facts.get("packages", ())
        if isinstance(one, Mapping) and "name" in one and "version" in one and one.get("state") != sbom.CONFIG_ONLY
    ]


def statement(
    passed: Passed, version: str, files: Sequence[ReleaseFile], evidence: Sequence[ReleaseFile], created: str
) -> dict[str, Any]:
    """Return the statement about `files`; `evidence` are the verdicts and reports published with them."""
    record, recipe = passed.record, passed.loaded.recipe
    return {
        "_type": STATEMENT,
        "subject": [{"name": file.path, "digest": {"sha256": file.sha256}} for file in files],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "name": recipe.name,
                    "version": version,
                    "recipe": recipe.model_dump(mode="json", by_alias=True),
                },
                "internalParameters": {"keys": dict(record.keys), "epoch": record.inputs.get("epoch")},
                "resolvedDependencies": [*_sources(passed), *_packages(record)],
            },
            "runDetails": {
                "builder": {
                    "id": f"urn:roost:{record.roost}",
                    "version": {**tool_versions(), "roost": record.roost},
                },
                "metadata": {"invocationId": record.key, "finishedOn": created},
                "byproducts": [
                    *({"name": file.path, "digest": {"sha256": file.sha256}} for file in evidence),
                    *(_content(f"test:{one.hypervisor}", one.to_json()) for one in passed.tested),
                ],
            },
        },
    }


def _content(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource that contains its JSON, both as encoded content and in readable form."""
    data = json.dumps(value, sort_keys=True).encode()
    return {
        "name": name,
        "mediaType": "application/json",
        "content": base64.b64encode(data).decode(),
        "annotations": dict(value),
    }


def _sources(passed: Passed) -> list[dict[str, Any]]:
    inputs = passed.record.inputs
    found: list[dict[str, Any]] = [
        {"name": "recipe", "digest": {"sha256": passed.record.keys.get("recipe", "")}},
    ]
    index = inputs.get("index") or ()
    found += [
        {"name": "archive index (InRelease)", "digest": {"sha256": one}}
        for one in ([index] if isinstance(index, str) else index)
        if isinstance(one, str) and re.fullmatch(r"[0-9a-f]{64}", one)
    ]
    for name, text in dict(inputs.get("files") or {}).items():
        mode, _, digest = str(text).partition(" ")
        entry: dict[str, Any] = {"name": name, "annotations": {"mode": mode}}
        if re.fullmatch(r"[0-9a-f]{64}", digest):
            entry["digest"] = {"sha256": digest}
        else:
            # A link or a directory: the description used in the build's key.
            entry |= {"mediaType": "text/plain", "content": base64.b64encode(digest.encode()).decode()}
        found.append(entry)
    return found


def _packages(record: Manifest) -> list[dict[str, Any]]:
    said = record.facts.get("os")
    release = {str(key): str(value) for key, value in said.items()} if isinstance(said, Mapping) else {}
    found: list[dict[str, Any]] = []
    for one in packages(record):
        binary = sbom.package_url(one["name"], one["version"], one.get("architecture", ""), release)
        if binary is None:
            continue
        entry: dict[str, Any] = {"name": one["name"], "uri": binary.to_string()}
        source = sbom.package_url(one.get("source", ""), one.get("source_version", ""), "source", release)
        if source is not None:
            entry["annotations"] = {"source": source.to_string()}
        found.append(entry)
    return found
