"""What a recipe lays over its tree, seen from inside of guests without systemd: quick to build, quick to boot."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.recipe.debian import Debian
from roost.sources import archive
from roost.store import cache
from tests.apt_repository import Key, package, publish, served
from tests.images.calls import build, roost

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]

SHOW = """\
#!/bin/sh
cd "$ROOST_OUTPUT" || exit 1
cp /root/seen-* /var/lib/counter /etc/word /var/lib/roost/first-boot.log .
hostname >hostname
stat -c '%a %u' /srv/empty >empty
cat /etc/machine-id >machine-id
date +%Z >zone
echo "$LANG" >lang
ls -A /dev /run /usr/sbin /etc >names
echo 42 >result.txt
"""
RECIPE = """\
extends: smoke.yaml
name: laid
hypervisors: !replace [kvm]
variables: {word: hello}
hostname: vm-7
timezone: Europe/Berlin
os: {debian: {packages: [tzdata]}}
files:
  - {path: /opt/job/run, source: files/show, mode: "0755"}
  - {path: /srv/empty, directory: true, mode: "0750", owner: 5}
  - {path: /etc/word, template: files/word.j2}
run:
  - "cat /proc/mounts >/root/seen-mounts && ip link show >/root/seen-alone && ls -A /etc >/root/seen-etc"
  - {command: "ip link show >/root/seen-net && cp /etc/resolv.conf /root/seen-resolv", network: true}
  - "test ! -e /etc/resolv.conf && test ! -e /usr/sbin/policy-rc.d.orig"
first_boot:
  - "echo first {{ word }}; date +%s >>/var/lib/counter"
  - "ls /nonexistent || true; sleep 1000 &"
