"""Further repositories: keys told from what is none, sources for apt, verified by apt's own gpgv or sqv; snapshots."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from roost.errors import HostError, ImageError, RoostError, ToolError, UsageError
from roost.events import Silent
from roost.host import namespace, process
from roost.host.namespace import Namespace
from roost.kernel import catalogue
from roost.recipe.debian import Debian
from roost.sources import archive, contained, debs, installation, keyring, mmdebstrap, openpgp, repositories, snapshot
from roost.sources.aptsource import AptSource, parse_sources
from roost.sources.archive import Index
from roost.sources.bootstrap import Bootstrap
from roost.sources.bootstrap_errors import explained
from roost.sources.openpgp import NoKeyError
from roost.sources.packages import Package, Selection
from roost.store.cache import Cache
from tests.apt_repository import Key, package, publish, served

PROJECT = Path(__file__).resolve().parents[3]
KEY = Key()
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def test_keys_armored_and_binary_are_the_same() -> None:
    binary = openpgp.dearmored(KEY.armored.encode())
    assert binary == KEY.binary == openpgp.dearmored(KEY.binary)
    assert openpgp.fingerprints(binary) == (KEY.fingerprint,)
    assert openpgp.dearmored(openpgp.armored(binary).encode()) == binary
    crlf = KEY.armored.replace("\n", "\r\n").replace("BLOCK-----\r\n\r\n", "BLOCK-----\r\nVersion: GnuPG v2\r\n\r\n", 1)
    assert openpgp.dearmored(crlf.encode()) == binary
    both = openpgp.dearmored((KEY.armored + "\n" + Key("other").armored).encode())
    assert len(openpgp.fingerprints(both)) == 2


def test_the_keyring_of_debian_is_read() -> None:
    found = openpgp.fingerprints(openpgp.dearmored(KEYRING.read_bytes()))
    # Debian 12's stable release key, as published with the release.
    assert "4D64FEC119C2029067D6E791F8D2585B8783D481" in found
    for path in Path("/etc/apt/trusted.gpg.d").glob("debian-*.asc"):
        assert openpgp.fingerprints(openpgp.dearmored(path.read_bytes()))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"ssh-ed25519 AAAA x", "no OpenPGP public key"),
        (b"<html>not found</html>", "no OpenPGP public key"),
        (b"\0\0\0\x20\x01\x01\0\x02KBXf" + bytes(20), "keybox"),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc\n", "private key"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n????\n-----END PGP PUBLIC KEY BLOCK-----\n", "damaged"),
        (b"\xc5\x01x", "private key"),
        (KEY.binary[:-7], "cut off"),
        (b"\xff\xd8\xff\xe0 a picture", "not OpenPGP|cut off"),
        (b"\xc2\x01x", "no OpenPGP public key"),
        (b"\xc6\x01\x03", "version 3"),
    ],
)
def test_what_is_not_a_key(data: bytes, said: str) -> None:
    with pytest.raises(NoKeyError, match=said):
        openpgp.fingerprints(openpgp.dearmored(data))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"\xc6" + data))
def test_nothing_makes_the_reader_raise_anything_else(data: bytes) -> None:
    try:
        openpgp.fingerprints(openpgp.dearmored(data))
    except NoKeyError as error:
        assert str(error)


@given(st.binary(min_size=1, max_size=300))
def test_armor_goes_both_ways(data: bytes) -> None:
    assert openpgp.dearmored(openpgp.armored(b"\x80" + data).encode()) == b"\x80" + data


def test_apts_verifier_takes_our_armor_and_the_tests_signature(tmp_path: Path) -> None:
    (tmp_path / "key.asc").write_text(openpgp.armored(KEY.binary))
    (tmp_path / "key.gpg").write_bytes(openpgp.dearmored((tmp_path / "key.asc").read_bytes()))
    package(tmp_path, "hello", {"/opt/hello": "x"})
    publish(tmp_path, KEY)
    if process.which("gpgv") is not None:
        argv = ["gpgv", "--keyring", str(tmp_path / "key.gpg"), str(tmp_path / "InRelease")]
    else:
        # Debian 13's apt brings this one.
        argv = ["sqv", "--keyring", str(tmp_path / "key.gpg"), f"--output={tmp_path}/out", "--cleartext"]
        argv.append(str(tmp_path / "InRelease"))
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


def debian(**changes: object) -> Debian:
    return Debian.model_validate({"suite": "bookworm", **changes})


def test_sources_for_apt(tmp_path: Path) -> None:
    (tmp_path / "key.asc").write_text(KEY.armored)
    entries = [
        {"uri": "https://packages.example.org/debian/", "suite": "stable", "key": "key.asc"},
        {"uri": "file:/srv/flat", "suite": "./", "key": "key.asc", "keep": False},
        {"uri": "https://packages.example.org/debian", "suite": "x", "components": ["a", "b"], "key": "key.asc"},
    ]
    one, flat, again = repositories.read(debian(repositories=entries), tmp_path)
    assert (one.name, flat.name, again.name) == (
        "packages-example-org-debian",
        "srv-flat",
        "packages-example-org-debian-2",
    )
    assert one.inside("amd64") == (
        "Types: deb\nURIs: https://packages.example.org/debian/\nSuites: stable\nComponents: main\n"
        "Architectures: amd64\nSigned-By: /etc/apt/keyrings/packages-example-org-debian.asc\n"
    )
    outside = flat.outside("amd64")
    assert "URIs: copy:/srv/flat\nSuites: ./\nArchitectures" in outside
    field = outside.partition("Signed-By:\n")[2]
    assert all(line.startswith(" ") for line in field.splitlines()) and "\n .\n" in field
    assert one.source.index == "https://packages.example.org/debian/dists/stable/InRelease"
    assert flat.source.index == "file:/srv/flat/InRelease"
    assert again.source.components == ("a", "b")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"uri": "http://h/", "suite": "x"}, "key"),
        ({"uri": "http://me:secret@h/", "suite": "x", "key": "k"}, "credentials are not allowed"),
        ({"uri": "http://h/", "suite": "./", "components": ["main"], "key": "k"}, "has no components"),
        ({"uri": "http://h/", "suite": "x", "components": [], "key": "k"}, "components is empty"),
        ({"uri": "ftp://h/", "suite": "x", "key": "k"}, "pattern"),
        ({"uri": "http://h/ [trusted=yes]", "suite": "x", "key": "k"}, "pattern"),
        ({"uri": "http://h/", "suite": "x\nTrusted: yes", "key": "k"}, "pattern"),
    ],
)
def test_repositories_that_are_refused(entry: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        debian(repositories=[entry])


LINES = """\
deb http://a.example/debian bookworm main
# deb http://no.example/ x main
deb [signed-by="/usr/share/keyrings/k.gpg"] http://a.example/debian-security bookworm-security main contrib
"""


def test_sources_of_mmdebstrap_are_read_and_written() -> None:
    one, other = parse_sources(LINES)
    assert one == AptSource("http://a.example/debian", "bookworm", ("main",))
    assert other.options == 'signed-by="/usr/share/keyrings/k.gpg"'
    assert f"{one.line}\n" == LINES.splitlines(keepends=True)[0]
    assert other.line == LINES.splitlines()[2]


def test_where_a_snapshot_is() -> None:
    one, security = parse_sources(LINES)
    root = "http://snap.example"
    assert snapshot.from_service(f"{root}/", security) == f"{root}/archive/debian-security/@SNAPSHOTID@/"
    assert snapshot.from_service(f"{root}/u/@SNAPSHOTID@", one) == f"{root}/u/@SNAPSHOTID@"
    at = snapshot.at(security, snapshot.from_service(root, security), "20261101T000000Z")
    assert at.uri == f"{root}/archive/debian-security/20261101T000000Z/"
    assert at.line.startswith('deb [signed-by="/usr/share/keyrings/k.gpg" check-valid-until=no] http://snap.example/')
    with pytest.raises(UsageError, match="no snapshot service is known") as caught:
        snapshot.at(one, None, "20261101T000000Z")
    assert "ROOST_SNAPSHOT" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("Origin: Debian\n", {}, None),
        ("Origin: Debian\nSnapshots: http://s/@SNAPSHOTID@/\n", {}, "http://s/@SNAPSHOTID@/"),
        ("Origin: Debian\n", {"Origin::Debian": "http://o/@SNAPSHOTID@"}, "http://o/@SNAPSHOTID@"),
        ("Origin: Debian\nSnapshots: http://s/@SNAPSHOTID@\n", {"Origin::Debian": "http://o/@SNAPSHOTID@"},
         "http://s/@SNAPSHOTID@"),
        ("Origin: Debian\nLabel: Sec\nSnapshots: http://s/@SNAPSHOTID@\n",
         {"Override::Label::Sec": "http://l/@SNAPSHOTID@"}, "http://l/@SNAPSHOTID@"),
        ("Origin: Debian\nSnapshots: no\n", {}, None),
    ],
)  # fmt: skip
def test_what_apt_knows_of_snapshots(text: str, settings: dict[str, str], expected: str | None) -> None:
    assert snapshot.from_index(text, settings) == expected


def test_a_snapshots_time_and_its_mirror() -> None:
    with pytest.raises(ValidationError, match="not a time"):
        debian(snapshot="20261301T000000Z")
    with pytest.raises(ValidationError, match="today's packages"):
        debian(snapshot="20261101T000000Z", mirror="http://h/debian")
    with pytest.raises(ValidationError, match="add snapshot"):
        debian(mirror="http://h/@SNAPSHOTID@/")
    both = debian(snapshot="20261101T000000Z", mirror="http://h/@SNAPSHOTID@/debian")
    assert archive.mirror(both) == ["http://h/20261101T000000Z/debian"]


def _archive(directory: Path, date: str) -> None:
    directory.mkdir(parents=True)
    package(directory, "base", {"/base": date})
    publish(directory, KEY, "bookworm", "main", Date=date)


def test_the_index_of_a_snapshot_and_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then = "Sun, 01 Nov 2026 00:00:00 UTC"
    for name in ("debian", "debian-security"):
        _archive(tmp_path / f"srv/archive/{name}/20261101T000000Z", then)
    for suite in ("bookworm-updates",):
        publish(tmp_path / "srv/archive/debian/20261101T000000Z", KEY, suite, "main", Date=then)
    publish(tmp_path / "srv/archive/debian-security/20261101T000000Z", KEY, "bookworm-security", "main", Date=then)
    flat = tmp_path / "srv/flat"
    flat.mkdir()
    package(flat, "hello", {"/hello": "x"})
    publish(flat, KEY)
    (tmp_path / "key.asc").write_text(KEY.armored)
    cache = Cache(tmp_path / "cache")
    log = tmp_path / "log"
    with served(tmp_path / "srv") as address:
        monkeypatch.setenv("ROOST_SNAPSHOT", address)
        entry = {"uri": f"{address}/flat", "suite": "./", "key": "key.asc"}
        wanted = debian(snapshot="20261101T000000Z", repositories=[entry])
        extra = [one.source for one in repositories.read(wanted, tmp_path)]
        found = archive.index(wanted, cache, log, Silent(), extra)
        assert [source.uri for source in found.sources] == [
            f"{address}/archive/{name}/20261101T000000Z/" for name in ("debian", "debian", "debian-security")
        ]
        assert all(source.options.endswith("check-valid-until=no") for source in found.sources)
        assert len(found.digests) == 4
        assert archive.epoch(found) == 1793491200  # 2026-11-01
        # The repository changed: another state, of the same time.
        package(flat, "more", {"/more": "x"})
        publish(flat, KEY, Description="new")
        changed = archive.index(wanted, Cache(tmp_path / "other"), log, Silent(), extra)
        assert changed.digests[:3] == found.digests[:3] and changed.digests[3] != found.digests[3]
        assert changed.date == found.date
        with monkeypatch.context() as patch:

            def too_large(path: Path, _data: bytes) -> None:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))

            patch.setattr(archive, "write_atomically", too_large)
            with pytest.raises(HostError, match="larger than the limit"):
                archive.index(wanted, Cache(tmp_path / "third"), log, Silent(), extra)
        gone = debian(repositories=[{**entry, "uri": f"{address}/nowhere"}])
        with pytest.raises(ImageError, match=r"no such suite.*nowhere/InRelease"):
            archive.index(
                debian(snapshot="20261101T000000Z"), cache, log, Silent(),
                [one.source for one in repositories.read(gone, tmp_path)],
            )  # fmt: skip


def test_keys_of_another_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "TRUSTED", tmp_path / "trusted")
    monkeypatch.setattr(keyring, "KEYRINGS", tmp_path / "keyrings")
    for name in ("trusted", "keyrings"):
        (tmp_path / name).mkdir()
    with pytest.raises(HostError, match="no keys of Ubuntu's archive") as caught:
        keyring.arguments("Ubuntu")
    assert caught.value.exit_code == 3 and re.search(r"apt-get install ubuntu-keyring", str(caught.value))
    path = tmp_path / "keyrings/ubuntu-archive-keyring.gpg"
    path.write_bytes(b"x")
    assert keyring.arguments("Ubuntu") == [f"--keyring={path}"]
    (tmp_path / "trusted/ubuntu-keyring-2018-archive.gpg").write_bytes(b"x")
    assert keyring.arguments("Ubuntu") == keyring.arguments("Somebody") == []


def test_ubuntu_suites_are_known_to_mmdebstrap(tmp_path: Path) -> None:
    wanted = debian(suite="noble", components=["main", "universe"])
    found = archive.sources(wanted, Cache(tmp_path / "cache"), tmp_path / "log")
    assert [source.suite for source in found] == ["noble", "noble-updates", "noble-security"]
    assert all(source.components == ("main", "universe") for source in found)


def _bootstrap(tmp_path: Path, wanted: Debian, origin: str, kernel: str = "ubuntu") -> Bootstrap:
    (tmp_path / "key.asc").write_text(KEY.armored)
    lines = parse_sources(LINES)
    sources = tuple(snapshot.at(one, snapshot.from_service("http://s", one), "20261101T000000Z") for one in lines)
    index = Index(sources if wanted.snapshot else lines, ("0" * 64,), 1, origin)
    extra = repositories.read(wanted, tmp_path)
    package = catalogue.load(kernel, PROJECT).package("amd64")
    return Bootstrap(wanted, package, "distribution", (), index, 1, extra)


def test_what_mmdebstrap_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "TRUSTED", tmp_path / "none")
    monkeypatch.setattr(keyring, "KEYRINGS", tmp_path)
    path = tmp_path / "ubuntu-archive-keyring.gpg"
    path.write_bytes(b"x")
    entry = {"uri": "http://h/d", "suite": "stable", "key": "key.asc"}
    noble = _bootstrap(tmp_path, debian(suite="noble", components=["main", "universe"], repositories=[entry]), "Ubuntu")
    words = installation.base_argv(noble)
    assert f"--keyring={path}" in words and "--components=main,universe" in words
    assert "linux-image-virtual" in noble.packages and "initramfs-tools" in noble.packages
    # The keyring is this host's way to trust the archive: it does not stay in the image.
    assert installation.target(noble, "-") == [
        "noble",
        "-",
        "deb http://a.example/debian bookworm main",
        "deb http://a.example/debian-security bookworm-security main contrib",
    ]
    hooks, merged = tmp_path / "given", tmp_path / "lists/merged"
    hooks.mkdir()
    merged.mkdir(parents=True)
    chosen = Package("hello", "1:2", "all", "ab" * 32)
    (merged / "h_Packages").write_text(
        f"Package: hello\nVersion: 1:2\nArchitecture: all\nSize: 9\nMD5sum: 1\nSHA256: {chosen.sha256}\n\n"
    )
    stored = tmp_path / chosen.file
    stored.write_bytes(bytes(20))
    installation.give(replace(noble, selection=Selection((chosen,), merged.parent)), hooks, [stored])
    there = (hooks / "sources.list.d/roost-h-d.sources").read_text()
    assert there == noble.repositories[0].outside("amd64")
    # apt takes a file for the package by its name and size.
    listed = (hooks / "lists/h_Packages").read_text()
    assert listed == "Package: hello\nVersion: 1:2\nArchitecture: all\nSize: 20\n\n"
    assert (hooks / "selected").read_text() == "hello 1:2\n"
    assert (hooks / "sources.list").read_text().splitlines() == installation.target(noble, "-")[2:]

    then = _bootstrap(tmp_path, debian(snapshot="20261101T000000Z"), "")
    assert installation.target(then, "-") == [
        "bookworm",
        "-",
        "deb [check-valid-until=no] http://s/archive/debian/20261101T000000Z/ bookworm main",
        'deb [signed-by="/usr/share/keyrings/k.gpg" check-valid-until=no]'
        " http://s/archive/debian-security/20261101T000000Z/ bookworm-security main contrib",
    ]


@pytest.mark.parametrize(
    ("user", "uri", "root"), [(False, "http://h/d", False), (True, "http://h/d", True), (False, "file:/root/d", True)]
)
def test_apt_downloads_as_who_can_read(
    user: bool, uri: str, root: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace, "current", lambda: Namespace(user=user))
    entry = {"uri": uri, "suite": "stable", "key": "key.asc"}
    words = installation.base_argv(_bootstrap(tmp_path, debian(repositories=[entry]), ""))
    assert ('--aptopt=APT::Sandbox::User "root"' in words) is root
    # mmdebstrap's own user namespace has no id that may read a closed home.
    assert "--mode=root" in words
    assert contained.script(words, tmp_path)[-len(words) :] == words


def test_what_a_tree_depends_on(tmp_path: Path) -> None:
    plain = _bootstrap(tmp_path, debian(), "")
    entry = {"uri": "http://h/d", "suite": "stable", "key": "key.asc"}
    one = _bootstrap(tmp_path, debian(repositories=[entry]), "")
    kept = _bootstrap(tmp_path, debian(repositories=[{**entry, "keep": False}]), "")
    cache = Cache(tmp_path / "cache")
    assert mmdebstrap.Installed(plain).key != mmdebstrap.Installed(one).key
    # Another key file of the same name is another tree; what stays in the image is laid over it.
    global_key = one.inputs()["repositories"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/key.asc").write_text(Key("other").armored)
    other = repositories.read(debian(repositories=[entry]), tmp_path / "other")
    assert [extra.inputs() for extra in other] != global_key
    assert kept.inputs()["repositories"] == global_key
    # Packages of a stranger never lie where those of the archive are taken from.
    directories = {debs.shared_directory(cache, found).name for found in (plain, one)}
    assert len(directories) == 2 and "amd64" in directories


def test_an_unsigned_index_is_reported_with_its_owner(tmp_path: Path) -> None:
    entry = {"uri": "http://h/d/", "suite": "./", "key": "key.asc"}
    wanted = _bootstrap(tmp_path, debian(repositories=[entry]), "Ubuntu")

    def told(uri: str) -> RoostError:
        log = tmp_path / "log"
        log.write_text(
            f"W: GPG error: NO_PUBKEY 0123456789ABCDEF\nE: The repository '{uri} ./ InRelease' is not signed.\n"
        )
        return explained(ToolError("x", argv=["x"], returncode=1, log=log), wanted)

    theirs = told("http://h/d")
    assert isinstance(theirs, ImageError) and "key.asc is not the key of the repository" in str(theirs)
    assert "0123456789ABCDEF" in str(theirs) and KEY.fingerprint in str(theirs)
    archives = told("http://a.example/ubuntu")
    assert isinstance(archives, HostError) and "ubuntu-keyring" in str(archives)


def test_a_signature_over_another_index_is_not_an_archive_that_does_not_answer(tmp_path: Path) -> None:
    """As apt says it when it only updates its lists."""
    entry = {"uri": "file:/srv/shelf", "suite": "./", "key": "key.asc"}
    log = tmp_path / "log"
    log.write_text(
        "Err:1 copy:/srv/shelf ./ InRelease\n  The following signatures were invalid: BADSIG 0123456789ABCDEF Test\n"
        "W: An error occurred during the signature verification. The repository is not updated and the previous index "
        "files will be used. GPG error: copy:/srv/shelf ./ InRelease: The following signatures were invalid: "
        "BADSIG 0123456789ABCDEF Test\n"
        "E: Failed to fetch copy:/srv/shelf/./InRelease  The following signatures were invalid: BADSIG 0123456789\n"
    )
    wanted = _bootstrap(tmp_path, debian(repositories=[entry]), "Debian")
    told = explained(ToolError("x", argv=["x"], returncode=1, log=log), wanted)
    assert isinstance(told, ImageError)
    assert "key.asc is not the key of the repository file:/srv/shelf" in str(told)
    assert "no valid signature" in str(told)
