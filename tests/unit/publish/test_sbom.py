"""The bill of materials: valid CycloneDX of whatever a package database says, and the same bytes each time."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from roost.publish import sbom
from roost.verify import packages as readback_packages

STATUS = """\
Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b8
Description: GNU Bourne Again SHell
 Package: not-this

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9

package: libc6
STATUS: install ok installed
Architecture: i386
Source: glibc (2.36-8)
Version: 2.36-9

Package: gone
Status: deinstall ok config-files
Architecture: all
Config-Version: 1.0

Package: half
Status: install ok half-configured
Architecture: all
Version: 1:2

Package: never
Status: unknown ok not-installed
Architecture: all
"""
OS = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}


@functools.cache
def _validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_6)


def _document(packages: list[dict[str, str]], name: str = "image", **facts: Any) -> dict[str, Any]:
    data = sbom.document(name, "an image", {"packages": packages, **facts}, epoch=1_700_000_000)
    wrong = _validator().validate_str(data.decode())
    assert wrong is None, str(wrong)[:2000]
    found = json.loads(data)
    assert isinstance(found, dict)
    return found


def test_status_is_read_as_dpkg_query_reads_it() -> None:
    found = readback_packages.packages(STATUS)
    assert [(one["name"], one["architecture"], one["version"], one["state"]) for one in found] == [
        ("bash", "amd64", "5.2.15-2+b8", "installed"),
        ("gone", "all", "1.0", "config-files"),
        ("half", "all", "1:2", "half-configured"),
        ("libc6", "amd64", "2.36-9", "installed"),
        ("libc6", "i386", "2.36-9", "installed"),
    ]
    assert [(one["source"], one["source_version"]) for one in found if one["name"] == "libc6"] == [
        ("glibc", "2.36-9"),
        ("glibc", "2.36-8"),
    ]


def test_a_package_counts_once_and_as_last_written() -> None:
    one = "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: {}\n\n"
    assert [entry["version"] for entry in readback_packages.packages(one.format(1) + one.format(2))] == ["2"]


def test_without_dpkg_an_entry_needs_no_status() -> None:
    text = "Package: busybox-static\nVersion: 1\n"
    assert readback_packages.packages(text) == []
    assert [one["state"] for one in readback_packages.packages(text, unpacked=True)] == ["unpacked"]


def test_components_are_the_packages_with_their_purl() -> None:
    found = _document(readback_packages.packages(STATUS), os=OS, kernel="6.1.0-1", packages_from="/var/lib/dpkg/status")
    bash = found["components"][0]
    assert bash["purl"] == "pkg:deb/debian/bash@5.2.15-2%2Bb8?arch=amd64&distro=debian-12"
    assert PackageURL.from_string(found["components"][2]["purl"]).version == "1:2"
    assert [(one["name"], one["scope"]) for one in found["components"]] == [
        ("bash", "required"),
        ("gone", "excluded"),
        ("half", "required"),
        ("libc6", "required"),
        ("libc6", "required"),
    ]
    properties = {one["name"]: one["value"] for one in found["components"][4]["properties"]}
    assert properties["roost:dpkg:source"] == "glibc"
    assert properties["roost:dpkg:source-version"] == "2.36-8"
    assert found["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert found["metadata"]["component"]["name"] == "image"


def test_a_purl_is_written_as_its_specification_has_it() -> None:
    """purl-spec: plus signs and per cents encoded, an epoch's colon not, qualifiers in the order of their names."""
    debian, ubuntu = {"ID": "debian", "VERSION_ID": "12"}, {"ID": "ubuntu", "VERSION_ID": "24.04"}
    wanted = "pkg:deb/debian/libstdc%2B%2B6@1:14.2~rc1-1%2Bb2?arch=amd64&distro=debian-12"
    assert str(sbom.package_url("libstdc++6", "1:14.2~rc1-1+b2", "amd64", debian)) == wanted
    assert str(sbom.package_url("a", "6%", "all", ubuntu)) == "pkg:deb/ubuntu/a@6%25?arch=all&distro=ubuntu-24.04"
    assert str(sbom.package_url("a", "", "", {})) == "pkg:deb/debian/a"
    assert sbom.package_url("/", "1", "all", debian) is None


def test_no_licence_is_made_up() -> None:
    """dpkg's database has none, so there is none to list."""
    found = _document(readback_packages.packages(STATUS), os=OS)
    assert not [one for one in found["components"] if "licenses" in one]


def test_same_packages_same_bytes_and_other_packages_another_serial() -> None:
    packages = readback_packages.packages(STATUS)
    first, again, fewer = _document(packages, os=OS), _document(packages, os=OS), _document(packages[1:], os=OS)
    assert first == again
    assert first["serialNumber"] != fewer["serialNumber"]
    assert first["serialNumber"] != _document(packages, "other", os=OS)["serialNumber"]


def test_an_image_without_a_database_says_so() -> None:
    found = _document([])
    assert "no database" in json.dumps(found["metadata"])
    assert not found.get("components")


@pytest.mark.parametrize("name", ["../../etc", "a b", "<script>", "a\0b", "A", "%2F", "/", "?#@", "\u202e", "\ufffe"])
def test_odd_names_stay_themselves(name: str) -> None:
    packages = [
        {"name": name, "version": "1<2", "architecture": "<b>"},
        {"name": name, "version": "1<2", "architecture": "amd64"},
        {"name": name.lower(), "version": "", "architecture": "amd64", "source": "x\ny"},
    ]
    found = _document(packages, os={"ID": "de/bian", "VERSION_ID": "<", "PRETTY_NAME": "\x1b[31m"})
    assert len(found["components"]) == 3
    assert "\x1b" not in json.dumps(found, ensure_ascii=False)


_KNOWN = ["Package: a", "Package: A", "Package:", "Status: install ok installed", "Version: 1", "Source: (", "", " x"]
_LINES = st.one_of(st.sampled_from(_KNOWN), st.text(max_size=30))
_RELEASE = st.dictionaries(st.sampled_from(["ID", "VERSION_ID"]), st.text(max_size=9))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_LINES), _RELEASE)
def test_any_database_gives_a_valid_document(lines: list[str], release: dict[str, str]) -> None:
    _document(readback_packages.packages("\n".join(lines), unpacked=True), os=release)
