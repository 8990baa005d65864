"""The bill of materials of an image: CycloneDX 1.6, from the guest's package database. Pure.

It lists the packages found by the read-back on the finished disks, not those that were requested. The same packages
give the same bytes: its time is the image's epoch, its serial number is derived from its content.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import roost

if TYPE_CHECKING:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

#: The file name, in a build's directory and in a catalogue.
NAME = "sbom.cdx.json"
#: Serial numbers are UUIDs in this name space (RFC 9562, version 5).
_SERIALS = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/roost")
#: The state of a package that was removed and left its configuration.
CONFIG_ONLY = "config-files"
#: Characters that are invalid in XML, another format of CycloneDX; packages do not contain them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def document(name: str, description: str, facts: Mapping[str, Any], *, epoch: int) -> bytes:
    """Return the SBOM of an image as JSON; `facts` are the read-back's, `epoch` is seconds since 1970 (UTC).

    Every package is a component, with its purl for Debian packages (purl-spec, types/deb). A removed package that left
    its configuration has the scope `excluded`. The same arguments give the same bytes.
    """
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6

    release = _texts(facts.get("os"))
    packages: Sequence[Mapping[str, str]] = [_texts(entry) for entry in facts.get("packages") or ()]
    image = Component(
        name=_plain(name),
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref="image",
        version=_plain(release.get("VERSION_ID", "")) or None,
        description=_plain(description) or None,
        properties=list(
            _properties(
                {
                    "os": release.get("PRETTY_NAME", ""),
                    "kernel": str(facts.get("kernel") or ""),
                    "packages-from": str(facts.get("packages_from") or "no database: the image lists no packages"),
                }
            )
        ),
    )
    content = json.dumps([name, description, release, packages, str(facts.get("kernel"))], sort_keys=True)
    digest = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()
    tool = Component(name="roost", type=ComponentType.APPLICATION, bom_ref="roost", version=roost.__version__)
    bom = Bom(
        serial_number=uuid.uuid5(_SERIALS, digest),
        metadata=BomMetaData(
            component=image,
            timestamp=datetime.fromtimestamp(epoch, UTC),
            tools=ToolRepository(components=[tool]),
        ),
        components=list(_components(packages, release)),
    )
    bom.register_dependency(image, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=1).encode() + b"\n"


def _components(packages: Sequence[Mapping[str, str]], release: Mapping[str, str]) -> Iterator[Component]:
    from cyclonedx.model.component import Component, ComponentScope, ComponentType

    for number, entry in enumerate(packages):
        name, version = _plain(entry.get("name", "")), _plain(entry.get("version", ""))
        architecture = _plain(entry.get("architecture", ""))
        if not name:
            continue
        state = entry.get("state", "installed")
        yield Component(
            # Names and architectures are unique in dpkg's own database; the number makes them unique in any.
            bom_ref=f"package-{number}:{name}:{architecture}",
            name=name,
            version=version or None,
            type=ComponentType.LIBRARY,
            scope=ComponentScope.EXCLUDED if state == CONFIG_ONLY else ComponentScope.REQUIRED,
            purl=package_url(name, version, architecture, release),
            properties=list(
                _properties(
                    {
                        "dpkg:architecture": architecture,
                        "dpkg:source": entry.get("source", ""),
                        "dpkg:source-version": entry.get("source_version", ""),
                        "dpkg:state": state,
                    }
                )
            ),
        )


def package_url(name: str, version: str, architecture: str, release: Mapping[str, str]) -> PackageURL | None:
    """Return the purl of a Debian package (purl-spec, types/deb); `release` is the guest's os-release.

    The vendor is the guest's distribution; `source` as architecture denotes a source package.
    """
    from packageurl import PackageURL

    name, version, architecture = _plain(name), _plain(version), _plain(architecture)
    if not name.strip("/ "):
        return None
    system = _word(release.get("ID", ""))
    distro = "-".join(word for word in (system, _word(release.get("VERSION_ID", ""))) if word)
    qualifiers = {key: value for key, value in {"arch": architecture, "distro": distro}.items() if value}
    return PackageURL("deb", system or "debian", name, version or None, qualifiers)


def _properties(values: Mapping[str, str]) -> Iterator[Property]:
    from cyclonedx.model import Property

    for name, value in values.items():
        if value:
            yield Property(name=f"roost:{name}", value=_plain(value))


def _texts(value: object) -> dict[str, str]:
    return {str(key): str(entry) for key, entry in value.items()} if isinstance(value, Mapping) else {}


def _plain(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)


def _word(text: str) -> str:
    """Return an ID of os-release if it is valid (os-release(5)), else an empty string."""
    return text if re.fullmatch(r"[a-z0-9._-]{1,40}", text) else ""