"""


def _collect(disk: Path, out: Path) -> tuple[int, dict[str, object], Path]:
    ran = roost("collect", str(disk), str(out), "--json")
    answer: dict[str, object] = ran.answer["disks"][0]
    return ran.code, answer, out / disk.stem


def test_everything_is_effective_and_the_first_boot_is_the_first(
    project: Path, qemu: Callable[..., str], tmp_path: Path
) -> None:
    (project / "recipes/files/show").write_text(SHOW)
    (project / "recipes/files/word.j2").write_text("{{ variables.word }} {{ name }} {{ kernel[:1] }}\n")
    (project / "recipes/laid.yaml").write_text(RECIPE)
    built = build("laid", cwd=project)

    first, io = tmp_path / "first.qcow2", tmp_path / "io-1.raw"
    console = qemu(built / "root.qcow2", built / "io.raw", root=first, io=io)
    assert "roost: first boot: command 2" in console and "first hello" in console, console[-3000:]
    assert "roost: job finished: exit 0" in console and "reboot: Power down" in console
    code, _, left = _collect(io, tmp_path / "out")
    out = {path.name: path.read_text() for path in (left / "output").iterdir()}
    assert code == 0
    assert out["hostname"] == "vm-7\n" and out["empty"] == "750 5\n" and out["word"] == "hello laid 6\n"
    assert out["zone"] in {"CET\n", "CEST\n"} and out["lang"] == "C.UTF-8\n"
    assert "first hello" in out["first-boot.log"] and "/nonexistent" in out["first-boot.log"]
    assert len(out["machine-id"].strip()) == 32
    # `run`: /proc and a /dev of its own; no network and no name servers but for who asked.
    assert " /proc proc " in out["seen-mounts"] and " /dev tmpfs " in out["seen-mounts"]
    assert [line.split(":")[1].strip() for line in out["seen-alone"].splitlines() if line[0].isdigit()] == ["lo"]
    assert out["seen-net"] != out["seen-alone"]
    assert out["seen-resolv"] == Path("/etc/resolv.conf").read_text()
    assert not {"resolv.conf", ".resolv.conf.roost", "policy-rc.d"} & set(out["names"].split())

    # The same disk again: nothing of the first boot runs, and the machine stays who it is.
    again, io = tmp_path / "again.qcow2", tmp_path / "io-2.raw"
    console = qemu(first, built / "io.raw", first=again, io=io)
    assert "first boot: command" not in console and "roost: job finished: exit 0" in console
    _, _, left = _collect(io, tmp_path / "out")
    assert len((left / "output/counter").read_text().split()) == 1
    assert (left / "output/machine-id").read_text() == out["machine-id"]

    # Another machine of the image is another machine.
    other = tmp_path / "io-3.raw"
    qemu(built / "root.qcow2", built / "io.raw", root=tmp_path / "other.qcow2", io=other)
    _, _, left = _collect(other, tmp_path / "out")
    assert (left / "output/machine-id").read_text() not in {out["machine-id"], ""}


@pytest.mark.parametrize(
    ("commands", "said", "code"),
    [
        ('["true", "echo looked; exit 3", "touch /after"]', "first boot: command 2 failed: exit 3", 3),
        pytest.param('["kill -9 $$"]', "first boot: command 1 failed: exit 137", 137, marks=pytest.mark.slow),
    ],
)
def test_a_failing_first_boot_fails_the_job_and_the_machine_goes_off(
    commands: str, said: str, code: int, project: Path, qemu: Callable[..., str], tmp_path: Path
) -> None:
    (project / "recipes/fails.yaml").write_text(
        f"extends: smoke.yaml\nname: fails\nhypervisors: !replace [kvm]\nfirst_boot: {commands}\n"
    )
    built = build("fails", cwd=project)
    io = tmp_path / "io-1.raw"
    first = tmp_path / "first.qcow2"
    console = qemu(built / "root.qcow2", built / "io.raw", root=first, io=io)
    assert f"roost: the job was not run: {said}" in console, console[-3000:]
    assert f"roost: job finished: exit {code}" in console
    assert "roost: job started" not in console and "reboot: Power down" in console
    status, answer, left = _collect(io, tmp_path / "out")
    assert (status, answer["verdict"], answer["why"], answer["exit_code"]) == (1, "failed", said, code)
    assert json.loads((left / "status.json").read_text())["not_ready"] == said
    assert f"the job was not run: {said}" in (left / "job.log").read_text()
    assert list((left / "output").iterdir()) == []
    if "looked" in commands:
        assert "looked" in (left / "job.log").read_text()
        # A machine that was never made ready runs no job later either.
        console = qemu(first, built / "io.raw", first=tmp_path / "again.qcow2", io=tmp_path / "io-2.raw")
        assert f"roost: the job was not run: {said}" in console and "roost: job started" not in console
        # The test boot sees it too.
        ran = roost("boot", "fails", "--accel", "tcg", "--json", cwd=project)
        assert (ran.code, ran.answer["passed"], ran.answer["cause"]) == (1, False, "job-failed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "place", "said"),
    [
        ('run: ["true", "exit 7"]\n', "3:15", "run command 2 failed with status 7: exit 7"),
        ('run:\n  - true: 1\n', "4:5", None),
        ('run:\n  - "true"\n  - {command: "kill -9 $$", network: true}\n', "5:5", "was killed by signal 9"),
        ("services: {enable: [ssh]}\n", "3:12", "the tree has no systemd"),
        ("timezone: Europe/Berlin\n", "3:11", "tzdata"),
        ('users: [{name: a}, {name: b, groups: [nobodies]}]\n', "3:30", "no group nobodies for user b"),
        ('users: [{name: nobody}]\n', "3:16", "already has a user nobody"),
    ],
)  # fmt: skip
def test_what_fails_in_the_tree_is_reported_with_its_place(
    lines: str, place: str, said: str | None, project: Path
) -> None:
    (project / "recipes/wrong.yaml").write_text(f"extends: smoke.yaml\nname: wrong\n{lines}")
    ran = roost("build", "wrong", "--json", cwd=project)
    if said is None:
        assert ran.code == 2
        return
    assert ran.code == 1, ran.err
    assert f"recipes/wrong.yaml:{place}: " in ran.err and said in ran.err, ran.err
    assert not (project / "build/wrong").exists()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["full", "unpacked"])
def test_a_package_that_the_archive_does_not_have(variant: str, project: Path) -> None:
    source = f"{{suite: bookworm, variant: {variant}, packages: [busybox-static, roost-no-such-package]}}"
    (project / "recipes/lacking.yaml").write_text(
        f"extends: smoke.yaml\nname: lacking\nos: {{debian: {source}}}\nkernel: {{initrd: busybox}}\n"
    )
    ran = roost("build", "lacking", "--json", cwd=project)
    assert ran.code == 2 and "has no package roost-no-such-package" in ran.err, ran.err
    assert "recipes/lacking.yaml:3:" in ran.err, ran.err


@pytest.mark.slow
def test_packages_of_a_further_repository(project: Path, qemu: Callable[..., str], tmp_path: Path) -> None:
    shelf = project / "shelf"
    shelf.mkdir()
    package(shelf, "roost-greeting", {"/opt/greeting": "hello from elsewhere\n"})
    key, wrong = Key(), Key("Somebody else")
    publish(shelf, key)
    (project / "recipes/files/key.asc").write_text(key.armored)
    (project / "recipes/files/wrong.gpg").write_bytes(wrong.binary)
    (project / "recipes/files/show").write_text('#!/bin/sh\ncp /opt/greeting "$ROOST_OUTPUT/result.txt"\n')
    recipe = """\
