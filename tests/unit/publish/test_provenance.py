"""provenance.json is what in-toto and SLSA define: read by in-toto's own messages, which refuse unknown fields."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from packageurl import PackageURL

from roost.publish import layout
from tests.publish import cellar, lab

FACTS = {
    "os": {"ID": "ubuntu", "VERSION_ID": "24.04", "PRETTY_NAME": "Ubuntu"},
    "kernel": "6.8.0-1",
    "packages": [
        {"name": "libstdc++6", "version": "1:14.2~rc1-1", "architecture": "amd64", "state": "installed",
         "source": "gcc-14", "source_version": "14.2~rc1-1"},
        {"name": "gone", "version": "1", "architecture": "all", "state": "config-files", "source": "gone",
         "source_version": "1"},
        {"name": "plain", "version": "2-1", "architecture": "all", "state": "installed"},
    ],
}  # fmt: skip


@pytest.fixture
def statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the provenance of an image that was published, its directory under `directory`."""
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "SIZES", cellar.SMALL)
    lab.project(tmp_path)
    recipe = tmp_path / "recipes/smoke.yaml"
    (tmp_path / "recipes/files/more").mkdir()
    (tmp_path / "recipes/files/more/link").symlink_to("/etc/passwd")
    recipe.write_text(recipe.read_text().replace("hypervisors: [kvm]", "hypervisors: [kvm, xen]"))
    content = {"root.qcow2": b"q" * 9000, "root.raw": b"r" * 9000, "io.raw": b"i" * 5000}
    sources = {
        "files/run": f"755 {'cd' * 32}",
        "files/more": "755 directory",
        "files/more/link": "777 link /etc/passwd",
    }
    directory = lab.built(tmp_path, files=content, facts=FACTS, sources=sources)
    disks = [one for one in lab.verdict(directory)["disks"] if one["name"] != "root.raw"]
    lab.booted(directory, disks=disks)
    disks = [one for one in lab.verdict(directory)["disks"] if one["name"] != "root.qcow2"]
    lab.booted(directory, under="xen", disks=disks, machine="xenpv")
    done = lab.publish(tmp_path, str(tmp_path / "catalogue"))
    version = tmp_path / "catalogue" / done.release.directory
    found: dict[str, Any] = json.loads((version / "provenance.json").read_text())
    return {**found, "directory": version}


def test_it_is_a_statement_as_in_toto_defines_it(statement: dict[str, Any]) -> None:
    directory = statement.pop("directory")
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    read = Statement([], "", {})
    json_format.ParseDict({**statement, "type": statement.pop("_type")}, read.pb)
    read.validate()
    # The subjects are the release's own files, by the sums that they have.
    for subject in statement["subject"]:
        inside = subject["name"].removeprefix(f"smoke/{directory.name}/")
        data = (directory / inside).read_bytes()
        assert subject["digest"] == {"sha256": layout.sha256(data)}
    names = [one["name"].rpartition("/")[2] for one in statement["subject"]]
    assert names == ["root.qcow2", "root.raw", "io.raw", "kvm.sub", "xen.sub"]


def test_its_predicate_is_slsas_provenance(statement: dict[str, Any]) -> None:
    predicate = statement["predicate"]
    read = provenance_pb2.Provenance()
    json_format.ParseDict(predicate, read)
    assert read.build_definition.build_type.partition(":")[0] == "urn"
    assert read.build_definition.external_parameters["name"] == "smoke"
    assert read.run_details.builder.id.startswith("urn:roost:")
    assert read.run_details.builder.version["roost"]
    assert read.run_details.metadata.finished_on.ToJsonString() == "2026-11-23T17:37:40Z"
    assert read.run_details.metadata.invocation_id
    assert len(read.build_definition.resolved_dependencies) == 7


def test_every_resource_can_be_told(statement: dict[str, Any]) -> None:
    """in-toto, resource_descriptor.md: at least one of uri, digest and content; digests are hexadecimal."""
    directory = statement.pop("directory")
    parts = [
        *statement["subject"],
        *statement["predicate"]["buildDefinition"]["resolvedDependencies"],
        *statement["predicate"]["runDetails"]["byproducts"],
    ]
    assert len(parts) > 10
    for one in parts:
        assert {"uri", "digest", "content"} & one.keys(), one
        parsed = ResourceDescriptor()
        json_format.ParseDict(one, parsed.pb)
        parsed.validate()
        assert all(len(bytes.fromhex(digest)) == 32 for digest in one.get("digest", {}).values())
    assert len({one["name"] for one in parts}) == len(parts)
    tests = {one["name"]: one for one in parts if one["name"].startswith("test:")}
    assert json.loads(base64.b64decode(tests["test:xen"]["content"]))["verdict"] == "passed"
    assert tests["test:kvm"]["annotations"]["tester"]
    evidence = {one["name"]: one["digest"]["sha256"] for one in parts if "/boot/" in one["name"]}
    for name, digest in evidence.items():
        data = (directory.parents[1] / name).read_bytes()
        assert layout.sha256(data) == digest


def test_packages_are_named_as_their_own_system_names_them(statement: dict[str, Any]) -> None:
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    found = {one["name"]: one for one in dependencies if "uri" in one}
    assert set(found) == {"libstdc++6", "plain"}, "what was removed is not a dependency"
    purl = PackageURL.from_string(found["libstdc++6"]["uri"])
    assert (purl.type, purl.namespace, purl.name, purl.version) == ("deb", "ubuntu", "libstdc++6", "1:14.2~rc1-1")
    assert purl.qualifiers == {"arch": "amd64", "distro": "ubuntu-24.04"}
    source = PackageURL.from_string(found["libstdc++6"]["annotations"]["source"])
    assert (source.name, source.version, source.qualifiers["arch"]) == ("gcc-14", "14.2~rc1-1", "source")
    bill = json.loads((statement["directory"] / "sbom.cdx.json").read_text())
    known = {one["purl"] for one in bill["components"] if one["scope"] == "required"}
    assert {one["uri"] for one in found.values()} == known