extends: smoke.yaml
name: greeting
hypervisors: !replace [kvm]
os:
  debian:
    packages: [roost-greeting]
    repositories: [{{uri: "{uri}", suite: ./, key: {key}}}]
files: [{{path: /opt/job/run, source: files/show, mode: "0755"}}]
boot_test: {{expect: !replace [{{file: /output/result.txt, on: io, matches: "{greeting}"}}]}}
"""

    def write(uri: str, key: str, greeting: str = "hello from elsewhere") -> None:
        (project / "recipes/greeting.yaml").write_text(recipe.format(uri=uri, key=key, greeting=greeting))

    with served(shelf) as address:
        write(address, "files/wrong.gpg")
        refused = roost("build", "greeting", "--json", cwd=project)
        assert refused.code == 1
        assert "files/wrong.gpg is not the key of the repository" in refused.err, refused.err
        assert key.fingerprint[-16:] in refused.err and wrong.fingerprint in refused.err

        write(address, "files/key.asc")
        built = roost("build", "greeting", "--json", cwd=project)
        assert built.code == 0, built.err
        assert roost("build", "greeting", "--json", cwd=project).answer["cached"] is True
        booted = roost("boot", "greeting", "--accel", "tcg", "--json", cwd=project)
        assert booted.code == 0, booted.out

        # The repository moves on: what was built of it is stale.
        (shelf / "roost-greeting_1.0_all.deb").unlink()
        package(shelf, "roost-greeting", {"/opt/greeting": "hello again\n"}, "2.0")
        publish(shelf, key)
        write(address, "files/key.asc", "hello again")
        again = roost("build", "greeting", "--json", cwd=project)
        assert again.code == 0 and again.answer["cached"] is False, again.err
        assert roost("boot", "greeting", "--accel", "tcg", "--json", cwd=project).code == 0

    # The same from a directory.
    write(f"file:{shelf}", "files/key.asc", "hello again")
    local = roost("build", "greeting", "--json", cwd=project)
    assert local.code == 0, local.err
    # A signature over another index does not do.
    (shelf / "InRelease").write_text((shelf / "InRelease").read_text().replace("Origin: Test", "Origin: Best"))
    forged = roost("build", "greeting", "--json", cwd=project)
    assert forged.code == 1 and "is not the key of the repository" in forged.err, forged.err


@pytest.mark.slow
def test_an_image_that_is_not_to_be_sealed_keeps_what_it_has(
    project: Path, qemu: Callable[..., str], tmp_path: Path
) -> None:
    lines = """\
extends: smoke.yaml
name: same
files: [{path: /etc/ssh/ssh_host_rsa_key, content: "everybody's"}]
run: ["echo ls >/root/.ash_history; echo 0123456789abcdef0123456789abcdef >/etc/machine-id; echo x >/var/log/syslog"]
job: {command: 'cat /etc/ssh/ssh_host_rsa_key /root/.ash_history /etc/machine-id /var/log/syslog >$ROOST_OUTPUT/all'}
hypervisors: !replace [kvm]
"""
    (project / "recipes/same.yaml").write_text(f"{lines}seal: false\n")
    built = build("same", cwd=project)
    io = tmp_path / "io-1.raw"
    qemu(built / "root.qcow2", built / "io.raw", io=io)
    _, _, left = _collect(io, tmp_path / "out")
    all_of_it = "everybody'sls\n0123456789abcdef0123456789abcdef\nx\n"
    assert (left / "output/all").read_text() == all_of_it
    # Sealed, it is refused for the file, and without it all is gone.
    (project / "recipes/same.yaml").write_text(lines)
    ran = roost("build", "same", "--json", cwd=project)
    assert ran.code == 2 and "recipes/same.yaml:3:16: /etc/ssh/ssh_host_rsa_key would be the same" in ran.err
    (project / "recipes/same.yaml").write_text(lines.replace("/etc/ssh/ssh_host_rsa_key", "/etc/other"))
    sealed = build("same", cwd=project)
    qemu(sealed / "root.qcow2", sealed / "io.raw", io=tmp_path / "io-2.raw")
    _, _, left = _collect(tmp_path / "io-2.raw", tmp_path / "out")
    assert "0123456789abcdef0123456789abcdef" not in (left / "output/all").read_text()


@pytest.mark.slow
def test_the_archive_of_a_snapshot(project: Path, tmp_path: Path) -> None:
    """A service that is laid out as Debian's answers with the archive of today; its time is that of the image."""
    suite = Debian(suite="bookworm")
    real = {
        one.uri.rstrip("/").rpartition("/")[2]: one.uri
        for one in archive.sources(suite, cache.default(), tmp_path / "log")
    }
    asked: list[str] = []

    class Service(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = re.fullmatch(r"/archive/([a-z-]+)/20261101T000000Z/(.*)", self.path)
            self.send_response(302 if found else 404)
            if found:
                self.send_header("Location", f"{real[found[1]].rstrip('/')}/{found[2]}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (project / "recipes/then.yaml").write_text(
        "extends: smoke.yaml\nname: then\nhypervisors: !replace [kvm]\nos: {debian: {snapshot: 20261101T000000Z}}\n"
    )
    try:
        nobody = roost("build", "then", "--json", cwd=project, env={"ROOST_SNAPSHOT": ""})
        service = f"http://127.0.0.1:{server.server_address[1]}"
        ran = roost("build", "then", "--json", cwd=project, env={"ROOST_SNAPSHOT": service})
    finally:
        server.shutdown()
        server.server_close()
    assert ran.code == 0, ran.err
    record = json.loads((project / "build/then/manifest.json").read_text())
    assert record["inputs"]["epoch"] == 1793491200  # 2026-11-01
    assert any(path.endswith("/dists/bookworm/InRelease") for path in asked)
    assert any("/archive/debian-security/20261101T000000Z/" in path for path in asked)
    # Debian 12's archive and its apt say nothing of snapshots; later ones may.
    assert nobody.code == 0 or (nobody.code == 2 and "ROOST_SNAPSHOT" in nobody.err), nobody.err
    assert roost("boot", "then", "--accel", "tcg", cwd=project).code == 0
